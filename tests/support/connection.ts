// A connection as the Worker speaks it, without what the package does around it.
import assert from "node:assert/strict";
import { once } from "node:events";
import { request } from "node:http";
import { Api, expectStatus, type Answer, type Body } from "./http.ts";
import type { TestWorker } from "./worker.ts";

export const PROTOCOL = "tollgate.v1";

/** One open connection (docs/http-api.md), and its answers by their numbers. */
export class Connection {
  readonly socket: WebSocket;
  readonly closed: Promise<number>;
  readonly #waiting = new Map<string, PromiseWithResolvers<{ status: number; body: Body }>>();
  #sent = 0;

  private constructor(socket: WebSocket) {
    this.socket = socket;
    this.closed = once(socket, "close").then(([event]) => {
      for (const { reject } of this.#waiting.values()) reject(closed());
      return (event as CloseEvent).code;
    });
    socket.addEventListener("message", ({ data }) => {
      const [, number = "", status, body = ""] = /^(\d+) (\d+)\n(.*)$/s.exec(String(data)) ?? assert.fail(`not an answer: ${data}`);
      this.#waiting.get(number)?.resolve({ status: Number(status), body: JSON.parse(body) });
      this.#waiting.delete(number);
    });
  }

  static async open(worker: TestWorker, path: string, token: string): Promise<Connection> {
    const { body } = expectStatus(await new Api(worker.url, token).post(`${path}/connect/ticket`, {}), 201);
    const socket = new WebSocket(`${worker.url.replace("http", "ws")}${path}/connect`, [PROTOCOL, `tollgate.ticket.${body.ticket}`]);
    const connection = new Connection(socket);
    await once(socket, "open");
    assert.equal(socket.protocol, PROTOCOL);
    return connection;
  }

  ask(commands: unknown): Promise<{ status: number; body: Body }> {
    return this.send(JSON.stringify({ commands }));
  }

  send(text: string): Promise<{ status: number; body: Body }> {
    if (this.socket.readyState !== WebSocket.OPEN) return Promise.reject(closed());
    const number = String(++this.#sent);
    const waiting = Promise.withResolvers<{ status: number; body: Body }>();
    this.#waiting.set(number, waiting);
    this.socket.send(`${number}\n${text}`);
    return waiting.promise;
  }
}

/** A handshake's answer, where it is no connection. */
export function refusedHandshake(worker: TestWorker, path: string, headers: Record<string, string>): Promise<Answer> {
  const { hostname, port } = new URL(worker.url);
  const all = { connection: "Upgrade", upgrade: "websocket", "sec-websocket-version": "13", "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==", ...headers };
  return new Promise((resolve, reject) => {
    const outgoing = request({ hostname, port, path, headers: all }, (incoming) => {
      const chunks: Buffer[] = [];
      incoming.on("data", (chunk: Buffer) => chunks.push(chunk));
      incoming.on("end", () => {
        const text = Buffer.concat(chunks).toString("utf8");
        resolve({ status: incoming.statusCode ?? 0, headers: incoming.headers, text, body: JSON.parse(text) });
      });
    });
    outgoing.on("upgrade", (_, socket) => {
      socket.destroy();
      reject(new Error("it was let in"));
    });
    outgoing.on("error", reject);
    outgoing.end();
  });
}

/** As Node's errors of broken connections, with a code. */
function closed(): Error {
  return Object.assign(new Error("the connection was closed"), { code: "CLOSED" });
}
