// Every route and what it answers when all is well, and what is answered where there is no route.
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { Api, expectProblem, expectStatus, newTenant, quotaOf, usdQuota, usdReserve, type Tenant } from "../support/http.ts";
import { assertPartial } from "../support/partial.ts";
import { startWorker, type TestWorker } from "../support/worker.ts";

const TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/;

let worker: TestWorker;
let admin: Api;

before(async () => {
  worker = await startWorker();
  admin = new Api(worker.url, worker.adminToken);
});
after(() => worker?.stop());

describe("GET /healthz", () => {
  it("answers anyone", async () => {
    const { body } = expectStatus(await admin.as(undefined).get("/healthz"), 200);
    assert.equal(body.status, "ok");
    assert.match(body.version, /^\d+\.\d+\.\d+/);
    assert.match(body.catalog, /^\d{4}-\d\d-\d\d/);
  });
});

describe("tenants", () => {
  it("onboards with the default plan: llm 100 and e2b 50 USD a month", async () => {
    const { body } = expectStatus(await admin.put("/v1/tenants/onboarded", {}), 200);
    assertPartial(body, { tenant: "onboarded", plan: "default" });
    assert.equal(typeof body.policyVersion, "number");
    assert.match(body.createdAt, TIME);
    const limits = body.quotas.map((quota: { resource: string; limit: string; period: string; scope: string }) => [
      quota.scope,
      quota.resource,
      quota.limit,
      quota.period,
    ]);
    assert.deepEqual(limits.sort(), [
      ["tenant", "e2b", "50", "month"],
      ["tenant", "llm", "100", "month"],
    ]);
    for (const quota of body.quotas) assertPartial(quota, { source: "plan", spent: "0", held: "0", warned: [] });
  });

  it("is idempotent, and GET gives the same document", async () => {
    const first = expectStatus(await admin.put("/v1/tenants/again", {}), 200);
    const second = expectStatus(await admin.put("/v1/tenants/again", {}), 200);
    const read = expectStatus(await admin.get("/v1/tenants/again"), 200);
    assert.deepEqual(second.body, first.body);
    assert.deepEqual(read.body, first.body);
  });

  it("onboarding again keeps what was spent and what was set one by one", async () => {
    const tenant = await newTenant(worker);
    expectStatus(await admin.put(`${tenant.path}/quotas/mine`, usdQuota("7")), 200);
    expectStatus(await tenant.app.post(`${tenant.path}/records`, { id: "r", resource: "llm", usd: "2" }), 201);
    const { body } = expectStatus(await admin.put(tenant.path, {}), 200);
    assert.equal(body.quotas.length, 3);
    for (const quota of body.quotas) assert.equal(quota.spent, quota.resource === "e2b" ? "0" : "2", quota.id);
  });

  it("an unknown plan is refused", async () => {
    expectProblem(await admin.put("/v1/tenants/planless", { plan: "no-such-plan" }), 400, "invalid_request", "plan");
    expectProblem(await admin.get("/v1/tenants/planless"), 404, "tenant_not_found");
  });

  it("nothing is reserved, recorded or read for a tenant that was not onboarded", async () => {
    const path = "/v1/tenants/nobody";
    const calls = [
      admin.get(path),
      admin.post(`${path}/reservations`, usdReserve("a", "1")),
      admin.post(`${path}/records`, { id: "a", resource: "llm", usd: "1" }),
      admin.post(`${path}/explain`, usdReserve("a", "1")),
      admin.post(`${path}/reservations/a/settle`, { usd: "1" }),
      admin.post(`${path}/reservations/a/release`, {}),
      admin.get(`${path}/reservations/a`),
      admin.get(`${path}/quotas`),
      admin.put(`${path}/quotas/q`, usdQuota("1")),
      admin.get(`${path}/usage`),
      admin.get(`${path}/entries`),
    ];
    for (const answer of await Promise.all(calls)) expectProblem(answer, 404, "tenant_not_found");
  });
});

describe("tokens", () => {
  it("are made with a role, a tenant and an end", async () => {
    const tenant = await newTenant(worker);
    const before = Date.now();
    const { body } = expectStatus(await admin.post(`${tenant.path}/tokens`, { role: "read", expiresInSeconds: 3600 }), 201);
    assertPartial(body, { role: "read", tenant: tenant.id });
    assert.equal(typeof body.token, "string");
    assert.match(body.id, /^[0-9a-f-]{36}$/);
    const lasts = Date.parse(body.expiresAt) - before;
    assert.ok(lasts > 3_590_000 && lasts < 3_700_000, body.expiresAt);
  });

  it("last a day when nothing is said", async () => {
    const { body } = expectStatus(await admin.post("/v1/tokens", { role: "service" }), 201);
    assertPartial(body, { role: "service" });
    assert.match(body.id, /^[0-9a-f-]{36}$/);
    const lasts = Date.parse(body.expiresAt) - Date.now();
    assert.ok(Math.abs(lasts - 86_400_000) < 60_000, body.expiresAt);
  });
});

