// The present as the hub has it, for ages and ranges of time: ticks once a second, and only while the page is seen. A
// browser's own clock may be wrong. The hub's beats and answers say what time it is there; between them the time that
// passes is the browser's, which no change of its clock touches.

const TICK_MS = 1_000;
/** Of so many beats the one that was under way for the shortest time counts. */
const BEATS_KEPT = 5;
/** An answer names whole seconds: it was half a second later on average, milliseconds. */
const HALF_A_SECOND_MS = 500;

export class Clock {
  now = $state(Date.now());
  /** What the hub's time is ahead of the time since the page was loaded, milliseconds. */
  #ahead = Date.now() - performance.now();
  #beats: number[] = [];

  constructor() {
    setInterval(() => {
      if (document.visibilityState === 'visible') this.now = this.present();
    }, TICK_MS);
    document.addEventListener('visibilitychange', () => (this.now = this.present()));
  }

  /** Milliseconds since 1970, at this very moment. */
  present(): number {
    return this.#ahead + performance.now();
  }

  /** A beat says that it is `at` (RFC 3339) at the hub. */
  beat(at: string): void {
    const ahead = Date.parse(at) - performance.now();
    if (!Number.isFinite(ahead)) return;
    this.#beats = [...this.#beats, ahead].slice(-BEATS_KEPT);
    this.#set(Math.max(...this.#beats));
  }

  /** An answer says that it is `date` (the header of HTTP) at the hub. Beats know better. */
  answer(date: string | null): void {
    const at = Date.parse(date ?? '');
    if (this.#beats.length > 0 || !Number.isFinite(at)) return;
    const ahead = at + HALF_A_SECOND_MS - performance.now();
    // What is nearer than that may be as wrong as what is there.
    if (Math.abs(ahead - this.#ahead) > 2 * HALF_A_SECOND_MS) this.#set(ahead);
  }

  #set(ahead: number): void {
    this.#ahead = ahead;
    this.now = this.present();
  }
}

export const clock = new Clock();
