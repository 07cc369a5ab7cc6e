import { describe, expect, it } from 'vitest';
import type { HubEvent } from '../api/types';
import { fits, parse } from './filters';

const EVENT = {
  offset: 1,
  received: '2026-03-01T08:00:00Z',
  producer: 'shop',
  event: {
    id: '1',
    source: '/web-shop',
    type: 'order.placed.v1',
    subject: 'R-1',
    correlationid: 'order-R-1',
    aliases: 'web:R-1 erp:9',
  },
  deliveries: [{ adapter: 'erp', state: 'pending', attempts: 0, published: '2026-03-01T08:00:00Z', tries: [] }],
} as HubEvent;

describe('a filter as text', () => {
  it.each([
    ['type:order.*.v1', { filter: 'type', value: 'order.*.v1' }],
    ['subject: R-1 ', { filter: 'subject', value: 'R-1' }],
    ['order.placed.v1', { filter: 'type', value: 'order.placed.v1' }],
    ['/web-shop', { filter: 'source', value: '/web-shop' }],
    ['web:R-1', { filter: 'correlation', value: 'web:R-1' }],
  ])('%s', (text, found) => expect(parse(text)).toEqual(found));

  it('that says nothing is answered with what was expected', () => {
    expect(parse('type:')).toBe('type: needs a value');
    expect(parse(' ')).toContain('correlation:');
  });
});

describe('an event just accepted', () => {
  it.each([
    {},
    { type: 'order.*.v1' },
    { source: '/web-shop', subject: 'R-1' },
    { correlation: 'erp:9' },
    { correlation: 'order-R-1' },
    { adapter: 'erp' },
  ])('fits %o', (filters) => expect(fits(EVENT, filters)).toBe(true));

  it.each([{ type: 'order.*' }, { type: '*.v1' }, { subject: 'R' }, { correlation: 'web' }, { adapter: 'crm' }])(
    'does not fit %o',
    (filters) => expect(fits(EVENT, filters)).toBe(false),
  );
});
