import { describe, expect, it } from 'vitest';
import { ago, bytes, clockTime, count, counted, duration, rate, shortened, utc } from './format';

describe('what is unknown', () => {
  it('is a dash, never 0', () => {
    expect([count(null), rate(undefined), duration(null), duration(Infinity)]).toEqual(['–', '–', '–', '–']);
    expect([count(0), rate(0), duration(0)]).toEqual(['0', '0', '0 s']);
  });
});

describe('counts', () => {
  it.each([
    [0, '0'],
    [999, '999'],
    [1_000, '1,000'],
    [50_000, '50,000'],
    [1_234_567, '1,234,567'],
    [-1_234, '-1,234'],
  ])('%d is %s', (value, text) => expect(count(value)).toBe(text));
});

describe('rates', () => {
  it.each([
    [0.004, '<0.01'],
    [0.0333, '0.03'],
    [0.996, '1'],
    [1.234, '1.2'],
    [9.99, '10'],
    [1234.4, '1,234'],
  ])('%d is %s', (value, text) => expect(rate(value)).toBe(text));
});

describe('durations', () => {
  it.each([
    [0.012, '12 ms'],
    [0.0001, '1 ms'],
    [0.6, '600 ms'],
    [0.9999, '1 s'],
    [59.6, '1 m'],
    [252, '4 m 12 s'],
    [3_600, '1 h'],
    [90_061, '1 d 1 h'],
    [-5, '0 s'],
  ])('%d s is %s', (seconds, text) => expect(duration(seconds)).toBe(text));
});

it('what was within the last second is now', () => {
  expect([ago(-0.2), ago(0.492), ago(1), ago(75)]).toEqual(['now', 'now', '1 s ago', '1 m 15 s ago']);
});

describe('times', () => {
  const now = Date.parse('2026-03-01T12:00:00Z');
  it('are UTC, with the date unless it is today', () => {
    expect(clockTime('2026-03-01T08:24:05.123Z', now)).toBe('08:24:05');
    expect(clockTime('2026-02-28T23:59:59Z', now)).toBe('2026-02-28 23:59:59');
    expect(utc('2026-03-01T09:24:05.5+01:00')).toBe('2026-03-01 08:24:05.500 UTC');
  });
});

describe('words', () => {
  it('are shortened in the middle', () => {
    expect(shortened('short')).toBe('short');
    expect(shortened('019ca84f-dd00-7000-8000-000000000012', 12)).toBe('019ca8…00012');
    expect(shortened('0123456789', 9)).toHaveLength(9);
  });
  it('know one from many', () => {
    expect([counted(1, 'event'), counted(2_000, 'event')]).toEqual(['1 event', '2,000 events']);
    expect(bytes(2_048)).toBe('2.0 KiB');
  });
});
