// The hub's one stream to this tab: what the pages show, kept up to date. The stream is open only while the tab is
// seen and not paused; it goes on after the last event it brought.
import { withQuery } from '../api/client';
import type { Adapter, Beat, DeadLetter, HubEvent, Overview, Queue } from '../api/types';
import { clock } from './clock.svelte';
import { signedIn } from './session.svelte';

export type Topic = 'overview' | 'queues' | 'adapters' | 'dead-letters' | 'events';
type Link = 'connecting' | 'live' | 'paused' | 'broken';

interface NewEvents {
  events: HubEvent[];
  skipped: number;
}

/** The hub sends a beat this often, milliseconds. */
const BEAT_MS = 2_000;
/** Values are old once so many beats are missing. */
const BEATS_MISSED = 3;
/** Topics that pages ask for in one go share one stream. */
const GATHER_MS = 20;
/** How long to wait before a refused stream is tried again, milliseconds. */
const RETRY_MS = 3_000;

class Live {
  overview = $state.raw<Overview>();
  queues = $state.raw<Queue[]>();
  adapters = $state.raw<Adapter[]>();
  deadLetters = $state.raw<{ total: number; dead_letters: DeadLetter[] }>();
  link = $state<Link>('connecting');
  /** When the hub was last heard, by the clock, milliseconds since 1970. */
  heard = $state(0);
  /** Counts the streams that were opened: what was read before one began may have missed something. */
  opened = $state(0);

  #wanted = new Map<Topic, number>();
  #listeners = new Set<(news: NewEvents) => void>();
  #stream: EventSource | undefined;
  #opening: ReturnType<typeof setTimeout> | undefined;
  #after: string | undefined;
  #paused = false;

  constructor() {
    document.addEventListener('visibilitychange', () => this.#reopen());
  }

  /** Keeps `topics` up to date until the returned function is called. */
  watch(...topics: Topic[]): () => void {
    for (const topic of topics) this.#wanted.set(topic, (this.#wanted.get(topic) ?? 0) + 1);
    this.#reopen();
    return () => {
      for (const topic of topics) {
        const left = (this.#wanted.get(topic) ?? 1) - 1;
        if (left > 0) this.#wanted.set(topic, left);
        else this.#wanted.delete(topic);
      }
      this.#reopen();
    };
  }

  /** Tells of events as they are accepted. */
  onEvents(listener: (news: NewEvents) => void): () => void {
    const release = this.watch('events');
    this.#listeners.add(listener);
    return () => {
      this.#listeners.delete(listener);
      release();
    };
  }

  togglePause(): void {
    this.#paused = !this.#paused;
    this.#reopen();
  }

  /** Whether what is shown may no longer be so. */
  isOld(now: number): boolean {
    return this.heard > 0 && now - this.heard > BEAT_MS * BEATS_MISSED;
  }

  /** Forgets everything: somebody else may sign in. */
  end(): void {
    this.#close();
    this.overview = this.queues = this.adapters = this.deadLetters = undefined;
    this.heard = 0;
    this.#after = undefined;
    this.#paused = false;
  }

  #reopen(waitMs = GATHER_MS): void {
    clearTimeout(this.#opening);
    this.#opening = setTimeout(() => this.#open(), waitMs);
  }

  #close(): void {
    clearTimeout(this.#opening);
    this.#stream?.close();
    this.#stream = undefined;
  }

  #open(): void {
    this.#close();
    if (this.#paused) this.link = 'paused';
    if (this.#paused || document.visibilityState === 'hidden' || this.#wanted.size === 0) return;
    if (this.link !== 'live') this.link = 'connecting';
    const topics = [...this.#wanted.keys()].sort().join(',');
    const stream = new EventSource(withQuery('/v1/live', { topics, after: this.#after }));
    this.#stream = stream;
    stream.onopen = () => (this.opened += 1);
    stream.onerror = () => void this.#failed(stream);
    stream.addEventListener('beat', (message: MessageEvent<string>) => {
      clock.beat((JSON.parse(message.data) as Beat).at);
      this.#hear();
    });
    this.#on<Overview>('overview', (data) => (this.overview = data));
    this.#on<{ queues: Queue[] }>('queues', (data) => (this.queues = data.queues));
    this.#on<{ adapters: Adapter[] }>('adapters', (data) => (this.adapters = data.adapters));
    this.#on<{ total: number; dead_letters: DeadLetter[] }>('dead-letters', (data) => (this.deadLetters = data));
    this.#on<NewEvents>('events', (data) => this.#listeners.forEach((listener) => listener(data)));
  }

  #on<T>(topic: Topic, take: (data: T) => void): void {
    this.#stream?.addEventListener(topic, (message: MessageEvent<string>) => {
      this.#hear();
      if (message.lastEventId !== '') this.#after = message.lastEventId;
      take(JSON.parse(message.data) as T);
    });
  }

  #hear(): void {
    this.link = 'live';
    this.heard = clock.present();
  }

  // The browser tells nothing about a refusal, so the session is asked.
  async #failed(stream: EventSource): Promise<void> {
    if (stream !== this.#stream) return;
    this.link = 'broken';
    if (stream.readyState !== EventSource.CLOSED) return;
    await signedIn.ask().catch(() => undefined);
    if (stream === this.#stream && signedIn.session) this.#reopen(RETRY_MS);
  }
}

export const live = new Live();
