// What a user's program does with the package, the same in every host; throws at the first thing that is not as it should be.
import type * as Tollgate from "tollgate";
import type { Hold, QuotaDefinition, ReserveRequest, Warning } from "tollgate";

type Package = typeof Tollgate;

const month = (limit: string, more: Partial<QuotaDefinition> = {}): QuotaDefinition => ({
  scope: "tenant",
  resource: "all",
  unit: "usd",
  limit,
  period: "month",
  ...more,
});
const dollar: ReserveRequest = { resource: "llm", estimate: { usd: "1" } };
const chat: ReserveRequest = {
  resource: "llm",
  provider: "openai",
  model: "gpt-4o",
  estimate: { inputTokens: 1200, maxOutputTokens: 800 },
  attribution: { touchpoint: "main-chat" },
};

/** The names of the parts that ran. */
export async function run(tollgate: Package): Promise<string[]> {
  const parts = { race, price, overrides, ways, errors, expiry, administration, policy, clock, warnings, warningsOfCredits, history };
  for (const part of Object.values(parts)) await part(tollgate);
  return Object.keys(parts);
}

async function race({ createLocal, QuotaExceededError }: Package): Promise<void> {
  const local = createLocal({ quotas: { q: month("10") } });
  const outcomes = await Promise.allSettled(Array.from({ length: 50 }, () => local.reserve(dollar)));
  const admitted = outcomes.filter((outcome) => outcome.status === "fulfilled");
  equal(admitted.length, 10);
  for (const outcome of outcomes) if (outcome.status === "rejected") ok(outcome.reason instanceof QuotaExceededError, String(outcome.reason));
  for (const { value } of admitted) await value.settle({ usd: "1" });
  const [quota] = await local.quotas();
  equal([quota?.spent, quota?.held, quota?.remaining], ["10", "0", "0"]);
}

async function price({ createLocal, catalogVersion }: Package): Promise<void> {
  const local = createLocal();
  const charge = await local.price({ provider: "openai", model: "gpt-4o", usage: { input: 1000, cache_read: 1000, output: 100 } });
  equal(charge.usd, "0.00475");
  equal(
    charge.lines.map((line) => line.meter),
    ["input", "cache_read", "output"],
  );
  equal(charge.basis?.catalog, catalogVersion());
  const body = { object: "chat.completion", choices: [], usage: { prompt_tokens: 1000, completion_tokens: 100, total_tokens: 1100 } };
  const payload = { format: "openai.chat", body } as const;
  equal((await local.price({ provider: "openai", model: "gpt-4o", payload, mode: "batch", at: new Date() })).usd, "0.00175");
}

async function ways({ createLocal, QuotaExceededError }: Package): Promise<void> {
  const local = createLocal({ quotas: { q: month("10") } });
  const state = async (id: string) => (await local.reservation(id)).state;
  const spent = async () => (await local.quotas())[0]?.spent;
  let hold: Hold | undefined;
  const keep = (current: Hold) => {
    hold = current;
    return current;
  };
  const id = () => hold?.id ?? "";

  // Settled by the function.
  equal(await local.withReservation(chat, async (current) => void (await keep(current).settle({ usage: { input: 1200, output: 100 } }))), undefined);
  equal([await state(id()), await spent()], ["settled", "0.004"]);

  // Settled by the function, not waited for.
  equal(await local.withReservation(dollar, (current) => (void keep(current).settle({ usd: "0.006" }), "result")), "result");
  equal([await state(id()), await spent()], ["settled", "0.01"]);

  // Released by the function.
  await local.withReservation(dollar, async (current) => keep(current).release());
  equal([await state(id()), await spent()], ["released", "0.01"]);

  // Neither: charged what was held, as extended.
  await local.withReservation(dollar, async (current) => keep(current).extend({ estimate: { usd: "1.5" }, ttlSeconds: 900 }));
  equal([await state(id()), await spent()], ["settled", "1.51"]);

  // Thrown: released, and the error is the function's own.
  const own = new Error("the provider is down");
  const failing = (current: Hold) => {
    keep(current);
    throw own;
  };
  equal(await caught(local.withReservation(dollar, failing)), own);
  equal([await state(id()), await spent()], ["released", "1.51"]);

  // Thrown, and the call may have been made: charged what was held.
  equal(await caught(local.withReservation(dollar, failing, { onError: "charge_hold" })), own);
  equal([await state(id()), await spent()], ["settled", "2.51"]);

  // Thrown because its settle was refused: the work was done, so it is charged what was held, and not given away.
  const refused = await caught(local.withReservation(dollar, async (current) => keep(current).settle({ usd: "-1" })));
  equal((refused as { code?: string }).code, "invalid_request");
  equal([await state(id()), await spent()], ["settled", "3.51"]);

  // Thrown after it was settled: the charge stays.
  const after = local.withReservation(dollar, async (current) => {
    await keep(current).settle({ usd: "0.49" });
    throw own;
  });
  equal(await caught(after), own);
  equal([await state(id()), await spent()], ["settled", "4"]);

  // Denied: the function does not run.
  let ran = false;
  const denied = await caught(local.withReservation({ resource: "llm", estimate: { usd: "6.000000000001" } }, () => (ran = true)));
  ok(denied instanceof QuotaExceededError, String(denied));
  equal([ran, await spent()], [false, "4"]);
  equal((await local.quotas())[0]?.held, "0");
}

