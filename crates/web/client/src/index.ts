export { Crossdock } from './crossdock.js';
export type { FileReport, Observer, Options, OrderStatus, Session, Snapshot, State, Stock, Watch } from './types.js';
