// A watch as its readers use it: subscribers, loops, RxJS, Svelte's stores.
import { from, firstValueFrom, map, take, toArray } from 'rxjs';
import { expect, test } from 'vitest';

import type { Snapshot, Watch } from '../src/index.js';
import { Topic } from '../src/topic.js';
import { TopicWatch } from '../src/watch.js';

/** A topic that counts who holds it, and a watch of it. */
function held<T = number>(until?: (data: T) => boolean): { topic: Topic; watch: TopicWatch<T>; say(data: T): void } {
  const topic = new Topic('stock/LDN1/MUG');
  let version = 0;
  const watch = new TopicWatch<T>((listener) => {
    topic.listeners.add(listener);
    if (topic.current) listener.next(topic.current);
    return () => void topic.listeners.delete(listener);
  }, until);
  const say = (data: T): void =>
    topic.offer(JSON.stringify({ topic: topic.name, version: ++version, time: '', data }), 'push');
  return { topic, watch, say };
}

interface Log<T> {
  values: T[];
  ends: unknown[];
  stop(): void;
}

function read<T>(watch: Watch<T>): Log<T> {
  const values: T[] = [];
  const ends: unknown[] = [];
  const subscription = watch.subscribe({
    next: ({ data }) => values.push(data),
    error: (error) => ends.push(error),
    complete: () => ends.push('complete'),
  });
  return { values, ends, stop: () => subscription.unsubscribe() };
}

test('a subscriber is told what is and what comes, for as long as it wants', () => {
  const { watch, say } = held();
  const early = read(watch);
  say(1);
  const late = read(watch);
  say(2);
  early.stop();
  early.stop();
  say(3);
  expect([early.values, late.values]).toEqual([
    [1, 2],
    [1, 2, 3],
  ]);
  watch.close();
  watch.close();
  say(4);
  expect(late).toMatchObject({ values: [1, 2, 3], ends: ['complete'] });
  expect(early.ends).toEqual([]);
});

test('it works from the beginning, rests when its last reader has left, and works again', () => {
  const { topic, watch, say } = held();
  say(1);
  expect(watch.current).toMatchObject({ data: 1, stale: false });
  const one = read(watch);
  const other = read(watch);
  one.stop();
  expect(topic.listeners.size).toBe(1);
  other.stop();
  expect(topic.listeners.size).toBe(0);
  expect(watch.current).toMatchObject({ data: 1, stale: true });
  say(2);
  const again = read(watch);
  expect(again.values).toEqual([1, 2]);
  watch.close();
  expect(topic.listeners.size).toBe(0);
});

test('a watch that rested is not taken back by a topic that begins again with something older', () => {
  let topic = new Topic('stock/LDN1/MUG');
  const watch = new TopicWatch<number>((listener) => {
    topic.listeners.add(listener);
    return () => void topic.listeners.delete(listener);
  });
  const offer = (version: number): void =>
    topic.offer(JSON.stringify({ topic: topic.name, version, time: '', data: version }), 'push');
  const told: [version: number, stale: boolean][] = [];
  const subscribe = (): { unsubscribe(): void } => watch.subscribe(({ version, stale }) => told.push([version, stale]));
  const first = subscribe();
  offer(7);
  first.unsubscribe();
  topic = new Topic('stock/LDN1/MUG');
  subscribe();
  [6, 7, 8].forEach(offer);
  expect(told).toEqual([
    [7, false],
    [7, true],
    [7, false],
    [8, false],
  ]);
});

test('it completes with what it was to wait for', () => {
  const { topic, watch, say } = held((data) => data >= 3);
  const log = read(watch);
  [1, 3, 4].forEach(say);
  expect(log).toMatchObject({ values: [1, 3], ends: ['complete'] });
  expect(topic.listeners.size).toBe(0);
  expect(read(watch)).toMatchObject({ values: [3], ends: ['complete'] });
  const done = new TopicWatch<number>((listener) => {
    listener.next(topic.current as Snapshot<unknown>);
    return () => undefined;
  }, Boolean);
  expect(read(done)).toMatchObject({ values: [4], ends: ['complete'] });
});

test('a condition that throws ends the watch with what it threw', () => {
  const { topic, watch, say } = held(() => {
    throw new Error('no such field');
  });
  const log = read(watch);
  say(1);
  expect(log.values).toEqual([1]);
  expect(String(log.ends)).toBe('Error: no such field');
  expect(topic.listeners.size).toBe(0);
});

test('an error of the topic is told to everybody, whenever they ask', async () => {
  const { topic, watch } = held();
  const log = read(watch);
  topic.end(new Error('refused'));
  expect(log.ends.map(String)).toEqual(['Error: refused']);
  expect(read(watch).ends.map(String)).toEqual(['Error: refused']);
  await expect(async () => {
    for await (const { data } of watch) expect(data).toBeUndefined();
  }).rejects.toThrow('refused');
});

test('what a page gets wrong is its own, and others are told all the same', async () => {
  const { watch, say } = held();
  const thrown: unknown[] = [];
  const note = (error: unknown): void => void thrown.push(error);
  const [theirs] = process.listeners('uncaughtException');
  process.removeAllListeners('uncaughtException');
  process.on('uncaughtException', note);
  watch.subscribe(() => {
    throw new Error('a bug of the page');
  });
  const log = read(watch);
  say(1);
  watch.end(new Error('refused'));
  await new Promise(setImmediate);
  process.off('uncaughtException', note);
  if (theirs) process.on('uncaughtException', theirs);
  expect(log.values).toEqual([1]);
  // Of two, for the first subscriber did not want to hear of an error.
  expect(thrown.map(String)).toEqual(['Error: a bug of the page', 'Error: refused']);
});

test('a loop gets the latest and leaves out what it was too slow for', async () => {
  const { topic, watch, say } = held((data) => data === 9);
  say(1);
  const seen: number[] = [];
  for await (const { data } of watch) {
    seen.push(data);
    if (data === 1) [2, 3, 4].forEach(say);
    if (data === 4) setTimeout(() => say(9));
  }
  expect(seen).toEqual([1, 4, 9]);
  expect(topic.listeners.size).toBe(0);
});

test('leaving a loop lets go of the topic, and ending the watch ends a loop that waits', async () => {
  const { topic, watch, say } = held();
  say(1);
  for await (const { data } of watch) if (data === 1) break;
  expect(topic.listeners.size).toBe(0);
  setTimeout(() => watch.close());
  const seen: number[] = [];
  for await (const { data } of watch) seen.push(data);
  expect(seen).toEqual([1]);
  expect(topic.listeners.size).toBe(0);
});

test('RxJS takes it for an Observable', async () => {
  const { topic, watch, say } = held();
  say(1);
  const two = firstValueFrom(
    from(watch as never as Promise<Snapshot<number>>).pipe(
      map(({ data }) => data),
      take(2),
      toArray(),
    ),
  );
  say(2);
  expect(await two).toEqual([1, 2]);
  expect(topic.listeners.size).toBe(0);
});

test('Svelte takes it for a store: a function is told, and what comes back ends it', () => {
  const { topic, watch, say } = held();
  const seen: number[] = [];
  const subscription = watch.subscribe(({ data }) => void seen.push(data));
  say(1);
  subscription.unsubscribe();
  say(2);
  expect(seen).toEqual([1]);
  expect(topic.listeners.size).toBe(0);
});
