import type { BatchSender } from "./batcher.js";
import { Connection, type SocketConstructor } from "./connection.js";
import type { Attempt, Transport } from "./transport.js";

/** So many batches by HTTP within a second are worth a connection. */
const BUSY = 8;
const BUSY_WITHIN_MS = 1000;

/** A connection that was not used for so long is closed: it would keep a process alive. */
const IDLE_MS = 1000;

/** The Worker ends a connection after 60 seconds, to look at the token and the platform's prices anew. */
const RENEW_AFTER_MS = 45_000;

/** After a connection that was of no use, the next one is tried so much later. */
const PAUSE_MS = 60_000;

/** Where batches go, and how. */
export interface DeliveryOptions {
  transport: Transport;
  /** The tenant's path. */
  path: string;
  /** Without a trailing slash. */
  baseUrl: string;
  timeoutMs: number;
  /** None where batches go by HTTP alone. */
  Socket: SocketConstructor | undefined;
}

/**
 * Brings batches to the ledger: each by an HTTP request, or over one WebSocket while there is much to say. A batch that a connection did not answer
 * goes by HTTP within the same attempt; its ids make that safe.
 */
export class Delivery implements BatchSender {
  readonly retries: number;
  readonly #options: DeliveryOptions;
  #connection: Connection | undefined;
  #isGettingTicket = false;
  #pausedAt = 0;
  #isAllowed = true;
  #countedSince = 0;
  #counted = 0;

  constructor(options: DeliveryOptions) {
    this.#options = options;
    this.retries = options.transport.retries;
  }

  async attempt(body: string): Promise<Attempt> {
    const connection = this.#usable();
    const outcome = connection === undefined ? undefined : await connection.ask(body);
    if (outcome !== undefined) return outcome;
    if (this.#connection === undefined) this.#considerConnecting();
    return this.#options.transport.attempt("POST", `${this.#options.path}/batch`, body);
  }

  #usable(): Connection | undefined {
    const connection = this.#connection;
    if (connection?.isOpen !== true) return undefined;
    if (elapsed(connection.openedAt) < RENEW_AFTER_MS) return connection;
    // What it still has to answer, it answers.
    this.#connection = undefined;
    connection.retire();
    this.#connect();
    return undefined;
  }

  #considerConnecting(): void {
    if (elapsed(this.#countedSince) > BUSY_WITHIN_MS) {
      this.#countedSince = Date.now();
      this.#counted = 0;
    }
    if (++this.#counted >= BUSY && this.#isAllowed && elapsed(this.#pausedAt) >= PAUSE_MS) this.#connect();
  }

  #connect(): void {
    const { Socket } = this.#options;
    if (Socket === undefined || this.#isGettingTicket) return;
    this.#isGettingTicket = true;
    void this.#ticket().then((ticket) => {
      this.#isGettingTicket = false;
      if (ticket === undefined) this.#pausedAt = Date.now();
      else this.#open(Socket, ticket);
    });
  }

  /** What lets one connection in, within seconds. Undefined where there is none to be had: batches go by HTTP then. */
  async #ticket(): Promise<string | undefined> {
    const { transport, path } = this.#options;
    const outcome = await transport.attempt("POST", `${path}/connect/ticket`, "{}");
    if (outcome.kind !== "answer" || outcome.result.status !== 201) return undefined;
    const ticket = (outcome.result.body as { ticket?: unknown } | null)?.ticket;
    return typeof ticket === "string" ? ticket : undefined;
  }

  #open(Socket: SocketConstructor, ticket: string): void {
    const { baseUrl, path, timeoutMs } = this.#options;
    const url = `${baseUrl.replace(/^http/, "ws")}${path}/connect`;
    try {
      const connection: Connection = new Connection(Socket, url, ticket, timeoutMs, (wasOfUse) => {
        if (!wasOfUse) this.#pausedAt = Date.now();
        if (this.#connection === connection) this.#connection = undefined;
      });
      this.#connection = connection;
      this.#closeWhenIdle(connection);
    } catch {
      // Not allowed here. HTTP is.
      this.#isAllowed = false;
    }
  }

  #closeWhenIdle(connection: Connection): void {
    const timer: unknown = setTimeout(() => {
      if (this.#connection !== connection) return;
      if (connection.isOpen && elapsed(connection.usedAt) >= IDLE_MS) {
        this.#connection = undefined;
        connection.retire();
      } else {
        this.#closeWhenIdle(connection);
      }
    }, IDLE_MS);
    // In Node, the connection keeps the process alive, not this.
    (timer as { unref?(): void }).unref?.();
  }
}

/** How long ago something was, by a clock that also counts while a machine sleeps. Where it was set back, long ago. */
function elapsed(since: number): number {
  const passed = Date.now() - since;
  return passed < 0 ? Number.POSITIVE_INFINITY : passed;
}
