import type {
  Actual,
  Charge,
  ExplainRequest,
  Explanation,
  ExtendRequest,
  Extension,
  Overrides,
  OverridesState,
  Metering,
  MeterRequest,
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

/** One tenant's ledger, wherever it lives: behind a Worker (`createClient`) or in this process (`createLocal`). */
export interface Tollgate {
  /**
   * Holds the estimate against every quota that applies, all or nothing.
   * @throws QuotaExceededError when it does not fit; ReservationClosedError when this id was already held and has ended.
   */
  reserve(request: ReserveRequest): Promise<Reservation>;

  /** Replaces the hold by what was really used. Stored whatever the limits say, and safe to repeat. */
  settle(id: string, actual: Actual): Promise<Settlement>;

  /** Gives the hold back: the paid call was not made. */
  release(id: string): Promise<Release>;

  /**
   * Lengthens, enlarges or shrinks a hold.
   * @throws QuotaExceededError when the larger estimate does not fit; the hold stays as it was.
   */
  extend(id: string, request: ExtendRequest): Promise<Extension>;

  /**
   * Charges what a long call has used so far, since it began, and keeps holding the rest. Safe to repeat and to send late; the settle
   * prices the whole.
   */
  meter(id: string, reading: MeterRequest): Promise<Metering>;

  /** Charges without a hold. */
  record(request: RecordRequest): Promise<RecordResult>;

  /** What `reserve` would answer, reserving nothing. */
  explain(request: ExplainRequest): Promise<Explanation>;

  /** What this usage costs this tenant: by its own rates and markups, its platform's, and the price list. Changes nothing. */
  price(request: PriceRequest): Promise<Charge>;

  /** The tenant's own rates, aliases and markups. */
  overrides(): Promise<OverridesState>;

  /**
   * Replaces the tenant's own rates, aliases and markups by others, all at once. What is reserved keeps its rates.
   * Behind a Worker it needs the admin token.
   * @throws InvalidRequestError when the document is wrong; then nothing has changed.
   */
  setOverrides(overrides: Overrides): Promise<OverridesState>;

  /** What was spent, by user, model, what was called, touchpoint, day or resource: a page, dearest first. */
  usage(query?: UsageQuery): Promise<UsageReport>;

  /** Every group of a usage report, dearest first, asked for page by page. */
  usageGroups(query: UsageQuery): AsyncIterable<UsageGroup>;

  /** Every quota of the tenant and its users. Each has its first credits and increases. */
  quotas(): Promise<QuotaState[]>;

  /** One quota, with every credit and increase that it has. */
  quota(id: string): Promise<QuotaState>;

  /** A reservation as it is stored, open or ended. */
  reservation(id: string): Promise<ReservationState>;

  /** Open holds by page, in the order in which they end by themselves. */
  reservations(query?: ReservationsQuery): Promise<ReservationsPage>;

  /**
   * Reserves, runs `fn`, and ends the hold on every way out:
   * - `fn` settled or released the hold: nothing more is done;
   * - `fn` returned without doing so: settled at the amount held, because work that may have happened is never free;
   * - `fn` threw: released, or settled at the amount held with `onError: "charge_hold"`, or when `fn` had tried to
   *   settle. What is thrown is always `fn`'s own error.
   */
  withReservation<T>(
    request: ReserveRequest,
    fn: (hold: Hold) => Promise<T> | T,
    options?: WithReservationOptions,
  ): Promise<T>;
}

/** An open hold. */
export interface Reservation extends ReservationBody {
  readonly state: "held";
  /**
   * True when Tollgate could not be reached and `onUnavailable: "allow"` let the call pass: nothing is known to be held
   * (`held` is zero, `quotas` is empty). Settling it still charges what was used.
   */
  readonly unverified: boolean;
  settle(actual: Actual): Promise<Settlement>;
  release(): Promise<Release>;
  extend(request: ExtendRequest): Promise<Extension>;
  /** Charges what the call has used so far, and keeps holding the rest. */
  meter(reading: MeterRequest): Promise<Metering>;
}

/** The reservation that `withReservation` hands to its function. It remembers whether it was settled or released. */
export type Hold = Reservation;

/** How `withReservation` ends a hold whose function threw. */
export interface WithReservationOptions {
  /** `release` (default): the call was not made. `charge_hold`: it may have been, so charge all that was held. */
  onError?: "release" | "charge_hold";
}

/** Something that the app may want to know, log or page somebody about; nothing failed because of it. */
export type Warning =
  | {
      /** A quota's spending crossed a `warnAt` threshold. Once per quota, period and threshold in each process. */
      type: "quota_threshold";
      message: string;
      threshold: string;
      quota: QuotaState;
    }
  | {
      /** Tollgate could not be reached and `onUnavailable: "allow"` let the call pass unheld. */
      type: "unverified";
      message: string;
      id: string;
      error: Error;
    }
  | {
      /** `withReservation` could not end its hold. It ends by itself at its deadline, by its `onExpiry`. */
      type: "not_closed";
      message: string;
      id: string;
      error: Error;
    };
