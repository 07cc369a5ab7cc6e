// What a page sees of a hub, made of a real broker (mosquitto) and a small server for /v1/state: states with versions that
// grow, tokens that can be withdrawn, and a network between them that can be cut or go silent.
import { spawn, type ChildProcess } from 'node:child_process';
import { pbkdf2Sync, randomBytes } from 'node:crypto';
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server, type ServerResponse } from 'node:http';
import {
  connect as dial,
  createServer as createProxy,
  type AddressInfo,
  type Server as Proxy,
  type Socket,
} from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import mqtt, { type MqttClient } from 'mqtt';

import { Crossdock, type Options, type Session } from '../../src/index.js';
import { eventually } from './eventually.js';

const TOKEN_MS = 3_600_000;
const WRITER = 'hub';
/** Whoever watches: everything but what is private. */
const PAGE = 'page';
const MOSQUITTO = ['/usr/sbin/mosquitto', '/usr/local/sbin/mosquitto'].find((path) => existsSync(path));
const PLUGIN = ['/usr/lib', ...readdirSync('/usr/lib').map((folder) => `/usr/lib/${folder}`)]
  .map((folder) => `${folder}/mosquitto_dynamic_security.so`)
  .find((path) => existsSync(path));
const RIGHTS = {
  defaultACLAccess: { publishClientSend: true, publishClientReceive: true, subscribe: true, unsubscribe: true },
  clients: [user(WRITER, WRITER), { ...user(PAGE, 'good'), roles: [{ rolename: PAGE }] }],
  roles: [
    {
      rolename: PAGE,
      acls: [{ acltype: 'subscribePattern', topic: 'private/#', priority: 1, allow: false }],
    },
  ],
};

interface State {
  topic: string;
  version: number;
  time: string;
  data: unknown;
}

/** How a question for a state is answered: not before `until`, and with `status` where that is given, `by` a hub or a proxy. */
interface Answering {
  until?: Promise<void>;
  status?: number;
  by?: 'proxy';
}

const REFUSAL = JSON.stringify({ type: '/problems/forbidden', title: 'no' });

export class Hub {
  /** Every question for a state: the topic, and the token that came with it. */
  readonly asked: { topic: string; token: string }[] = [];
  readonly states = new Map<string, State>();
  answering: Answering = {};
  /** Tokens given out so far. */
  tokens = 0;
  readonly #folder = mkdtempSync(join(tmpdir(), 'crossdock-client-'));
  readonly #sockets = new Set<Socket>();
  #process: ChildProcess | undefined;
  #writer: MqttClient | undefined;
  #http: Server | undefined;
  #proxy: Proxy | undefined;
  #wsPort = 0;
  #tcpPort = 0;
  #silent = false;
  #clients: Crossdock[] = [];

