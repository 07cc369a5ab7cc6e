import { expect, it } from 'vitest';
import { topicsAt } from './topics';

it.each([
  ['/', ['overview', 'adapters']],
  ['/adapters', ['overview', 'adapters']],
  ['/journeys/web%3A1', ['overview', 'adapters']],
  ['/queues', ['overview', 'adapters', 'queues']],
  ['/adapters/erp', ['overview', 'adapters', 'queues']],
  ['/events', ['overview', 'adapters', 'events']],
  ['/dead-letters', ['overview', 'adapters', 'dead-letters']],
  ['/dead-letters/1.erp', ['overview', 'adapters', 'dead-letters']],
  ['/sign-in', ['overview', 'adapters']],
])('the page at %s watches what it shows', (path, topics) => expect(topicsAt(path)).toEqual(topics));
