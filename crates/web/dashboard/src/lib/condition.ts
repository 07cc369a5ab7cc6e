// How an adapter is, to a person: its state, unless what needs attention says that it works badly.
import type { Attention } from '../api/types';
import { level } from './states';

/** What needs attention at one adapter, worst first. */
export function about(adapter: string, attention: Attention[] | undefined): Attention[] {
  return (attention ?? []).filter(({ subject }) => subject === `adapter:${adapter}`);
}

/** Its state, or what is worse: `degraded`, `failing` lately, or `broken`, which hardly works at all. */
export function condition(state: string, matters: Attention[], failedLately: number): string {
  const isFine = level(state) === 'fine' || level(state) === 'resting';
  if (!isFine || matters.length === 0) return state;
  // Dead letters are of earlier attempts: they say nothing about how it works now.
  const isBroken = matters.some(({ severity, action }) => severity === 'failed' && !isAboutLetters(action?.href));
  if (isBroken) return 'broken';
  return failedLately > 0 ? 'failing' : 'degraded';
}

function isAboutLetters(href: string | null | undefined): boolean {
  return href?.startsWith('/dead-letters') ?? false;
}
