import { expect, test } from 'vitest';

import { apology, availability, elapsed, price, steps } from './progress';

function done(order: Parameters<typeof steps>[0]): string {
  return steps(order)
    .filter((step) => step.done)
    .map(({ name }) => name)
    .join(' ');
}

test('an order goes step by step, whichever way the news comes', () => {
  expect(done(undefined)).toBe('Placed');
  expect(done({ order: 'a', status: 'placed' })).toBe('Placed');
  expect(done({ order: 'a', status: 'placed', number: 'SO-1' })).toBe('Placed Numbered');
  expect(done({ order: 'a', status: 'accepted' })).toBe('Placed Accepted');
  expect(done({ order: 'a', status: 'shipped', number: 'SO-1' })).toBe('Placed Numbered Accepted Shipped');
  expect(done({ order: 'a', number: 'SO-1' })).toBe('Placed Numbered');
});

test('what will not be made is said with its reason', () => {
  expect(apology({ order: 'a', status: 'accepted' })).toBeUndefined();
  expect(apology(undefined)).toBeUndefined();
  expect(apology({ order: 'a', status: 'rejected', reason: 'payment_failed' })).toBe('The payment was declined.');
  expect(apology({ order: 'a', status: 'rejected', reason: 'new one' })).toBe('The shop cannot make it.');
  expect(apology({ order: 'a', status: 'cancelled' })).toBe('The order was cancelled.');
});

test('few are counted, none are not hidden, and what is unknown is not none', () => {
  expect([undefined, -2, 0, 1, 9, 10].map(availability)).toEqual([
    'Being counted',
    'Sold out',
    'Sold out',
    'Only 1 left',
    'Only 9 left',
    '10 in stock',
  ]);
  expect([price(1199), price(500)]).toEqual(['£11.99', '£5.00']);
  expect([-5, 400, 59_400, 61_000].map(elapsed)).toEqual(['0 s', '0 s', '59 s', '1 m']);
});
