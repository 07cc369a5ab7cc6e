// What others install: small, with MQTT.js left to them and loaded only when it is needed; and a program that used it ends.
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { gzipSync } from 'node:zlib';

import ts from 'typescript';
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

test('the example of the README compiles', () => {
  const example = /```ts\n(.*?)```/s.exec(readFileSync(`${FOLDER}README.md`, 'utf8'))?.[1];
  const file = `${FOLDER}example.ts`;
  const { config } = ts.readConfigFile(`${FOLDER}tsconfig.json`, (path) => ts.sys.readFile(path)) as { config: object };
  const { options } = ts.parseJsonConfigFileContent(config, ts.sys, FOLDER);
  const host = ts.createCompilerHost(options);
  const { getSourceFile } = host;
  const text = `declare const reference: string;\ndeclare function show(what: unknown): void;\n${example}`;
  host.getSourceFile = (name, ...how) =>
    name === file ? ts.createSourceFile(name, text, ts.ScriptTarget.ES2022) : getSourceFile(name, ...how);
  const faults = ts.getPreEmitDiagnostics(ts.createProgram([file], options, host));
  expect(faults.map(({ messageText }) => ts.flattenDiagnosticMessageText(messageText, '\n'))).toEqual([]);
});

test('a program that closes it, or that has nothing to watch any more, ends', async () => {
  const hub = await Hub.start();
  try {
    hub.set('stock/LDN1/MUG', { sku: 'MUG', location: 'LDN1', on_hand: 4 });
    const early = (at: string): string => `crossdock.onState((state) => state === '${at}' && crossdock.close());`;
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
      [early('connecting'), '', ''],
      [early('live'), '', ''],
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