describe("policy", () => {
  it("is versioned, and reaches a tenant with its next onboarding", async () => {
    const own = await startWorker();
    try {
      const owner = new Api(own.url, own.adminToken);
      const quota = usdQuota("5", { resource: "llm", period: "day" });
      const policy = {
        defaultPlan: "free",
        plans: {
          free: { quotas: { "tenant-llm-day": quota } },
          pro: { quotas: { "tenant-llm-day": { ...quota, limit: "50" }, "tenant-e2b-day": { ...quota, resource: "e2b" } }, withoutQuota: "deny" },
        },
      };
      expectStatus(await owner.put("/v1/tenants/early", {}), 200);
      const first = expectStatus(await owner.put("/v1/policy", policy), 200);
      assertPartial(first.body, { version: 1, ...policy });
      assertPartial(expectStatus(await owner.get("/v1/policy"), 200).body, { version: 1, ...policy });
      const early = expectStatus(await owner.get("/v1/tenants/early"), 200);
      assertPartial(early.body, { plan: "default", quotas: [{}, {}] });

      const free = expectStatus(await owner.put("/v1/tenants/early", {}), 200);
      assertPartial(free.body, { plan: "free", policyVersion: 1, quotas: [{ id: "tenant-llm-day", limit: "5", period: "day", source: "plan" }] });
      expectStatus(await owner.post("/v1/tenants/early/records", { id: "r", resource: "llm", usd: "2" }), 201);

      const again = expectStatus(await owner.put("/v1/policy", policy), 200);
      assert.equal(again.body.version, 1, "the same policy is the same version");
      const enterprise = { quotas: {}, unknownModel: { fallback: { perMillion: { input: "10", output: "30" } } } };
      const second = expectStatus(await owner.put("/v1/policy", { ...policy, plans: { ...policy.plans, enterprise } }), 200);
      assertPartial(second.body, { version: 2, plans: { enterprise } });
      const pro = expectStatus(await owner.put("/v1/tenants/early", { plan: "pro" }), 200);
      assertPartial(pro.body, { plan: "pro", policyVersion: 2 });
      const spent = Object.fromEntries(pro.body.quotas.map((state: { id: string; spent: string; limit: string }) => [state.id, [state.spent, state.limit]]));
      assert.deepEqual(spent, { "tenant-llm-day": ["2", "50"], "tenant-e2b-day": ["0", "5"] });

      const back = expectStatus(await owner.put("/v1/tenants/early", { plan: "free" }), 200);
      assertPartial(back.body, { quotas: [{ id: "tenant-llm-day", limit: "5", spent: "2" }] });

      const denied = await owner.put("/v1/policy", { ...policy, defaultPlan: "gone" });
      expectProblem(denied, 400, "invalid_request", "defaultPlan");
      assert.equal(expectStatus(await owner.get("/v1/policy"), 200).body.version, 2);
    } finally {
      await own.stop();
    }
  });
});

