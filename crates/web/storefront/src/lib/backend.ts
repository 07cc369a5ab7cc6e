// The shop's own backend: the only one who has a key of the hub. It knows the browser by a cookie.
import type { Session } from '@crossdock/client';

/** What the backend answers, which is what the hub answered to it, and the references that this browser may order under. */
interface Answer {
  client_id: string;
  token: string;
  expires_at: string;
  orders: string[];
}

export interface Visit {
  session: Session;
  references: string[];
}

export async function visit(signal: AbortSignal): Promise<Visit> {
  const { client_id, token, expires_at, orders } = await ask<Answer>('POST', '/shop/api/session', {}, signal);
  // The hub names itself as others reach it. This page is on the hub, and goes back to where it came from.
  const url = `${location.origin.replace(/^http/, 'ws')}/mqtt`;
  return { session: { url, clientId: client_id, token, expiresAt: Date.parse(expires_at) }, references: orders };
}

/** The same reference again orders nothing more, so that whoever got no answer may simply ask again. */
export async function order(reference: string, sku: string, quantity: number): Promise<void> {
  await ask('PUT', `/shop/api/orders/${reference}`, { sku, quantity });
}

async function ask<T>(method: string, path: string, body: unknown, signal?: AbortSignal): Promise<T> {
  const init: RequestInit = { method, headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) };
  if (signal) init.signal = signal;
  const answer = await fetch(path, init).catch(() => undefined);
  if (!answer) throw new Error('The shop does not answer.');
  if (answer.ok) return (answer.status === 202 ? await answer.text() : await answer.json()) as T;
  const problem = (await answer.json().catch(() => ({}))) as { title?: string; detail?: string };
  throw new Error(problem.detail ?? problem.title ?? `The shop answered ${answer.status}.`);
}
