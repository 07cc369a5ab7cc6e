// The page's way to the hub, which it can cut to show what happens then: open sockets are closed, and nothing gets through
// until it is mended. What goes to the shop's backend is left alone.

/** How long a cut lasts, milliseconds. */
export const CUT_MS = 6_000;

class Network {
  /** When it will be mended, milliseconds since the page was loaded; 0: it works. */
  cutUntil = $state(0);
  /** How often the hub was asked for a state. */
  fetches = $state(0);
  #sockets = new Set<WebSocket>();
  #mended: Promise<void> = Promise.resolve();

  constructor() {
    const sockets = this.#sockets;
    window.WebSocket = class extends WebSocket {
      constructor(...given: ConstructorParameters<typeof WebSocket>) {
        super(...given);
        sockets.add(this);
        this.addEventListener('close', () => sockets.delete(this));
      }
    };
  }

  cut(): void {
    this.cutUntil = performance.now() + CUT_MS;
    this.#mended = new Promise((resolve) => {
      setTimeout(() => {
        this.cutUntil = 0;
        resolve();
      }, CUT_MS);
    });
    for (const socket of this.#sockets) socket.close();
  }

  /** Resolves at once while it works. */
  mended(): Promise<void> {
    return this.#mended;
  }

  readonly fetch: typeof fetch = async (...request) => {
    await this.mended();
    this.fetches += 1;
    return fetch(...request);
  };
}

export const network = new Network();