describe("quotas", () => {
  it("are set, listed, edited, reset and deleted", async () => {
    const tenant = await newTenant(worker, {});
    const path = `${tenant.path}/quotas`;
    assert.deepEqual(expectStatus(await tenant.read.get(path), 200).body, { quotas: [], next: null });

    const made = expectStatus(await admin.put(`${path}/q`, usdQuota("10", { resource: "llm" })), 200);
    assertPartial(made.body, {
      id: "q",
      scope: "tenant",
      resource: "llm",
      unit: "usd",
      limit: "10",
      period: "month",
      warnAt: ["0.8", "1"],
      source: "custom",
      spent: "0",
      held: "0",
      remaining: "10",
      utilization: "0",
      warned: [],
    });
    assert.match(made.body.periodStart, /^\d{4}-\d\d-01T00:00:00\.000Z$/);
    assert.match(made.body.periodEnd, /^\d{4}-\d\d-01T00:00:00\.000Z$/);

    expectStatus(await tenant.app.post(`${tenant.path}/records`, { id: "spend", resource: "llm", usd: "4" }), 201);
    expectStatus(await tenant.app.post(`${tenant.path}/reservations`, usdReserve("hold", "4.5")), 201);
    assertPartial(await quotaOf(tenant, "q"), { spent: "4", held: "4.5", remaining: "1.5", utilization: "0.85", warned: [] });

    const edited = expectStatus(await admin.put(`${path}/q`, usdQuota("5", { resource: "llm", warnAt: ["0.5"] })), 200);
    assertPartial(edited.body, { limit: "5", warnAt: ["0.5"], spent: "4", held: "4.5", remaining: "0", utilization: "1.7" });

    const reset = expectStatus(await admin.send("POST", `${path}/q/reset`), 200);
    assertPartial(reset.body, { spent: "0", held: "4.5", remaining: "0.5" });

    const another = expectStatus(await admin.put(`${path}/q`, usdQuota("5", { resource: "llm", period: "day" })), 200);
    assertPartial(another.body, { spent: "0", period: "day" });

    expectStatus(await admin.delete(`${path}/q`), 204);
    expectProblem(await admin.delete(`${path}/q`), 404, "quota_not_found");
    expectProblem(await admin.send("POST", `${path}/q/reset`), 404, "quota_not_found");
  });

  it("a lifetime quota has no period, a quota of zero has no utilization", async () => {
    const tenant = await newTenant(worker, { life: usdQuota("1", { period: "lifetime" }), none: usdQuota("0") });
    assertPartial(await quotaOf(tenant, "life"), { periodStart: null, periodEnd: null });
    assertPartial(await quotaOf(tenant, "none"), { utilization: null, remaining: "0" });
  });

  it("every period has its UTC bounds", async () => {
    const periods = ["hour", "day", "week", "month"];
    const tenant = await newTenant(worker, Object.fromEntries(periods.map((period) => [period, usdQuota("1", { period })])));
    const bounds = async (id: string) => {
      const { periodStart, periodEnd } = await quotaOf(tenant, id);
      assert.match(periodStart, TIME);
      assert.match(periodEnd, TIME);
      assert.ok(Date.parse(periodStart) <= Date.now() && Date.now() < Date.parse(periodEnd), id);
      return { start: new Date(periodStart), hours: (Date.parse(periodEnd) - Date.parse(periodStart)) / 3_600_000 };
    };
    assert.equal((await bounds("hour")).hours, 1);
    assert.equal((await bounds("day")).hours, 24);
    const week = await bounds("week");
    assert.equal(week.hours, 168);
    assert.equal(week.start.getUTCDay(), 1);
    assert.equal((await bounds("month")).start.getUTCDate(), 1);
  });

  it("limit a user only when the user is named", async () => {
    const tenant = await newTenant(worker, { u: usdQuota("1", { scope: "user", scopeId: "u-7" }) });
    const reserve = (id: string, userId: string) => tenant.app.post(`${tenant.path}/reservations`, usdReserve(id, "1", { userId }));
    expectStatus(await reserve("a", "u-7"), 201);
    expectProblem(await reserve("b", "u-7"), 429, "quota_exceeded");
    expectStatus(await reserve("c", "u-8"), 201);
  });
});