async function errors(tollgate: Package): Promise<void> {
  const { createLocal, createClient, TollgateError } = tollgate;
  const local = createLocal({ quotas: { q: month("10") } });
  const reservation = await local.reserve({ ...dollar, id: "a" });
  equal([reservation.state, reservation.unverified, reservation.held.usd], ["held", false, "1"]);
  await reservation.settle({ usd: "1" });

  const cases: [Promise<unknown>, string, string, string?][] = [
    [local.reserve({ ...dollar, id: "b", estimate: { usd: "-1" } }), "InvalidRequestError", "invalid_request", "estimate.usd"],
    [local.reserve({ ...chat, model: "gpt-99" }), "UnpricedError", "unpriced"],
    [local.reserve({ ...dollar, id: "a", estimate: { usd: "2" } }), "IdempotencyConflictError", "idempotency_conflict"],
    [local.reserve({ ...dollar, id: "a" }), "ReservationClosedError", "already_settled"],
    [local.release("a"), "ReservationClosedError", "already_settled"],
    [local.settle("nothing", { usd: "1" }), "NotFoundError", "reservation_not_found"],
    [local.reservation("nothing"), "NotFoundError", "reservation_not_found"],
    [local.removeQuota("nothing"), "NotFoundError", "quota_not_found"],
    [local.settle("a", { payload: { format: "openai.chat", body: {} } }), "InvalidRequestError", "invalid_payload"],
    [local.reserve({ ...dollar, estimate: { usd: "11" } }), "QuotaExceededError", "quota_exceeded"],
  ];
  for (const [promise, name, code, field] of cases) {
    const error = await caught(promise);
    ok(error instanceof TollgateError && error instanceof Error, String(error));
    const type = tollgate[name as "TollgateError"];
    ok(error instanceof type, `${error.name} is not a ${name}`);
    equal([error.name, error.code], [name, code]);
    if (field !== undefined) equal(error.field, field);
  }

  const denied = await caught(local.reserve({ ...dollar, estimate: { usd: "11" } }));
  ok(denied instanceof tollgate.QuotaExceededError, String(denied));
  const response = denied.toResponse();
  equal([response.status, response.headers.get("content-type")], [429, "application/problem+json"]);
  equal(response.headers.get("retry-after"), String(denied.retryAfterSeconds));
  ok(/^"q";q=10000000;qu="micro-usd";w=\d+$/.test(response.headers.get("ratelimit-policy") ?? ""), "RateLimit-Policy");
  const body = (await response.json()) as { code: string; denial: { quota: string; affordable: { usd: string } } };
  equal([body.code, body.denial.quota, body.denial.affordable.usd], ["quota_exceeded", "q", "9"]);

  for (const make of [
    () => createLocal({ quotas: { q: month("-1") } }),
    () => createLocal({ quotas: { "a/b": month("1") } }),
    () => createLocal({ quotas: { q: { ...month("1"), period: "fortnight" as "day" } } }),
    () => createLocal({ policy: { defaultPlan: "free", plans: {} } }),
    () => createClient({ url: "nowhere", token: "t", tenant: "t", onUnavailable: "deny" }).quotas(),
  ]) {
    ok((await caught(Promise.resolve().then<unknown>(make))) instanceof tollgate.InvalidRequestError, "a wrong option is refused");
  }
}

