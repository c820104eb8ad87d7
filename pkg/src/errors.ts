import type { Denial, ErrorCode, Problem, TooManyHolds, Unit } from "./types.js";

/** What an error says it is, in every copy of this package: the names of its classes. */
const BRAND = Symbol.for("tollgate.error");
/** The names of the classes of this copy. */
const KINDS = new Map<object, string>();

interface Branded {
  [BRAND]?: readonly string[];
}

/** What an error is made from. */
export interface ErrorInfo {
  code: ErrorCode;
  status: number;
  detail: string;
  /** The part of the request that is wrong: `estimate.inputTokens`. */
  field?: string | undefined;
  cause?: unknown;
}

/**
 * The root of everything that this package throws. `code` says what happened; the subclasses say what can be done.
 *
 * `instanceof` looks at what an error is called, not at which copy of the class made it: an app has several where it uses both `tollgate` and
 * `tollgate/client`, or `import` in one place and `require` in another.
 */
export class TollgateError extends Error {
  static override [Symbol.hasInstance](this: { readonly prototype: object }, value: unknown): boolean {
    if (typeof value !== "object" || value === null) return false;
    // A class that an app derives has no name of ours of its own; for that its prototype counts, as everywhere.
    const kind = KINDS.get(this.prototype);
    const kinds: unknown = (value as Branded)[BRAND];
    return kind === undefined ? this.prototype.isPrototypeOf(value) : Array.isArray(kinds) && kinds.includes(kind);
  }

  override readonly name: string = "TollgateError";
  readonly code: ErrorCode;
  /** The HTTP status that goes with the code; the in-process ledger uses the same ones. */
  readonly status: number;
  readonly detail: string;
  readonly field: string | undefined;

  constructor(info: ErrorInfo) {
    super(`${info.code}: ${info.detail}`, info.cause === undefined ? undefined : { cause: info.cause });
    this.code = info.code;
    this.status = info.status;
    this.detail = info.detail;
    this.field = info.field;
  }
}

/** The request is wrong: mend the field named in `field`. Sending it again as it is cannot help. */
export class InvalidRequestError extends TollgateError {
  override readonly name = "InvalidRequestError";
}

/** The price list does not know this model or meter: give the estimate as `usd`, or set the policy's `unknownModel`. */
export class UnpricedError extends TollgateError {
  override readonly name = "UnpricedError";
}

/** The token is missing, broken, expired, or may not do this: use another one. */
export class UnauthorizedError extends TollgateError {
  override readonly name = "UnauthorizedError";
}

/** There is no such tenant (onboard it first), reservation, quota or route: `code` says which. */
export class NotFoundError extends TollgateError {
  override readonly name = "NotFoundError";
}

/** The id was used before with other content: take a new id. Nothing was held or charged by this call. */
export class IdempotencyConflictError extends TollgateError {
  override readonly name = "IdempotencyConflictError";
}

/**
 * The reservation has already ended. From `reserve` it means that this id was held and closed earlier, so the paid call
 * must not be made under it. From `settle`, `release` and `extend` it means that another close came first; what counts
 * is at `reservation(id)`.
 */
export class ReservationClosedError extends TollgateError {
  override readonly name = "ReservationClosedError";
}

/** The tenant, or one of its users, has as many open holds as there may be: settle or release some, or wait until they expire. */
export class TooManyHoldsError extends TollgateError {
  override readonly name = "TooManyHoldsError";
  /** Whose, and when there is room again. */
  readonly holds: TooManyHolds | undefined;
  /** Seconds until there is. */
  readonly retryAfterSeconds: number | undefined;

  constructor(problem: Problem) {
    super(problem);
    this.holds = problem.holds;
    this.retryAfterSeconds = problem.holds?.retryAfterSeconds;
  }
}

/**
 * Tollgate could not be reached, or could not answer, in time and after every retry. Whether the command was carried
 * out is not known; sending it again with the same id is safe.
 */
export class UnavailableError extends TollgateError {
  override readonly name = "UnavailableError";
  /** How long the server asked to be left alone, where it did. */
  readonly retryAfterSeconds: number | undefined;

  constructor(detail: string, options: { status?: number; cause?: unknown; retryAfterSeconds?: number | undefined } = {}) {
    super({ code: "unavailable", status: options.status ?? 503, detail, cause: options.cause });
    this.retryAfterSeconds = options.retryAfterSeconds;
  }
}

/** A quota does not allow it; nothing was held or charged. `denial` says which, what is left, and what would fit. */
export class QuotaExceededError extends TollgateError {
  override readonly name = "QuotaExceededError";
  readonly denial: Denial;
  /** Seconds until the binding quota resets; undefined when waiting does not help. */
  readonly retryAfterSeconds: number | undefined;
  /** The answer as it came. */
  readonly problem: Problem;

  constructor(problem: Problem, denial: Denial) {
    super(problem);
    this.denial = denial;
    this.retryAfterSeconds = denial.retryAfterSeconds ?? undefined;
    this.problem = problem;
  }