describe("reservations", () => {
  let tenant: Tenant;
  let path: string;
  before(async () => {
    tenant = await newTenant(worker, { llm: usdQuota("100", { resource: "llm" }), e2b: usdQuota("100", { resource: "e2b" }) });
    path = `${tenant.path}/reservations`;
  });

  it("by tokens: held at the upper bound, settled at the usage", async () => {
    const request = {
      id: "tokens",
      userId: "u-7",
      resource: "llm",
      provider: "openai",
      model: "gpt-4o",
      estimate: { inputTokens: 1200, maxOutputTokens: 800 },
      attribution: { touchpoint: "main-chat", conversationId: "c-1", tags: { route: "/api/chat" } },
    };
    const made = expectStatus(await tenant.app.post(path, request), 201);
    assertPartial(made.body, {
      id: "tokens",
      state: "held",
      held: { usd: "0.011", tokens: 2000, requests: 1 },
      onExpiry: "charge_input",
      quotas: [{ id: "llm", held: "0.011" }],
    });
    assert.equal(Date.parse(made.body.expiresAt) - Date.parse(made.body.createdAt), 600_000);
    assert.match(made.body.basis.rateCard, /^openai\/gpt-4o@\d{4}-\d\d-\d\d$/);
    assert.equal(made.body.replayed, undefined);

    const stored = expectStatus(await tenant.read.get(`${path}/tokens`), 200);
    const { estimate: _, ...kept } = request;
    assertPartial(stored.body, { ...kept, state: "held", held: { usd: "0.011", tokens: 2000, requests: 1 } });

    const settled = expectStatus(await tenant.app.post(`${path}/tokens/settle`, { usage: { input: 1100, cache_read: 100, output: 350 } }), 200);
    // 1100 × 2.5 + 100 × 1.25 + 350 × 10 millionths
    assertPartial(settled.body, {
      id: "tokens",
      state: "settled",
      charge: {
        usd: "0.006375",
        lines: [
          { meter: "input", quantity: 1100, unitPrice: "0.0000025", usd: "0.00275" },
          { meter: "cache_read", quantity: 100, unitPrice: "0.00000125", usd: "0.000125" },
          { meter: "output", quantity: 350, unitPrice: "0.00001", usd: "0.0035" },
        ],
        basis: made.body.basis,
        flags: [],
      },
      released: "0.004625",
      overrun: "0",
      quotas: [{ id: "llm", spent: "0.006375", held: "0" }],
    });
    const ended = expectStatus(await tenant.read.get(`${path}/tokens`), 200);
    assertPartial(ended.body, { state: "settled", charge: { usd: "0.006375" } });
    assert.match(ended.body.closedAt, TIME);
  });

  it("by bytes: no more tokens than bytes", async () => {
    const request = { id: "bytes", resource: "llm", provider: "openai", model: "gpt-4o", estimate: { inputBytes: 1200, maxOutputTokens: 800 } };
    const made = expectStatus(await tenant.app.post(path, request), 201);
    assertPartial(made.body, { held: { usd: "0.011", tokens: 2000 } });
    const released = expectStatus(await tenant.app.post(`${path}/bytes/release`, {}), 200);
    assertPartial(released.body, { id: "bytes", state: "released", released: "0.011" });
  });

  it("a sandbox: by the second, its size as reserved", async () => {
    const request = { id: "box", resource: "e2b", estimate: { sandbox: { tier: "standard", seconds: 300, vcpus: 2, memoryGib: "0.5" } } };
    const made = expectStatus(await tenant.app.post(path, request), 201);
    // 300 × (2 × 0.000014 + 0.5 × 0.0000045)
    assertPartial(made.body, { held: { usd: "0.009075" }, onExpiry: "charge_hold" });
    const settled = expectStatus(await tenant.app.post(`${path}/box/settle`, { sandbox: { seconds: 100 } }), 200);
    assertPartial(settled.body, { state: "settled", charge: { usd: "0.003025" }, released: "0.00605", overrun: "0" });
  });

  it("in batch mode, for less", async () => {
    const request = (id: string, mode?: string) => ({
      id,
      resource: "llm",
      provider: "openai",
      model: "gpt-4o",
      estimate: { inputTokens: 1200, maxOutputTokens: 800 },
      ...(mode !== undefined && { mode }),
    });
    const { body } = expectStatus(await tenant.app.post(path, request("batch-mode", "batch")), 201);
    assert.equal(body.held.usd, "0.0055");
  });

  it("settled above the hold: the overrun is recorded, and the next reserve is what gets denied", async () => {
    const poor = await newTenant(worker, { q: usdQuota("10") });
    const reservations = `${poor.path}/reservations`;
    expectStatus(await poor.app.post(reservations, usdReserve("a", "9")), 201);
    const settled = expectStatus(await poor.app.post(`${reservations}/a/settle`, { usd: "12" }), 200);
    assertPartial(settled.body, { state: "settled", charge: { usd: "12" }, released: "0", overrun: "3", quotas: [{ spent: "12", held: "0", remaining: "0", warned: ["0.8", "1"] }] });
    expectProblem(await poor.app.post(reservations, usdReserve("b", "0.01")), 429, "quota_exceeded");
  });

  it("settled by the provider's own answer", async () => {
    const request = { id: "payload", resource: "llm", provider: "openai", model: "gpt-4o", estimate: { inputTokens: 1200, maxOutputTokens: 800 } };
    expectStatus(await tenant.app.post(path, request), 201);
    const body = {
      id: "chatcmpl-1",
      object: "chat.completion",
      model: "gpt-4o-2024-08-06",
      choices: [{ index: 0, message: { role: "assistant", content: "Hello" }, finish_reason: "stop" }],
      usage: { prompt_tokens: 1200, completion_tokens: 350, total_tokens: 1550, prompt_tokens_details: { cached_tokens: 100 } },
    };
    const settled = expectStatus(await tenant.app.post(`${path}/payload/settle`, { payload: { format: "openai.chat", body } }), 200);
    assertPartial(settled.body, { charge: { usd: "0.006375" } });
    const empty = { ...request, id: "payload-2" };
    expectStatus(await tenant.app.post(path, empty), 201);
    const refused = await tenant.app.post(`${path}/payload-2/settle`, { payload: { format: "openai.chat", body: { id: "x", choices: [] } } });
    expectProblem(refused, 422, "invalid_payload");
    assertPartial(expectStatus(await tenant.read.get(`${path}/payload-2`), 200).body, { state: "held" });
  });

  it("extended: longer, larger and smaller, never shorter", async () => {
    const owner = await newTenant(worker, { q: usdQuota("10") });
    const reservations = `${owner.path}/reservations`;
    const made = expectStatus(await owner.app.post(reservations, usdReserve("a", "4", { ttlSeconds: 600 })), 201);
    const extend = (body: unknown) => owner.app.post(`${reservations}/a/extend`, body);
    const shorter = expectStatus(await extend({ id: "e1", ttlSeconds: 60 }), 200);
    assert.equal(shorter.body.expiresAt, made.body.expiresAt);
    const longer = expectStatus(await extend({ id: "e2", ttlSeconds: 1200 }), 200);
    assert.ok(Date.parse(longer.body.expiresAt) >= Date.parse(made.body.createdAt) + 1_200_000);
    const larger = expectStatus(await extend({ id: "e3", estimate: { usd: "10" } }), 200);
    assertPartial(larger.body, { id: "a", state: "held", held: { usd: "10" }, quotas: [{ held: "10", remaining: "0" }] });
    const smaller = expectStatus(await extend({ id: "e4", estimate: { usd: "1" } }), 200);
    assertPartial(smaller.body, { held: { usd: "1" }, quotas: [{ held: "1", remaining: "9" }] });
    expectStatus(await extend({ id: "e6", estimate: { usd: "10" } }), 200);
    const denied = expectProblem(await extend({ id: "e5", estimate: { usd: "10.000000000001" } }), 429, "quota_exceeded");
    assertPartial(denied.body.denial, { quota: "q", held: "10", remaining: "0" });
    assertPartial(await quotaOf(owner, "q"), { held: "10" });
  });

  it("that do not exist", async () => {
    expectProblem(await tenant.app.get(`${path}/nothing`), 404, "reservation_not_found");
    expectProblem(await tenant.app.post(`${path}/nothing/settle`, { usd: "1" }), 404, "reservation_not_found");
    expectProblem(await tenant.app.post(`${path}/nothing/release`, {}), 404, "reservation_not_found");
    expectProblem(await tenant.app.post(`${path}/nothing/extend`, { id: "e", ttlSeconds: 60 }), 404, "reservation_not_found");
  });

  it("of a model without a price", async () => {
    const request = { id: "unpriced", resource: "llm", provider: "openai", model: "gpt-99", estimate: { inputTokens: 1, maxOutputTokens: 1 } };
    expectProblem(await tenant.app.post(path, request), 422, "unpriced");
  });

  it("of a model without a price, where the plan has a fallback for them", async () => {
    const own = await startWorker();
    try {
      const owner = new Api(own.url, own.adminToken);
      const plan = { quotas: {}, unknownModel: { fallback: { perMillion: { input: "10", output: "30" } } } };
      expectStatus(await owner.put("/v1/policy", { defaultPlan: "fallback", plans: { fallback: plan } }), 200);
      const fallback = await newTenant(own);
      const request = { id: "a", resource: "llm", provider: "openai", model: "gpt-99", estimate: { inputTokens: 1, maxOutputTokens: 1 } };
      const made = expectStatus(await fallback.app.post(`${fallback.path}/reservations`, request), 201);
      assert.equal(made.body.held.usd, "0.00004");
    } finally {
      await own.stop();
    }
  });
});

