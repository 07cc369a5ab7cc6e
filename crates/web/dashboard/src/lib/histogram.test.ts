import { expect, it } from 'vitest';
import { bars, chosen } from './histogram';

const ALL = bars({
  since: '2026-03-01T08:00:00Z',
  until: '2026-03-01T08:04:00Z',
  bucket_s: 60,
  counts: [1, 0, 3, 2],
  truncated: false,
});

it('bars stand side by side', () => {
  expect(ALL.map(({ count }) => count)).toEqual([1, 0, 3, 2]);
  expect(ALL[1]?.from).toBe(ALL[0]?.to);
});

it('a drag chooses the bars it touches, whichever way it went', () => {
  const range = { since: '2026-03-01T08:01:00.000Z', until: '2026-03-01T08:03:00.000Z' };
  expect(chosen(ALL, 0.3, 0.7)).toEqual(range);
  expect(chosen(ALL, 0.7, 0.3)).toEqual(range);
});

it('a click chooses one bar, and the edges belong to the outermost', () => {
  expect(chosen(ALL, 0.6, 0.6)?.since).toBe('2026-03-01T08:02:00.000Z');
  expect(chosen(ALL, -1, 2)).toEqual({ since: '2026-03-01T08:00:00.000Z', until: '2026-03-01T08:04:00.000Z' });
  expect(chosen([], 0, 1)).toBeUndefined();
});
