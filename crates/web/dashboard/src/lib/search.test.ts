import { expect, it } from 'vitest';
import { destination, journeyOf } from './search';

it.each([
  ['erp', '/adapters/erp'],
  [' order.placed.v1 ', '/events?type=order.placed.v1'],
  ['order.*.v1', '/events?type=order.*.v1'],
  ['web:R-1001', '/journeys/web%3AR-1001'],
  ['a/b?c#d', '/journeys/a%2Fb%3Fc%23d'],
  ['10.0.0.v', '/journeys/10.0.0.v'],
])('%s leads to %s', (text, url) => expect(destination(text, ['erp'])).toBe(url));

it('nothing leads nowhere', () => expect(destination('  ', [])).toBeUndefined());

it('a journey is that of the correlation id, else of the event itself', () => {
  expect(journeyOf({ id: '1', correlationid: 'order-7' })).toBe('/journeys/order-7');
  expect(journeyOf({ id: '1' })).toBe('/journeys/1');
});
