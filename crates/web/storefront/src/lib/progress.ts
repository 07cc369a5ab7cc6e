// An order in words: where it is, what has become of it.
import type { OrderStatus } from '@crossdock/client';

export interface Step {
  name: string;
  done: boolean;
}

/** Statuses in which the order goes on. */
const GOES_ON = ['placed', 'accepted', 'shipped'];

/** Why the ERP rejects, as a customer wants to be told: `config/state.toml` lets no other reason through. */
const REASONS: Record<string, string> = {
  out_of_stock: 'It sold out just as you ordered.',
  payment_failed: 'The payment was declined.',
  invalid_address: 'The carrier does not know the address.',
  file_unusable: 'The file cannot be printed.',
};

export function steps(order: OrderStatus | undefined): Step[] {
  const reached = GOES_ON.indexOf(order?.status ?? 'placed');
  return [
    { name: 'Placed', done: true },
    { name: 'Numbered', done: order?.number !== undefined },
    { name: 'Accepted', done: reached >= 1 },
    { name: 'Shipped', done: reached >= 2 },
  ];
}

/** Why there will be no parcel; nothing where there will be one. */
export function apology(order: OrderStatus | undefined): string | undefined {
  if (order?.status === 'cancelled') return 'The order was cancelled.';
  if (order?.status !== 'rejected') return undefined;
  return REASONS[String(order['reason'])] ?? 'The shop cannot make it.';
}

/** What there is of a product: in numbers while there are few, for then they matter. */
export function availability(onHand: number | undefined): string {
  if (onHand === undefined) return 'Being counted';
  if (onHand <= 0) return 'Sold out';
  return onHand < 10 ? `Only ${onHand} left` : `${onHand} in stock`;
}

export function price(pence: number): string {
  return `£${(pence / 100).toFixed(2)}`;
}

/** `12 s`, `3 m`. */
export function elapsed(ms: number): string {
  const seconds = Math.max(0, Math.round(ms / 1000));
  return seconds < 60 ? `${seconds} s` : `${Math.floor(seconds / 60)} m`;
}
