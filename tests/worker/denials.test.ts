// What a denial says: which quota, how much is left, until when, and what would fit.
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { expectProblem, expectStatus, newTenant, usdQuota, usdReserve } from "../support/http.ts";
import { assertPartial } from "../support/partial.ts";
import { startWorker, type TestWorker } from "../support/worker.ts";

let worker: TestWorker;
before(async () => {
  worker = await startWorker();
});
after(() => worker?.stop());

describe("429", () => {
  it("has the denial, and the headers that go with it", async () => {
    const tenant = await newTenant(worker, { "tenant-llm-month": usdQuota("50", { resource: "llm" }) });
    expectStatus(await tenant.app.post(`${tenant.path}/records`, { id: "a", resource: "llm", usd: "45" }), 201);
    const answer = expectProblem(await tenant.app.post(`${tenant.path}/reservations`, usdReserve("b", "45")), 429, "quota_exceeded");
    const { denial, detail } = answer.body;
    assertPartial(denial, {
      quota: "tenant-llm-month",
      scope: "tenant",
      resource: "llm",
      unit: "usd",
      limit: "50",
      spent: "45",
      held: "0",
      remaining: "5",
      requested: "45",
      affordable: { usd: "5" },
      quotas: [{ id: "tenant-llm-month", remaining: "5" }],
    });
    assert.equal(detail, `tenant quota \`tenant-llm-month\`: 45 USD needed, 5 USD of 50 USD remaining until ${denial.periodEnd}`);
    const seconds = (Date.parse(denial.periodEnd) - Date.now()) / 1000;
    assert.ok(Number.isInteger(denial.retryAfterSeconds));
    assert.ok(denial.retryAfterSeconds >= Math.floor(seconds) && denial.retryAfterSeconds <= Math.ceil(seconds) + 5, `${denial.retryAfterSeconds} against ${seconds}`);
    assert.equal(answer.headers["retry-after"], String(denial.retryAfterSeconds));
    assert.match(String(answer.headers["ratelimit-policy"]), /^"tenant-llm-month";.*\bq=50000000\b/);
    assert.match(String(answer.headers["ratelimit-policy"]), /;qu="micro-usd"/);
    assert.match(String(answer.headers["ratelimit"]), new RegExp(`^"tenant-llm-month";.*\\br=5000000\\b.*;t=${denial.retryAfterSeconds}\\b`));
  });

  it("has no Retry-After when the quota never resets", async () => {
    const tenant = await newTenant(worker, { life: usdQuota("1", { period: "lifetime" }) });
    const answer = expectProblem(await tenant.app.post(`${tenant.path}/reservations`, usdReserve("a", "2")), 429, "quota_exceeded");
    assert.equal(answer.headers["retry-after"], undefined);
    assertPartial(answer.body.denial, { quota: "life", periodEnd: null, retryAfterSeconds: null });
    assert.equal(answer.headers["ratelimit"], '"life";r=1000000');
  });

  it("names the quota that resets last, and shows every one that did not fit", async () => {
    const tenant = await newTenant(worker, { hour: usdQuota("1", { period: "hour" }), month: usdQuota("3"), week: usdQuota("100", { period: "week" }) });
    const { body } = expectProblem(await tenant.app.post(`${tenant.path}/reservations`, usdReserve("a", "5")), 429, "quota_exceeded");
    assertPartial(body.denial, { quota: "month", remaining: "3", affordable: { usd: "1" } });
    assert.deepEqual(body.denial.quotas.map((quota: { id: string }) => quota.id).sort(), ["hour", "month"]);
    expectProblem(await tenant.app.post(`${tenant.path}/reservations`, usdReserve("b", "2")), 429, "quota_exceeded");
    expectStatus(await tenant.app.post(`${tenant.path}/reservations`, usdReserve("c", "1")), 201);
  });

  it("says how many output tokens would have fitted, and those do fit, and not one more", async () => {
    const tenant = await newTenant(worker, { q: usdQuota("0.01") });
    const request = (id: string, maxOutputTokens: number) => ({ id, resource: "llm", provider: "openai", model: "gpt-4o", estimate: { inputTokens: 1200, maxOutputTokens } });
    const reserve = (id: string, tokens: number) => tenant.app.post(`${tenant.path}/reservations`, request(id, tokens));
    const { body } = expectProblem(await reserve("a", 800), 429, "quota_exceeded");
    const { maxOutputTokens } = body.denial.affordable;
    // (0.01 − 1200 × 0.0000025) ÷ 0.00001
    assert.equal(maxOutputTokens, 700);
    expectProblem(await reserve("b", maxOutputTokens + 1), 429, "quota_exceeded");
    expectStatus(await reserve("c", maxOutputTokens), 201);
  });

  it("says how many sandbox seconds would have fitted", async () => {
    const tenant = await newTenant(worker, { q: usdQuota("0.003025") });
    const reserve = (id: string, seconds: number) =>
      tenant.app.post(`${tenant.path}/reservations`, { id, resource: "e2b", estimate: { sandbox: { tier: "standard", seconds, vcpus: 2, memoryGib: "0.5" } } });
    const { body } = expectProblem(await reserve("a", 300), 429, "quota_exceeded");
    assert.equal(body.denial.affordable.seconds, 100);
    expectProblem(await reserve("b", 101), 429, "quota_exceeded");
    expectStatus(await reserve("c", 100), 201);
  });

  it("without a quota, where the plan denies that", async () => {
    const own = await startWorker();
    try {
      const tenant = await newTenant(own, {});
      const policy = { defaultPlan: "strict", plans: { strict: { quotas: {}, withoutQuota: "deny" } } };
      expectStatus(await tenant.admin.put("/v1/policy", policy), 200);
      expectStatus(await tenant.app.post(`${tenant.path}/reservations`, usdReserve("a", "1")), 201);
      expectStatus(await tenant.admin.put(tenant.path, {}), 200);
      const answer = expectProblem(await tenant.app.post(`${tenant.path}/reservations`, usdReserve("b", "1")), 429, "quota_exceeded");
      assert.equal(answer.body.denial.quota, null);
      assert.equal(answer.headers["retry-after"], undefined);
    } finally {
      await own.stop();
    }
  });

  it("changes nothing, and holds are all or nothing", async () => {
    const tenant = await newTenant(worker, { wide: usdQuota("100"), narrow: usdQuota("1", { resource: "llm" }) });
    expectProblem(await tenant.app.post(`${tenant.path}/reservations`, usdReserve("a", "2")), 429, "quota_exceeded");
    const { body } = expectStatus(await tenant.read.get(`${tenant.path}/quotas`), 200);
    for (const quota of body.quotas) assertPartial(quota, { spent: "0", held: "0" });
  });

  it("10,000 open holds are enough", { timeout: 300_000 }, async () => {
    const tenant = await newTenant(worker, {});
    for (let batch = 0; batch < 20; batch++) {
      const commands = Array.from({ length: 500 }, (_, i) => ({ op: "reserve", ...usdReserve(`h-${batch}-${i}`, "0.01", { ttlSeconds: 3600 }) }));
      const { body } = expectStatus(await tenant.app.post(`${tenant.path}/batch`, { commands }), 200);
      assert.ok(body.results.every((result: { status: number }) => result.status === 201));
    }
    expectProblem(await tenant.app.post(`${tenant.path}/reservations`, usdReserve("one-more", "0.01")), 429, "too_many_holds");
    expectStatus(await tenant.app.post(`${tenant.path}/reservations/h-0-0/release`, {}), 200);
    expectStatus(await tenant.app.post(`${tenant.path}/reservations`, usdReserve("one-more", "0.01")), 201);
  });
});