describe("records", () => {
  it("always, whatever the limits say; within_limit, or not at all", async () => {
    const tenant = await newTenant(worker, { q: usdQuota("10", { resource: "llm" }) });
    const record = (body: Record<string, unknown>) => tenant.app.post(`${tenant.path}/records`, { resource: "llm", ...body });
    const first = expectStatus(await record({ id: "1", usd: "8" }), 201);
    assertPartial(first.body, { id: "1", state: "recorded", charge: { usd: "8" }, quotas: [{ spent: "8", warned: ["0.8"] }] });
    expectStatus(await record({ id: "2", mode: "within_limit", usd: "2" }), 201);
    const denied = expectProblem(await record({ id: "3", mode: "within_limit", usd: "0.01" }), 429, "quota_exceeded");
    assertPartial(denied.body.denial, { quota: "q", requested: "0.01", remaining: "0" });
    assertPartial(await quotaOf(tenant, "q"), { spent: "10" });
    expectStatus(await record({ id: "4", mode: "always", usd: "11" }), 201);
    assertPartial(await quotaOf(tenant, "q"), { spent: "21", remaining: "0" });
  });

  it("priced from usage, from a payload, from a sandbox's seconds", async () => {
    const tenant = await newTenant(worker, {});
    const record = (body: Record<string, unknown>) => tenant.app.post(`${tenant.path}/records`, body);
    const model = { resource: "llm", provider: "openai", model: "gpt-4o" };
    const usage = expectStatus(await record({ id: "1", ...model, usage: { input: 1000, output: 100 } }), 201);
    assert.equal(usage.body.charge.usd, "0.0035");
    const payload = {
      format: "openai.chat",
      body: { object: "chat.completion", choices: [], usage: { prompt_tokens: 1000, completion_tokens: 100, total_tokens: 1100 } },
    };
    const priced = expectStatus(await record({ id: "2", ...model, payload }), 201);
    assert.equal(priced.body.charge.usd, "0.0035");
    const box = expectStatus(await record({ id: "3", resource: "e2b", sandbox: { tier: "standard", seconds: 100, vcpus: 2, memoryGib: "0.5" } }), 201);
    assert.equal(box.body.charge.usd, "0.003025");
  });
});