  static async start(): Promise<Hub> {
    if (!MOSQUITTO || !PLUGIN) throw new Error('there is no mosquitto with its plugins here: install it');
    const hub = new Hub();
    hub.#wsPort = await freePort();
    hub.#tcpPort = await freePort();
    writeFileSync(join(hub.#folder, 'rights.json'), JSON.stringify(RIGHTS));
    writeFileSync(
      join(hub.#folder, 'mosquitto.conf'),
      [
        'allow_anonymous false',
        `plugin ${PLUGIN}`,
        `plugin_opt_config_file ${join(hub.#folder, 'rights.json')}`,
        'user root',
        `listener ${hub.#tcpPort} 127.0.0.1`,
        `listener ${hub.#wsPort} 127.0.0.1`,
        'protocol websockets',
        '',
      ].join('\n'),
    );
    await hub.startBroker();
    hub.#http = createServer(
      (request, response) => void hub.#answer(request.url ?? '', request.headers.authorization, response),
    );
    await listening(hub.#http);
    hub.#proxy = createProxy((socket) => hub.#pass(socket));
    await listening(hub.#proxy);
    return hub;
  }

  async startBroker(): Promise<void> {
    this.#process = spawn(MOSQUITTO as string, ['-c', join(this.#folder, 'mosquitto.conf')], { stdio: 'ignore' });
    this.#writer = mqtt.connect(`mqtt://127.0.0.1:${this.#tcpPort}`, {
      username: WRITER,
      password: WRITER,
      reconnectPeriod: 50,
    });
    await eventually(() => this.#writer?.connected);
  }

  /** Ends it without a word, as a power cut does. */
  async killBroker(): Promise<void> {
    this.#writer?.end(true);
    const { exitCode } = this.#process as ChildProcess;
    if (exitCode !== null) return;
    const ended = new Promise((resolve) => this.#process?.once('exit', resolve));
    this.#process?.kill('SIGKILL');
    await ended;
  }

  async end(): Promise<void> {
    for (const client of this.#clients) client.close();
    this.cut();
    await this.killBroker();
    this.#proxy?.close();
    this.#http?.closeAllConnections();
    this.#http?.close();
    rmSync(this.#folder, { recursive: true, force: true });
  }

  get baseUrl(): string {
    return `http://127.0.0.1:${port(this.#http)}`;
  }

  get url(): string {
    return `ws://127.0.0.1:${port(this.#proxy)}/mqtt`;
  }

  /** What a shop's backend gives to its page. */
  session(): Session {
    this.tokens += 1;
    return {
      url: this.url,
      clientId: `page-${this.tokens}`,
      username: PAGE,
      token: 'good',
      expiresAt: Date.now() + TOKEN_MS,
    };
  }

  client(options: Partial<Options> = {}): Crossdock {
    const made = new Crossdock({
      baseUrl: this.baseUrl,
      session: () => Promise.resolve(this.session()),
      minBackoffMs: 20,
      maxBackoffMs: 200,
      ...options,
    });
    this.#clients.push(made);
    return made;
  }

  /** A topic has a new state, which the hub knows and tells nobody. */
  set(topic: string, data: unknown): State {
    const version = (this.states.get(topic)?.version ?? 0) + 1;
    const state = { topic, version, time: new Date().toISOString(), data };
    this.states.set(topic, state);
    return state;
  }

  /** A topic has a new state, and whoever is subscribed is told. */
  async push(topic: string, data: unknown): Promise<void> {
    await this.publish(topic, JSON.stringify(this.set(topic, data)));
  }

  async publish(topic: string, text: string, retain = false): Promise<void> {
    await this.#writer?.publishAsync(topic, text, { qos: 1, retain });
  }

  /** Ends every connection of a page. */
  cut(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  get connections(): number {
    return this.#sockets.size;
  }

  /** Nothing comes through any more, and no connection ends. */
  silence(silent: boolean): void {
    this.#silent = silent;
  }

  #pass(socket: Socket): void {
    const onward = dial(this.#wsPort, '127.0.0.1');
    this.#sockets.add(socket);
    socket.on('data', (chunk) => this.#silent || onward.write(chunk));
    onward.on('data', (chunk) => this.#silent || socket.write(chunk));
    for (const [one, other] of [
      [socket, onward],
      [onward, socket],
    ] as const) {
      one.on('error', () => undefined);
      one.on('close', () => other.destroy());
    }
    socket.on('close', () => this.#sockets.delete(socket));
  }

  async #answer(url: string, authorization: string | undefined, response: ServerResponse): Promise<void> {
    const topic = decodeURIComponent(url.replace('/v1/state/', ''));
    // As it is when it is asked, however long the answer takes.
    const state = this.states.get(topic);
    const { until, status, by } = this.answering;
    this.asked.push({ topic, token: authorization?.replace('Bearer ', '') ?? '' });
    await until;
    response.writeHead(status ?? (state ? 200 : 404), { 'content-type': 'application/json' });
    const said = JSON.stringify(state ?? { type: '/problems/no-state' });
    response.end(by ? 'no such page\n' : status ? REFUSAL : said);
  }
}

/** As mosquitto's plugin keeps them. */
function user(username: string, password: string): Record<string, unknown> {
  const salt = randomBytes(12);
  const iterations = 101;
  const hash = pbkdf2Sync(password, salt, iterations, 64, 'sha512');
  return { username, password: hash.toString('base64'), salt: salt.toString('base64'), iterations };
}

async function freePort(): Promise<number> {
  const server = createServer();
  await listening(server);
  const free = port(server);
  await new Promise((resolve) => server.close(resolve));
  return free;
}

function listening(server: Server | Proxy): Promise<void> {
  return new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
}

function port(server: Server | Proxy | undefined): number {
  return (server?.address() as AddressInfo).port;
}
