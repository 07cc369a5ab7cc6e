import { expect, it } from 'vitest';
import type { Attempt } from '../api/types';
import { told } from './attempts';

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
