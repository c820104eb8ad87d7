/**
 * The wire's types: what the Worker and the in-process ledger read and answer, field for field.
 *
 * Money is a decimal string in USD (`"0.0062"`), never a number. Times are RFC 3339 in UTC with milliseconds.
 */

/** USD as a decimal string: up to 1,000,000,000 with at most 12 decimals. */
export type Usd = string;

/** An amount of a quota's unit, as a decimal string. */
export type Decimal = string;

/** What is paid for: model calls or sandboxes. */
export type Resource = "llm" | "e2b";

/** How the provider processes the call, where that changes its price. */
export type ProcessingMode = "batch" | "flex" | "priority";

/** What happens to a hold that nobody settles or releases before `expiresAt`. */
export type OnExpiry = "release" | "charge_input" | "charge_hold";

/** Something that providers count and bill. Meters are exclusive: a cached token is not also an input token. */
export type Meter =
  | "input"
  | "cache_read"
  | "cache_write_5m"
  | "cache_write_1h"
  | "output"
  | "reasoning"
  | "input_audio"
  | "cache_read_audio"
  | "output_audio"
  | "input_image"
  | "output_image"
  | "input_video"
  | "request"
  | "web_search"
  | "vcpu_second"
  | "gib_second"
  | "sandbox_second";

/** Quantities by meter, of one call. */
export type Usage = Partial<Record<Meter, number>>;

/** Provider answers that Tollgate reads usage from. */
export type PayloadFormat =
  | "openai.chat"
  | "openai.responses"
  | "azure.chat"
  | "azure.responses"
  | "anthropic.messages"
  | "gemini.generate_content"
  | "vertex.generate_content"
  | "bedrock.converse"
  | "groq.chat"
  | "mistral.chat"
  | "xai.chat"
  | "deepseek.chat"
  | "cohere.chat"
  | "openrouter.chat"
  | "together.chat"
  | "fireworks.chat"
  | "ai-sdk.usage";

/** A provider's own answer: the whole document, or the array of its stream events. */
export interface Payload {
  format: PayloadFormat;
  body: unknown;
}

/** Where in the app the money goes. */
export interface Attribution {
  /** The place in the app that spends: `main-chat`, `agent:global-regulatory`, … */
  touchpoint?: string;
  conversationId?: string;
  /** At most 16; names to 64 and values to 256 characters. */
  tags?: Record<string, string>;
}

/** Bounds in tokens; needs `provider` and `model`. */
export interface TokenEstimate extends CallBounds {
  inputTokens: number;
}

/** The prompt's length in UTF-8 bytes, which bounds its tokens; needs `provider` and `model`. */
export interface ByteEstimate extends CallBounds {
  inputBytes: number;
}

/** What bounds a model call besides its input. */
export interface CallBounds {
  maxOutputTokens: number;
  /** Searches that the provider may make and bill; none when left out. */
  maxWebSearches?: number;
  /** Meters beyond text that the call may use, such as `input_audio` or `cache_write_1h`: the bound is then by the dearest of them. */
  meters?: Meter[];
}

/** The dearest that it can become. */
export interface UsdEstimate {
  usd: Usd;
}

/** A sandbox that may run so long. */
export interface SandboxEstimate {
  sandbox: SandboxSize & { seconds: number };
}

/** What a sandbox is billed for, besides its seconds. */
export interface SandboxSize {
  tier: string;
  vcpus: number;
  /** GiB as a decimal string. */
  memoryGib: string;
}

/** An upper bound of what the call may use. Exactly one of the four. */
export type Estimate = TokenEstimate | ByteEstimate | UsdEstimate | SandboxEstimate;

/** What is to be held. */
export interface ReserveRequest {
  /** The caller's own id and the idempotency key. A random UUID when left out. */
  id?: string;
  userId?: string;
  resource: Resource;
  /** Needed with token and byte estimates; `e2b` by default with a sandbox. */
  provider?: string;
  /** Needed with token and byte estimates. */
  model?: string;
  estimate: Estimate;
  mode?: ProcessingMode;
  region?: string;
  attribution?: Attribution;
  /** 1 to 86,400; 600 when left out. */
  ttlSeconds?: number;
  /** `charge_input` by default with token and byte estimates, `charge_hold` with the others. */
  onExpiry?: OnExpiry;
  /** `shrink` holds the largest part that fits where the estimate does not; the answer's `granted` says what that allows. */
  onInsufficient?: "deny" | "shrink";
}

