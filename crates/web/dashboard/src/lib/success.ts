// How an adapter did lately. An adapter of which nothing is known has no rate.
import type { Adapter } from '../api/types';

export function perSecond({ recent }: Adapter, kind: 'done' | 'failed'): number | undefined {
  const attempts = recent?.[kind];
  return recent && attempts != null ? attempts / recent.window_s : undefined;
}

/** Which part of the latest attempts failed, 0 to 1. */
export function failedShare({ recent }: Adapter): number | undefined {
  if (recent?.done == null || recent.done + recent.failed === 0) return undefined;
  return recent.failed / (recent.done + recent.failed);
}
