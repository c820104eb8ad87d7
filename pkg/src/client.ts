import { Batcher } from "./batcher.js";
import { allQuotas, CommandTollgate, type Command, type CommandResult, type QuotasPage } from "./commands.js";
import type { SocketConstructor } from "./connection.js";
import { Delivery } from "./delivery.js";
import { UnavailableError } from "./errors.js";
import type { OpenReservation } from "./hold.js";
import { baseUrl, integer, invalid, text } from "./options.js";
import type { Tollgate, Warning } from "./tollgate.js";
import { Transport } from "./transport.js";
import type {
  Charge,
  Overrides,
  OverridesState,
  PriceRequest,
  QuotaState,
  ReservationsPage,
  ReservationsQuery,
  ReservationState,
  ReserveRequest,
  UsageQuery,
  UsageReport,
} from "./types.js";
import { UnverifiedReservation, type UnverifiedCommands } from "./unverified.js";
import { Warnings } from "./warnings.js";

/** How to reach a tenant's ledger behind a Worker. */
export interface ClientOptions {
  /** Where the Worker is: `https://tollgate.example.com`. */
  url: string;
  /** A service token, or a token of this tenant with the role `app`. */
  token: string;
  tenant: string;
  /**
   * What `reserve` does when Tollgate cannot be reached after every retry. `deny`: it throws UnavailableError.
   * `allow`: it answers with `unverified: true`, the call is made unheld, and its settle still charges it.
   */
  onUnavailable: "deny" | "allow";
  /** Milliseconds for each attempt; 5,000 when left out. */
  timeoutMs?: number;
  /** Further attempts after the first one, with the same ids; 3 when left out. */
  retries?: number;
  /** Batches under way at once; 4 when left out. More are answered sooner, fewer gather more commands in each. */
  maxInFlight?: number;
  /** Instead of the global `fetch`. Batches then go by HTTP alone. */
  fetch?: typeof fetch;
  /**
   * How batches travel. `auto`, which it is when left out: over one WebSocket while many are sent, where there is a global `WebSocket`; by HTTP otherwise, and
   * whatever a WebSocket did not deliver. `http`: by HTTP alone.
   */
  transport?: "auto" | "http";
  /** Told of crossed thresholds and of what could not be held or closed. */
  onWarning?: (warning: Warning) => void;
}

/**
 * One tenant's ledger behind a Worker. Keep one client per tenant and process: what is asked of it at the same time
 * travels together. On Cloudflare Workers make one per request, since one request may not wait for another's answer.
 *
 * The options are checked at the first call, which rejects with an InvalidRequestError where one is missing or out of range: a client at the top of a
 * module costs nothing and fails nothing until it is used.
 */
export function createClient(options: ClientOptions): Tollgate {
  return new ClientTollgate(options);
}

class ClientTollgate extends CommandTollgate implements UnverifiedCommands {
  readonly #options: ClientOptions;
  #built: Way | undefined;

  constructor(options: ClientOptions) {
    super(new Warnings(options.onWarning));
    this.#options = options;
  }

  /** Made, and the options checked, at the first call: a client at the top of a module must not break a build that has no secrets. */
  get #way(): Way {
    return (this.#built ??= wayTo(this.#options));
  }

