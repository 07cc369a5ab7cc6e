// One reader's view of a topic: tells its subscribers and loops, and knows when it is done.
import type { Listener } from './topic.js';
import type { Observer, Snapshot, Watch } from './types.js';

/** Keeps a topic up to date for a listener until the function that it gives is called. */
export type Hold = (listener: Listener) => () => void;

const OBSERVABLE = (Symbol as { observable?: symbol }).observable ?? '@@observable';

/** An error of the page's own code is the page's, and nothing here stops for it. */
export function guarded(call: () => void): void {
  try {
    call();
  } catch (error) {
    queueMicrotask(() => {
      throw error;
    });
  }
}

interface Reader<T> {
  to: Observer<T>;
}

export class TopicWatch<T> implements Watch<T>, Listener {
  current: Snapshot<T> | undefined;
  readonly #hold: Hold;
  readonly #until: ((data: T) => boolean) | undefined;
  readonly #readers = new Set<Reader<T>>();
  #release: (() => void) | undefined;
  #ended: { error?: unknown } | undefined;

  constructor(hold: Hold, until?: (data: T) => boolean) {
    this.#hold = hold;
    this.#until = until;
    this.#work();
  }

  subscribe(observer: Observer<T> | ((value: Snapshot<T>) => void)): { unsubscribe(): void } {
    // Wrapped: whoever subscribes twice is told twice.
    const one: Reader<T> = { to: typeof observer === 'function' ? { next: observer } : observer };
    const { current } = this;
    this.#readers.add(one);
    if (current) guarded(() => one.to.next(current));
    if (this.#ended) this.#tellEnd(one, this.#ended);
    else this.#work();
    return {
      unsubscribe: () => {
        if (!this.#readers.delete(one) || this.#readers.size > 0) return;
        this.#rest();
        if (this.current) this.current = { ...this.current, stale: true };
      },
    };
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Snapshot<T>, void, undefined> {
    let latest: Snapshot<T> | undefined;
    let ended: { error?: unknown } | undefined;
    let wake: () => void = () => undefined;
    const subscription = this.subscribe({
      next(value) {
        latest = value;
        wake();
      },
      error(error) {
        ended = { error };
        wake();
      },
      complete() {
        ended = {};
        wake();
      },
    });
    try {
      for (;;) {
        const value = latest;
        latest = undefined;
        if (value) yield value;
        else if (!ended) await new Promise<void>((resolve) => (wake = resolve));
        else if ('error' in ended) throw ended.error;
        else return;
      }
    } finally {
      subscription.unsubscribe();
    }
  }

  close(): void {
    this.end();
  }

  /** Of the topic, which forgets while this one rests: what is older than what was told is not told. */
  next(snapshot: Snapshot<unknown>): void {
    if (snapshot === this.current || snapshot.version < (this.current?.version ?? 0)) return;
    const current = (this.current = snapshot as Snapshot<T>);
    for (const reader of [...this.#readers]) guarded(() => reader.to.next(current));
    try {
      if (this.#until?.(current.data)) this.end();
    } catch (error) {
      this.end(error);
    }
  }

  end(error?: unknown): void {
    if (this.#ended) return;
    const ended = (this.#ended = error === undefined ? {} : { error });
    this.#rest();
    for (const reader of [...this.#readers]) this.#tellEnd(reader, ended);
  }

  [OBSERVABLE](): this {
    return this;
  }

  #tellEnd(reader: Reader<T>, ended: { error?: unknown }): void {
    const { to } = reader;
    this.#readers.delete(reader);
    guarded(() => {
      if (!('error' in ended)) to.complete?.();
      else if (to.error) to.error(ended.error);
      // As of any Observable: what nobody wants to hear is the page's unhandled error.
      else throw ended.error;
    });
  }

  #work(): void {
    if (this.#release) return;
    // It may be told, and done, before it knows how to let go.
    let released = false;
    this.#release = () => (released = true);
    const release = this.#hold(this);
    if (released) release();
    else this.#release = release;
  }

  #rest(): void {
    this.#release?.();
    this.#release = undefined;
  }
}
