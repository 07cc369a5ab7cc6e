// What was said about each attempt, told once: a receipt says more than the reject that goes with it, and any outcome more
// than that the attempt was begun.
import type { Attempt } from '../api/types';

export function told(tries: Attempt[]): Attempt[] {
  const of = (attempt: Attempt) => tries.filter(({ number }) => number === attempt.number);
  return tries.filter((attempt) => {
    const others = of(attempt).map(({ outcome }) => outcome);
    if (attempt.outcome === 'handed_over') return others.length === 1;
    return attempt.outcome !== 'rejected' || !others.some((outcome) => outcome === 'retry' || outcome === 'dead');
  });
}
