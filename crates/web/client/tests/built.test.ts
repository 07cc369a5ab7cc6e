// What others install: small, with MQTT.js left to them and loaded only when it is needed; and a program that used it ends.
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { gzipSync } from 'node:zlib';

import { expect, test } from 'vitest';

import { eventually } from './support/eventually.js';
import { Hub } from './support/hub.js';

const BYTES_MAX = 3_000;
const FOLDER = fileURLToPath(new URL('..', import.meta.url));
const BUILT = readFileSync(`${FOLDER}dist/index.js`, 'utf8');

test(`it is no bigger than ${BYTES_MAX} bytes`, () => {
  expect(gzipSync(BUILT, { level: 9 }).length).toBeLessThanOrEqual(BYTES_MAX);
});

test('it loads MQTT.js when it connects, and nothing else', () => {
  expect(BUILT.match(/import\b[^;]{0,12}/g)).toEqual(['import(`mqtt`)']);
});

test('it knows no topic of one shop and no name of another', () => {
  const manifest = JSON.parse(readFileSync(`${FOLDER}package.json`, 'utf8')) as Record<string, unknown>;
  expect(manifest['dependencies']).toBeUndefined();
  expect(manifest['peerDependencies']).toHaveProperty('mqtt');
});

test('a program that closes it, or that has nothing to watch any more, ends', async () => {
  const hub = await Hub.start();
  try {
    hub.set('stock/LDN1/MUG', { sku: 'MUG', location: 'LDN1', on_hand: 4 });
    const early = `crossdock.onState((state) => state === 'live' && crossdock.close());`;
    const program = (first: string, last: string): string => `
      import { Crossdock } from '@crossdock/client';
      const session = async () => (${JSON.stringify(hub.session())});
      const crossdock = new Crossdock({ baseUrl: ${JSON.stringify(hub.baseUrl)}, session });
      ${first}
      for await (const { data } of crossdock.watch('stock/LDN1/MUG', (stock) => stock.on_hand > 0)) console.log(data.on_hand);
      ${last}`;
    for (const [first, last, said] of [
      ['', 'crossdock.close();', '4\n'],
      ['', '', '4\n'],
      [early, '', ''],
    ] as const) {
      const { stdout } = await promisify(execFile)(
        process.execPath,
        ['--input-type=module', '--unhandled-rejections=strict', '--eval', program(first, last)],
        { cwd: FOLDER, timeout: 20_000 },
      );
      expect(stdout).toBe(said);
    }
    await eventually(() => hub.connections === 0);
  } finally {
    await hub.end();
  }
});
