/** What a page needs to connect: made by the shop's own backend, which asks the hub for a token. */
export interface Session {
  /** The hub's MQTT address, `wss://hub.example.com/mqtt`. */
  url: string;
  /** Names this connection; another with the same name ends it, so no two tabs may share one. */
  clientId: string;
  /** Default: the client id. */
  username?: string;
  /** The browser token. */
  token: string;
  /** When the token ends, in milliseconds since 1970. */
  expiresAt: number;
}

/** The latest that is known of a topic. */
export interface Snapshot<T> {
  data: T;
  /** Grows with every change of the topic. */
  version: number;
  /** When the change happened, RFC 3339. */
  time: string;
  /** Whether it was fetched or pushed. */
  source: 'snapshot' | 'push';
  /** There may be something newer: the hub cannot be asked at the moment. */
  stale: boolean;
}

export interface Observer<T> {
  next(value: Snapshot<T>): void;
  /** The last that is said: the topic cannot be watched. */
  error?(error: unknown): void;
  /** The last that is said: nothing more will come. */
  complete?(): void;
}

/**
 * One topic, kept up to date. It works from the beginning, rests when its last subscriber or loop has left, and works
 * again for the next; `close` ends it. It fits where an Observable or a Svelte store is wanted.
 */
export interface Watch<T> extends AsyncIterable<Snapshot<T>> {
  readonly current: Snapshot<T> | undefined;
  /** Tells the current snapshot at once, where there is one, and then every later one. */
  subscribe(observer: Observer<T> | ((value: Snapshot<T>) => void)): { unsubscribe(): void };
  close(): void;
}

/**
 * `idle`: nothing is watched. `connecting`: for the first time. `live`: changes are pushed. `retrying`: the connection
 * was lost or refused, and is tried again until it works. `closed`: for good.
 */
export type State = 'idle' | 'connecting' | 'live' | 'retrying' | 'closed';

export interface Options {
  /** The hub's HTTP address, `https://hub.example.com`. */
  baseUrl: string;
  /** Asks the shop's backend for a session. Called for every attempt to connect, and before a token ends. */
  session(signal: AbortSignal): Promise<Session>;
  /** Default: the global one. */
  fetch?: typeof fetch;
  /** The longest wait before the first retry; doubles with each. Default 500. */
  minBackoffMs?: number;
  /** The longest wait there is. Default 30000. */
  maxBackoffMs?: number;
  /** How long before its end a token is replaced. Default 60000. */
  refreshSkewMs?: number;
}

/** `state/preflight/<file key>` */
export interface FileReport {
  file: string;
  status?: string;
  [more: string]: unknown;
}

/** `state/order/<reference>` */
export interface OrderStatus {
  order: string;
  /** Not before the order is known: its number may come first. */
  status?: string;
  /** The system of record's number, from the moment that it is known. */
  number?: string;
  [more: string]: unknown;
}

/** `stock/<location>/<sku>` */
export interface Stock {
  sku: string;
  location: string;
  on_hand: number;
  [more: string]: unknown;
}
