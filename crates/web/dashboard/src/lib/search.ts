// Where the search of the top bar leads: a name that the hub knows, a type, else the journey of whatever id it is.
import { withQuery } from '../api/client';

const EVENT_TYPE = /^(?:[a-z][a-z0-9_]*|\*)(?:\.(?:[a-z][a-z0-9_]*|\*))*\.(?:v[0-9]+|\*)$/;

export function destination(text: string, adapters: string[]): string | undefined {
  const wanted = text.trim();
  if (wanted === '') return undefined;
  if (adapters.includes(wanted)) return `/adapters/${encodeURIComponent(wanted)}`;
  if (EVENT_TYPE.test(wanted)) return withQuery('/events', { type: wanted });
  return journey(wanted);
}

export function journey(key: string): string {
  return `/journeys/${encodeURIComponent(key)}`;
}

/** The key under which an event's whole story is found: its correlation id, else its own id. */
export function journeyOf(event: Record<string, unknown>): string {
  return journey(String(event.correlationid ?? event.id));
}
