// Many pages in one process: each the built client with a topic and a token of its own, behind a proxy that cuts connections.
// Reads lines of JSON on standard input: first what to do, then {"cut": n} (connections, at random) and {"end": final}, the
// value with which every topic ends. Writes {"live": n} once a second, and at the end what was wrong, if anything was.
import { createServer, connect } from 'node:net';
import { exit, stdin, stdout } from 'node:process';
import { createInterface } from 'node:readline';

import { Crossdock } from '../dist/index.js';

const DEADLINE_MS = 120_000;
const FAULTS_SHOWN = 20;

const lines = createInterface({ input: stdin })[Symbol.asyncIterator]();
const { hub, key, topics, backoff } = JSON.parse((await lines.next()).value);
const sockets = new Set();
const proxy = createServer((socket) => {
  const onward = connect(Number(new URL(hub).port), new URL(hub).hostname);
  sockets.add(socket);
  socket.on('close', () => sockets.delete(socket));
  for (const [one, other] of [
    [socket, onward],
    [onward, socket],
  ]) {
    one.pipe(other);
    one.on('error', () => undefined);
    one.on('close', () => other.destroy());
  }
});
await new Promise((resolve) => proxy.listen(0, '127.0.0.1', resolve));
const url = `ws://127.0.0.1:${proxy.address().port}/mqtt`;

const faults = [];
const pages = topics.map((topic) => {
  const page = { topic, sessions: 0, told: 0, last: undefined, crossdock: undefined };
  page.crossdock = new Crossdock({
    baseUrl: hub,
    ...backoff,
    async session(signal) {
      const answer = await fetch(`${hub}/v1/browser-tokens`, {
        method: 'POST',
        headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
        body: JSON.stringify({ topics: [topic], subject: topic, expires_in_s: 600 }),
        signal,
      });
      if (!answer.ok) throw new Error(`browser-tokens answers ${answer.status}`);
      const { client_id, token, expires_at } = await answer.json();
      page.sessions += 1;
      return { url, clientId: client_id, token, expiresAt: Date.parse(expires_at) };
    },
  });
  page.crossdock.watch(topic).subscribe({
    next(snapshot) {
      const { version, data } = snapshot;
      page.told += 1;
      if (data.key !== topic) faults.push(`${topic} was told of ${data.key}`);
      if (page.last && version < page.last.version) faults.push(`${topic}: ${version} after ${page.last.version}`);
      if (page.last && data.n < page.last.data.n) faults.push(`${topic}: ${data.n} after ${page.last.data.n}`);
      page.last = snapshot;
    },
    error: (error) => faults.push(String(error)),
  });
  return page;
});

const live = () => pages.filter(({ crossdock }) => crossdock.state === 'live').length;
const tell = (what) => stdout.write(`${JSON.stringify(what)}\n`);
const ticking = setInterval(() => tell({ live: live() }), 1_000);
const arrived =
  (final) =>
  ({ last }) =>
    last?.data.n === final && !last.stale;

for await (const line of lines) {
  const { cut, end } = JSON.parse(line);
  if (cut) {
    const all = [...sockets];
    for (let left = Math.min(cut, all.length); left > 0; left--) {
      const [one] = all.splice(Math.floor(Math.random() * all.length), 1);
      one.destroy();
    }
  }
  if (end !== undefined) {
    const deadline = Date.now() + DEADLINE_MS;
    while (!pages.every(arrived(end)) && Date.now() < deadline)
      await new Promise((resolve) => setTimeout(resolve, 100));
    const late = pages.filter((page) => !arrived(end)(page));
    clearInterval(ticking);
    tell({
      pages: pages.length,
      arrived: pages.length - late.length,
      late: late.slice(0, FAULTS_SHOWN).map(({ topic, last, crossdock }) => ({ topic, last, state: crossdock.state })),
      faults: faults.slice(0, FAULTS_SHOWN),
      faultCount: faults.length,
      sessions: pages.reduce((sum, { sessions }) => sum + sessions, 0),
      told: pages.reduce((sum, { told }) => sum + told, 0),
    });
    break;
  }
}
for (const { crossdock } of pages) crossdock.close();
proxy.close();
exit(0);
