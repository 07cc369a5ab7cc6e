// The client at a real broker: what is lost on the way, refused, withdrawn or late, and that it finds back from all of it.
import { afterEach, beforeEach, expect, test, vi } from 'vitest';

import type { Crossdock, Session, Snapshot, State, Watch } from '../src/index.js';
import { eventually } from './support/eventually.js';
import { Hub } from './support/hub.js';

const ORDER = 'state/order/R-1';

let hub: Hub;

beforeEach(async () => {
  hub = await Hub.start();
});

afterEach(() => hub.end());

/** Everything that a watch told. */
function heard<T>(watch: Watch<T>): { snapshots: Snapshot<T>[]; errors: unknown[]; done: boolean } {
  const log = { snapshots: [] as Snapshot<T>[], errors: [] as unknown[], done: false };
  watch.subscribe({
    next: (snapshot) => log.snapshots.push(snapshot),
    error: (error) => log.errors.push(error),
    complete: () => (log.done = true),
  });
  return log;
}

function states(client: Crossdock): { said: State[]; reasons: string[] } {
  const log = { said: [] as State[], reasons: [] as string[] };
  client.onState((state, reason) => {
    log.said.push(state);
    if (reason) log.reasons.push(reason.message);
  });
  return log;
}

/** A promise, and what keeps it. */
function gate(): { open: () => void; opened: Promise<void> } {
  let open = (): void => undefined;
  const opened = new Promise<void>((resolve) => (open = resolve));
  return { open, opened };
}

function grows(snapshots: Snapshot<unknown>[]): void {
  const versions = snapshots.map(({ version }) => version);
  expect(versions).toEqual([...versions].sort((a, b) => a - b));
}

test('the state that is, and every later one', async () => {
  hub.set(ORDER, 'placed');
  const client = hub.client();
  const { said } = states(client);
  expect(client.state).toBe('idle');
  const watch = client.watch<string>(ORDER);
  expect([client.state, watch.current]).toEqual(['connecting', undefined]);
  await eventually(() => watch.current);
  expect(watch.current).toMatchObject({ data: 'placed', version: 1, source: 'snapshot', stale: false });
  await hub.push(ORDER, 'numbered');
  await eventually(() => watch.current?.data === 'numbered');
  expect(watch.current).toMatchObject({ version: 2, source: 'push', stale: false });
  expect(said).toEqual(['connecting', 'live']);
  expect(hub.asked).toEqual([{ topic: ORDER, token: 'good' }]);
});

test('a topic without a state waits for its first', async () => {
  const client = hub.client();
  const log = heard(client.order('R-1'));
  await eventually(() => hub.asked.length === 1);
  await hub.push(ORDER, { order: 'R-1', status: 'placed' });
  await eventually(() => log.snapshots.length === 1);
  expect(log.snapshots[0]?.data.status).toBe('placed');
});

test('what changes between subscribing and fetching is not undone by what was fetched', async () => {
  const held = gate();
  hub.set(ORDER, 'old');
  hub.answering = { until: held.opened };
  const log = heard(hub.client().watch<string>(ORDER));
  await eventually(() => hub.asked.length === 1);
  await hub.push(ORDER, 'new');
  await eventually(() => log.snapshots.length === 1);
  held.open();
  const other = heard(hub.client().watch<string>(ORDER));
  await eventually(() => other.snapshots.length === 1);
  expect(log.snapshots.map(({ data }) => data)).toEqual(['new']);
});

test('what happens while a connection is lost is fetched, and until then what is known is called old', async () => {
  const client = hub.client();
  const { said, reasons } = states(client);
  const log = heard(client.watch<number>(ORDER));
  await eventually(() => client.state === 'live' && hub.asked.length === 1);
  await hub.push(ORDER, 1);
  await eventually(() => log.snapshots.length === 1);
  for (let round = 2; round <= 6; round++) {
    hub.cut();
    hub.set(ORDER, round);
    await eventually(() => log.snapshots.at(-1)?.data === round && !log.snapshots.at(-1)?.stale);
  }
  grows(log.snapshots);
  expect(log.snapshots.filter(({ stale }) => stale)).toHaveLength(5);
  expect(said.slice(0, 4)).toEqual(['connecting', 'live', 'retrying', 'live']);
  expect(reasons[0]).toBe(`the connection to ${hub.url} was lost`);
  expect(hub.tokens, 'a token for each attempt').toBeGreaterThanOrEqual(6);
});

