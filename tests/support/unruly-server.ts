// A server that speaks the batch protocol and misbehaves exactly as it is told, to see how the client copes.
import { once } from "node:events";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { setTimeout as pause } from "node:timers/promises";

export interface Command {
  op: string;
  id: string;
  [field: string]: unknown;
}

export interface Result {
  status: number;
  body: unknown;
}

/** What to do with one request. Without a behaviour left, requests are answered as they should be. */
export type Behaviour =
  /** Commits, and then cuts the connection instead of answering. */
  | { kind: "drop-after-commit" }
  /** Cuts the connection before anything is done. */
  | { kind: "drop" }
  /** Never answers. */
  | { kind: "hang" }
  /** Answers as it should, later. */
  | { kind: "slow"; ms: number }
  /** Answers with this instead, doing nothing. */
  | { kind: "answer"; status: number; body: unknown; headers?: Record<string, string> }
  /** Answers with these results for the commands with these ids, and as it should for the others. */
  | { kind: "results"; results: Record<string, Result> };

export interface Seen {
  method: string;
  path: string;
  headers: IncomingMessage["headers"];
  text: string;
  /** Of a batch; empty for other requests. */
  commands: Command[];
  at: number;
}

export class UnrulyServer {
  /** Every request, in order of arrival. */
  readonly seen: Seen[] = [];
  /** What was carried out, once for each op and id. */
  readonly committed: Command[] = [];
  /** The most requests that were open at once. */
  mostOpen = 0;
  readonly #behaviours: Behaviour[] = [];
  readonly #answers = new Map<string, Result>();
  readonly #server: Server;
  #open = 0;

  private constructor(server: Server) {
    this.#server = server;
  }

  static async start(): Promise<UnrulyServer> {
    const server = createServer((request, response) => {
      unruly.#serve(request, response).catch((error: unknown) => {
        response.destroy(error instanceof Error ? error : new Error(String(error)));
      });
    });
    const unruly = new UnrulyServer(server);
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    return unruly;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** Adds behaviours for the next requests, one each. */
  next(...behaviours: Behaviour[]): void {
    this.#behaviours.push(...behaviours);
  }

  async stop(): Promise<void> {
    const closed = once(this.#server, "close");
    this.#server.close();
    this.#server.closeAllConnections();
    await closed;
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    this.#open++;
    this.mostOpen = Math.max(this.mostOpen, this.#open);
    response.once("close", () => this.#open--);
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const text = Buffer.concat(chunks).toString("utf8");
    const path = request.url ?? "";
    const commands: Command[] = path.endsWith("/batch") ? JSON.parse(text).commands : [];
    this.seen.push({ method: request.method ?? "", path, headers: request.headers, text, commands, at: performance.now() });

    const behaviour = this.#behaviours.shift();
    switch (behaviour?.kind) {
      case "drop":
        response.destroy();
        return;
      case "hang":
        return;
      case "drop-after-commit":
        this.#commit(commands);
        response.destroy();
        return;
      case "answer":
        response.writeHead(behaviour.status, { "Content-Type": "application/json", ...behaviour.headers });
        response.end(typeof behaviour.body === "string" ? behaviour.body : JSON.stringify(behaviour.body));
        return;
      case "slow":
        await pause(behaviour.ms);
        break;
      default:
    }
    const special = behaviour?.kind === "results" ? behaviour.results : {};
    const results = commands.map((command) => special[command.id] ?? this.#commit([command])[0]);
    response.writeHead(200, { "Content-Type": "application/json" });
    response.end(JSON.stringify({ results }));
  }

  /** Carries out each command once; a repeat gets the first answer. */
  #commit(commands: Command[]): Result[] {
    return commands.map((command) => {
      const key = `${command.op} ${command.id}`;
      const first = this.#answers.get(key);
      if (first !== undefined) return { ...first, body: { ...(first.body as object), replayed: true } };
      const result = answerTo(command);
      this.committed.push(command);
      this.#answers.set(key, result);
      return result;
    });
  }
}

export function problem(status: number, code: string, more: Record<string, unknown> = {}): Record<string, unknown> {
  return { type: `urn:tollgate:problem:${code}`, title: code, status, code, detail: `made up: ${code}`, ...more };
}

function answerTo(command: Command): Result {
  const { id } = command;
  const held = { usd: "1", tokens: 0, requests: 1 };
  const times = { createdAt: "2026-11-24T00:00:00.000Z", expiresAt: "2026-11-24T00:10:00.000Z" };
  const charge = { usd: "1", lines: [], flags: [] };
  switch (command.op) {
    case "reserve":
      return { status: 201, body: { id, state: "held", held, ...times, onExpiry: "charge_hold", quotas: [] } };
    case "settle":
      return { status: 200, body: { id, state: "settled", charge, released: "0", overrun: "0", quotas: [] } };
    case "release":
      return { status: 200, body: { id, state: "released", released: "1", quotas: [] } };
    case "extend":
      return { status: 200, body: { id, state: "held", held, expiresAt: times.expiresAt, quotas: [] } };
    case "record":
      return { status: 201, body: { id, state: "recorded", charge, quotas: [] } };
    case "explain":
      return { status: 200, body: { allowed: true, estimate: held, quotas: [] } };
    default:
      return { status: 400, body: problem(400, "invalid_request", { field: "op" }) };
  }
}
