// The API's own types, by the names the pages use. `schema.d.ts` is generated from the API's description.
import type { components } from './schema';

type Schemas = components['schemas'];

/** A structured CloudEvent 1.0: attributes at the top, the body as `data` or `data_base64`. */
export type CloudEvent = Record<string, unknown>;
type WithEvent<T> = Omit<T, 'event'> & { event: CloudEvent };

export type Session = Schemas['SessionView'];
export type Overview = Schemas['OverviewView'];
export type Attention = Overview['attention'][number];
export type Queue = Schemas['QueueView'];
export type Adapter = Schemas['AdapterView'];
export type HubEvent = WithEvent<Schemas['EventView']>;
export type Delivery = Schemas['DeliveryView'];
export type Attempt = Schemas['AttemptView'];
export type EventPage = Omit<Schemas['EventPage'], 'events'> & { events: HubEvent[] };
export type Journey = Omit<Schemas['JourneyView'], 'events'> & { events: HubEvent[] };
export type Histogram = Schemas['HistogramView'];
export type DeadLetter = Schemas['DeadLetterView'];
export type DeadLetterDetail = WithEvent<Schemas['DeadLetterDetail']>;
export type DeadLetterPage = Schemas['DeadLetterPage'];
export type Redriven = Schemas['Redriven'];
export type Beat = Schemas['Beat'];
export type Problem = Schemas['Problem'];
