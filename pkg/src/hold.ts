import { IdempotencyConflictError, ReservationClosedError, UnavailableError } from "./errors.js";
import type { Hold, Reservation, WithReservationOptions } from "./tollgate.js";
import type {
  Actual,
  Basis,
  ExtendRequest,
  Extension,
  Held,
  Metering,
  MeterRequest,
  OnExpiry,
  QuotaState,
  Release,
  ReservationBody,
  Settlement,
} from "./types.js";

/** What a hold needs of the ledger that it is in. */
export interface HoldCommands {
  settle(id: string, actual: Actual): Promise<Settlement>;
  release(id: string): Promise<Release>;
  extend(id: string, request: ExtendRequest): Promise<Extension>;
  meter(id: string, reading: MeterRequest): Promise<Metering>;
  /** Whether work goes on when Tollgate cannot be reached, its closing left to a warning. */
  toleratesUndelivered(): boolean;
  /** Tells the app that `withReservation` could not end a hold. */
  notClosed(id: string, error: Error): void;
}

/** The wire's reservation with its actions. */
export class OpenReservation implements Reservation {
  readonly id: string;
  readonly state = "held" as const;
  held: Held;
  readonly createdAt: string;
  expiresAt: string;
  readonly onExpiry: OnExpiry;
  /** The object's own, like the rest: a value, or what reads it from the answer when it is asked for. */
  declare quotas: QuotaState[];
  readonly unverified: boolean = false;
  // Declared, not initialised: where the answer lacks them, the object does too.
  declare readonly granted?: NonNullable<ReservationBody["granted"]>;
  declare readonly basis?: Basis;
  declare readonly replayed?: boolean;
  declare readonly moreQuotas?: number;
  readonly #commands: HoldCommands;
  #closes: Closes | undefined;
  #quotas: QuotaState[] | string | undefined;

  static readonly #READ_LATER: PropertyDescriptor & ThisType<OpenReservation> = {
    configurable: true,
    enumerable: true,
    get() {
      if (typeof this.#quotas === "string") this.#quotas = JSON.parse(this.#quotas) as QuotaState[];
      return this.#quotas;
    },
    set(quotas: QuotaState[]) {
      this.#quotas = quotas;
    },
  };

  /** Of the body of an answer. `quotas` are the answer's in JSON, where they were not read with it. */
  constructor(commands: HoldCommands, body: ReservationBody, quotas?: string) {
    this.id = body.id;
    this.held = body.held;
    this.createdAt = body.createdAt;
    this.expiresAt = body.expiresAt;
    this.onExpiry = body.onExpiry;
    if (quotas === undefined) {
      this.quotas = body.quotas;
    } else {
      this.#quotas = quotas;
      Object.defineProperty(this, "quotas", OpenReservation.#READ_LATER);
    }
    if (body.granted !== undefined) this.granted = body.granted;
    if (body.basis !== undefined) this.basis = body.basis;
    if (body.replayed !== undefined) this.replayed = body.replayed;
    if (body.moreQuotas !== undefined) this.moreQuotas = body.moreQuotas;
    this.#commands = commands;
  }

  settle(actual: Actual): Promise<Settlement> {
    if (this.#closes !== undefined) this.#closes.settleTried = true;
    return this.#remember(this.sendSettle(actual));
  }

  release(): Promise<Release> {
    return this.#remember(this.sendRelease());
  }

  async extend(request: ExtendRequest): Promise<Extension> {
    const extension = await this.sendExtend(request);
    this.held = extension.held;
    this.expiresAt = extension.expiresAt;
    this.quotas = extension.quotas;
    return extension;
  }

  async meter(reading: MeterRequest): Promise<Metering> {
    const metering = await this.sendMeter(reading);
    this.quotas = metering.quotas;
    return metering;
  }

  /** Charges all that is held. */
  settleAtHold(): Promise<Settlement> {
    return this.sendSettle({ usd: this.held.usd });
  }

  /** From now on remembers what is asked of it, for `withReservation`. */
  track(): Closes {
    this.#closes ??= { settleTried: false, pending: [] };
    return this.#closes;
  }

  protected sendSettle(actual: Actual): Promise<Settlement> {
    return this.#commands.settle(this.id, actual);
  }

  protected sendRelease(): Promise<Release> {
    return this.#commands.release(this.id);
  }

  protected sendExtend(request: ExtendRequest): Promise<Extension> {
    return this.#commands.extend(this.id, request);
  }

  protected sendMeter(reading: MeterRequest): Promise<Metering> {
    return this.#commands.meter(this.id, reading);
  }

  #remember<T>(close: Promise<T>): Promise<T> {
    if (this.#closes !== undefined) {
      this.#closes.pending.push(close);
      // `withReservation` looks at the outcome at the end; until then a failure that `fn` does not await is not unhandled.
      close.catch(() => undefined);
    }
    return close;
  }
}

/** What was asked of a tracked hold. */
export interface Closes {
  /** A settle was asked, so the work was done, whatever became of the settle. */
  settleTried: boolean;
  pending: Promise<unknown>[];
}

/** Runs `fn` under a hold and ends the hold on every way out; the rules are at `Tollgate.withReservation`. */
export async function runWithHold<T>(
  reservation: OpenReservation,
  commands: HoldCommands,
  fn: (hold: Hold) => Promise<T> | T,
  options: WithReservationOptions,
): Promise<T> {
  const closes = reservation.track();
  let result: T;
  try {
    result = await fn(reservation);
  } catch (error) {
    await endAfterFailure(error, reservation, closes, commands, options);
    throw error;
  }
  await endAfterSuccess(reservation, closes, commands);
  return result;
}

/** Waits for every close that was asked, awaited by `fn` or not; true when one of them went through. */
async function closed({ pending }: Closes): Promise<boolean> {
  const outcomes = await Promise.allSettled(pending);
  return outcomes.some((outcome) => outcome.status === "fulfilled");
}

async function endAfterSuccess(reservation: OpenReservation, closes: Closes, commands: HoldCommands): Promise<void> {
  if (await closed(closes)) return;
  try {
    await reservation.settleAtHold();
  } catch (error) {
    // A close whose answer was lost may have got through after all; then the first one counts.
    if (closes.pending.length > 0 && cameFirst(error)) return;
    if (!(error instanceof UnavailableError && commands.toleratesUndelivered())) throw error;
    commands.notClosed(reservation.id, error);
  }
}

/** Never throws: the error to be seen is `fn`'s own. */
async function endAfterFailure(
  failure: unknown,
  reservation: OpenReservation,
  closes: Closes,
  commands: HoldCommands,
  options: WithReservationOptions,
): Promise<void> {
  if (await closed(closes)) return;
  const charge = closes.settleTried || options.onError === "charge_hold";
  try {
    await (charge ? reservation.settleAtHold() : reservation.release());
  } catch (error) {
    if (closes.pending.length > 0 && cameFirst(error)) return;
    const reason = error instanceof Error ? error : new Error(String(error));
    commands.notClosed(reservation.id, reason);
    if (failure instanceof Error && failure.cause === undefined && Object.isExtensible(failure)) failure.cause = reason;
  }
}

function cameFirst(error: unknown): boolean {
  return error instanceof ReservationClosedError || error instanceof IdempotencyConflictError;
}
