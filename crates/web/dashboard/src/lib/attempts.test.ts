import { expect, it } from 'vitest';
import type { Attempt } from '../api/types';
import { cameTo, lastOf, told } from './attempts';

function tries(...words: [number, string][]): Attempt[] {
  return words.map(([number, outcome]) => ({ number, outcome, at: '2026-03-01T08:00:00Z' }));
}

function outcomes(...words: [number, string][]): string[] {
  return told(tries(...words)).map(({ number, outcome }) => `${number} ${outcome}`);
}

it('each attempt is told once', () => {
  const failing = outcomes([1, 'rejected'], [1, 'retry'], [2, 'handed_over'], [2, 'rejected'], [3, 'handed_over']);
  expect(failing).toEqual(['1 retry', '2 rejected', '3 handed_over']);
  expect(outcomes([1, 'dead'], [1, 'rejected'], [2, 'handed_over'], [2, 'done'])).toEqual(['1 dead', '2 done']);
});

it('the last attempt before a dead letter was not retried', () => {
  const all = tries([1, 'retry'], [2, 'undelivered'], [3, 'retry']);
  const texts = all.map((attempt) => cameTo(attempt, [...lastOf(all), 2]).text);
  expect(texts).toEqual(['retry', 'not delivered, gave up', 'gave up']);
  expect(cameTo({ number: 3, outcome: 'dead', at: '2026-03-01T08:00:00Z' }, [3])).toEqual({
    state: 'dead',
    text: 'dead',
  });
  expect(cameTo({ number: 4, outcome: 'done', at: '2026-03-01T08:00:00Z' }, [4]).state).toBe('done');
  expect(lastOf([])).toEqual([]);
});
