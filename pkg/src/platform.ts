import { baseUrl, integer, text } from "./options.js";
import { Transport } from "./transport.js";
import type { Overrides, OverridesState, RerateReport, RerateRequest, ReservationsFilter, ReservationsReleased } from "./types.js";

/** How to reach what concerns every tenant of a Worker. */
export interface PlatformOptions {
  /** Where the Worker is: `https://tollgate.example.com`. */
  url: string;
  /** The admin token. */
  token: string;
  /** Milliseconds for each attempt; 5,000 when left out. */
  timeoutMs?: number;
  /** Further attempts after the first one; 3 when left out. */
  retries?: number;
  /** Instead of the global `fetch`. */
  fetch?: typeof fetch;
}

/** What concerns every tenant. */
export interface Platform {
  /** The platform's own rates, aliases and markups. */
  overrides(): Promise<OverridesState>;

  /**
   * Replaces them by others, all at once. Every tenant has them within a minute; entries whose `from` is later than that begin
   * everywhere at once. What is reserved keeps its rates.
   * @throws InvalidRequestError when the document is wrong; then nothing has changed.
   */
  setOverrides(overrides: Overrides): Promise<OverridesState>;

  /**
   * What a tenant's charges would be under other prices, a page at a time; with `post`, entries that make up the difference. What was
   * charged is never rewritten, and the same `post` id adjusts a charge once.
   */
  rerate(tenant: string, request: RerateRequest): Promise<RerateReport>;

  /**
   * Releases a tenant's open holds in bulk, 500 at most at a time, those first that would end first: ask again while there are more.
   * What was metered stays charged.
   */
  releaseReservations(tenant: string, which: ReservationsFilter): Promise<ReservationsReleased>;
}

/**
 * What concerns every tenant of a Worker, for whoever administers it. The options are checked at the first call, which rejects with an
 * InvalidRequestError where one is missing or out of range.
 */
export function createPlatform(options: PlatformOptions): Platform {
  let transport: Transport | undefined;
  const call = async <T>(method: string, path: string, body?: unknown): Promise<T> => {
    transport ??= transportTo(options);
    return transport.call<T>(method, path, body === undefined ? undefined : JSON.stringify(body));
  };
  const path = "/v1/catalog/overrides";
  return {
    overrides: () => call<OverridesState>("GET", path),
    rerate: (tenant, request) => call<RerateReport>("POST", `/v1/tenants/${encodeURIComponent(tenant)}/rerate`, request),
    releaseReservations: (tenant, which) =>
      call<ReservationsReleased>("POST", `/v1/tenants/${encodeURIComponent(tenant)}/reservations/release`, which),
    setOverrides: (overrides) => call<OverridesState>("PUT", path, overrides),
  };
}

function transportTo(options: PlatformOptions): Transport {
  return new Transport({
    baseUrl: baseUrl(options.url),
    token: text("token", options.token),
    timeoutMs: integer("timeoutMs", options.timeoutMs ?? 5000, 1, 300_000),
    retries: integer("retries", options.retries ?? 3, 0, 10),
    fetch: options.fetch ?? ((input, init) => globalThis.fetch(input, init)),
  });
}