/** What was really used. Exactly one of the four; a settled sandbox keeps the size that it was reserved with. */
export type Actual = { usage: Usage } | { usd: Usd } | { payload: Payload } | { sandbox: SandboxLife };

/** How long a sandbox lived. */
export interface SandboxLife {
  seconds: number;
  /** Those of `seconds` in which it was paused: they are free. */
  pausedSeconds?: number;
}

/** What was really used by a call without a reservation. */
export type RecordActual =
  | { usage: Usage }
  | { usd: Usd }
  | { payload: Payload }
  | { sandbox: SandboxSize & { seconds: number } };

/** A charge without a hold. */
export type RecordRequest = {
  /** Ids of records and of reservations are one space. A random UUID when left out. */
  id?: string;
  /** `always` (default) stores it whatever the limits say; `within_limit` denies, and charges nothing, when it does not fit. */
  mode?: "always" | "within_limit";
  userId?: string;
  resource: Resource;
  provider?: string;
  model?: string;
  /** How the provider processed the call; `mode` in a reservation. */
  processing?: ProcessingMode;
  region?: string;
  attribution?: Attribution;
} & RecordActual;

/** What a call has used so far, since it began. Exactly one of `usage`, `usd`, `payload` and `sandbox`. */
export type MeterRequest = {
  /** The reading's own id, which makes it safe to repeat. A random UUID when left out. */
  id?: string;
} & Actual;

/** What to lengthen, enlarge or shrink. At least one of `ttlSeconds` and `estimate`. */
export interface ExtendRequest {
  /** The extension's own id, which makes it safe to repeat. A random UUID when left out. */
  id?: string;
  /** Counted from now; never shortens. */
  ttlSeconds?: number;
  /** The new total, not an addition; a lower one frees the difference, down to what was metered. */
  estimate?: Estimate;
}

/** What is asked of `explain`. */
export type ExplainRequest = ReserveRequest;

/** What to price, without any ledger. */
export type PriceRequest = {
  provider: string;
  model: string;
  /** Which markups are meant: those of `llm` when left out. */
  resource?: Resource;
  /** When the call was made; now when left out. */
  at?: string | Date;
  mode?: ProcessingMode;
  region?: string;
} & ({ usage: Usage } | { payload: Payload });

/** What a hold takes. A unit that it takes nothing of is absent. */
export interface Held {
  usd: Usd;
  /** Tokens of prompt and answer. */
  tokens?: number;
  requests?: number;
  /** Seconds a sandbox may run; a whole number, or a decimal string. */
  seconds?: number | string;
}

/** Which prices were used. */
export interface Basis {
  /** Version (date) of the price list. */
  catalog: string;
  /** `provider/model@date` of the rates in force; own rates begin with `tenant:` or `platform:`. */
  rateCard: string;
  /** What applied besides the price list. */
  applied?: Applied;
}

/** Which parts of which document of overrides applied. Only an administrator is told the platform's parts; everybody else sees the tenant's own, and `platformVersion` where the platform's applied. */
export interface Applied {
  alias?: OverridesVersion & { is: ModelName };
  rates?: OverridesVersion & { entry: OwnRates };
  /** The policy's rates for unknown models; for an administrator's eyes. */
  fallback?: Rates;
  markup?: OverridesVersion & { id: string; factor: Decimal };
  /** The version of the platform's document, in place of its parts. */
  platformVersion?: number;
}

/** Whose document of overrides, and which version of it. */
export interface OverridesVersion {
  scope: "platform" | "tenant";
  version: number;
}

/** A model by the name that its provider gives it. */
export interface ModelName {
  provider: string;
  model: string;
}

/** The dates between which an entry holds: from `from` up to, not including, `until`. */
export interface Dated {
  /** Always, when left out. */
  from?: string;
  /** For good, when left out. */
  until?: string;
}

/** Prices by meter: tokens per 1,000,000, anything else per one. */
export interface Rates {
  perMillion?: Partial<Record<Meter, Usd>>;
  perUnit?: Partial<Record<Meter, Usd>>;
}

/** Own rates of a model, which stand for themselves: what they do not name is not taken from the price list. */
export interface OwnRates extends ModelName, Dated, Rates {
  /** Rates of prompts of more tokens than `above`, ascending. */
  tiers?: (Rates & { above: number })[];
  /** A factor on token rates, or other rates. Calls in a mode that is not here have the next rates in order. */
  modes?: Partial<Record<ProcessingMode, { multiplier: Decimal } | Rates>>;
  /** The same by region. */
  regions?: Record<string, { multiplier: Decimal } | Rates>;
}

