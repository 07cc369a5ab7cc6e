// The API's own types, by the names the pages use. `schema.d.ts` is generated from the API's description.
import type { components } from './schema';

type Schemas = components['schemas'];
export type Session = Schemas['SessionView'];
export type Overview = Schemas['OverviewView'];
export type Attention = Overview['attention'][number];
export type Queue = Schemas['QueueView'];
export type Adapter = Schemas['AdapterView'];
export type HubEvent = Schemas['EventView'];
export type Delivery = Schemas['DeliveryView'];
export type Attempt = Schemas['AttemptView'];
export type EventPage = Schemas['EventPage'];
export type Journey = Schemas['JourneyView'];
export type Histogram = Schemas['Histogram'];
export type DeadLetter = Schemas['DeadLetterView'];
export type DeadLetterDetail = Schemas['DeadLetterDetail'];
export type DeadLetterPage = Schemas['DeadLetterPage'];
export type Redriven = Schemas['Redriven'];
export type Problem = Schemas['ProblemBody'];
