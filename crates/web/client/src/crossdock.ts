// The client: which topics are watched, and one connection for them all that comes back whenever it is lost. On every
// connection each topic is subscribed to first and fetched then, so that nothing falls in between; versions sort it out.
import { open, type Link } from './link.js';
import { Topic } from './topic.js';
import type { FileReport, Options, OrderStatus, Session, Snapshot, State, Stock, Watch } from './types.js';
import { guarded, TopicWatch } from './watch.js';

/** How long a session and a connection may take together, milliseconds. */
const CONNECT_MS = 15_000;
/** A connection that held for so long was good: the next retry comes soon again. */
const STEADY_MS = 10_000;
/** A session is replaced no sooner than this, milliseconds: a clock may be wrong. */
const RENEWAL_MIN_MS = 5_000;
/** How long a connection without topics is kept, for a page that lets one go and wants the next. */
const IDLE_MS = 2_000;
/** The longest time that a timer takes, milliseconds. */
const TIMER_MAX_MS = 2 ** 31 - 1;

const NOT_WANTED = new Error('not wanted');

type StateListener = (state: State, reason?: Error) => void;

/** A connection that works. */
interface Live {
  link: Link;
  join(topic: Topic): void;
}

/** The latest state of a hub's topics, and every later one. */
export class Crossdock {
  readonly #options: Required<Options>;
  readonly #topics = new Map<string, Topic>();
  readonly #listeners = new Set<{ to: StateListener }>();
  /** Whoever waits until it is time for a retry. */
  readonly #sleepers = new Set<() => void>();
  /** Until it is closed. */
  readonly #life = new AbortController();
  #state: State = 'idle';
  #live: Live | undefined;
  /** Ends the present attempt, or the connection that it became, with all that belongs to it. */
  #attempt: AbortController | undefined;
  #idle: ReturnType<typeof setTimeout> | undefined;
  /** Of the present attempt: until it is too late, then until the next is due. */
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(options: Options) {
    this.#options = {
      // Browsers want it called on nothing but the window.
      fetch: (...request) => fetch(...request),
      minBackoffMs: 500,
      maxBackoffMs: 30_000,
      refreshSkewMs: 60_000,
      ...options,
      baseUrl: options.baseUrl.replace(/\/$/, ''),
    };
    // Where there is a window.
    const { signal } = this.#life;
    globalThis.addEventListener?.('online', () => this.wake(), { signal });
    const seen = (): void => {
      if (document.visibilityState === 'visible') this.wake();
    };
    globalThis.document?.addEventListener('visibilitychange', seen, { signal });
  }

  get state(): State {
    return this.#state;
  }

  /** Tells every later state; with `retrying`, why. The function that it gives ends that. */
  onState(listener: StateListener): () => void {
    const one = { to: listener };
    this.#listeners.add(one);
    return () => void this.#listeners.delete(one);
  }

  /** Watches a topic. `until`: what is the last that is wanted, such as an order that has its number. */
  watch<T>(topic: string, until?: (data: T) => boolean): Watch<T> {
    if (this.#state === 'closed') throw new Error('the client is closed');
    if (/[+#\0]|(^|\/)\.{0,2}(\/|$)/.test(topic))
      throw new TypeError(`expected a topic, no + or #, no level empty, . or ..: ${topic}`);
    return new TopicWatch<T>((listener) => {
      const held = this.#topics.get(topic) ?? this.#begin(topic, listener.current);
      held.listeners.add(listener);
      if (held.current) listener.next(held.current);
      if (this.#state === 'idle') void this.#run();
      if (this.#state === 'closed') listener.end();
      return () => {
        if (held.listeners.delete(listener) && held.listeners.size === 0) this.#forget(held);
      };
    }, until);
  }

  /** The check of a print file. */
  file(key: string): Watch<FileReport> {
    return this.watch(`state/preflight/${level(key)}`);
  }

  /** An order, by the shop's reference. */
  order(reference: string): Watch<OrderStatus> {
    return this.watch(`state/order/${level(reference)}`);
  }

  /** What there is of a product at a location. */
  stock(location: string, sku: string): Watch<Stock> {
    return this.watch(`stock/${level(location)}/${level(sku)}`);
  }

  /** The network may be there again: retries at once, or asks the hub whether it is still there. */
  wake(): void {
    this.#rise();
    this.#live?.link.probe();
  }

  /** Ends all watches and the connection, for good. */
  close(): void {
    this.#set('closed');
    this.#life.abort();
    this.#stop();
    for (const topic of [...this.#topics.values()]) topic.end();
    this.#topics.clear();
  }

  /** `current`: what a watch of it knew before it rested. */
  #begin(name: string, current?: Snapshot<unknown>): Topic {
    const topic = new Topic(name, current);
    this.#topics.set(name, topic);
    clearTimeout(this.#idle);
    this.#live?.join(topic);
    return topic;
  }

  #forget(topic: Topic): void {
    this.#topics.delete(topic.name);
    this.#live?.link.unsubscribe(topic.name);
    if (this.#topics.size > 0 || this.#state === 'closed') return;
    this.#idle = setTimeout(() => this.#stop(), IDLE_MS);
  }

  /** Ends the connection, and the loop where nothing is watched. */
  #stop(): void {
    clearTimeout(this.#idle);
    this.#attempt?.abort(NOT_WANTED);
    this.#rise();
  }

  /** Nobody waits any longer. */
  #rise(): void {
    for (const rise of [...this.#sleepers]) rise();
  }

  #set(state: State, reason?: Error): void {
    if (this.#state === 'closed' || (this.#state === state && !reason)) return;
    this.#state = state;
    for (const { to } of [...this.#listeners]) guarded(() => to(state, reason));
  }

  /** Connects again and again, for as long as something is watched. Never rejects. */
  async #run(): Promise<void> {
    this.#set('connecting');
    let renewed: Session | undefined;
    let failures = 0;
    while (this.#topics.size > 0) {
      const attempt = (this.#attempt = new AbortController());
      const { signal } = attempt;
      let began = Infinity;
      try {
        this.#timer = setTimeout(() => attempt.abort(new Error('no connection in time')), CONNECT_MS);
        signal.addEventListener('abort', () => {
          clearTimeout(this.#timer);
          this.#rise();
        });
        const session: Session = renewed ?? (await this.#session(signal));
        renewed = undefined;
        await this.#connect(session, attempt);
        clearTimeout(this.#timer);
        began = Date.now();
        renewed = await this.#renewal(session, signal);
      } catch (reason) {
        if (reason !== NOT_WANTED) {
          this.#set('retrying', reason as Error);
          for (const topic of this.#topics.values()) topic.mark(true);
        }
      }
      this.#live = undefined;
      attempt.abort();
      if (signal.reason === NOT_WANTED || renewed) continue;
      if (Date.now() - began > STEADY_MS) failures = 0;
      await this.#backoff(failures++);
    }
    this.#set('idle');
  }

  /** Asks for a session. Gives up with the signal, whether the page's function does or not. */
  async #session(signal: AbortSignal): Promise<Session> {
    let session: Session;
    try {
      session = await within(signal, this.#options.session(signal));
    } catch (error) {
      signal.throwIfAborted();
      throw new Error(`no session: ${error as string}`, { cause: error });
    }
    if (session?.url && session.clientId && session.token && session.expiresAt > 0) return session;
    throw new Error('no session: expected {url, clientId, token, expiresAt}');
  }

  async #connect(session: Session, attempt: AbortController): Promise<void> {
    const link = await open(session, (topic, text) => this.#topics.get(topic)?.offer(text, 'push'), attempt);
    attempt.signal.throwIfAborted();
    const join = (topic: Topic): void =>
      link.subscribe(
        topic.name,
        () => void this.#fetch(topic, session, attempt),
        (reason) => topic.end(reason),
      );
    this.#live = { link, join };
    this.#set('live');
    for (const topic of [...this.#topics.values()]) join(topic);
  }

  /** Fetches the state of a topic that is subscribed to, however often it takes. Never rejects. */
  async #fetch(topic: Topic, session: Session, attempt: AbortController): Promise<void> {
    const { baseUrl, fetch } = this.#options;
    const { signal } = attempt;
    const path = encodeURIComponent(topic.name).replaceAll('%2F', '/');
    const headers = { authorization: `Bearer ${session.token}` };
    for (let failures = 0; !signal.aborted && topic.listeners.size > 0; failures++) {
      let status = 0;
      let text = '';
      try {
        const answer = await fetch(`${baseUrl}/v1/state/${path}`, { headers, cache: 'no-store', signal });
        text = await answer.text();
        status = answer.status;
      } catch {
        // No answer, or no more wanted.
      }
      if (signal.aborted) return;
      if (status === 200) return topic.offer(text, 'snapshot');
      // There is none yet, which will be pushed, or none any more.
      if (text.includes('"/problems/no-state"')) return topic.mark(false);
      const error = new Error(`${topic.name}: the hub answers ${status}: ${text.slice(0, 200)}`);
      if (status === 401) return attempt.abort(error);
      // What the hub says is the asker's fault, all but 408 and 429, which pass. What a proxy says passes, too.
      if (/^4(?!08|29).*"\/problems\//.test(status + text)) return topic.end(error);
      await this.#backoff(failures);
    }
  }

  /** The session that is to follow this one, when it is time. Rejects with the signal. */
  async #renewal(session: Session, signal: AbortSignal): Promise<Session> {
    signal.throwIfAborted();
    const left = session.expiresAt - Date.now();
    // A clock that says that the token has ended already is wrong, for it works: the hub says when it ends. One that says
    // that it is about to end may be wrong, too: nobody is to be asked again and again for that.
    const after = left > 0 ? Math.max(left - this.#options.refreshSkewMs, left / 2, RENEWAL_MIN_MS) : TIMER_MAX_MS;
    const due = new Promise((resolve) => (this.#timer = setTimeout(resolve, Math.min(after, TIMER_MAX_MS))));
    await within(signal, due);
    for (let failures = 0; ; failures++) {
      signal.throwIfAborted();
      try {
        return await this.#session(signal);
      } catch {
        // The present one may hold until there is another.
        if (!signal.aborted) await this.#backoff(failures);
      }
    }
  }

  /** Waits for a time that grows with the failures and differs from client to client; `wake` and the attempt's end end it. */
  #backoff(failures: number): Promise<void> {
    const { minBackoffMs, maxBackoffMs } = this.#options;
    const longest = Math.min(maxBackoffMs, minBackoffMs * 2 ** failures);
    return new Promise((resolve) => {
      const rise = (): void => {
        clearTimeout(timer);
        this.#sleepers.delete(rise);
        resolve();
      };
      const timer = setTimeout(rise, longest * (0.5 + Math.random() / 2));
      this.#sleepers.add(rise);
    });
  }
}

/** One level of a topic. With a `/` in it it would be two: doubled it is refused, for one of them is empty. */
function level(name: string): string {
  return `${name}`.replaceAll('/', '//');
}

/** What the promise gives, or the signal's reason as soon as there is one. */
function within<T>(signal: AbortSignal, promise: Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const abort = (): void => reject(signal.reason as Error);
    signal.addEventListener('abort', abort);
    // Of a page's own function it may be any thenable.
    Promise.resolve(promise)
      .finally(() => signal.removeEventListener('abort', abort))
      .then(resolve, reject);
  });
}