/** Another name of a model, such as an Azure deployment. */
export interface Alias extends ModelName, Dated {
  is: ModelName;
}

/** A factor on the rates of some calls; the one that says most about which calls it means applies. */
export type Markup = Dated & {
  id: string;
  provider?: string;
  /** Needs `provider`. */
  model?: string;
  resource?: Resource;
} & ({ factor: Decimal } | { percent: Decimal });

/** What holds instead of, or on top of, the price list. */
export interface Overrides {
  rates?: OwnRates[];
  aliases?: Alias[];
  markups?: Markup[];
}

/** A document of overrides as it is stored. */
export interface OverridesState extends Required<Overrides> {
  /** Counts up with every change; 0 where there are none. */
  version: number;
  /** The version of the platform's document that this ledger has. Absent in the platform's own. */
  platformVersion?: number;
}

/** One line of a charge. */
export interface ChargeLine {
  meter: Meter;
  /** A whole number; others are a decimal string. */
  quantity: number | string;
  unitPrice: Usd;
  usd: Usd;
}

/** Usage times prices, line by line. */
export interface Charge {
  usd: Usd;
  lines: ChargeLine[];
  basis?: Basis;
  /** Where a rate was missing and a dearer known one was taken: `cache_write_priced_as_input` and the like. */
  flags: string[];
}

/** Whose spending a quota limits. */
export type QuotaScope = "tenant" | "user";

/** What a quota counts. */
export type QuotaResource = Resource | "all";

/** A calendar period; for ever; or any stretch of so many seconds, 1 to 31,622,400. */
export type Period = "hour" | "day" | "week" | "month" | "lifetime" | { rolling: number };

/** A day of the week. */
export type Weekday = "monday" | "tuesday" | "wednesday" | "thursday" | "friday" | "saturday" | "sunday";

/**
 * Calls that have one of the names of all that is named: up to 32 each. A provider and a model are matched with what was called and with the model
 * whose rates the call has, by whichever of its names.
 */
export interface QuotaFilter {
  provider?: string | string[];
  model?: string | string[];
  touchpoint?: string | string[];
}

/** A limit, as it is set. */
export interface QuotaDefinition {
  scope: QuotaScope;
  /** The user's id; only with scope `user`. */
  scopeId?: string;
  resource: QuotaResource;
  unit: Unit;
  /** In the unit: dollars with up to 12 decimals, seconds with up to 6, everything else whole. */
  limit: Decimal;
  /** `lifetime` with unit `concurrent`. */
  period: Period;
  /** On whose clocks calendar periods begin: a name of the IANA database, such as `Europe/Berlin`. UTC when left out. */
  timeZone?: string;
  /** The first day of a `week`; Monday when left out. */
  weekStartsOn?: Weekday;
  /** The first day of a `month`, 1 to 31; the last one in months that are shorter. 1 when left out. */
  monthStartsOn?: number;
  /** The hour of the clock at which a `day`, `week` or `month` starts, 0 to 23; 0 when left out. */
  dayStartsAt?: number;
  /** How much of what the period before left of the limit is added to it, at most; only with calendar periods. */
  rollover?: Decimal;
  /** Fractions of the limit above 0 up to 1; `["0.8", "1"]` when left out. */
  warnAt?: string[];
  /** Which calls of the resource count. Every one when left out. */
  filter?: QuotaFilter;
  /** `warn` counts a call that does not fit and lets it pass. `block` when left out. */
  enforcement?: "block" | "warn";
}

/** What was paid for in advance, on a `lifetime` quota. */
export interface Credit {
  id: string;
  /** Above zero, in the quota's unit. */
  amount: Decimal;
  /** When its unspent part lapses, RFC 3339; never when left out. What ends first is spent first. */
  expiresAt?: string;
  /** How much of the unspent part goes on once, and until when. */
  rollover?: { max: Decimal; until: string };
}

/** A higher limit for a while. */
export interface Increase {
  id: string;
  /** Above zero, in the quota's unit. */
  amount: Decimal;
  /** The first instant at which it is over, RFC 3339. */
  until: string;
}

/** What a quota counts. `concurrent`: what is open at the same time. */
export type Unit = "usd" | "tokens" | "requests" | "seconds" | "concurrent";

