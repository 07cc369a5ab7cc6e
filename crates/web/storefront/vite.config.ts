import { svelte } from '@sveltejs/vite-plugin-svelte';
import { svelteTesting } from '@testing-library/svelte/vite';
import { defineConfig } from 'vitest/config';

import { compressed } from '../compressed.ts';

// The hub, with its demo, that `npm run dev:shop` shows. It sees the browser's own Host, so that its check of where a
// request comes from holds.
const hub = { target: process.env['CROSSDOCK_URL'] ?? 'http://127.0.0.1:8080', changeOrigin: false };

export default defineConfig({
  base: '/shop/',
  plugins: [svelte(), svelteTesting(), compressed()],
  build: {
    // Nothing is put inline: the hub's Content-Security-Policy has no 'unsafe-inline', and fonts and pictures are files.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
  },
  server: { proxy: { '/v1': hub, '/shop/api': hub, '/mqtt': { ...hub, ws: true } } },
  test: { environment: 'happy-dom', include: ['src/**/*.test.ts'] },
});
