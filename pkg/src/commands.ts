import { errorFromProblem, InvalidRequestError, isProblem, ReservationClosedError, TollgateError, UnavailableError } from "./errors.js";
import { OpenReservation, runWithHold, type HoldCommands } from "./hold.js";
import { newId } from "./ids.js";
import type { Hold, Reservation, Tollgate, WithReservationOptions } from "./tollgate.js";
import type {
  Actual,
  Charge,
  ErrorCode,
  ExplainRequest,
  Explanation,
  ExtendRequest,
  Extension,
  Metering,
  MeterRequest,
  Overrides,
  OverridesState,
  PriceRequest,
  QuotaState,
  RecordRequest,
  RecordResult,
  Release,
  ReservationBody,
  ReservationsPage,
  ReservationsQuery,
  ReservationState,
  ReserveRequest,
  Settlement,
  UsageGroup,
  UsageQuery,
  UsageReport,
} from "./types.js";
import { Warnings } from "./warnings.js";

/** A command of the batch endpoint; the in-process ledger takes the same ones. */
export interface Command {
  op: string;
  [field: string]: unknown;
}

/** What a command was answered: an HTTP status and a body. */
export interface CommandResult {
  status: number;
  body: unknown;
}

/** Everything of `Tollgate` that is the same in both homes: requests become commands, answers become values or errors. */
export abstract class CommandTollgate implements Tollgate, HoldCommands {
  protected readonly warnings: Warnings;

  protected constructor(warnings: Warnings) {
    this.warnings = warnings;
  }

  /** Carries out one command; rejects only when no answer could be had. */
  protected abstract execute(command: Command): Promise<CommandResult>;

  abstract price(request: PriceRequest): Promise<Charge>;
  abstract usage(query?: UsageQuery): Promise<UsageReport>;
  abstract overrides(): Promise<OverridesState>;
  abstract setOverrides(overrides: Overrides): Promise<OverridesState>;
  abstract quotas(): Promise<QuotaState[]>;
  abstract quota(id: string): Promise<QuotaState>;
  abstract reservation(id: string): Promise<ReservationState>;
  abstract reservations(query?: ReservationsQuery): Promise<ReservationsPage>;

  async *usageGroups(query: UsageQuery): AsyncGenerator<UsageGroup, void, undefined> {
    let after: string | null = query.after ?? null;
    do {
      const { groups, next } = await this.usage({ limit: 1000, ...query, after });
      yield* groups;
      after = next;
    } while (after !== null);
  }

  reserve(request: ReserveRequest): Promise<Reservation> {
    return this.open(withId(request));
  }

  settle(id: string, actual: Actual): Promise<Settlement> {
    return this.run<Settlement>({ ...actual, op: "settle", id });
  }

  release(id: string): Promise<Release> {
    return this.run<Release>({ op: "release", id });
  }

  extend(id: string, request: ExtendRequest): Promise<Extension> {
    return namedFrom("extend", this.run<Extension>({ op: "extend", id, extend: withId(request) }));
  }

  meter(id: string, reading: MeterRequest): Promise<Metering> {
    return namedFrom("meter", this.run<Metering>({ op: "meter", id, meter: withId(reading) }));
  }

  record(request: RecordRequest): Promise<RecordResult> {
    return this.run<RecordResult>({ ...withId(request), op: "record" });
  }

  explain(request: ExplainRequest): Promise<Explanation> {
    return this.run<Explanation>({ ...request, op: "explain" });
  }

  async withReservation<T>(
    request: ReserveRequest,
    fn: (hold: Hold) => Promise<T> | T,
    options: WithReservationOptions = {},
  ): Promise<T> {
    return runWithHold(await this.open(withId(request)), this, fn, options);
  }

  /** Whether a close that could not be delivered may be left to a warning. Here it may not: the error is the caller's. */
  toleratesUndelivered(): boolean {
    return false;
  }

  notClosed(id: string, error: Error): void {
    this.warnings.emit({ type: "not_closed", message: `reservation ${id} was not closed: ${error.message}`, id, error });
  }

  /** Reserves and binds the answer to this ledger. */
  protected async open(request: ReserveRequest & { id: string }): Promise<OpenReservation> {
    return this.opened(request, await this.run<ReservationBody>({ ...request, op: "reserve" }));
  }

  /** The reservation that an answer describes; its quotas may come as JSON that was not read yet. */
  protected opened({ id }: { id: string }, body: ReservationBody, quotas?: string): OpenReservation {
    const { state } = body;
    if (state === "held") return new OpenReservation(this, body, quotas);
    throw new ReservationClosedError({
      code: CLOSED_CODES[state],
      status: 409,
      detail: `reservation ${id} was held before and is ${state}: the paid call must not be made under this id`,
    });
  }

  protected async run<T>(command: Command): Promise<T> {
    return this.checked<T>(command, await this.execute(command));
  }

  /** The body of a good answer, of whose quotas the app has been told. */
  protected checked<T>(command: Command, result: CommandResult): T {
    const body = unwrap<T & { quotas?: QuotaState[] }>(result);
    if (command.op !== "explain" && Array.isArray(body.quotas)) this.warnings.thresholds(body.quotas);
    return body;
  }
}

/** Some quotas, and where to go on. */
export interface QuotasPage {
  quotas: QuotaState[];
  next: string | null;
}

/** Every quota, page by page. */
export async function allQuotas(page: (after: string | undefined) => Promise<QuotasPage>): Promise<QuotaState[]> {
  const all: QuotaState[] = [];
  for (let after: string | undefined; ; ) {
    const { quotas, next } = await page(after);
    all.push(...quotas);
    // A Worker of an earlier version answers all at once, and has no `next`.
    if (typeof next !== "string" || quotas.length === 0) return all;
    after = next;
  }
}

/** The body of a good answer, or the error that a bad one stands for. */
export function unwrap<T>(result: CommandResult): T {
  // The ledger's answers are documents of the shapes in types.ts; the HTTP suite and the conformance vectors hold it to that.
  if (result.status < 400 && typeof result.body === "object" && result.body !== null) return result.body as T;
  throw errorFromAnswer(result);
}

/** The error that an answer other than a good one stands for. */
export function errorFromAnswer({ status, body }: CommandResult): TollgateError {
  if (isProblem(body)) return errorFromProblem(body);
  const detail = `HTTP ${status} with a body that is not one of Tollgate's`;
  // What comes between may be overloaded or starting; any other refusal comes from a place that is not Tollgate.
  if (status < 400 || status >= 500 || TRANSIENT.includes(status)) return new UnavailableError(detail, { status });
  return new TollgateError({ code: "unexpected_answer", status, detail });
}

/** Request timeout, too early, too many requests. */
const TRANSIENT = [408, 425, 429];

/** Names a wrong field from where the caller stands, who knows nothing of the part of the command that his request became. */
export async function namedFrom<T>(part: string, promise: Promise<T>): Promise<T> {
  try {
    return await promise;
  } catch (error) {
    const prefix = `${part}.`;
    if (!(error instanceof InvalidRequestError) || error.field?.startsWith(prefix) !== true) throw error;
    const detail = error.detail.startsWith(prefix) ? error.detail.slice(prefix.length) : error.detail;
    const { code, status, field } = error;
    throw new InvalidRequestError({ code, status, detail, field: field.slice(prefix.length) });
  }
}

const CLOSED_CODES: Record<Exclude<ReservationBody["state"], "held">, ErrorCode> = {
  settled: "already_settled",
  released: "already_released",
  expired: "already_expired",
};

function withId<T extends { id?: string }>(request: T): T & { id: string } {
  return { ...request, id: request.id ?? newId() };
}