/** A limit and how much of it is left. */
export interface QuotaState extends QuotaDefinition {
  id: string;
  warnAt: string[];
  /** Whether it comes from the plan or was set by itself. */
  source: "plan" | "custom";
  enforcement: "block" | "warn";
  spent: Decimal;
  held: Decimal;
  /** The limit with what adds to it (credits, increases, what the period before left), where anything does. */
  effectiveLimit?: Decimal;
  /** Credits that have something left, in the order in which they are spent: the first ten, unless the quota is asked for by itself. */
  credits?: { id: string; amount: Decimal; remaining: Decimal; expiresAt?: string }[];
  /** How many more there are. */
  moreCredits?: number;
  /** Increases that are in force; likewise. */
  increases?: Increase[];
  moreIncreases?: number;
  /** effectiveLimit, or limit, − spent − held, never below zero. */
  remaining: Decimal;
  /** (spent + held) ÷ limit to 6 decimals; null for a limit of zero. */
  utilization: string | null;
  /** Thresholds crossed in this period. */
  warned: string[];
  /** Null for `lifetime`. Of a rolling window, the last instant that has left it. */
  periodStart: string | null;
  /** Null for `lifetime` and for rolling windows. */
  periodEnd: string | null;
  /** Whether the call that was asked about fits; only in the answer of `explain`. */
  fits?: boolean;
  /** When there is room, where a call does not fit; null for never. Only in a denial and in the answer of `explain`. */
  resetsAt?: string | null;
}

/** What to do with a model that the price list does not know. */
export type UnknownModel = "deny" | { fallback: { perMillion: { input: Usd; output: Usd } } };

/** What applies to the tenants of one plan. */
export interface Plan {
  quotas: Record<string, QuotaDefinition>;
  unknownModel?: UnknownModel;
  /** What to do when no quota applies. */
  withoutQuota?: "allow" | "deny";
}

/** The policy document. */
export interface Policy {
  defaultPlan: string;
  plans: Record<string, Plan>;
}

/** How a reservation stands. Only `held` holds money. */
export type State = "held" | "settled" | "released" | "expired";

/** The answer to a reserve. */
export interface ReservationBody {
  id: string;
  state: State;
  held: Held;
  createdAt: string;
  expiresAt: string;
  onExpiry: OnExpiry;
  /** What may be used, where `onInsufficient: "shrink"` held less than was asked for. Give it to the call as its limit. */
  granted?: { maxOutputTokens?: number; seconds?: number | string; usd?: string };
  basis?: Basis;
  quotas: QuotaState[];
  /** How many more it counts on, where there are more than 100. */
  moreQuotas?: number;
  /** True when this id had been reserved before with the same content. */
  replayed?: boolean;
}

/** A reservation or a record as it is stored; the ids of both are one space. */
export interface ReservationState {
  id: string;
  state: State | "recorded";
  held: Held;
  /** What was charged while it was open. */
  metered?: Held;
  createdAt: string;
  expiresAt: string;
  closedAt?: string;
  charge?: Charge;
  /** The charge's arithmetic in words: where its rates come from, a line for each quantity × rate × factors, the sum, what to know. */
  explanation?: string[];
  /** The ids of what has adjusted the charge since. */
  adjustments?: string[];
  /** What was taken back of the charge. */
  refunds?: Refund[];
  /** What is left of the charge then. */
  left?: Usd;
  /** True when it was settled after it had expired. */
  late?: boolean;
  userId?: string;
  resource: Resource;
  provider?: string;
  model?: string;
  attribution?: Attribution;
  basis?: Basis;
}

/** Which open holds are listed. */
export interface ReservationsQuery {
  userId?: string;
  touchpoint?: string;
  /** `next` of the page before. */
  after?: string;
  /** 1 to 1000; 100 when left out. */
  limit?: number;
}

/** A page of open holds, in the order in which they end by themselves. It has fewer than were asked for where they are large. */
export interface ReservationsPage {
  reservations: ReservationState[];
  /** Give it as `after` for the next page; null at the end. */
  next: string | null;
}

/** Which open holds are released: those that have all that is named, or, where that is said, all. */
export type ReservationsFilter =
  | {
      userId?: string;
      touchpoint?: string;
      openedBefore?: string | Date;
      /** 1 to 500. */
      ids?: string[];
    }
  | { all: true };

/** What a release in bulk did. */
export interface ReservationsReleased {
  /** How many, 500 at most. */
  released: number;
  /** How many more there are: ask again for these. */
  remaining: number;
}

