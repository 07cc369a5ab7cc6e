// Requests to the hub. Every failure becomes a `Failure` whose message says what a person can do.
import { clock } from '../lib/clock.svelte';
import type { Problem } from './types';

/** What the hub or the network answered instead of what was asked for. */
export class Failure extends Error {
  /** HTTP status; 0 when no answer came. */
  readonly status: number;
  /** Seconds to wait before asking again, where the hub named them. */
  readonly retryAfterS: number | undefined;
  /** The last part of the problem's type, such as `wrong-password`. */
  readonly problem: string | undefined;

  constructor(message: string, status: number, retryAfterS?: number, problem?: string) {
    super(message);
    this.status = status;
    this.retryAfterS = retryAfterS;
    this.problem = problem;
  }
}

export type Query = Record<string, string | number | undefined>;

/** `path` with the parameters that have a value. */
export function withQuery(path: string, query: Query): string {
  const given = Object.entries(query).filter(([, value]) => value !== undefined && value !== '');
  const text = new URLSearchParams(given.map(([name, value]) => [name, String(value)])).toString();
  return text === '' ? path : `${path}?${text}`;
}

export function get<T>(path: string, query: Query = {}, signal?: AbortSignal): Promise<T> {
  return request<T>('GET', withQuery(path, query), undefined, signal);
}

export function send<T>(method: 'POST' | 'PUT' | 'DELETE', path: string, body?: unknown): Promise<T> {
  return request<T>(method, path, body);
}

async function request<T>(method: string, path: string, body?: unknown, signal?: AbortSignal): Promise<T> {
  const init: RequestInit = { method, headers: { accept: 'application/json' }, credentials: 'same-origin' };
  if (signal) init.signal = signal;
  if (body !== undefined) {
    init.body = JSON.stringify(body);
    init.headers = { ...init.headers, 'content-type': 'application/json' };
  }
  let response: Response;
  try {
    response = await fetch(path, init);
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new Failure('The hub does not answer.', 0);
  }
  clock.answer(response.headers.get('date'));
  if (!response.ok) throw await failure(response);
  return (response.status === 204 ? undefined : await response.json()) as T;
}

async function failure(response: Response): Promise<Failure> {
  const wait = Number(response.headers.get('retry-after'));
  const problem: Partial<Problem> = await response.json().catch(() => ({}));
  const said = problem.detail ?? problem.title ?? `The hub answered ${response.status}.`;
  const kind = problem.type?.split('/').at(-1);
  return new Failure(said, response.status, wait > 0 ? wait : undefined, kind);
}