test('the broker dies and comes back', async () => {
  const client = hub.client();
  const log = heard(client.watch<number>(ORDER));
  await eventually(() => client.state === 'live');
  await hub.killBroker();
  await eventually(() => client.state === 'retrying');
  hub.set(ORDER, 1);
  await hub.startBroker();
  await eventually(() => log.snapshots.at(-1)?.data === 1);
  await eventually(() => client.state === 'live');
});

test('all watches share one connection and each topic one subscription', async () => {
  hub.set(ORDER, 1);
  const client = hub.client();
  const watches = [client.watch(ORDER), client.watch(ORDER), client.stock('LDN1', 'MUG'), client.file('f-1')];
  const logs = watches.map(heard);
  await eventually(() => hub.asked.length === 3 && logs[1]?.snapshots.length === 1);
  expect(hub.asked.map(({ topic }) => topic)).toEqual([ORDER, 'stock/LDN1/MUG', 'state/preflight/f-1']);
  expect([hub.connections, hub.tokens]).toEqual([1, 1]);
  watches[0]?.close();
  await hub.push(ORDER, 2);
  await eventually(() => logs[1]?.snapshots.length === 2);
  expect(logs[0]).toMatchObject({ done: true, snapshots: [{ version: 1 }] });
  // A third watch of what is known is told at once.
  expect(client.watch(ORDER).current).toMatchObject({ version: 2 });
  expect(hub.asked).toHaveLength(3);
});

test('a watch that is done lets its topic go, and a connection without topics ends', async () => {
  hub.set(ORDER, { order: 'R-1', status: 'placed' });
  const client = hub.client();
  const { said } = states(client);
  const seen: unknown[] = [];
  const placed = client.watch<{ number?: string }>(ORDER, ({ number }) => number !== undefined);
  for await (const { data } of placed) {
    seen.push(data.number);
    if (!data.number) await hub.push(ORDER, { order: 'R-1', status: 'numbered', number: 'SO-1' });
  }
  expect(seen).toEqual([undefined, 'SO-1']);
  await eventually(() => client.state === 'idle' && hub.connections === 0);
  const again = client.watch(ORDER);
  await eventually(() => again.current);
  expect(said).toEqual(['connecting', 'live', 'idle', 'connecting', 'live']);
});

test('a subscription that is refused is an error of that watch and of no other', async () => {
  hub.set(ORDER, 1);
  const client = hub.client();
  const mine = heard(client.watch(ORDER));
  const theirs = heard(client.watch('private/R-2'));
  await eventually(() => theirs.errors.length === 1 && mine.snapshots.length === 1);
  expect(String(theirs.errors[0])).toMatch(/^Error: private\/R-2: the hub refuses it: .*Not authorized/);
  expect(hub.asked.map(({ topic }) => topic)).toEqual([ORDER]);
  expect(client.state).toBe('live');
});

test('a state that may not be read is an error of the watch; one that cannot be read now is tried again', async () => {
  hub.answering = { status: 403 };
  const client = hub.client();
  const refused = heard(client.watch(ORDER));
  await eventually(() => refused.errors.length === 1);
  expect(String(refused.errors[0])).toContain(`${ORDER}: the hub answers 403: {"type":"/problems/forbidden"`);
  hub.answering = { status: 503 };
  hub.set(ORDER, 1);
  const late = heard(client.watch(ORDER));
  await eventually(() => hub.asked.length >= 4);
  hub.answering = {};
  await eventually(() => late.snapshots.length === 1);
  expect([late.errors, client.state]).toEqual([[], 'live']);
});

