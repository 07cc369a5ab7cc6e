import { expect, it } from 'vitest';
import { sorted, sortFrom } from './sort.svelte';

it('sorts either way, the unknown last', () => {
  const rows = [3, null, 1, undefined, 2];
  const columns = [{ by: 'size', of: (row: number | null | undefined) => row }];
  expect(sorted(rows, columns, { by: 'size', falling: false }).slice(0, 3)).toEqual([1, 2, 3]);
  expect(sorted(rows, columns, { by: 'size', falling: true }).slice(0, 3)).toEqual([3, 2, 1]);
  expect(sorted([3, 1, 2], columns, { by: 'nothing', falling: true })).toEqual([3, 1, 2]);
});

it('is read from the URL', () => {
  const usual = { by: 'name', falling: false };
  expect(sortFrom(undefined, usual)).toBe(usual);
  expect(sortFrom('-depth', usual)).toEqual({ by: 'depth', falling: true });
  expect(sortFrom('depth', usual)).toEqual({ by: 'depth', falling: false });
});
