import type { CommandResult } from "./commands.js";
import { errorFromAnswer, unwrap } from "./commands.js";
import { UnavailableError } from "./errors.js";
import { retryAfterMs, retryDelay, sleep } from "./retry.js";

/** How to reach a Worker. */
export interface TransportOptions {
  /** Without a trailing slash. */
  baseUrl: string;
  token: string;
  timeoutMs: number;
  retries: number;
  fetch: typeof fetch;
}

/** One attempt's outcome. `retry`: no answer that counts; whether it was carried out is not known. */
export type Attempt =
  | { kind: "answer"; result: CommandResult }
  | { kind: "retry"; error: UnavailableError; retryAfterMs: number | undefined };

/** HTTP with timeouts; attempts never throw. */
export class Transport {
  readonly retries: number;
  readonly #options: TransportOptions;

  constructor(options: TransportOptions) {
    this.#options = options;
    this.retries = options.retries;
  }

  /** Asks until there is an answer that counts. Only for what is safe to repeat. */
  async call<T>(method: string, path: string, body?: string): Promise<T> {
    for (let attempt = 1; ; attempt++) {
      const outcome = await this.attempt(method, path, body);
      if (outcome.kind === "answer") return unwrap<T>(outcome.result);
      const delay = attempt > this.retries ? undefined : retryDelay(attempt, outcome.retryAfterMs);
      if (delay === undefined) throw outcome.error;
      await sleep(delay);
    }
  }

  async attempt(method: string, path: string, body?: string): Promise<Attempt> {
    const { baseUrl, token, timeoutMs, fetch } = this.#options;
    const headers: Record<string, string> = { Authorization: `Bearer ${token}`, Accept: "application/json" };
    const init: RequestInit = { method, headers, redirect: "manual", signal: AbortSignal.timeout(timeoutMs) };
    if (body !== undefined) {
      headers["Content-Type"] = "application/json";
      init.body = body;
    }
    let response: Response;
    let text: string;
    try {
      response = await fetch(baseUrl + path, init);
      text = await response.text();
    } catch (cause) {
      const timedOut = cause instanceof Error && cause.name === "TimeoutError";
      const detail = timedOut ? `no answer within ${timeoutMs} ms` : `no connection to ${baseUrl}`;
      return { kind: "retry", error: new UnavailableError(detail, { cause }), retryAfterMs: undefined };
    }
    return judge(response.status, text, response.headers.get("Retry-After"));
  }
}

/** 5xx, redirects and bodies that are not JSON come from something in between, or from a Worker in trouble: try again. */
export function judge(status: number, text: string, retryAfter: string | null): Attempt {
  const after = retryAfterMs(retryAfter, Date.now());
  const body = parseJson(text);
  if (status >= 200 && status < 300 && body !== undefined) return { kind: "answer", result: { status, body } };
  const error = errorFromAnswer({ status, body });
  if (!(error instanceof UnavailableError)) return { kind: "answer", result: { status, body } };
  const retryAfterSeconds = after === undefined ? undefined : Math.ceil(after / 1000);
  const unavailable = new UnavailableError(error.detail, { status, cause: error.cause, retryAfterSeconds });
  return { kind: "retry", error: unavailable, retryAfterMs: after };
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // Not JSON is not one of Tollgate's answers; the caller treats undefined so.
    return undefined;
  }
}
