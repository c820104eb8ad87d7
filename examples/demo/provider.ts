/**
 * The recorded providers: one HTTP server on loopback that replays recorded answers of five model APIs, whole and as
 * event streams, and of a sandbox API. The demo's calls are real calls; only the models are not.
 */
import { readFile } from "node:fs/promises";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";

const recordings = new URL("../../tests/fixtures/providers/", import.meta.url);

/** Which recording answers: the API, the model that the request names, and whether it asks for a stream. */
const answers: Record<string, string> = {
  "openai.chat o4-mini-2025-04-16": "openai.chat/reasoning-tools.json",
  "openai.chat gpt-4o-2024-08-06 stream": "openai.chat/stream.sse",
  "openai.responses gpt-5-2025-08-07 stream": "openai.responses/stream.sse",
  "anthropic.messages claude-sonnet-4-5-20250929": "anthropic.messages/thinking-tools.json",
  "anthropic.messages claude-sonnet-4-5-20250929 stream": "anthropic.messages/stream.sse",
  "gemini.generate_content gemini-2.5-flash": "gemini.generate_content/plain.json",
  "gemini.generate_content gemini-2.5-pro stream": "gemini.generate_content/stream-thinking-cached.sse",
  "groq.chat llama-3.3-70b-versatile": "groq.chat/plain.json",
  "groq.chat llama-3.3-70b-versatile stream": "groq.chat/stream.sse",
};

/** The life of the recorded sandbox: 141.2 seconds. */
const sandbox = {
  sandboxID: "ixkq3n2v9p",
  templateID: "base",
  startedAt: "2026-11-20T09:00:00.000Z",
  endAt: "2026-11-20T09:02:21.200Z",
  cpuCount: 2,
  memoryMB: 512,
};

export interface Provider {
  url: string;
  /** Model calls that were answered. */
  calls(): number;
  /**
   * Holds the next answers back until so many calls are waiting, as slow models do all day, or until five seconds are
   * over. Without it a race would be a matter of luck.
   */
  gather(count: number): void;
  close(): Promise<void>;
}

export async function startProvider(): Promise<Provider> {
  let calls = 0;
  let gate = openGate();
  const server = createServer((request, response) => {
    handle(request, response).catch((error: unknown) => {
      if (response.headersSent) response.destroy();
      else send(response, 500, { error: { message: String(error) } });
    });
  });

  async function handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { pathname } = new URL(request.url ?? "/", "http://provider");
    const text = await bodyOf(request);
    if (pathname.startsWith("/sandboxes")) return handleSandbox(request.method ?? "", pathname, response);

    // Requests are this demo's own; one that is not JSON ends in the 500 above.
    const asked = text === "" ? {} : (JSON.parse(text) as Record<string, unknown>);
    const key = keyOf(pathname, asked);
    const file = key === undefined ? undefined : answers[key];
    if (file === undefined) return send(response, 404, { error: { message: `nothing was recorded for ${key ?? pathname}` } });
    await gate.pass();
    calls += 1;
    const recording = await readFile(new URL(file, recordings));
    if (file.endsWith(".sse")) return stream(response, recording);
    response.writeHead(200, { "Content-Type": "application/json" });
    response.end(recording);
  }

  return {
    url: await listen(server),
    calls: () => calls,
    gather(count) {
      gate = gatheringGate(count);
    },
    async close() {
      const closed = new Promise((resolve) => server.close(resolve));
      server.closeAllConnections();
      await closed;
    },
  };
}

/** The API by its path, the model and the streaming as each API has them. */
function keyOf(path: string, asked: Record<string, unknown>): string | undefined {
  const gemini = /^\/v1beta\/models\/([^/:]+):(generateContent|streamGenerateContent)$/.exec(path);
  if (gemini !== null) {
    return `gemini.generate_content ${gemini[1]}${gemini[2] === "streamGenerateContent" ? " stream" : ""}`;
  }
  const formats: Record<string, string> = {
    "/v1/chat/completions": "openai.chat",
    "/v1/responses": "openai.responses",
    "/v1/messages": "anthropic.messages",
    "/openai/v1/chat/completions": "groq.chat",
  };
  const format = formats[path];
  if (format === undefined) return undefined;
  return `${format} ${String(asked["model"])}${asked["stream"] === true ? " stream" : ""}`;
}

function handleSandbox(method: string, path: string, response: ServerResponse): void {
  const one = `/sandboxes/${sandbox.sandboxID}`;
  switch (`${method} ${path}`) {
    case "POST /sandboxes":
      return send(response, 201, { sandboxID: sandbox.sandboxID, templateID: sandbox.templateID });
    case `POST ${one}/timeout`:
    case `DELETE ${one}`:
      response.writeHead(204).end();
      return;
    case `GET ${one}`:
      return send(response, 200, sandbox);
    default:
      return send(response, 404, { code: 404, message: `no such call: ${method} ${path}` });
  }
}

/** Sends a recorded stream in pieces that care for neither lines nor characters, as networks do. */
async function stream(response: ServerResponse, recording: Buffer): Promise<void> {
  response.writeHead(200, { "Content-Type": "text/event-stream; charset=utf-8", "Cache-Control": "no-cache" });
  const piece = 331;
  for (let at = 0; at < recording.length; at += piece) {
    response.write(recording.subarray(at, at + piece));
    await sleep(1);
  }
  response.end();
}

interface Gate {
  pass(): Promise<void>;
}

function openGate(): Gate {
  return { pass: async () => undefined };
}

function gatheringGate(count: number): Gate {
  const { promise, resolve } = Promise.withResolvers<void>();
  const timer = setTimeout(resolve, 5000);
  let waiting = 0;
  return {
    pass() {
      waiting += 1;
      if (waiting >= count) {
        clearTimeout(timer);
        resolve();
      }
      return promise;
    },
  };
}

function listen(server: Server): Promise<string> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const { port } = server.address() as AddressInfo;
      resolve(`http://127.0.0.1:${port}`);
    });
  });
}

async function bodyOf(request: IncomingMessage): Promise<string> {
  const parts: Buffer[] = [];
  // Without an encoding set, a request yields buffers.
  for await (const part of request) parts.push(part as Buffer);
  return Buffer.concat(parts).toString("utf8");
}

function send(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { "Content-Type": "application/json" });
  response.end(JSON.stringify(body));
}