  get #transport(): Transport {
    return this.#way.transport;
  }

  get #batcher(): Batcher {
    return this.#way.batcher;
  }

  get #path(): string {
    return this.#way.path;
  }

  get #onUnavailable(): "deny" | "allow" {
    return this.#way.onUnavailable;
  }

  async price(request: PriceRequest): Promise<Charge> {
    const { at } = request;
    const body = at instanceof Date ? { ...request, at: at.toISOString() } : request;
    return this.#transport.call<Charge>("POST", `${this.#path}/price`, JSON.stringify(body));
  }

  async overrides(): Promise<OverridesState> {
    return this.#transport.call<OverridesState>("GET", `${this.#path}/overrides`);
  }

  async setOverrides(overrides: Overrides): Promise<OverridesState> {
    return this.#transport.call<OverridesState>("PUT", `${this.#path}/overrides`, JSON.stringify(overrides));
  }

  async usage(query: UsageQuery = {}): Promise<UsageReport> {
    const parameters = new URLSearchParams();
    if (query.groupBy !== undefined && query.groupBy.length > 0) parameters.set("groupBy", query.groupBy.join(","));
    if (query.from !== undefined) parameters.set("from", time(query.from));
    if (query.to !== undefined) parameters.set("to", time(query.to));
    if (query.timeZone !== undefined) parameters.set("timeZone", query.timeZone);
    if (query.limit !== undefined) parameters.set("limit", String(query.limit));
    if (query.after !== undefined && query.after !== null) parameters.set("after", query.after);
    const search = parameters.size > 0 ? `?${parameters}` : "";
    return this.#transport.call<UsageReport>("GET", `${this.#path}/usage${search}`);
  }

  async quotas(): Promise<QuotaState[]> {
    return allQuotas((after) => {
      const query = after === undefined ? "" : `?after=${encodeURIComponent(after)}&limit=1000`;
      return this.#transport.call<QuotasPage>("GET", `${this.#path}/quotas${query}`);
    });
  }

  async quota(id: string): Promise<QuotaState> {
    return this.#transport.call<QuotaState>("GET", `${this.#path}/quotas/${encodeURIComponent(id)}`);
  }

  async reservation(id: string): Promise<ReservationState> {
    return this.#transport.call<ReservationState>("GET", `${this.#path}/reservations/${encodeURIComponent(id)}`);
  }

  async reservations(query: ReservationsQuery = {}): Promise<ReservationsPage> {
    const parameters = new URLSearchParams({ state: "held" });
    for (const [name, value] of Object.entries(query)) if (value !== undefined) parameters.set(name, String(value));
    return this.#transport.call<ReservationsPage>("GET", `${this.#path}/reservations?${parameters}`);
  }

  override toleratesUndelivered(): boolean {
    return this.#onUnavailable === "allow";
  }

  protected override execute(command: Command): Promise<CommandResult> {
    return this.#batcher.submit(command);
  }

  protected override async open(request: ReserveRequest & { id: string }): Promise<OpenReservation> {
    try {
      return await super.open(request);
    } catch (error) {
      if (!(error instanceof UnavailableError) || this.#onUnavailable === "deny") throw error;
      const message = `reservation ${request.id} is not held: ${error.message}`;
      this.warnings.emit({ type: "unverified", message, id: request.id, error });
      return new UnverifiedReservation(this, request, Date.now());
    }
  }
}

/** What the options lead to. */
interface Way {
  transport: Transport;
  batcher: Batcher;
  path: string;
  onUnavailable: "deny" | "allow";
}

function wayTo(options: ClientOptions): Way {
  const { token, tenant, onUnavailable, transport: way = "auto" } = options;
  if (onUnavailable !== "deny" && onUnavailable !== "allow") {
    throw invalid("onUnavailable", 'must be "deny" or "allow": what happens in an outage is for the app to decide');
  }
  const retries = integer("retries", options.retries ?? 3, 0, 10);
  if (way !== "auto" && way !== "http") throw invalid("transport", 'must be "auto" or "http"');
  const worker = {
    baseUrl: baseUrl(options.url),
    token: text("token", token),
    timeoutMs: integer("timeoutMs", options.timeoutMs ?? 5000, 1, 300_000),
  };
  const transport = new Transport({ ...worker, retries, fetch: options.fetch ?? ((input, init) => globalThis.fetch(input, init)) });
  const path = `/v1/tenants/${encodeURIComponent(text("tenant", tenant))}`;
  const { WebSocket } = globalThis as { WebSocket?: SocketConstructor };
  // Whoever gives a fetch of their own wants to see what is sent.
  const Socket = way === "auto" && options.fetch === undefined ? WebSocket : undefined;
  const batcher = new Batcher(new Delivery({ ...worker, transport, path, Socket }), integer("maxInFlight", options.maxInFlight ?? 4, 1, 64));
  return { transport, batcher, path, onUnavailable };
}

function time(value: string | Date): string {
  return value instanceof Date ? value.toISOString() : value;
}