  /** The answer for your own caller: 429, the problem document, and the headers that the Worker itself would send. */
  toResponse(): Response {
    const headers = new Headers({ "Content-Type": "application/problem+json", "Cache-Control": "no-store" });
    if (this.retryAfterSeconds !== undefined) headers.set("Retry-After", String(this.retryAfterSeconds));
    const { policies, limits } = rateLimits(this.denial);
    if (policies.length > 0) {
      headers.set("RateLimit-Policy", policies.join(", "));
      headers.set("RateLimit", limits.join(", "));
    }
    return new Response(JSON.stringify(this.problem), { status: 429, headers });
  }
}

for (const [kind, { prototype }] of Object.entries({
  TollgateError,
  InvalidRequestError,
  UnpricedError,
  UnauthorizedError,
  NotFoundError,
  IdempotencyConflictError,
  ReservationClosedError,
  TooManyHoldsError,
  UnavailableError,
  QuotaExceededError,
})) {
  KINDS.set(prototype, kind);
  Object.defineProperty(prototype, BRAND, { value: ["TollgateError", kind] });
}

/** The error that a problem document stands for. */
export function errorFromProblem(problem: Problem): TollgateError {
  switch (problem.code) {
    case "invalid_request":
    case "invalid_payload":
    case "body_too_large":
    case "method_not_allowed":
    case "upgrade_required":
      return new InvalidRequestError(problem);
    case "unpriced":
      return new UnpricedError(problem);
    case "unauthorized":
    case "forbidden":
      return new UnauthorizedError(problem);
    case "not_found":
    case "tenant_not_found":
    case "reservation_not_found":
    case "quota_not_found":
      return new NotFoundError(problem);
    case "idempotency_conflict":
      return new IdempotencyConflictError(problem);
    case "archived":
    case "already_settled":
    case "already_released":
    case "already_expired":
      return new ReservationClosedError(problem);
    case "too_many_holds":
      return new TooManyHoldsError(problem);
    case "quota_exceeded":
      return problem.denial === undefined ? new TollgateError(problem) : new QuotaExceededError(problem, problem.denial);
    case "internal":
    case "unavailable":
      return new UnavailableError(problem.detail, { status: problem.status });
    default:
      return new TollgateError(problem);
  }
}

/** Whether a parsed body is a problem document. */
export function isProblem(body: unknown): body is Problem {
  return (
    typeof body === "object" &&
    body !== null &&
    "code" in body &&
    typeof body.code === "string" &&
    "status" in body &&
    typeof body.status === "number" &&
    "detail" in body &&
    typeof body.detail === "string"
  );
}

/** draft-ietf-httpapi-ratelimit-headers, for the quotas that did not fit; as the Worker writes them. */
function rateLimits({ quotas = [], periodEnd, resetsAt = periodEnd, retryAfterSeconds }: Denial): { policies: string[]; limits: string[] } {
  const resets = typeof resetsAt === "string" ? Date.parse(resetsAt) : undefined;
  const deniedAt = resets !== undefined && typeof retryAfterSeconds === "number" ? resets - retryAfterSeconds * 1000 : Date.now();
  const policies: string[] = [];
  const limits: string[] = [];
  for (const quota of quotas) {
    const name = JSON.stringify(quota.id);
    const integer = quota.unit === "usd" ? microUsd : wholeAmount;
    let policy = `${name};q=${integer(quota.effectiveLimit ?? quota.limit)};qu="${HEADER_UNITS[quota.unit]}"`;
    let limit = `${name};r=${integer(quota.remaining)}`;
    if (typeof quota.period === "object") {
      policy += `;w=${quota.period.rolling}`;
      if (typeof quota.resetsAt === "string") limit += `;t=${wholeSeconds(Date.parse(quota.resetsAt) - deniedAt)}`;
    } else if (quota.periodStart !== null && quota.periodEnd !== null) {
      const end = Date.parse(quota.periodEnd);
      policy += `;w=${wholeSeconds(end - Date.parse(quota.periodStart))}`;
      limit += `;t=${wholeSeconds(end - deniedAt)}`;
    }
    policies.push(policy);
    limits.push(limit);
  }
  return { policies, limits };
}

function wholeSeconds(ms: number): number {
  return Math.ceil(Math.max(0, ms) / 1000);
}

/** The largest integer of a structured header field (RFC 9651, section 3.3.1). */
const MAX_HEADER_INTEGER = 999_999_999_999_999n;

/** The units' names in these headers, whose quantities are integers: money is counted in millionths of a dollar. */
const HEADER_UNITS: Record<Unit, string> = {
  usd: "micro-usd",
  tokens: "tokens",
  requests: "requests",
  seconds: "seconds",
  concurrent: "concurrent-requests",
};

/** What is before the point of a decimal string that is not negative. */
function wholeAmount(amount: string): string {
  return amount.split(".", 1)[0] ?? "0";
}

/** Whole millionths of a USD, rounded down, from a decimal string that is not negative. */
function microUsd(usd: string): string {
  const [whole = "0", fraction = ""] = usd.split(".");
  const micros = BigInt(whole + fraction.slice(0, 6).padEnd(6, "0"));
  return String(micros < MAX_HEADER_INTEGER ? micros : MAX_HEADER_INTEGER);
}