async function expiry({ createLocal }: Package): Promise<void> {
  let now = Date.parse("2026-11-24T12:00:00Z");
  const local = createLocal({ quotas: { q: month("10") }, now: () => now });
  const reservation = await local.reserve({ ...chat, ttlSeconds: 60 });
  equal(reservation.expiresAt, "2026-11-24T12:01:00.000Z");
  now += 61_000;
  equal((await local.reservation(reservation.id)).state, "expired");
  // The input part of the estimate, for work that may have happened.
  equal((await local.quotas())[0]?.spent, "0.003");
  const late = await reservation.settle({ usd: "0.002" });
  equal([late.state, late.late, late.charge.usd], ["expired", true, "0.002"]);
  equal((await local.quotas())[0]?.spent, "0.002");
}

async function administration({ createLocal }: Package): Promise<void> {
  const local = createLocal();
  equal(await local.quotas(), []);
  const made = await local.setQuota("u", month("1", { scope: "user", scopeId: "u-7", warnAt: ["0.5"] }));
  equal([made.id, made.source, made.scopeId, made.warnAt], ["u", "custom", "u-7", ["0.5"]]);
  await local.record({ resource: "llm", usd: "3", userId: "u-7" });
  equal((await local.explain({ ...dollar, userId: "u-7" })).allowed, false);
  equal((await local.explain({ ...dollar, userId: "u-8" })).allowed, true);
  equal((await local.resetQuota("u")).spent, "0");
  await local.removeQuota("u");
  equal(await local.quotas(), []);
}

async function policy({ createLocal, QuotaExceededError }: Package): Promise<void> {
  const document = {
    defaultPlan: "free",
    plans: {
      free: { quotas: { day: month("5", { period: "day" }) }, withoutQuota: "deny" as const },
      pro: { quotas: {}, unknownModel: { fallback: { perMillion: { input: "10", output: "30" } } } },
    },
  };
  equal(
    (await createLocal({ policy: document }).quotas()).map((quota) => [quota.id, quota.limit]),
    [["day", "5"]],
  );
  const unknown = await createLocal({ policy: document, plan: "pro" }).explain({ ...chat, model: "gpt-99" });
  equal(unknown.estimate.usd, "0.036");
  const strict = createLocal({ policy: document, plan: "pro", withoutQuota: "deny" });
  const denied = await caught(strict.reserve(dollar));
  ok(denied instanceof QuotaExceededError, String(denied));
  equal(denied.denial.quota, null);
}

async function overrides({ createLocal, InvalidRequestError }: Package): Promise<void> {
  const local = createLocal({ overrides: { markups: [{ id: "margin", percent: "20" }] } });
  const usage = { input: 1000 };
  const charge = await local.price({ provider: "openai", model: "gpt-4o", usage });
  equal([charge.usd, charge.basis?.applied?.markup?.id], ["0.003", "margin"]);
  const document = {
    rates: [{ provider: "acme", model: "own", perMillion: { input: "1", output: "2" }, modes: { batch: { multiplier: "0.5" } } }],
    aliases: [{ provider: "azure", model: "prod-chat", is: { provider: "azure", model: "gpt-4o" } }],
  };
  equal((await local.setOverrides(document)).version, 2);
  equal((await local.overrides()).rates[0]?.model, "own");
  equal((await local.price({ provider: "acme", model: "own", usage, mode: "batch" })).usd, "0.0005");
  const held = await local.reserve({ ...chat, provider: "azure", model: "prod-chat" });
  equal(held.basis?.applied?.alias?.is.model, "gpt-4o");
  const wrong = await caught(local.setOverrides({ markups: [{ id: "m", factor: "-1" }] }));
  ok(wrong instanceof InvalidRequestError, String(wrong));
  equal([wrong.field, (await local.overrides()).version], ["markups[0].factor", 2]);
}

