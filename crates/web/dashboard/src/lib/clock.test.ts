import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { Clock } from './clock.svelte';

const HUB = Date.parse('2026-03-01T08:00:00Z');
const TEN_MINUTES_MS = 600_000;

beforeEach(() => {
  vi.useFakeTimers({ now: HUB - TEN_MINUTES_MS, toFake: ['Date', 'performance', 'setInterval'] });
});
afterEach(() => {
  vi.useRealTimers();
});

it('without a word of the hub the time is the browser’s', () => {
  expect(new Clock().present()).toBe(HUB - TEN_MINUTES_MS);
});

it('a beat says what time it is, and the time goes on from there', () => {
  const clock = new Clock();
  clock.beat(new Date(HUB).toISOString());
  expect(clock.now).toBe(HUB);
  vi.advanceTimersByTime(3_000);
  expect(clock.now).toBe(HUB + 3_000);
  expect(clock.present()).toBe(HUB + 3_000);
});

it('of several beats the fastest counts', () => {
  const clock = new Clock();
  clock.beat(new Date(HUB).toISOString());
  vi.advanceTimersByTime(2_900);
  clock.beat(new Date(HUB + 2_000).toISOString());
  expect(clock.present()).toBe(HUB + 2_900);
});

it('until the first beat the date of an answer does, and what is no time changes nothing', () => {
  const clock = new Clock();
  clock.answer('Sun, 01 Mar 2026 08:00:00 GMT');
  expect(clock.present()).toBe(HUB + 500);
  clock.answer(null);
  clock.beat('soon');
  expect(clock.present()).toBe(HUB + 500);
  clock.beat(new Date(HUB).toISOString());
  clock.answer('Sun, 01 Mar 2026 09:00:00 GMT');
  expect(clock.present()).toBe(HUB);
});
