// What came of a dead letter that was handed over again.
import type { Delivery } from '../api/types';
import { type Level, level, word } from './states';

export interface Outcome {
  level: Level;
  text: string;
  /** Nothing more will come by itself. */
  settled: boolean;
  /** It failed for good once more. */
  isLetter: boolean;
}

/** Where a delivery stands whose redrive made `attempt`. */
export function outcomeOf({ state, tries }: Delivery, attempt: number): Outcome {
  const seen = tries.filter(({ number, outcome }) => number >= attempt && outcome !== 'handed_over');
  const number = Math.max(attempt, ...seen.map((one) => one.number));
  const say = (text: string) => ({ level: level(state), text: `Attempt ${number}: ${text}.` });
  // What was said before the redrive is not about it.
  if (state === 'pending' || (state === 'parked' && seen.length === 0)) return handedOver(attempt);
  if (state === 'parked') return { ...say('failed, it is a dead letter again'), settled: true, isLetter: true };
  if (state === 'retrying') return { ...say('failed, another one follows'), settled: false, isLetter: false };
  return { ...say(state === 'confirmed' ? 'done' : word(state)), settled: true, isLetter: false };
}

export function handedOver(attempt: number): Outcome {
  return { level: 'resting', text: `Handed over again, as attempt ${attempt}.`, settled: false, isLetter: false };
}