/** The answer to a meter reading. */
export interface Metering {
  id: string;
  /** `held`; something else only where a repeat finds the reservation ended. */
  state: State;
  /** The bound of the whole call; what is still held is what is left of it beyond `metered`. */
  held: Held;
  /** What was used so far. */
  metered: Held;
  charge: Charge;
  /** What was used beyond the hold. */
  overrun: Usd;
  expiresAt: string;
  quotas: QuotaState[];
  moreQuotas?: number;
  replayed?: boolean;
}

/** The answer to a settle. */
export interface Settlement {
  id: string;
  /**
   * `settled`; or `expired` when the settle came after the deadline (the ledger is corrected); or `recorded` when an
   * unverified reservation turned out not to exist and its actual was recorded under the same id.
   */
  state: "settled" | "expired" | "recorded";
  charge: Charge;
  /** What the hold had more than the charge. */
  released: Usd;
  /** What the charge had more than the hold. */
  overrun: Usd;
  late?: boolean;
  /** What is left of the charge, where something was taken back of it since. */
  left?: Usd;
  quotas: QuotaState[];
  replayed?: boolean;
}

/** Takes back a charge, or a part of it. */
export interface RefundRequest {
  /** Makes the refund safe to repeat. */
  id: string;
  /** All that is left of the charge when left out. */
  usd?: Usd;
  /** Why: up to 512 characters. */
  reason: string;
  /** Who says so. */
  by: string;
}

/** What was taken back of a charge. */
export interface Refund {
  id: string;
  usd: Usd;
  /** True when all that was left was asked for. */
  all?: boolean;
  reason: string;
  by: string;
  at: string;
}

/** The answer to a refund. */
export interface Refunding {
  id: string;
  state: "settled" | "released" | "expired" | "recorded";
  /** The charge as it was made. */
  charge: Charge;
  refund: Refund;
  /** What is left of the charge. */
  left: Usd;
  late?: boolean;
  quotas: QuotaState[];
  moreQuotas?: number;
  replayed?: boolean;
}

/** The answer to a release. */
export interface Release {
  id: string;
  state: "released";
  /** What was metered, where anything was: that stays charged. */
  charge?: Charge;
  released: Usd;
  /** What is left of the charge, where something was taken back of it since. */
  left?: Usd;
  quotas: QuotaState[];
  moreQuotas?: number;
  replayed?: boolean;
}

/** The answer to an extend. */
export interface Extension {
  id: string;
  state: "held";
  held: Held;
  expiresAt: string;
  quotas: QuotaState[];
  moreQuotas?: number;
  replayed?: boolean;
}

/** The answer to a record. */
export interface RecordResult {
  id: string;
  state: "recorded";
  charge: Charge;
  /** What is left of the charge, where something was taken back of it since. */
  left?: Usd;
  quotas: QuotaState[];
  moreQuotas?: number;
  replayed?: boolean;
}

/** Why something did not fit, and what would have. */
export interface Denial {
  /** The quota that resets last among those that do not fit; null when no quota applies and the policy denies that. */
  quota: string | null;
  scope?: QuotaScope;
  scopeId?: string;
  resource?: QuotaResource;
  unit?: Unit;
  period?: Period;
  limit?: Decimal;
  effectiveLimit?: Decimal;
  spent?: Decimal;
  held?: Decimal;
  remaining?: Decimal;
  requested?: Decimal;
  periodEnd?: string | null;
  /** When the binding quota has room: its period ends, or enough has left its window; null when waiting does not help. */
  resetsAt?: string | null;
  /** Seconds until the binding quota resets; null when waiting does not help. */
  retryAfterSeconds?: number | null;
  /** What would have fitted in all of them. */
  affordable?: { usd?: Usd; maxOutputTokens?: number; seconds?: number };
  /** The quotas that did not fit, the binding one first: 100 at most. */
  quotas?: QuotaState[];
  moreQuotas?: number;
}

/** What a reserve would answer now. */
export interface Explanation {
  allowed: boolean;
  estimate: Held;
  basis?: Basis;
  quotas: (QuotaState & { fits: boolean })[];
  moreQuotas?: number;
  denial?: Denial;
}

/** What to re-rate: charges of calls that were reserved or recorded from `from` up to, not including, `to`. */
export interface RerateRequest {
  from: string;
  to: string;
  /**
   * `current`: by the tenant's and the platform's overrides as they are now. A document: as if it were the tenant's. When left out, by what
   * applied to each charge when it was made, and the price list as it is now.
   */
  overrides?: "current" | Overrides;
  /** Posts adjusting entries under this id, each charge once. A dry run when left out. */
  post?: string;
  /** The `next` of the page before. */
  after?: number;
  /** Entries to look at: 1 to 1000, which is also the default. */
  limit?: number;
  /** The totals of the page before, to be added to. */
  totals?: RerateTotals;
}

