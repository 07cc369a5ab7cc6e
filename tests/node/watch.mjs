// Watches topics with the built client, and says what it is told: a line of JSON each. Reads lines on standard input: first
// {"client", "hub", "key", "asked", "life", "skew"} (`asked`: the topics of its tokens), then {"watch": topic} and {"close": true}.
import { exit, stdin, stdout } from 'node:process';
import { createInterface } from 'node:readline';

const lines = createInterface({ input: stdin })[Symbol.asyncIterator]();
const { client, hub, key, asked, life, skew } = JSON.parse((await lines.next()).value);
const { Crossdock } = await import(client);
const tell = (what) => stdout.write(`${JSON.stringify(what)}\n`);

let subject = 0;
const crossdock = new Crossdock({
  baseUrl: hub,
  minBackoffMs: 50,
  maxBackoffMs: 500,
  refreshSkewMs: skew,
  async session(signal) {
    const answer = await fetch(`${hub}/v1/browser-tokens`, {
      method: 'POST',
      headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
      body: JSON.stringify({ topics: asked, subject: `page-${++subject}`, expires_in_s: life }),
      signal,
    });
    if (!answer.ok) throw new Error(`browser-tokens answers ${answer.status}`);
    const { url, client_id, token, expires_at, id } = await answer.json();
    tell({ session: id });
    return { url, clientId: client_id, token, expiresAt: Date.parse(expires_at) };
  },
});
crossdock.onState((state, reason) => tell({ state, reason: reason?.message }));

for await (const line of lines) {
  const { watch: topic, close } = JSON.parse(line);
  if (close) break;
  crossdock.watch(topic).subscribe({
    next: ({ data, version, source, stale }) => tell({ topic, data, version, source, stale }),
    error: (error) => tell({ topic, error: error.message }),
    complete: () => tell({ topic, complete: true }),
  });
}
crossdock.close();
exit(0);
