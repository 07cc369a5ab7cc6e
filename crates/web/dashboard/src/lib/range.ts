// A range of time: `range=1h` slides with the present, `since` and `until` stand.

export interface Range {
  name: string;
  seconds: number | undefined;
}

export const RANGES: Range[] = [
  { name: '15m', seconds: 900 },
  { name: '1h', seconds: 3_600 },
  { name: '24h', seconds: 86_400 },
  { name: '7d', seconds: 604_800 },
  { name: 'all', seconds: undefined },
];

export const USUAL = '1h';

/** The bounds of the named range at `now` (milliseconds since 1970), RFC 3339; none for `all`. */
export function bounds(name: string, now: number): { since?: string } {
  const range = RANGES.find((known) => known.name === name) ?? RANGES.find((known) => known.name === USUAL);
  return range?.seconds === undefined ? {} : { since: new Date(now - range.seconds * 1000).toISOString() };
}
