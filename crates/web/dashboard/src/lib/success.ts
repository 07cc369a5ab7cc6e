// How an adapter did lately. An adapter of which nothing is known has no rate.
import type { Adapter } from '../api/types';

export function perSecond(adapter: Adapter, kind: 'done' | 'failed'): number | undefined {
  const { recent, ledger } = adapter;
  if (!recent || (kind === 'done' && ledger.receipts_since == null && recent.done === 0)) return undefined;
  return recent[kind] / recent.window_s;
}

/** Which part of the latest attempts failed, 0 to 1. */
export function failedShare({ recent }: Adapter): number | undefined {
  if (!recent || recent.done + recent.failed === 0) return undefined;
  return recent.failed / (recent.done + recent.failed);
}
