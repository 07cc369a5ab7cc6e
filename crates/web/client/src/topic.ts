// What is known of one topic. Knows no connection: it is offered states, in whatever order they come, and keeps the newest.
import type { Snapshot } from './types.js';

export interface Listener {
  /** What it was told last, by this topic or by an earlier one of the name. */
  readonly current?: Snapshot<unknown> | undefined;
  next(snapshot: Snapshot<unknown>): void;
  /** Nothing more will come: because of `error`, or because all is done. */
  end(error?: Error): void;
}

type Told = Partial<Record<'topic' | 'version' | 'time' | 'data', unknown>>;

export class Topic {
  readonly listeners = new Set<Listener>();

  constructor(
    readonly name: string,
    public current?: Snapshot<unknown>,
  ) {}

  /**
   * Takes a state as the hub gives it. What is older than what is known changes nothing: where the hub was asked, it says
   * that there is nothing newer; a message may only be late.
   */
  offer(text: string, source: 'snapshot' | 'push'): void {
    // A retained message that was cleared.
    if (text === '') return;
    const { current, name } = this;
    let state: Told = {};
    try {
      state = JSON.parse(text) ?? state;
    } catch {
      // What it is not is said below.
    }
    const { topic, version, time, data } = state;
    if (topic !== name || !Number.isInteger(version) || typeof time !== 'string' || data === undefined)
      this.end(new Error(`${name}: expected {topic, version, time, data}, got ${text.slice(0, 200)}`));
    else if (!current || (version as number) > current.version)
      this.#tell({ data, version: version as number, time, source, stale: false });
    else if (source === 'snapshot' || version === current.version) this.mark(false);
  }

  /** Whether there may be something newer. */
  mark(stale: boolean): void {
    const { current } = this;
    if (current && current.stale !== stale) this.#tell({ ...current, stale });
  }

  end(error?: Error): void {
    for (const listener of [...this.listeners]) listener.end(error);
  }

  #tell(snapshot: Snapshot<unknown>): void {
    this.current = snapshot;
    for (const listener of [...this.listeners]) listener.next(snapshot);
  }
}
