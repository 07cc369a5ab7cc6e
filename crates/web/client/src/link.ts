// One connection to the hub over MQTT, from its beginning to its end. It never comes back: whoever wants another makes one,
// with a token of its own. MQTT.js is loaded with the first.
import type { Session } from './types.js';

/**
 * What is promised where the hub does not say what it wants, seconds. Ours says 60 and waits for 90: enough for a page that
 * is not seen, whose timers run once a minute.
 */
const KEEPALIVE_S = 120;
/** How often the hub is asked whether it is there, and how long its answer may take, milliseconds. */
const PROBE_EVERY_MS = 20_000;
const PROBE_MS = 5_000;

export interface Link {
  /** Tells what the hub makes of it; nothing where the connection ends first. */
  subscribe(topic: string, granted: () => void, refused: (reason: Error) => void): void;
  unsubscribe(topic: string): void;
  /** Asks the hub whether it is there; the connection is lost if it does not say. */
  probe(): void;
}

export type Message = (topic: string, payload: string) => void;

/** Resolves once the hub has let it in. `life` ends it, and is ended by it with the reason. */
export async function open(session: Session, message: Message, life: AbortController): Promise<Link> {
  const { signal } = life;
  const { url, clientId, username = clientId, token: password } = session;
  const { default: mqtt } = await import('mqtt');
  signal.throwIfAborted();
  const client = mqtt.connect(url, {
    protocolVersion: 5,
    clientId,
    username,
    password,
    keepalive: KEEPALIVE_S,
    // By itself it would come back with the token that it went with.
    reconnectPeriod: 0,
    // Its other timers are workers of a kind that a strict Content-Security-Policy refuses.
    timerVariant: 'native',
  });
  let reason = new Error(`no connection to ${url}`);
  let waiting: ReturnType<typeof setTimeout> | undefined;
  const lose = (): void => life.abort(reason);
  const probe = (): void => {
    waiting ??= setTimeout(lose, PROBE_MS);
    client.sendPing();
  };
  const heard = (): void => {
    clearTimeout(waiting);
    waiting = undefined;
  };

  return new Promise((resolve, reject) => {
    let probes: ReturnType<typeof setInterval> | undefined;
    signal.addEventListener('abort', () => {
      reject(signal.reason as Error);
      // Politely only where somebody listens: it would wait for that.
      client.end(!client.connected || !!waiting);
      clearInterval(probes);
      heard();
    });
    client
      .on('connect', () => {
        reason = new Error(`the connection to ${url} was lost`);
        resolve({
          subscribe(topic, granted, refused) {
            client.subscribe(topic, { qos: 1 }, (error, _, answer) => {
              if (signal.aborted) return;
              if (!error) granted();
              // Without an answer of the hub's it is the connection that failed.
              else if (answer) refused(new Error(`${topic}: the hub refuses it: ${error.message}`));
            });
          },
          unsubscribe(topic) {
            client.unsubscribe(topic);
          },
          probe,
        });
        probes = setInterval(probe, PROBE_EVERY_MS);
      })
      .on('message', (topic, payload) => {
        if (!signal.aborted) message(topic, payload.toString());
      })
      .on('packetreceive', heard)
      .on('disconnect', ({ reasonCode }) => {
        reason = new Error(`the hub ended the connection: MQTT reason ${reasonCode}`);
      })
      .on('error', (error) => {
        reason = error;
        lose();
      })
      .on('close', lose);
  });
}
