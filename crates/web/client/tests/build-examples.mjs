// Builds the pages in the folders of a folder, with what `crates/web` has installed. A folder that has a component, `Shop`,
// and no page to put it into gets one: docs/storefront.md leaves that to its reader.
import { access, readdir, symlink, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { argv } from 'node:process';

import { svelte } from '@sveltejs/vite-plugin-svelte';
import { build } from 'vite';

const root = resolve(argv[2] ?? '.');
const modules = resolve(import.meta.dirname, '../../node_modules');

const page = (script) => `<!doctype html><html lang="en"><title>Shop</title><main id="app"></main>
<script type="module" src="./${script}"></script></html>`;
const mounts = {
  'Shop.svelte': [
    'main.js',
    `import { mount } from 'svelte';
import Shop from './Shop.svelte';
mount(Shop, { target: document.getElementById('app') });`,
  ],
  'Shop.jsx': [
    'main.jsx',
    `import { StrictMode } from 'react';
import { createRoot } from 'react-dom/client';
import { Shop } from './Shop.jsx';
createRoot(document.getElementById('app')).render(<StrictMode><Shop /></StrictMode>);`,
  ],
};
const exists = (path) =>
  access(path).then(
    () => true,
    () => false,
  );

const entries = await readdir(root, { withFileTypes: true });
const folders = entries.filter((entry) => entry.isDirectory()).map(({ name }) => join(root, name));
for (const folder of folders) {
  for (const [component, [script, text]] of Object.entries(mounts)) {
    if (!(await exists(join(folder, component)))) continue;
    await writeFile(join(folder, script), text);
    await writeFile(join(folder, 'index.html'), page(script));
  }
}
await symlink(modules, join(root, 'node_modules'));
await build({
  root,
  configFile: false,
  logLevel: 'warn',
  plugins: [svelte({ configFile: false })],
  build: {
    modulePreload: { polyfill: false },
    rolldownOptions: { input: folders.map((folder) => join(folder, 'index.html')) },
  },
});