test('a session may come in any thenable, and a reference as a number', async () => {
  hub.set('state/order/1001', 1);
  const thenable = { then: (resolve: (session: Session) => void) => resolve(hub.session()) };
  const client = hub.client({ session: () => thenable as Promise<Session> });
  const watch = client.order(1001 as unknown as string);
  await eventually(() => watch.current);
});

test('without a session it says why and tries again; waking it tries at once', async () => {
  let fails = true;
  const client = hub.client({
    session: () => (fails ? Promise.reject(new Error('the shop is closed')) : Promise.resolve(hub.session())),
    minBackoffMs: 60_000,
    maxBackoffMs: 60_000,
  });
  const { reasons } = states(client);
  client.watch(ORDER);
  await eventually(() => client.state === 'retrying');
  client.wake();
  await eventually(() => reasons.length === 2);
  expect(reasons[0]).toBe('no session: Error: the shop is closed');
  fails = false;
  client.wake();
  await eventually(() => client.state === 'live');
});

test.each([
  ['nothing', undefined],
  ['no token', { url: 'ws://127.0.0.1:1', clientId: 'a', expiresAt: 0 }],
  ['without an end', { url: 'ws://127.0.0.1:1', clientId: 'a', token: 'good' }],
  ['no time at its end', { url: 'ws://127.0.0.1:1', clientId: 'a', token: 'good', expiresAt: NaN }],
])('a session that is %s is named', async (_, session) => {
  const client = hub.client({ session: () => Promise.resolve(session as Session) });
  const { reasons } = states(client);
  client.watch(ORDER);
  await eventually(() => reasons.length > 0);
  expect(reasons[0]).toBe('no session: expected {url, clientId, token, expiresAt}');
});

test('a token that is refused is replaced, by the broker and by the state alike', async () => {
  const given: string[] = [];
  const client = hub.client({
    session: () => {
      given.push(given.length === 0 ? 'bad' : 'good');
      return Promise.resolve({ ...hub.session(), token: given.at(-1) as string });
    },
  });
  const { reasons } = states(client);
  hub.set(ORDER, 1);
  const watch = client.watch(ORDER);
  await eventually(() => watch.current);
  expect(given).toEqual(['bad', 'good']);
  expect(reasons).toEqual(['Connection refused: Not authorized']);
  hub.answering = { status: 401 };
  client.watch('stock/LDN1/MUG');
  await eventually(() => reasons.length > 1);
  expect(reasons[1]).toContain('stock/LDN1/MUG: the hub answers 401: ');
  hub.answering = {};
  await eventually(() => client.state === 'live' && !watch.current?.stale);
});

test('a token is replaced before it ends, and nobody notices', async () => {
  let fails = 0;
  const client = hub.client({
    session: () => {
      if (hub.tokens > 0 && fails++ === 0) return Promise.reject(new Error('not now'));
      return Promise.resolve({ ...hub.session(), expiresAt: Date.now() + 1_000 });
    },
    refreshSkewMs: 800,
  });
  const { said } = states(client);
  const log = heard(client.watch<number>(ORDER));
  await eventually(() => client.state === 'live');
  await hub.push(ORDER, 1);
  let pushed = 1;
  while (hub.tokens < 5) {
    hub.set(ORDER, ++pushed);
    await hub.push(ORDER, ++pushed);
    await eventually(() => log.snapshots.at(-1)?.data === pushed);
  }
  grows(log.snapshots);
  expect(said).toEqual(['connecting', 'live']);
  expect(log.snapshots.some(({ stale }) => stale)).toBe(false);
  expect(fails).toBeGreaterThan(1);
  await eventually(() => hub.connections === 1);
});

