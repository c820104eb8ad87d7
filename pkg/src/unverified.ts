import { NotFoundError } from "./errors.js";
import { OpenReservation, type HoldCommands } from "./hold.js";
import type { Reservation } from "./tollgate.js";
import type {
  Actual,
  Estimate,
  ExplainRequest,
  Explanation,
  ExtendRequest,
  Metering,
  MeterRequest,
  Extension,
  RecordActual,
  RecordRequest,
  RecordResult,
  Release,
  ReserveRequest,
  SandboxSize,
  Settlement,
} from "./types.js";

/** What an unverified hold needs beyond an ordinary one. */
export interface UnverifiedCommands extends HoldCommands {
  reserve(request: ReserveRequest): Promise<Reservation>;
  record(request: RecordRequest): Promise<RecordResult>;
  explain(request: ExplainRequest): Promise<Explanation>;
}

/** What the server takes when a request does not say. */
const DEFAULT_TTL_SECONDS = 600;

/**
 * A reservation that Tollgate never confirmed. The reserve may have got through or not: each close first takes it for
 * granted, and where it turns out not to exist, does what the reserve would have led to.
 */
export class UnverifiedReservation extends OpenReservation {
  override readonly unverified = true;
  readonly #commands: UnverifiedCommands;
  readonly #request: ReserveRequest & { id: string };

  constructor(commands: UnverifiedCommands, request: ReserveRequest & { id: string }, now: number) {
    const ttlSeconds = request.ttlSeconds ?? DEFAULT_TTL_SECONDS;
    const byTokens = "maxOutputTokens" in request.estimate;
    super(commands, {
      id: request.id,
      state: "held",
      // Nothing is known to be held.
      held: { usd: "0" },
      createdAt: new Date(now).toISOString(),
      expiresAt: new Date(now + ttlSeconds * 1000).toISOString(),
      onExpiry: request.onExpiry ?? (byTokens ? "charge_input" : "charge_hold"),
      quotas: [],
    });
    this.#commands = commands;
    this.#request = request;
  }

  /** Charges the estimate, since what would have been held is that. */
  override async settleAtHold(): Promise<Settlement> {
    const { estimate } = this.#request;
    if ("usd" in estimate) return this.sendSettle({ usd: estimate.usd });
    const explanation = await this.#commands.explain(this.#request);
    return this.sendSettle({ usd: explanation.estimate.usd });
  }

  protected override async sendSettle(actual: Actual): Promise<Settlement> {
    try {
      return await super.sendSettle(actual);
    } catch (error) {
      if (!neverReserved(error)) throw error;
    }
    const recorded = await this.#commands.record(this.#asRecord(actual));
    return { ...recorded, released: "0", overrun: recorded.charge.usd };
  }

  protected override async sendRelease(): Promise<Release> {
    try {
      return await super.sendRelease();
    } catch (error) {
      if (!neverReserved(error)) throw error;
      return { id: this.id, state: "released", released: "0", quotas: [] };
    }
  }

  protected override async sendExtend(request: ExtendRequest): Promise<Extension> {
    try {
      return await super.sendExtend(request);
    } catch (error) {
      if (!neverReserved(error)) throw error;
    }
    const { estimate = this.#request.estimate, ttlSeconds } = request;
    const { id, held, expiresAt, quotas } = await this.#commands.reserve({
      ...this.#request,
      estimate,
      ...(ttlSeconds !== undefined && { ttlSeconds }),
    });
    return { id, state: "held", held, expiresAt, quotas };
  }

  protected override async sendMeter(reading: MeterRequest): Promise<Metering> {
    try {
      return await super.sendMeter(reading);
    } catch (error) {
      if (!neverReserved(error)) throw error;
    }
    await this.#commands.reserve(this.#request);
    return super.sendMeter(reading);
  }

  #asRecord(actual: Actual): RecordRequest {
    const { estimate, mode, ttlSeconds: _, onExpiry: __, ...kept } = this.#request;
    return { ...kept, ...(mode !== undefined && { processing: mode }), mode: "always", ...sized(actual, estimate) };
  }
}

/** A settled sandbox has the size that was reserved; a recorded one needs to be told. */
function sized(actual: Actual, estimate: Estimate): RecordActual {
  if (!("sandbox" in actual)) return actual;
  // Without a reserved size the ledger names what is missing.
  const size = "sandbox" in estimate ? estimate.sandbox : {};
  return { sandbox: { ...size, ...actual.sandbox } as SandboxSize & { seconds: number } };
}

function neverReserved(error: unknown): boolean {
  return error instanceof NotFoundError && error.code === "reservation_not_found";
}
