import { expect, it } from 'vitest';
import type { Delivery } from '../api/types';
import { outcomeOf } from './redriven';
import { SHAPES } from './states';

function delivery(state: string, ...words: [number, string][]): Delivery {
  const at = '2026-03-01T08:00:00Z';
  const tries = words.map(([number, outcome]) => ({ number, outcome, at }));
  return { adapter: 'desk', state, attempts: words.length, published: at, tries };
}

function said(...given: Parameters<typeof delivery>): string {
  const { level, text, settled, isLetter } = outcomeOf(delivery(...given), 4);
  return [SHAPES[level], text, ...(settled ? ['settled'] : []), ...(isLetter ? ['again'] : [])].join(' ');
}

it('the outcome of a redrive is that of its attempts, not of earlier ones', () => {
  expect(said('pending', [3, 'dead'], [4, 'handed_over'])).toBe('◌ Handed over again, as attempt 4.');
  expect(said('parked', [3, 'dead'], [4, 'handed_over'])).toBe('◌ Handed over again, as attempt 4.');
  expect(said('confirmed', [3, 'dead'], [4, 'done'])).toBe('● Attempt 4: done. settled');
  expect(said('taken', [3, 'dead'])).toBe('● Attempt 4: taken. settled');
  expect(said('retrying', [4, 'retry'])).toBe('▲ Attempt 4: failed, another one follows.');
  expect(said('parked', [4, 'retry'], [5, 'dead'])).toBe(
    '■ Attempt 5: failed, it is a dead letter again. settled again',
  );
  expect(said('expired', [3, 'dead'])).toBe('▲ Attempt 4: expired. settled');
});