test('a clock that thinks that every token has ended, or is about to, does not keep asking for more', async () => {
  const asked = { ended: [] as number[], ending: [] as number[] };
  const client = (times: number[], left: number): Crossdock =>
    hub.client({
      session() {
        times.push(Date.now());
        return Promise.resolve({ ...hub.session(), expiresAt: Date.now() + left });
      },
    });
  const clients = [client(asked.ended, -3_600_000), client(asked.ending, 2_000)];
  const logs = clients.map((one) => heard(one.watch<number>(ORDER)));
  await eventually(() => asked.ending.length === 2);
  const [first, second] = asked.ending as [number, number];
  expect(second - first).toBeGreaterThanOrEqual(5_000);
  expect(asked.ended.length).toBe(1);
  await hub.push(ORDER, 1);
  await eventually(() => logs.every(({ snapshots }) => snapshots.at(-1)?.data === 1));
});

test('a connection that went silent is found out when the page wakes', async () => {
  const client = hub.client();
  const { reasons } = states(client);
  const watch = client.watch(ORDER);
  // Nothing is under way any more that would be heard later.
  await eventually(() => client.state === 'live' && hub.asked.length === 1);
  hub.silence(true);
  client.wake();
  await eventually(() => client.state === 'retrying');
  expect(reasons[0]).toBe(`the connection to ${hub.url} was lost`);
  hub.silence(false);
  hub.set(ORDER, 1);
  client.wake();
  await eventually(() => watch.current);
});

test('two pages under one name do not throw each other out as fast as they can', async () => {
  const session = (): Promise<Session> => Promise.resolve({ ...hub.session(), clientId: 'twin' });
  const clients = [hub.client({ session, maxBackoffMs: 60_000 }), hub.client({ session, maxBackoffMs: 60_000 })];
  const logs = clients.map(states);
  for (const client of clients) client.watch(ORDER);
  await eventually(() => logs.some(({ reasons }) => reasons.length >= 4));
  expect(hub.tokens).toBeLessThan(20);
});

test('closing ends everything', async () => {
  hub.set(ORDER, 1);
  const client = hub.client();
  const { said } = states(client);
  const watch = client.watch(ORDER);
  const log = heard(watch);
  await eventually(() => log.snapshots.length === 1);
  client.close();
  client.close();
  client.wake();
  expect(log.done).toBe(true);
  expect(heard(watch)).toMatchObject({ done: true, snapshots: [{ version: 1 }] });
  expect(said).toEqual(['connecting', 'live', 'closed']);
  expect(() => client.watch(ORDER)).toThrow('the client is closed');
  await eventually(() => hub.connections === 0);
});

test('closing in the middle of anything ends that, too', async () => {
  const never = hub.client({ session: () => new Promise(() => undefined) });
  let signal: AbortSignal | undefined;
  const asks = hub.client({
    session: (given) => {
      signal = given;
      return new Promise((_, reject) => given.addEventListener('abort', () => reject(given.reason as Error)));
    },
  });
  const logs = [never, asks].map((client) => heard(client.watch(ORDER)));
  await eventually(() => signal);
  never.close();
  asks.close();
  expect(signal?.aborted).toBe(true);
  hub.silence(true);
  const connects = hub.client();
  logs.push(heard(connects.watch(ORDER)));
  await eventually(() => hub.connections === 1);
  connects.close();
  await eventually(() => hub.connections === 0);
  expect(logs.map(({ done }) => done)).toEqual([true, true, true]);
});

test('however often a session is asked for, its signal is listened to by nobody who has gone', async () => {
  let listening = 0;
  let fails = false;
  let failed = 0;
  const client = hub.client({
    session(signal) {
      if (!fails) {
        const { addEventListener, removeEventListener } = signal;
        signal.addEventListener = (...given: Parameters<typeof addEventListener>) => {
          listening++;
          addEventListener.apply(signal, given);
        };
        signal.removeEventListener = (...given: Parameters<typeof removeEventListener>) => {
          listening--;
          removeEventListener.apply(signal, given);
        };
      } else if (++failed) return Promise.reject(new Error('not now'));
      fails = true;
      return Promise.resolve({ ...hub.session(), expiresAt: Date.now() + 500 });
    },
    maxBackoffMs: 20,
  });
  client.watch(ORDER);
  await eventually(() => failed >= 20);
  expect(listening).toBeLessThan(5);
});

