// Bytes over a socket, and what comes back: for what no HTTP client would send.
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import type { Body } from "./http.ts";

export interface RawAnswer {
  status: number;
  headers: Record<string, string>;
  text: string;
  /** Where it is JSON. */
  body: Body;
}

/** How long an answer may take. Whoever waits for a limit of the Worker's says more. */
const PATIENCE_MS = 20_000;

/** Sends these bytes, and reads answers until the server closes or `answers` of them have come. */
export async function exchange(url: string, bytes: string | Buffer, answers = 1, patienceMs = PATIENCE_MS): Promise<RawAnswer[]> {
  const socket = await dial(url);
  try {
    const sent = typeof bytes === "string" ? Buffer.from(bytes, "latin1") : bytes;
    socket.write(sent);
    return await receive(socket, answers, patienceMs, sent.subarray(0, 5).equals(Buffer.from("HEAD ")));
  } finally {
    socket.destroy();
  }
}

export async function dial(url: string): Promise<Socket> {
  const { hostname, port } = new URL(url);
  const socket = connect(Number(port), hostname);
  // A server that refuses what it reads may reset the connection; what it said before counts.
  socket.on("error", () => {});
  await once(socket, "connect");
  return socket;
}

/** The answers on a socket, to HEAD without what they say they have. Fewer where the server closes it first. */
export async function receive(socket: Socket, answers = 1, patienceMs = PATIENCE_MS, toHead = false): Promise<RawAnswer[]> {
  let received = Buffer.alloc(0);
  const found: RawAnswer[] = [];
  const { promise, resolve, reject } = Promise.withResolvers<RawAnswer[]>();
  const timer = setTimeout(() => reject(new Error(`no answer within ${patienceMs} ms; so far: ${received.toString("latin1")}`)), patienceMs);
  const read = (chunk: Buffer) => {
    received = Buffer.concat([received, chunk]);
    for (let taken = takeAnswer(received, toHead); taken !== undefined; taken = takeAnswer(received, toHead)) {
      received = received.subarray(taken.length);
      found.push(taken.answer);
    }
    if (found.length >= answers) resolve(found);
  };
  socket.on("data", read);
  socket.once("close", () => resolve(found));
  try {
    return await promise;
  } finally {
    clearTimeout(timer);
    socket.off("data", read);
  }
}

/** One request of HTTP/1.1 with this target as it is. */
export function request(method: string, target: string, headers: Record<string, string> = {}, body = ""): string {
  const all: Record<string, string> = { Host: "tollgate.test", ...headers };
  if (body !== "") all["Content-Length"] ??= String(Buffer.byteLength(body));
  const lines = Object.entries(all).map(([name, value]) => `${name}: ${value}\r\n`);
  return `${method} ${target} HTTP/1.1\r\n${lines.join("")}\r\n${body}`;
}

function takeAnswer(received: Buffer, toHead: boolean): { answer: RawAnswer; length: number } | undefined {
  const end = received.indexOf("\r\n\r\n");
  if (end < 0) return undefined;
  const [first = "", ...lines] = received.subarray(0, end).toString("latin1").split("\r\n");
  const headers: Record<string, string> = {};
  for (const line of lines) {
    const colon = line.indexOf(":");
    headers[line.slice(0, colon).toLowerCase()] = line.slice(colon + 1).trim();
  }
  const status = Number(first.split(" ")[1]);
  let content = received.subarray(end + 4);
  let length: number;
  if (toHead) {
    content = Buffer.alloc(0);
    length = 0;
  } else if (headers["transfer-encoding"] === "chunked") {
    const chunked = unchunk(content);
    if (chunked === undefined) return undefined;
    ({ content, length } = chunked);
  } else {
    length = Number(headers["content-length"] ?? 0);
    if (content.length < length) return undefined;
    content = content.subarray(0, length);
  }
  const text = content.toString("utf8");
  const body: unknown = /json/.test(headers["content-type"] ?? "") && text !== "" ? JSON.parse(text) : undefined;
  return { answer: { status, headers, text, body }, length: end + 4 + length };
}

function unchunk(received: Buffer): { content: Buffer; length: number } | undefined {
  const parts: Buffer[] = [];
  let at = 0;
  for (;;) {
    const line = received.indexOf("\r\n", at);
    if (line < 0) return undefined;
    const size = Number.parseInt(received.subarray(at, line).toString("latin1"), 16);
    const next = line + 2 + size + 2;
    if (received.length < next) return undefined;
    if (size === 0) return { content: Buffer.concat(parts), length: next };
    parts.push(received.subarray(line + 2, next - 2));
    at = next;
  }
}
