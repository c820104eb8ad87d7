import { UnavailableError } from "./errors.js";
import { judge, type Attempt } from "./transport.js";

/** What the Worker speaks; see docs/http-api.md. */
const PROTOCOL = "tollgate.v1";

/** Stands before a ticket among the subprotocols: most WebSockets can set no header, and what is a subprotocol shows in traces. */
const TICKET = "tollgate.ticket.";

/** What is used of a WebSocket. */
export interface SocketLike {
  onopen: (() => void) | null;
  onmessage: ((event: { data: unknown }) => void) | null;
  onclose: (() => void) | null;
  onerror: (() => void) | null;
  send(data: string): void;
  close(): void;
}

/** The global `WebSocket`, where there is one: Node from version 22, Workers, Deno, Bun. */
export type SocketConstructor = new (url: string, protocols: string[]) => SocketLike;

/** One WebSocket to a tenant's ledger: batches go out and answers come back, numbered. */
export class Connection {
  readonly #socket: SocketLike;
  readonly #timeoutMs: number;
  readonly #waiting = new Map<string, Waiting>();
  readonly #isOver: (wasOfUse: boolean) => void;
  readonly #opening: ReturnType<typeof setTimeout>;
  #state: "opening" | "open" | "retired" | "over" = "opening";
  #sent = 0;
  #wasOfUse = false;
  #usedAt = 0;
  #openedAt = 0;

  /**
   * Begins to open it, with a ticket that is used up by it. `isOver` is called once, when it cannot be used any more, with whether it ever brought an answer.
   * @throws whatever the constructor throws: some places forbid WebSockets.
   */
  constructor(Socket: SocketConstructor, url: string, ticket: string, timeoutMs: number, isOver: (wasOfUse: boolean) => void) {
    this.#timeoutMs = timeoutMs;
    this.#isOver = isOver;
    const socket = new Socket(url, [PROTOCOL, TICKET + ticket]);
    this.#socket = socket;
    this.#opening = setTimeout(() => this.#end(), timeoutMs);
    socket.onopen = () => {
      clearTimeout(this.#opening);
      if (this.#state !== "opening") return;
      this.#state = "open";
      this.#openedAt = this.#usedAt = Date.now();
    };
    socket.onmessage = ({ data }) => this.#receive(data);
    socket.onclose = () => this.#end();
    socket.onerror = () => this.#end();
  }

  /** Whether batches may be sent. */
  get isOpen(): boolean {
    return this.#state === "open";
  }

  /** When it was opened, and when it was last used; milliseconds since 1970. */
  get openedAt(): number {
    return this.#openedAt;
  }

  get usedAt(): number {
    return this.#usedAt;
  }

  /** A batch's outcome. Undefined where the connection ended first: the batch is to be sent in another way. */
  ask(body: string): Promise<Attempt | undefined> {
    this.#usedAt = Date.now();
    return new Promise((resolve) => {
      const number = String(++this.#sent);
      const timer = setTimeout(() => {
        this.#waiting.delete(number);
        resolve({ kind: "retry", error: new UnavailableError(`no answer within ${this.#timeoutMs} ms`), retryAfterMs: undefined });
        // A connection that answers one batch late may have died without a word, as where a machine was frozen.
        this.#end();
      }, this.#timeoutMs);
      this.#waiting.set(number, { resolve, timer });
      try {
        this.#socket.send(`${number}\n${body}`);
      } catch {
        // Closed meanwhile.
        this.#end();
      }
    });
  }

  /** Closes it as soon as everything that was asked is answered. */
  retire(): void {
    if (this.#state === "over") return;
    this.#state = "retired";
    if (this.#waiting.size === 0) this.#end();
  }

  #receive(data: unknown): void {
    const answer = typeof data === "string" ? /^(\d+) (\d{3})\n/.exec(data) : null;
    if (answer === null) {
      this.#end();
      return;
    }
    const [{ length }, number, status] = answer as unknown as [string, string, string];
    const waiting = this.#waiting.get(number);
    if (waiting === undefined) return;
    this.#waiting.delete(number);
    clearTimeout(waiting.timer);
    this.#wasOfUse = true;
    this.#usedAt = Date.now();
    waiting.resolve(judge(Number(status), (data as string).slice(length), null));
    if (this.#state === "retired" && this.#waiting.size === 0) this.#end();
  }

  #end(): void {
    if (this.#state === "over") return;
    this.#state = "over";
    clearTimeout(this.#opening);
    try {
      this.#socket.close();
    } catch {
      // It never opened.
    }
    for (const { resolve, timer } of this.#waiting.values()) {
      clearTimeout(timer);
      resolve(undefined);
    }
    this.#waiting.clear();
    this.#isOver(this.#wasOfUse);
  }
}

/** A batch that waits for its answer. */
interface Waiting {
  resolve(outcome: Attempt | undefined): void;
  timer: ReturnType<typeof setTimeout>;
}
