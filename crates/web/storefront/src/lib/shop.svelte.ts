// What the page shows: stock and orders as the hub has them, and what has just happened on the wire. All of it comes
// through the client package; nothing here asks again and again.
import { Crossdock, type OrderStatus, type Snapshot, type State, type Stock, type Watch } from '@crossdock/client';

import * as backend from './backend';
import { network } from './network.svelte';

export const LOCATION = 'LDN1';

/** Orders of this browser that are shown. */
const ORDERS_SHOWN = 4;
/** Things that happened and are remembered. */
const HAPPENED_MAX = 40;
const STORED = 'shop.orders';

export interface Happened {
  id: number;
  at: Date;
  kind: 'pushed' | 'fetched' | 'link';
  topic?: string;
  text: string;
}

export interface Order {
  reference: string;
  snapshot: Snapshot<OrderStatus> | undefined;
}

class Shop {
  link = $state<State>('idle');
  /** Why there is no connection. */
  reason = $state<string>();
  stock = $state.raw<Record<string, Snapshot<Stock>>>({});
  /** The latest first. */
  orders = $state.raw<Order[]>([]);
  happened = $state.raw<Happened[]>([]);
  counts = $state({ connections: 0, pushed: 0 });
  topics = $state(0);
  /** What this browser may order under, as the backend said. */
  references = $state.raw<string[]>([]);
  /** How many of those it has used. */
  placed = $state(0);

  readonly #crossdock = new Crossdock({
    baseUrl: location.origin,
    fetch: network.fetch,
    session: async (signal) => {
      await network.mended();
      const { session, references } = await backend.visit(signal);
      this.#known(references);
      return session;
    },
  });
  readonly #watched = new Map<string, Watch<OrderStatus>>();
  #ids = 0;

  constructor() {
    this.#crossdock.onState((state, reason) => {
      if (state === 'live' && this.link !== 'live') {
        this.counts.connections += 1;
        this.#note({ kind: 'link', text: this.counts.connections === 1 ? 'Connected' : 'Connected again' });
      } else if (state === 'retrying' && this.link !== 'retrying') {
        const text = this.counts.connections > 0 ? 'Connection lost; everything here is kept' : 'No connection yet';
        this.#note({ kind: 'link', text });
      }
      this.link = state;
      this.reason = reason?.message;
    });
    // What another tab of this browser has ordered.
    addEventListener('storage', ({ key }) => {
      if (key === STORED) this.#known(this.references);
    });
  }

  watchStock(skus: string[]): void {
    for (const sku of skus) {
      const topic = `stock/${LOCATION}/${sku}`;
      this.#crossdock.stock(LOCATION, sku).subscribe({
        next: (snapshot) => {
          this.#wire(topic, this.stock[sku], snapshot, `${snapshot.data.on_hand} on hand`);
          this.stock = { ...this.stock, [sku]: snapshot };
        },
        error: (error) => this.#note({ kind: 'link', topic, text: String(error) }),
      });
    }
    this.topics += skus.length;
  }

  /** Orders once, however often it has to be asked for. */
  async order(sku: string, quantity: number): Promise<void> {
    const reference = this.references[this.placed];
    if (!reference) throw new Error('The shop has not answered yet.');
    await backend.order(reference, sku, quantity);
    remember(this.references, this.placed + 1);
    this.#known(this.references);
  }

  wake(): void {
    this.#crossdock.wake();
  }

  #known(references: string[]): void {
    this.references = references;
    this.placed = remembered(references);
    const used = references.slice(0, this.placed).reverse().slice(0, ORDERS_SHOWN);
    for (const [reference, watch] of this.#watched) {
      if (used.includes(reference)) continue;
      watch.close();
      this.#watched.delete(reference);
      this.topics -= 1;
    }
    this.orders = used.map((reference) => ({ reference, snapshot: this.#watched.get(reference)?.current }));
    for (const reference of used) if (!this.#watched.has(reference)) this.#follow(reference);
  }

  #follow(reference: string): void {
    const watch = this.#crossdock.order(reference);
    const topic = `state/order/${reference}`;
    this.#watched.set(reference, watch);
    this.topics += 1;
    watch.subscribe({
      next: (snapshot) => {
        const before = this.orders.find((order) => order.reference === reference)?.snapshot;
        const { number, status } = snapshot.data;
        this.#wire(
          topic,
          before,
          snapshot,
          number && !before?.data.number ? `number ${number}` : (status ?? 'changed'),
        );
        this.orders = this.orders.map((order) => (order.reference === reference ? { reference, snapshot } : order));
      },
      error: (error) => this.#note({ kind: 'link', topic, text: String(error) }),
    });
  }

  /** Something came: news, or only the word that what is known is still so. */
  #wire(topic: string, before: Snapshot<unknown> | undefined, now: Snapshot<unknown>, what: string): void {
    if (now.version === before?.version) return;
    const kind = now.source === 'push' ? 'pushed' : 'fetched';
    if (kind === 'pushed') this.counts.pushed += 1;
    this.#note({ kind, topic, text: `version ${now.version}: ${what}` });
  }

  #note(what: Omit<Happened, 'id' | 'at'>): void {
    const happened = { ...what, id: ++this.#ids, at: new Date() };
    this.happened = [happened, ...this.happened].slice(0, HAPPENED_MAX);
  }
}

/** How many of these references this browser has used; none of them where they are new. */
function remembered(references: string[]): number {
  try {
    const { first, placed } = JSON.parse(localStorage.getItem(STORED) ?? '{}') as { first?: string; placed?: number };
    return first === references[0] ? Math.min(Number(placed) || 0, references.length) : 0;
  } catch {
    return 0;
  }
}

function remember(references: string[], placed: number): void {
  localStorage.setItem(STORED, JSON.stringify({ first: references[0], placed }));
}

export const shop = new Shop();
