// What was said about the attempts of a delivery, and what each came to.
import type { Attempt, Delivery } from '../api/types';
import { level, word } from './states';

/**
 * Each attempt told once: a receipt says more than the reject that goes with it, and any outcome more than that the
 * attempt was begun.
 */
export function told(tries: Attempt[]): Attempt[] {
  const of = (attempt: Attempt) => tries.filter(({ number }) => number === attempt.number);
  return tries.filter((attempt) => {
    const others = of(attempt).map(({ outcome }) => outcome);
    if (attempt.outcome === 'handed_over') return others.length === 1;
    return attempt.outcome !== 'rejected' || !others.some((outcome) => outcome === 'retry' || outcome === 'dead');
  });
}

/** What an attempt came to. The hub gave up after the attempts in `last`: no other was made by itself. */
export function cameTo({ number, outcome }: Attempt, last: number[]): { state: string; text: string } {
  const isLast = last.includes(number) && level(outcome) === 'degraded';
  const own = outcome === 'retry' || outcome === 'rejected' ? '' : `${word(outcome)}, `;
  return isLast ? { state: 'gave_up', text: `${own}${word('gave_up')}` } : { state: outcome, text: word(outcome) };
}

/** The number of the last attempt, in a list for `cameTo`; empty where there was none. */
export function lastOf(tries: Attempt[]): number[] {
  return tries.length === 0 ? [] : [Math.max(...tries.map(({ number }) => number))];
}

/** The attempts after which the hub gave up a delivery that is a dead letter now. */
export function gaveUpAfter({ state, tries }: Delivery): number[] {
  return state === 'parked' ? lastOf(tries) : [];
}
