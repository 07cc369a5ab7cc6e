// Bars over time, and what of them a drag has chosen.
import type { Histogram } from '../api/types';

export interface Bar {
  /** Start and end, milliseconds since 1970. */
  from: number;
  to: number;
  count: number;
}

export function bars({ since, bucket_s, counts }: Histogram): Bar[] {
  const start = Date.parse(since);
  const width = bucket_s * 1000;
  return counts.map((count, n) => ({ from: start + n * width, to: start + (n + 1) * width, count }));
}

/** The bars that a drag from `x1` to `x2` touches, both as shares of the width; none if it touches fewer than one. */
export function chosen(all: Bar[], x1: number, x2: number): { since: string; until: string } | undefined {
  const [left, right] = [Math.min(x1, x2), Math.max(x1, x2)].map((x) => Math.min(Math.max(x, 0), 0.999_999));
  const first = all[Math.floor((left ?? 0) * all.length)];
  const last = all[Math.floor((right ?? 0) * all.length)];
  if (!first || !last) return undefined;
  return { since: new Date(first.from).toISOString(), until: new Date(last.to).toISOString() };
}
