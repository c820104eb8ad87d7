/** First pause; doubles with every further attempt. */
const BASE_DELAY_MS = 100;

/** No pause is longer; a server that asks for more is not waited for. */
export const MAX_DELAY_MS = 10_000;

/**
 * How long to wait before attempt `attempt` + 1, in milliseconds: exponential, with jitter so that callers which failed
 * together do not come back together, and never less than the server asked for. Undefined when it asked for too much.
 */
export function retryDelay(attempt: number, retryAfterMs: number | undefined): number | undefined {
  if (retryAfterMs !== undefined && retryAfterMs > MAX_DELAY_MS) return undefined;
  const ceiling = Math.min(BASE_DELAY_MS * 2 ** (attempt - 1), MAX_DELAY_MS);
  const jittered = ceiling * (0.5 + Math.random() / 2);
  return Math.max(jittered, retryAfterMs ?? 0);
}

/** Milliseconds that a `Retry-After` header asks for: seconds or an HTTP date. Undefined when absent or unreadable. */
export function retryAfterMs(header: string | null, now: number): number | undefined {
  if (header === null) return undefined;
  if (/^\d+$/.test(header)) return Number(header) * 1000;
  const date = Date.parse(header);
  return Number.isNaN(date) ? undefined : Math.max(0, date - now);
}

export function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