describe("batch", () => {
  it("an answer for each, in order; one's failure does not touch the others", async () => {
    const tenant = await newTenant(worker, { q: usdQuota("10") });
    const commands = [
      { op: "reserve", ...usdReserve("a", "6") },
      { op: "reserve", ...usdReserve("b", "6") },
      { op: "reserve", ...usdReserve("c", "4") },
      { op: "extend", id: "c", extend: { id: "x", ttlSeconds: 900 } },
      { op: "settle", id: "a", usd: "5" },
      { op: "settle", id: "nothing", usd: "5" },
      { op: "release", id: "c" },
      { op: "record", id: "d", resource: "llm", usd: "1" },
      { op: "explain", resource: "llm", estimate: { usd: "4" } },
      { op: "reserve", id: "e", resource: "llm", estimate: { usd: 1 } },
      { op: "reserve", ...usdReserve("f", "4") },
    ];
    const { body } = expectStatus(await tenant.app.post(`${tenant.path}/batch`, { commands }), 200);
    assert.deepEqual(
      body.results.map((result: { status: number }) => result.status),
      [201, 429, 201, 200, 200, 404, 200, 201, 200, 400, 201],
    );
    assertPartial(body.results, [
      { body: { id: "a", state: "held" } },
      { body: { code: "quota_exceeded", denial: { quota: "q", remaining: "4", requested: "6", quotas: [{ id: "q", resetsAt: body.quotas[0].periodEnd }] } } },
      { body: { id: "c", state: "held", quotas: ["q"] } },
      { body: { id: "c", state: "held" } },
      { body: { id: "a", state: "settled", released: "1" } },
      { body: { code: "reservation_not_found" } },
      { body: { id: "c", state: "released", released: "4" } },
      { body: { id: "d", state: "recorded" } },
      { body: { allowed: true, estimate: { usd: "4" }, quotas: [{ id: "q", fits: true }] } },
      { body: { code: "invalid_request", field: "estimate.usd" } },
      { body: { id: "f", state: "held" } },
    ]);
    // Once, as it stands after all of them.
    assertPartial(body.quotas, [{ id: "q", spent: "6", held: "4", remaining: "0" }]);
    assertPartial(await quotaOf(tenant, "q"), { spent: "6", held: "4", remaining: "0" });
  });

  it("takes 500 commands and no batch at all", async () => {
    const tenant = await newTenant(worker, {});
    const commands = Array.from({ length: 500 }, (_, i) => ({ op: "reserve", ...usdReserve(`r-${i}`, "0.01") }));
    const { body } = expectStatus(await tenant.app.post(`${tenant.path}/batch`, { commands }), 200);
    assert.equal(body.results.length, 500);
    assert.ok(body.results.every((result: { status: number }) => result.status === 201));
    assert.deepEqual(expectStatus(await tenant.app.post(`${tenant.path}/batch`, { commands: [] }), 200).body, { results: [], quotas: [] });
  });
});

describe("explain", () => {
  it("says what a reserve would, and reserves nothing", async () => {
    const tenant = await newTenant(worker, { q: usdQuota("10"), small: usdQuota("1", { resource: "llm" }) });
    const yes = expectStatus(await tenant.read.post(`${tenant.path}/explain`, { resource: "llm", estimate: { usd: "1" } }), 200);
    assertPartial(yes.body, { allowed: true, estimate: { usd: "1", requests: 1 } });
    const no = expectStatus(await tenant.read.post(`${tenant.path}/explain`, usdReserve("a", "2")), 200);
    assertPartial(no.body, { allowed: false, denial: { quota: "small", requested: "2", remaining: "1", affordable: { usd: "1" } } });
    const fits = Object.fromEntries(no.body.quotas.map((quota: { id: string; fits: boolean }) => [quota.id, quota.fits]));
    assert.deepEqual(fits, { q: true, small: false });
    for (const id of ["q", "small"]) assertPartial(await quotaOf(tenant, id), { spent: "0", held: "0" });
    expectProblem(await tenant.read.get(`${tenant.path}/reservations/a`), 404, "reservation_not_found");
  });
});