test('it wakes with the network and with the page, as long as it is open', async () => {
  const listeners = new Map<string, () => void>();
  const target = {
    visibilityState: 'hidden',
    addEventListener(name: string, listener: () => void, { signal }: { signal: AbortSignal }) {
      listeners.set(name, listener);
      signal.addEventListener('abort', () => listeners.delete(name));
    },
  };
  vi.stubGlobal('document', target);
  vi.stubGlobal('addEventListener', target.addEventListener);
  try {
    const client = hub.client({
      session: () => Promise.reject(new Error('no')),
      minBackoffMs: 60_000,
      maxBackoffMs: 60_000,
    });
    const { reasons } = states(client);
    client.watch(ORDER);
    await eventually(() => reasons.length === 1);
    listeners.get('online')?.();
    await eventually(() => reasons.length === 2);
    listeners.get('visibilitychange')?.();
    target.visibilityState = 'visible';
    listeners.get('visibilitychange')?.();
    await eventually(() => reasons.length === 3);
    client.close();
    expect(listeners.size).toBe(0);
  } finally {
    vi.unstubAllGlobals();
  }
});

test.each(['', 'stock/#', 'stock/+/MUG', 'a\0b', '/a', 'a/', 'a//b', '.', 'a/../b', 'state/order/..'])(
  '%j is no topic to watch',
  (topic) => {
    expect(() => hub.client().watch(topic)).toThrow(TypeError);
  },
);

test('a reference, a place, a product and a file are one level each: nothing leads elsewhere', () => {
  const client = hub.client();
  for (const wrong of ['../../../../admin/users?x=', 'a/b', '/', '..', '.', '']) {
    expect(() => client.order(wrong)).toThrow(TypeError);
    expect(() => client.file(wrong)).toThrow(TypeError);
    expect(() => client.stock(wrong, 'MUG')).toThrow(TypeError);
    expect(() => client.stock('LDN1', wrong)).toThrow(TypeError);
  }
  expect(client.state).toBe('idle');
});

test('what has dots in it is asked for as it is', async () => {
  hub.set('state/order/..R..1...', 1);
  const watch = hub.client().order('..R..1...');
  await eventually(() => watch.current);
});

test('what a proxy says while the hub behind it is away is not the last word', async () => {
  hub.set(ORDER, 1);
  hub.answering = { status: 404, by: 'proxy' };
  const log = heard(hub.client().watch(ORDER));
  await eventually(() => hub.asked.length >= 3);
  hub.answering = {};
  await eventually(() => log.snapshots.length === 1);
  expect(log.errors).toEqual([]);
});

test('a state that is no more is known to be the last by a watch that rested, too', async () => {
  hub.set(ORDER, 1);
  const client = hub.client();
  const watch = client.watch(ORDER);
  await eventually(() => watch.current);
  watch.subscribe(() => undefined).unsubscribe();
  expect(watch.current?.stale).toBe(true);
  hub.states.clear();
  const log = heard(watch);
  await eventually(() => watch.current?.stale === false);
  expect(log.snapshots.map(({ data, stale }) => [data, stale])).toEqual([
    [1, true],
    [1, false],
  ]);
});

test('a state that is no more is known to be the last', async () => {
  hub.set(ORDER, 1);
  const client = hub.client();
  const log = heard(client.watch(ORDER));
  await eventually(() => log.snapshots.length === 1);
  hub.states.clear();
  hub.cut();
  await eventually(() => log.snapshots.length === 3);
  expect(log.snapshots.map(({ data, stale }) => [data, stale])).toEqual([
    [1, false],
    [1, true],
    [1, false],
  ]);
});

test('a message that is no state is an error of the watch', async () => {
  const client = hub.client();
  const log = heard(client.watch('sensors/1/2/temperature'));
  await eventually(() => hub.asked.length === 1);
  await hub.publish('sensors/1/2/temperature', '');
  await hub.publish('sensors/1/2/temperature', '21.5');
  await eventually(() => log.errors.length === 1);
  expect(String(log.errors[0])).toContain('expected {topic, version, time, data}, got 21.5');
});
