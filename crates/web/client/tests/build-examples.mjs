// Builds the pages that docs/storefront.md shows, taken out of it into a folder: `plain`, `svelte` and `react` beside
// `live.js`. What the document leaves to its reader, a page to put a component into, is added here.
import { symlink, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { argv } from 'node:process';

import { svelte } from '@sveltejs/vite-plugin-svelte';
import { build } from 'vite';

const root = resolve(argv[2] ?? '.');
const modules = resolve(import.meta.dirname, '../../node_modules');

const page = (script) => `<!doctype html><html lang="en"><title>Shop</title><main id="app"></main>
<script type="module" src="./${script}"></script></html>`;
const mounts = {
  'svelte/index.html': page('main.js'),
  'svelte/main.js': `import { mount } from 'svelte';
import Shop from './Shop.svelte';
mount(Shop, { target: document.getElementById('app') });`,
  'react/index.html': page('main.jsx'),
  'react/main.jsx': `import { StrictMode } from 'react';
import { createRoot } from 'react-dom/client';
import { Shop } from './Shop.jsx';
createRoot(document.getElementById('app')).render(<StrictMode><Shop /></StrictMode>);`,
};

for (const [name, text] of Object.entries(mounts)) await writeFile(join(root, name), text);
await symlink(modules, join(root, 'node_modules'));
await build({
  root,
  configFile: false,
  logLevel: 'warn',
  plugins: [svelte({ configFile: false })],
  build: {
    modulePreload: { polyfill: false },
    rolldownOptions: { input: ['plain', 'svelte', 'react'].map((name) => join(root, name, 'index.html')) },
  },
});