/** A charge, and what it would be. */
export interface RerateLine {
  id: string;
  /** `provider/model`. */
  model?: string;
  reservedAt: string;
  /** What is charged now. */
  old: Usd;
  new: Usd;
  difference: Usd;
  /** Which prices differ; or why it cannot be told, where there is no `newBasis`. */
  why: string;
  oldBasis?: Basis;
  newBasis?: Basis;
}

/** Sums over this page of charges and those before. */
export interface RerateTotals {
  charges: number;
  changed: number;
  old: Usd;
  new: Usd;
  difference: Usd;
}

/** A page of re-rated charges. */
export interface RerateReport {
  catalog: string;
  /** Those that would be another amount, and those of which it cannot be told. */
  lines: RerateLine[];
  totals: RerateTotals;
  /** How many adjusting entries this page has posted. */
  posted: number;
  /** Null at the end. */
  next: number | null;
}

/** By what `usage` groups. */
export type UsageDimension = "user" | "model" | "calledModel" | "touchpoint" | "day" | "resource";

/** What `usage` is asked. */
export interface UsageQuery {
  /** None: the total alone. */
  groupBy?: UsageDimension[];
  /** A full quarter of an hour; included. */
  from?: string | Date;
  /** A full quarter of an hour; not included. */
  to?: string | Date;
  /** Whose days `day` means: an IANA name. UTC when left out. */
  timeZone?: string;
  /** The most groups of the answer, 1 to 1,000; 100 when left out. */
  limit?: number;
  /** `next` of the page before. */
  after?: string | null;
}

/** Sums over calls. */
export interface UsageTotals {
  usd: Usd;
  calls: number;
  inputTokens: number;
  outputTokens: number;
}

/** What was spent in one group. */
export type UsageGroup = UsageTotals & Partial<Record<UsageDimension, string | null>>;

/** A page of what was spent, dearest group first. A call without a dimension is in the group `null`. */
export interface UsageReport {
  groupBy: UsageDimension[];
  from?: string | null;
  to?: string | null;
  timeZone?: string;
  groups: UsageGroup[];
  /** Of all groups, also those of other pages. */
  total: UsageTotals;
  /** Give it as `after` to have the next page; null at the end. */
  next: string | null;
}

/** One immutable line of the ledger. */
export interface Entry {
  seq: number;
  at: string;
  type: string;
  [field: string]: unknown;
}

/** A page of the ledger. */
export interface EntriesPage {
  entries: Entry[];
  /** Give it as `after` for the next page; null at the end. */
  next: number | null;
  /** The last entry that was exported and dropped, where any were. */
  archivedThrough?: number;
}

/** What `entries` is asked. */
export interface EntriesQuery {
  after?: number;
  /** 1 to 1000; 100 when left out. */
  limit?: number;
}

/**
 * Codes that errors carry; `code` is the contract, `detail` is for people. All are the wire's but `unexpected_answer`,
 * which is the client's own: something other than Tollgate answered, so look at `url`.
 */
export type ErrorCode =
  | "invalid_request"
  | "unauthorized"
  | "forbidden"
  | "not_found"
  | "tenant_not_found"
  | "reservation_not_found"
  | "quota_not_found"
  | "method_not_allowed"
  | "upgrade_required"
  | "idempotency_conflict"
  | "credits_left"
  | "archived"
  | "ledger_damaged"
  | "still_held"
  | "already_settled"
  | "already_released"
  | "already_expired"
  | "body_too_large"
  | "request_timeout"
  | "unsupported_encoding"
  | "unpriced"
  | "invalid_payload"
  | "quota_exceeded"
  | "too_many_holds"
  | "too_many_changes"
  | "internal"
  | "unavailable"
  | "not_configured"
  | "unexpected_answer";

/** An RFC 9457 problem document. */
export interface Problem {
  type: string;
  title: string;
  status: number;
  code: ErrorCode;
  detail: string;
  field?: string;
  denial?: Denial;
  holds?: TooManyHolds;
}

/** Who has as many open holds as there may be. */
export interface TooManyHolds {
  scope: "tenant" | "user";
  /** The user, where it is one. */
  scopeId?: string;
  open: number;
  limit: number;
  /** When there is room again, unless holds end sooner or are prolonged. */
  freesAt: string;
  retryAfterSeconds: number;
}
