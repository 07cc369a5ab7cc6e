// What the hub's stream is asked for at each of the dashboard's addresses. It stands in one place, so that the stream can
// begin before the page does.

export type Topic = 'overview' | 'queues' | 'adapters' | 'dead-letters' | 'events';

/** Rail, search and badges show these everywhere. */
const EVERYWHERE: Topic[] = ['overview', 'adapters'];

/** The topics of the page at `path`. */
export function topicsAt(path: string): Topic[] {
  if (path === '/queues' || path.startsWith('/adapters/')) return [...EVERYWHERE, 'queues'];
  if (path === '/events') return [...EVERYWHERE, 'events'];
  if (path === '/dead-letters' || path.startsWith('/dead-letters/')) return [...EVERYWHERE, 'dead-letters'];
  return EVERYWHERE;
}
