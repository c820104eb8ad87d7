import { allQuotas, CommandTollgate, errorFromAnswer, namedFrom, unwrap, type Command, type CommandResult, type QuotasPage } from "./commands.js";
import { InvalidRequestError, TollgateError } from "./errors.js";
import { loadEngine, type EngineLedger } from "./engine.js";
import type { OpenReservation } from "./hold.js";
import { Prices } from "./prices.js";
import type { Tollgate, Warning } from "./tollgate.js";
import type {
  Charge,
  Credit,
  EntriesPage,
  EntriesQuery,
  Increase,
  Overrides,
  OverridesState,
  Plan,
  Policy,
  PriceRequest,
  QuotaDefinition,
  QuotaState,
  RefundRequest,
  Refunding,
  ReservationBody,
  ReservationsFilter,
  ReservationsPage,
  ReservationsQuery,
  ReservationsReleased,
  ReservationState,
  ReserveRequest,
  UnknownModel,
  UsageQuery,
  UsageReport,
} from "./types.js";
import { Warnings } from "./warnings.js";

/** What an in-process ledger starts with. */
export interface LocalOptions {
  /** `local` when left out. */
  tenant?: string;
  /** The policy document that a Worker would be given; its plan's quotas and rules apply. */
  policy?: Policy;
  /** The plan of `policy` to take; its `defaultPlan` when left out. */
  plan?: string;
  /** Quotas by id, beside those of the plan. Without any quota everything is allowed. */
  quotas?: Record<string, QuotaDefinition>;
  /** Instead of the plan's. */
  unknownModel?: UnknownModel;
  /** Instead of the plan's. */
  withoutQuota?: "allow" | "deny";
  /** Own rates, aliases and markups. */
  overrides?: Overrides;
  /** The clock, as a date or in milliseconds since 1970; the system's when left out. */
  now?: () => Date | number;
  /** Told of crossed thresholds and of holds that could not be closed. */
  onWarning?: (warning: Warning) => void;
}

/** A ledger in this process, which its owner also administers. It lives as long as the object does. */
export interface LocalTollgate extends Tollgate {
  /** Sets a quota. Editing the limit or `warnAt` keeps what was spent; changing anything else starts at zero. */
  setQuota(id: string, quota: QuotaDefinition): Promise<QuotaState>;
  /**
   * Removes a quota.
   * @throws TollgateError `credits_left` where something that was paid for is left of it, unless `forfeit` is true: then that is gone.
   */
  removeQuota(id: string, options?: { forfeit?: boolean }): Promise<void>;
  /** Lets spending start again at zero for this period; holds stay. */
  resetQuota(id: string): Promise<QuotaState>;
  /** Adds to what a `lifetime` quota has been paid for. Safe to repeat under the same id. */
  addCredit(quotaId: string, credit: Credit): Promise<QuotaState>;
  /** Takes back what is left of a credit. */
  revokeCredit(quotaId: string, creditId: string): Promise<QuotaState>;
  /** Raises a quota's limit until an instant. Safe to repeat under the same id. */
  increaseLimit(quotaId: string, increase: Increase): Promise<QuotaState>;
  /** Ends an increase before its time. */
  endIncrease(quotaId: string, increaseId: string): Promise<QuotaState>;
  /** Releases open holds in bulk, 500 at most at a time. */
  releaseReservations(which: ReservationsFilter): Promise<ReservationsReleased>;
  /** Takes back a charge, or a part of it. Safe to repeat under the same id. */
  refund(id: string, request: RefundRequest): Promise<Refunding>;
  /** The ledger, line by line. */
  entries(query?: EntriesQuery): Promise<EntriesPage>;
}

/**
 * The same rules in this process, on the same core as the Worker: for tests, development, and processes that spend
 * alone. Nothing is stored and nothing is shared with other processes.
 * @throws InvalidRequestError when the policy or a quota is wrong.
 */
