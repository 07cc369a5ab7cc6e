import { describe, expect, it } from 'vitest';
import { timeScale } from './timescale';

const DAY = 86_400_000;

describe('a scale over an order of two days', () => {
  const moments = [0, 20, 60, 90, DAY, DAY + 30, 2 * DAY];
  const scale = timeScale(moments);

  it('keeps the order, from 0 to 1', () => {
    const places = moments.map(scale.place);
    expect(places[0]).toBe(0);
    expect(places.at(-1)).toBeCloseTo(1);
    expect([...places].sort((a, b) => a - b)).toEqual(places);
  });

  it('cuts the idle days, says how long they were, and leaves the rest to be seen', () => {
    expect(scale.cuts.map(({ seconds }) => Math.round(seconds / 3_600))).toEqual([24, 24]);
    expect(scale.place(90) - scale.place(0)).toBeGreaterThan(0.02);
  });

  it('puts what lies outside at its ends', () => {
    expect([scale.place(-5), scale.place(3 * DAY)]).toEqual([0, 1]);
  });
});

it('does not cut what is even', () => {
  const { cuts, place } = timeScale([0, 1_000, 2_000, 3_000]);
  expect(cuts).toEqual([]);
  expect(place(1_500)).toBeCloseTo(0.5);
});

it('takes one moment, and none', () => {
  expect(timeScale([7]).place(7)).toBe(0.5);
  expect(timeScale([]).cuts).toEqual([]);
});
