// The hub's one stream to this tab: what the pages show, kept up to date. The stream is open only while the tab is
// seen and not paused; it goes on after the last event it brought.
import { withQuery } from '../api/client';
import type { Adapter, Beat, DeadLetter, HubEvent, Overview, Queue } from '../api/types';
import { clock } from './clock.svelte';
import { signedIn } from './session.svelte';
import type { Topic } from './topics';

type Link = 'connecting' | 'live' | 'paused' | 'broken';

interface NewEvents {
  events: HubEvent[];
  skipped: number;
}

/** The hub sends a beat this often, milliseconds. */
const BEAT_MS = 2_000;
/** Values are old once so many beats are missing. */
const BEATS_MISSED = 3;
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

  /** What is asked for, in order and with commas; empty: nothing. */
  #wanted = '';
  /** What the present stream was asked for. */
  #asked = '';
  #listeners = new Set<(news: NewEvents) => void>();
  #stream: EventSource | undefined;
  #retry: ReturnType<typeof setTimeout> | undefined;
  #after: string | undefined;
  #paused = false;

  constructor() {
    document.addEventListener('visibilitychange', () => this.#open());
  }

  /** Keeps exactly these topics up to date. A stream that brings them already goes on. */
  watch(topics: Topic[]): void {
    this.#wanted = [...topics].sort().join(',');
    this.#open();
  }

  /** Tells of events as they are accepted, where they are watched. */
  onEvents(listener: (news: NewEvents) => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  togglePause(): void {
    this.#paused = !this.#paused;
    this.#open();
  }

  /** Whether what is shown may no longer be so. */
  isOld(now: number): boolean {
    return this.heard > 0 && now - this.heard > BEAT_MS * BEATS_MISSED;
  }

  /** Forgets everything: somebody else may sign in. */
  end(): void {
    this.#close();
    this.#wanted = '';
    this.overview = this.queues = this.adapters = this.deadLetters = undefined;
    this.heard = 0;
    this.#after = undefined;
    this.#paused = false;
  }

  #close(): void {
    clearTimeout(this.#retry);
    this.#stream?.close();
    this.#stream = undefined;
  }

  #open(): void {
    const wanted = this.#paused || document.visibilityState === 'hidden' ? '' : this.#wanted;
    const isOpen = this.#stream && this.#stream.readyState !== EventSource.CLOSED;
    if (isOpen && wanted === this.#asked) return;
    this.#close();
    if (this.#paused) this.link = 'paused';
    if (wanted === '') return;
    if (this.link !== 'live') this.link = 'connecting';
    this.#asked = wanted;
    const stream = new EventSource(withQuery('/v1/live', { topics: wanted, after: this.#after }));
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
    if (stream === this.#stream && signedIn.session) this.#retry = setTimeout(() => this.#open(), RETRY_MS);
  }
}

export const live = new Live();