async function clock({ createLocal }: Package): Promise<void> {
  let now = new Date("2026-11-30T23:59:59Z");
  const local = createLocal({ quotas: { q: month("10") }, now: () => now });
  await local.record({ resource: "llm", usd: "10" });
  equal((await local.explain(dollar)).allowed, false);
  now = new Date("2026-12-01T00:00:00Z");
  equal((await local.explain(dollar)).allowed, true);
  equal((await local.quotas())[0]?.periodStart, "2026-12-01T00:00:00.000Z");
}

async function warnings({ createLocal }: Package): Promise<void> {
  const told: Warning[] = [];
  const local = createLocal({ quotas: { q: month("10") }, onWarning: (warning) => told.push(warning) });
  for (let index = 0; index < 12; index++) await local.record({ resource: "llm", usd: "1" });
  equal(
    told.map((warning) => warning.type === "quota_threshold" && [warning.threshold, warning.quota.spent]),
    [
      ["0.8", "8"],
      ["1", "10"],
    ],
  );
  equal(told[0]?.message, "quota q: 8 spent and 0 held of 10 USD");
}

/** Thresholds are of the limit that is in force, in the quota's own unit. */
async function warningsOfCredits({ createLocal }: Package): Promise<void> {
  const told: Warning[] = [];
  const local = createLocal({
    quotas: { q: { scope: "tenant", resource: "all", unit: "requests", limit: "0", period: "lifetime", warnAt: ["0.5"] } },
    onWarning: (warning) => told.push(warning),
  });
  await local.addCredit("q", { id: "pack", amount: "4" });
  for (let index = 0; index < 3; index++) await local.record({ resource: "llm", usd: "1" });
  equal(
    told.map((warning) => warning.message),
    ["quota q: 2 spent and 0 held of 4 requests"],
  );
  // Bought anew: less than half is used, until it is not.
  await local.addCredit("q", { id: "pack-2", amount: "4" });
  await local.record({ resource: "llm", usd: "1" });
  equal(
    told.map((warning) => warning.message),
    ["quota q: 2 spent and 0 held of 4 requests", "quota q: 4 spent and 0 held of 8 requests"],
  );
}

async function history({ createLocal }: Package): Promise<void> {
  const local = createLocal();
  const usage = { input: 1000, output: 100 };
  await local.record({ resource: "llm", provider: "openai", model: "gpt-4o", usage, attribution: { touchpoint: "main-chat" } });
  await local.record({ resource: "e2b", sandbox: { tier: "standard", seconds: 100, vcpus: 2, memoryGib: "0.5" } });
  const report = await local.usage({ groupBy: ["touchpoint", "resource"] });
  equal(
    report.groups.map((group) => [group.touchpoint, group.resource, group.usd]),
    [
      ["main-chat", "llm", "0.0035"],
      [null, "e2b", "0.003025"],
    ],
  );
  equal([report.total.usd, report.total.calls, report.total.inputTokens], ["0.006525", 2, 1000]);
  const page = await local.entries({ limit: 1 });
  equal(page.entries.length, 1);
  const rest = await local.entries({ after: page.next ?? 0 });
  ok(rest.entries.filter((entry) => entry.type === "recorded").length === 2, JSON.stringify(rest));
}

async function caught(promise: Promise<unknown>): Promise<unknown> {
  const result = await promise.then(
    (value) => ({ value }),
    (error: unknown) => ({ error }),
  );
  if (!("error" in result)) throw new Error(`expected an error, got ${JSON.stringify(result.value)}`);
  return result.error;
}

function equal(actual: unknown, expected: unknown): void {
  if (actual === expected) return;
  ok(JSON.stringify(actual) === JSON.stringify(expected), `expected ${JSON.stringify(expected)}, got ${JSON.stringify(actual)}`);
}

function ok(condition: boolean, message: string): asserts condition {
  if (!condition) throw new Error(message);
}
