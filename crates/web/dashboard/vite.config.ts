import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { brotliCompressSync, gzipSync } from 'node:zlib';

import { svelte } from '@sveltejs/vite-plugin-svelte';
import { svelteTesting } from '@testing-library/svelte/vite';
import type { Plugin } from 'vite';
import { defineConfig } from 'vitest/config';

// The hub that `npm run dev` shows. It sees the browser's own Host, so that its check of where a request comes from holds.
const hub = { target: process.env['CROSSDOCK_URL'] ?? 'http://127.0.0.1:8080', changeOrigin: false };

/** Puts `x.js.gz` and `x.js.br` beside each script and style, where that saves anything: the hub sends them as they are. */
function compressed(): Plugin {
  return {
    name: 'crossdock:compressed',
    apply: 'build',
    async writeBundle({ dir = '' }) {
      const assets = join(dir, 'assets');
      for (const name of await readdir(assets)) {
        if (!/\.(js|css|svg)$/.test(name)) continue;
        const file = join(assets, name);
        const plain = await readFile(file);
        const smaller = { gz: gzipSync(plain, { level: 9 }), br: brotliCompressSync(plain) };
        for (const [extension, bytes] of Object.entries(smaller)) {
          if (bytes.length < plain.length) await writeFile(`${file}.${extension}`, bytes);
        }
      }
    },
  };
}

export default defineConfig({
  plugins: [svelte(), svelteTesting(), compressed()],
  build: {
    // Nothing is put inline: the hub's Content-Security-Policy has no 'unsafe-inline', and fonts and pictures are files.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
  },
  server: { proxy: { '/v1': hub, '/docs': hub } },
  test: { environment: 'happy-dom', include: ['src/**/*.test.ts'] },
});
