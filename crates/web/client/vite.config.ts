import { defineConfig } from 'vitest/config';

export default defineConfig({
  build: {
    target: 'es2022',
    lib: { entry: 'src/index.ts', formats: ['es'], fileName: 'index' },
    // It is what bundlers of others take in: small as it is, with the names of its API.
    minify: 'oxc',
    rolldownOptions: { external: ['mqtt'], output: { minify: true, comments: false } },
  },
  test: { include: ['tests/**/*.test.ts'], testTimeout: 30_000 },
});
