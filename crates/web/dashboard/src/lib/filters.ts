// Filters of the event list, as chips and as text: `type:order.*.v1`.
import type { HubEvent } from '../api/types';

export const FILTERS = ['type', 'source', 'subject', 'correlation', 'adapter'] as const;
export type Filter = (typeof FILTERS)[number];
export type Filters = Partial<Record<Filter, string>>;

/** `name:value`, or a bare word, which is taken for what it looks like; a sentence where it cannot be read. */
export function parse(text: string): { filter: Filter; value: string } | string {
  const wanted = text.trim();
  const colon = wanted.indexOf(':');
  const name = wanted.slice(0, colon);
  if (colon > 0 && (FILTERS as readonly string[]).includes(name)) {
    const value = wanted.slice(colon + 1).trim();
    return value === '' ? `${name}: needs a value` : { filter: name as Filter, value };
  }
  if (wanted === '') return `Expected one of ${FILTERS.map((filter) => `${filter}:…`).join(', ')}`;
  if (/\.(v[0-9]+|\*)$/.test(wanted)) return { filter: 'type', value: wanted };
  if (wanted.startsWith('/')) return { filter: 'source', value: wanted };
  return { filter: 'correlation', value: wanted };
}

/** Whether an event just accepted belongs into the list. */
export function fits(event: HubEvent, filters: Filters): boolean {
  const own = event.event;
  const names = [own.correlationid, ...String(own.aliases ?? '').split(' ')];
  return (
    (!filters.type || fitsType(String(own.type), filters.type)) &&
    (!filters.source || own.source === filters.source) &&
    (!filters.subject || own.subject === filters.subject) &&
    (!filters.correlation || names.includes(filters.correlation)) &&
    (!filters.adapter || event.deliveries.some(({ adapter }) => adapter === filters.adapter))
  );
}

function fitsType(type: string, pattern: string): boolean {
  const wanted = pattern.split('.');
  const segments = type.split('.');
  return wanted.length === segments.length && wanted.every((part, n) => part === '*' || part === segments[n]);
}