describe("usage", () => {
  it("groups what was spent, dearest first, and adds up", async () => {
    const tenant = await newTenant(worker, {});
    const gpt = { resource: "llm", provider: "openai", model: "gpt-4o" };
    const record = async (id: string, body: Record<string, unknown>) =>
      expectStatus(await tenant.app.post(`${tenant.path}/records`, { id, ...body }), 201);
    await record("1", { ...gpt, usage: { input: 1000, output: 100 }, userId: "u-1", attribution: { touchpoint: "main-chat" } });
    await record("2", { ...gpt, usage: { input: 1000, cache_read: 1000, output: 100 }, userId: "u-2", attribution: { touchpoint: "main-chat" } });
    await record("3", { ...gpt, usage: { input: 100, output: 10 }, attribution: { touchpoint: "pii-sanitizer" } });
    await record("4", { resource: "e2b", sandbox: { tier: "standard", seconds: 100, vcpus: 2, memoryGib: "0.5" }, userId: "u-1" });
    const usage = async (query: string) => expectStatus(await tenant.read.get(`${tenant.path}/usage${query}`), 200).body;

    const total = await usage("");
    assertPartial(total, { groupBy: [], groups: [], total: { usd: "0.011625", calls: 4, inputTokens: 3100, outputTokens: 210 } });

    const byTouchpoint = await usage("?groupBy=touchpoint");
    assertPartial(byTouchpoint.groups, [
      { touchpoint: "main-chat", usd: "0.00825", calls: 2, inputTokens: 3000, outputTokens: 200 },
      { touchpoint: null, usd: "0.003025", calls: 1 },
      { touchpoint: "pii-sanitizer", usd: "0.00035", calls: 1 },
    ]);
    assert.deepEqual(byTouchpoint.total, total.total);

    const byModelAndUser = await usage("?groupBy=model,user");
    assertPartial(byModelAndUser.groups, [
      { model: "openai/gpt-4o", user: "u-2", usd: "0.00475" },
      { model: "openai/gpt-4o", user: "u-1", usd: "0.0035" },
      { user: "u-1", usd: "0.003025" },
      { model: "openai/gpt-4o", user: null, usd: "0.00035" },
    ]);

    const byResource = await usage("?groupBy=resource,day");
    assert.equal(byResource.groups.length, 2);
    assertPartial(byResource.groups[0], { resource: "llm", day: new Date().toISOString().slice(0, 10) });

    const hour = new Date();
    hour.setUTCMinutes(0, 0, 0);
    const before = await usage(`?from=2026-01-01T00:00:00Z&to=${new Date(hour.getTime() - 3_600_000).toISOString()}`);
    assertPartial(before.total, { usd: "0", calls: 0 });
    const since = await usage(`?from=${new Date(hour.getTime() - 3_600_000).toISOString()}`);
    assertPartial(since.total, total.total);
  });

  it("a wrong question is named", async () => {
    const tenant = await newTenant(worker, {});
    const usage = (query: string) => tenant.read.get(`${tenant.path}/usage?${query}`);
    expectProblem(await usage("groupBy=colour"), 400, "invalid_request", "groupBy");
    expectProblem(await usage("from=yesterday"), 400, "invalid_request", "from");
    expectProblem(await usage("to=2026-11-01T00:20:00Z"), 400, "invalid_request", "to");
    expectProblem(await usage("form=2026-11-01T00:00:00Z"), 400, "invalid_request", "form");
  });
});

describe("entries", () => {
  it("are the ledger in order, by pages, as JSON and as CSV", async () => {
    const tenant = await newTenant(worker, { q: usdQuota("10") });
    expectStatus(await tenant.app.post(`${tenant.path}/reservations`, usdReserve("a", "1")), 201);
    expectStatus(await tenant.app.post(`${tenant.path}/reservations/a/settle`, { usd: "0.5" }), 200);
    expectStatus(await tenant.app.post(`${tenant.path}/records`, { id: "b", resource: "llm", usd: "0.25" }), 201);
    const all = expectStatus(await tenant.read.get(`${tenant.path}/entries?limit=1000`), 200).body;
    assert.equal(all.next, null);
    const seqs = all.entries.map((entry: { seq: number }) => entry.seq);
    assert.deepEqual(seqs, [...seqs].sort((a, b) => a - b));
    assert.equal(new Set(seqs).size, seqs.length);
    const types = all.entries.map((entry: { type: string }) => entry.type);
    for (const type of ["reserved", "settled", "recorded"]) assert.ok(types.includes(type), `${type} in ${types}`);
    for (const entry of all.entries) assert.match(entry.at, TIME);

    const paged: unknown[] = [];
    let after: number | null = 0;
    let pages = 0;
    while (after !== null) {
      const page: { body: { entries: unknown[]; next: number | null } } = expectStatus(await tenant.read.get(`${tenant.path}/entries?after=${after}&limit=2`), 200);
      assert.ok(page.body.entries.length <= 2);
      paged.push(...page.body.entries);
      after = page.body.next;
      assert.ok(++pages < 50);
    }
    assert.deepEqual(paged, all.entries);

    const audit = expectStatus(await tenant.admin.get(`${tenant.path}/audit`), 200).body;
    assert.deepEqual({ ...audit, head: undefined }, { clean: true, entries: all.entries.length, head: undefined, differences: [] });
    assert.match(audit.head, /^sha256:[0-9a-f]{64}$/);

    const csv = expectStatus(await tenant.read.get(`${tenant.path}/entries`, { headers: { accept: "text/csv" } }), 200);
    assert.match(String(csv.headers["content-type"]), /^text\/csv\b/);
    const [header, ...lines] = csv.text.trimEnd().split(/\r?\n/);
    assert.match(header ?? "", /^seq,at,type\b/);
    assert.equal(lines.length, all.entries.length);
  });

  it("a wrong question is named", async () => {
    const tenant = await newTenant(worker, {});
    for (const [query, field] of [["limit=0", "limit"], ["limit=1001", "limit"], ["limit=x", "limit"], ["after=-1", "after"], ["afer=1", "afer"]]) {
      expectProblem(await tenant.read.get(`${tenant.path}/entries?${query}`), 400, "invalid_request", field);
    }
  });
});

