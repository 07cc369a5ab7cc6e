// How states are merged, whatever comes in whatever order.
import { expect, test } from 'vitest';

import { Topic } from '../src/topic.js';
import type { Snapshot } from '../src/index.js';

const NAME = 'state/order/R-1';

function state(version: number, data: unknown = version, topic = NAME): string {
  return JSON.stringify({ topic, version, time: '2026-11-27T10:00:00Z', data });
}

/** A topic, and what a listener of it was told. */
function heard(): { topic: Topic; told: Snapshot<unknown>[]; ends: (Error | undefined)[] } {
  const topic = new Topic(NAME);
  const told: Snapshot<unknown>[] = [];
  const ends: (Error | undefined)[] = [];
  topic.listeners.add({ next: (snapshot) => told.push(snapshot), end: (error) => ends.push(error) });
  return { topic, told, ends };
}

test('the newest version stays, in whatever order they come', () => {
  const orders = [
    [1, 2, 3],
    [3, 2, 1],
    [2, 3, 1],
    [3, 3, 3],
    [1, 3, 2],
  ];
  for (const order of orders) {
    const { topic, told } = heard();
    for (const version of order) topic.offer(state(version), 'push');
    expect(topic.current).toMatchObject({ version: 3, data: 3, stale: false });
    const versions = told.map(({ version }) => version);
    expect(versions).toEqual([...new Set(versions)].sort());
  }
});

test('a snapshot that comes late is old news, and says so where nothing else did', () => {
  const { topic, told } = heard();
  topic.offer(state(7), 'push');
  topic.offer(state(5), 'snapshot');
  expect(told).toHaveLength(1);
  topic.mark(true);
  topic.mark(true);
  expect(topic.current).toMatchObject({ version: 7, stale: true });
  topic.offer(state(7), 'snapshot');
  expect(told.map(({ version, stale, source }) => [version, stale, source])).toEqual([
    [7, false, 'push'],
    [7, true, 'push'],
    [7, false, 'push'],
  ]);
});

test('a message that is late does not say that what is known is current; the same one again does', () => {
  const { topic } = heard();
  topic.offer(state(7), 'push');
  topic.mark(true);
  topic.offer(state(5), 'push');
  expect(topic.current).toMatchObject({ version: 7, stale: true });
  topic.offer(state(7), 'push');
  expect(topic.current).toMatchObject({ version: 7, stale: false });
  topic.mark(true);
  topic.offer(state(5), 'snapshot');
  expect(topic.current).toMatchObject({ version: 7, stale: false });
});

test('no state at all is no state', () => {
  const { topic, told, ends } = heard();
  topic.mark(true);
  topic.offer('', 'push');
  expect([topic.current, told, ends]).toEqual([undefined, [], []]);
  topic.offer(state(0, null), 'push');
  expect(topic.current).toMatchObject({ version: 0, data: null });
});

test('what is no state is an error that shows it', () => {
  for (const wrong of [
    'hello',
    'null',
    '[]',
    '{}',
    state(1, 1, 'state/order/R-2'),
    state(1.5),
    JSON.stringify({ topic: NAME, version: 1, time: '2026-11-27T10:00:00Z' }),
    JSON.stringify({ topic: NAME, version: '1', time: '2026-11-27T10:00:00Z', data: 1 }),
    JSON.stringify({ topic: NAME, version: 1, data: 1 }),
  ]) {
    const { topic, told, ends } = heard();
    topic.offer(wrong, 'push');
    expect(told).toEqual([]);
    expect(String(ends[0])).toContain(
      `Error: ${NAME}: expected {topic, version, time, data}, got ${wrong.slice(0, 20)}`,
    );
  }
});