export function createLocal(options: LocalOptions = {}): LocalTollgate {
  return new LedgerTollgate(options);
}

/** Version (date) of the price list in this package. */
export function catalogVersion(): string {
  return loadEngine().catalogVersion();
}

class LedgerTollgate extends CommandTollgate implements LocalTollgate {
  readonly #ledger: EngineLedger;
  readonly #now: () => number;
  #hasOverrides: boolean;
  #trap: unknown;

  constructor(options: LocalOptions) {
    super(new Warnings(options.onWarning));
    const { now = Date.now } = options;
    this.#now = () => Number(now());
    this.#hasOverrides = options.overrides !== undefined;
    const config = JSON.stringify({ tenant: options.tenant ?? "local", plan: planOf(options), overrides: options.overrides });
    this.#ledger = loadEngine().openLedger(config, this.#now());
    // The core does not throw: it answers what is wrong with its configuration to every command.
    unwrap(this.#answer({ op: "listQuotas" }));
  }

  async price(request: PriceRequest): Promise<Charge> {
    const { at = this.#now() } = request;
    // What is agreed on instead of the price list, only the ledger knows.
    if (this.#hasOverrides) return this.run<Charge>({ ...request, at: typeof at === "string" ? at : new Date(at).toISOString(), op: "price" });
    if (typeof at === "string") return charge(request);
    // As a date, so that what is not a time is refused here.
    const atMs = Number(at);
    return loadPrices().price(request, atMs) ?? charge({ ...request, at: new Date(atMs).toISOString() });
  }

  async overrides(): Promise<OverridesState> {
    return this.run<OverridesState>({ op: "getOverrides" });
  }

  async setOverrides(overrides: Overrides): Promise<OverridesState> {
    const state = await namedFrom("overrides", this.run<OverridesState>({ op: "putOverrides", overrides }));
    this.#hasOverrides = true;
    return state;
  }

  async usage(query: UsageQuery = {}): Promise<UsageReport> {
    const { groupBy = [], from, to, timeZone, limit, after } = query;
    return this.run<UsageReport>({ op: "usage", groupBy, from: time(from), to: time(to), timeZone, limit, after });
  }

  async quotas(): Promise<QuotaState[]> {
    // Telling of thresholds is for what was just spent.
    return allQuotas(async (after) => unwrap<QuotasPage>(this.#answer({ op: "listQuotas", after, limit: 1000 })));
  }

  async quota(id: string): Promise<QuotaState> {
    return this.run<QuotaState>({ op: "getQuota", id });
  }

  async reservation(id: string): Promise<ReservationState> {
    return this.run<ReservationState>({ op: "getReservation", id });
  }

  async reservations(query: ReservationsQuery = {}): Promise<ReservationsPage> {
    return this.run<ReservationsPage>({ ...query, op: "listReservations" });
  }

  async releaseReservations(which: ReservationsFilter): Promise<ReservationsReleased> {
    return this.run<ReservationsReleased>({ ...which, op: "releaseReservations" });
  }

  async setQuota(id: string, quota: QuotaDefinition): Promise<QuotaState> {
    return namedFrom("quota", this.run<QuotaState>({ op: "putQuota", id, quota }));
  }

  async removeQuota(id: string, { forfeit }: { forfeit?: boolean } = {}): Promise<void> {
    const result = await this.execute({ op: "deleteQuota", id, forfeit });
    if (result.status >= 400) throw errorFromAnswer(result);
  }

  async resetQuota(id: string): Promise<QuotaState> {
    return this.run<QuotaState>({ op: "resetQuota", id });
  }

  async addCredit(id: string, credit: Credit): Promise<QuotaState> {
    return namedFrom("credit", this.run<QuotaState>({ op: "addCredit", id, credit }));
  }

  async revokeCredit(id: string, creditId: string): Promise<QuotaState> {
    return this.run<QuotaState>({ op: "revokeCredit", id, creditId });
  }

  async increaseLimit(id: string, increase: Increase): Promise<QuotaState> {
    return namedFrom("increase", this.run<QuotaState>({ op: "increaseLimit", id, increase }));
  }

  async endIncrease(id: string, increaseId: string): Promise<QuotaState> {
    return this.run<QuotaState>({ op: "endIncrease", id, increaseId });
  }

  async refund(id: string, request: RefundRequest): Promise<Refunding> {
    return namedFrom("refund", this.run<Refunding>({ op: "refund", id, refund: request }));
  }

  async entries(query: EntriesQuery = {}): Promise<EntriesPage> {
    return this.run<EntriesPage>({ ...query, op: "entries" });
  }

  protected override async execute(command: Command): Promise<CommandResult> {
    return this.#answer(command);
  }

  protected override async open(request: ReserveRequest & { id: string }): Promise<OpenReservation> {
    // The core looks for what a command is at its beginning first.
    const command: Command = { op: "reserve" };
    Object.assign(command, request, RESERVE);
    const text = this.#send(command);
    const at = this.warnings.areWanted ? -1 : text.indexOf(QUOTAS);
    if (!text.startsWith("201") || at === -1) return this.opened(request, this.checked(command, parseAnswer(text)));
    // Most of the answer are its quotas, which few callers of a reserve look at: they are read from it when somebody does.
    const body = JSON.parse(`${text.slice(3, at)}}`) as ReservationBody;
    return this.opened(request, body, text.slice(at + QUOTAS.length - 1, -1));
  }

  #answer(command: Command): CommandResult {
    return parseAnswer(this.#send(command));
  }

  #send(command: Command): string {
    if (this.#trap !== undefined) throw trapped(this.#trap);
    const text = JSON.stringify(command);
    try {
      return this.#ledger.execute(text, this.#now());
    } catch (cause) {
      // The core answers bad input. What it throws is a trap, after which nothing that it holds can be relied on.
      this.#trap = cause;
      throw trapped(cause);
    }
  }
}

/** Whatever the request says itself. */
const RESERVE = { op: "reserve" };

/** With what the last member of the answer to a reserve begins. It cannot stand inside a text, where its quotes would be escaped. */
const QUOTAS = ',"quotas":[';

let prices: Prices | undefined;

function loadPrices(): Prices {
  const { pricer, memory } = loadEngine();
  return (prices ??= new Prices(pricer, memory, charge));
}

/** The long way to a charge: every request, and every reason why there is no price. */
function charge(request: object): Charge {
  return unwrap<Charge>(parseAnswer(loadEngine().price(JSON.stringify(request))));
}

function planOf({ policy, plan, quotas, unknownModel, withoutQuota }: LocalOptions): Plan {
  const base = policy === undefined ? undefined : planIn(policy, plan ?? policy.defaultPlan);
  return {
    ...base,
    quotas: { ...base?.quotas, ...quotas },
    ...(unknownModel !== undefined && { unknownModel }),
    ...(withoutQuota !== undefined && { withoutQuota }),
  };
}

function planIn(policy: Policy, name: string): Plan {
  if (Object.hasOwn(policy.plans, name)) {
    const plan = policy.plans[name];
    if (plan !== undefined) return plan;
  }
  const detail = `plan: the policy has no plan ${JSON.stringify(name)}`;
  throw new InvalidRequestError({ code: "invalid_request", status: 400, detail, field: "plan" });
}

function parseAnswer(answer: string): CommandResult {
  // The core writes a status in three digits, and behind it JSON or nothing.
  const body: unknown = answer.length === 3 ? null : JSON.parse(answer.slice(3));
  return { status: Number(answer.slice(0, 3)), body };
}

function trapped(cause: unknown): TollgateError {
  const detail = "the in-process ledger has trapped and cannot be used any more";
  return new TollgateError({ code: "internal", status: 500, detail, cause });
}

function time(value: string | Date | undefined): string | undefined {
  return value instanceof Date ? value.toISOString() : value;
}