describe("prices", () => {
  it("prices usage and payloads, now and then, by mode", async () => {
    const tenant = await newTenant(worker, {});
    const price = (body: Record<string, unknown>) => tenant.read.post("/v1/price", { provider: "openai", model: "gpt-4o", ...body });
    const now = expectStatus(await price({ usage: { input: 1000, output: 100 } }), 200);
    assertPartial(now.body, { usd: "0.0035", flags: [], lines: [{ meter: "input" }, { meter: "output" }] });
    assert.match(now.body.basis.rateCard, /^openai\/gpt-4o@/);
    const batch = expectStatus(await price({ usage: { input: 1000, output: 100 }, mode: "batch" }), 200);
    assert.equal(batch.body.usd, "0.00175");
    const then = expectStatus(await price({ usage: { input: 1000, output: 100 }, at: "2024-12-01T00:00:00Z" }), 200);
    assert.equal(typeof then.body.usd, "string");
    expectProblem(await price({ model: "gpt-99", usage: { input: 1 } }), 422, "unpriced");
    expectProblem(await price({ usage: { input: -1 } }), 400, "invalid_request", "usage.input");
    expectProblem(await price({ usage: { tokens: 1 } }), 400, "invalid_request");
  });

  it("lists the catalog", async () => {
    const tenant = await newTenant(worker, {});
    const summary = expectStatus(await tenant.read.get("/v1/catalog"), 200);
    assert.match(summary.body.version, /^\d{4}-\d\d-\d\d/);
    assert.ok(summary.text.length < 10_000, "a summary");
    const { body } = expectStatus(await tenant.read.get("/v1/catalog?provider=openai"), 200);
    assert.equal(body.version, summary.body.version);
    const counted = summary.body.providers.find((entry: { provider: string }) => entry.provider === "openai");
    assert.equal(counted.models, body.models.length);
    const gpt = body.models.find((entry: { model: string }) => entry.model === "gpt-4o");
    assert.ok(gpt);
    assert.ok(gpt.rateCards.length >= 1);
    assert.ok(Array.isArray(gpt.aliases));
    assert.equal(gpt.rateCards.at(-1).perMillion.input, "2.5");
    assert.ok(body.models.length >= 20);
    assert.ok(body.models.every((entry: { provider: string }) => entry.provider === "openai"));
    assert.deepEqual(expectStatus(await tenant.read.get("/v1/catalog?provider=nobody"), 200).body.models, []);
    expectProblem(await tenant.read.get("/v1/catalog?model=gpt-4o"), 400, "invalid_request", "model");
  });
});

describe("what is not there", () => {
  it("no such route", async () => {
    for (const path of ["/", "/v1", "/v2/tenants/a", "/v1/tenant/a", "/v1/tenants/a/b", "/v1/tenants/a/reservations/b/c", "/v1/tenants/a/reservations/b/settle/c", "/v1/tenants//quotas"]) {
      const answer = await admin.get(path);
      assert.ok(answer.status === 404 || answer.status === 400, `${path}: ${answer.status}`);
      expectProblem(answer, answer.status, answer.status === 404 ? "not_found" : "invalid_request");
    }
  });

  it("no such method: 405 with what there is", async () => {
    const tenant = await newTenant(worker, {});
    const cases: [string, string, string[]][] = [
      ["DELETE", tenant.path, ["GET", "PUT"]],
      ["POST", "/v1/policy", ["GET", "PUT"]],
      ["GET", "/v1/tokens", ["POST"]],
      ["GET", `${tenant.path}/tokens`, ["POST"]],
      ["POST", `${tenant.path}/quotas`, ["GET"]],
      ["GET", `${tenant.path}/quotas/q/reset`, ["POST"]],
      ["PATCH", `${tenant.path}/quotas/q`, ["DELETE", "GET", "PUT"]],
      ["PUT", `${tenant.path}/reservations`, ["GET", "POST"]],
      ["PUT", `${tenant.path}/reservations/release`, ["GET", "POST"]],
      ["DELETE", `${tenant.path}/reservations/a`, ["GET"]],
      ["GET", `${tenant.path}/reservations/a/settle`, ["POST"]],
      ["PUT", `${tenant.path}/reservations/a/release`, ["POST"]],
      ["GET", `${tenant.path}/reservations/a/extend`, ["POST"]],
      ["GET", `${tenant.path}/records`, ["POST"]],
      ["GET", `${tenant.path}/batch`, ["POST"]],
      ["GET", `${tenant.path}/explain`, ["POST"]],
      ["POST", `${tenant.path}/usage`, ["GET"]],
      ["POST", `${tenant.path}/entries`, ["GET"]],
      ["GET", "/v1/price", ["POST"]],
      ["POST", "/v1/catalog", ["GET"]],
      ["POST", "/healthz", ["GET"]],
    ];
    for (const [method, path, allowed] of cases) {
      const answer = expectProblem(await admin.send(method, path), 405, "method_not_allowed");
      const allow = String(answer.headers["allow"]).split(/,\s*/).filter((name) => name !== "HEAD").sort();
      assert.deepEqual(allow, allowed, `${method} ${path}`);
    }
  });
});
