import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { brotliCompressSync, gzipSync } from 'node:zlib';

import type { Plugin } from 'vite';

/** Puts `x.js.gz` and `x.js.br` beside each script and style, where that saves anything: the hub sends them as they are. */
export function compressed(): Plugin {
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
