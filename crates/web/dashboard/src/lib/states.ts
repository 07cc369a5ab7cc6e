// What the words of the API's states mean to a person: how bad it is, and its shape. Shape and word always go
// together, so that nobody needs the colour.

export type Level = 'fine' | 'resting' | 'degraded' | 'failed' | 'paused' | 'unknown';

export const SHAPES: Record<Level, string> = {
  fine: '●',
  resting: '◌',
  degraded: '▲',
  failed: '■',
  paused: 'Ⅱ',
  unknown: '○',
};

const LEVELS: Record<string, Level> = {
  // of adapters
  live: 'fine',
  idle: 'resting',
  waiting: 'degraded',
  slowed: 'degraded',
  disabled: 'failed',
  // of adapters that need attention
  degraded: 'degraded',
  failing: 'degraded',
  broken: 'failed',
  // of deliveries
  confirmed: 'fine',
  taken: 'fine',
  pending: 'resting',
  retrying: 'degraded',
  parked: 'failed',
  unaccounted: 'failed',
  expired: 'degraded',
  discarded: 'resting',
  // of attempts
  done: 'fine',
  handed_over: 'resting',
  retry: 'degraded',
  rejected: 'degraded',
  delivery_limit: 'degraded',
  undelivered: 'degraded',
  dead: 'failed',
  gave_up: 'failed',
};

const WORDS: Record<string, string> = {
  broken: 'failing',
  parked: 'dead letter',
  unaccounted: 'lost',
  handed_over: 'handed over',
  gave_up: 'gave up',
  delivery_limit: 'crashed',
  undelivered: 'not delivered',
};

export function level(state: string): Level {
  return LEVELS[state] ?? 'unknown';
}

export function word(state: string): string {
  return WORDS[state] ?? state;
}

const WORST: Level[] = ['failed', 'degraded', 'paused', 'unknown', 'resting', 'fine'];

/** The state that a person should see first. */
export function worst(states: string[]): string | undefined {
  return [...states].sort((a, b) => WORST.indexOf(level(a)) - WORST.indexOf(level(b)))[0];
}
