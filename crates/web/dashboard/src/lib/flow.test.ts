import { expect, it } from 'vitest';
import { NODE_HEIGHT, column, heightFor, lineWidth } from './flow';

it('nodes stand below each other inside the height that the longest column needs', () => {
  const height = heightFor(2, 5);
  const tops = column(5, height);
  expect(tops[0]).toBe(0);
  expect(tops.at(-1)).toBe(height - NODE_HEIGHT);
  expect(column(1, height)[0]).toBe((height - NODE_HEIGHT) / 2);
});

it('lines grow with the rate and stay lines', () => {
  const widths = [null, 0, 0.1, 10, 1_000, 1e9].map(lineWidth);
  expect([...widths].sort((a, b) => a - b)).toEqual(widths);
  expect(widths[0]).toBe(1);
  expect(widths.at(-1)).toBe(7);
});
