// The package against the real Worker: what the doubles of the other files stand for.
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import {
  createClient,
  createLocal,
  createPlatform,
  InvalidRequestError,
  NotFoundError,
  QuotaExceededError,
  ReservationClosedError,
  TollgateError,
  TooManyHoldsError,
  UnauthorizedError,
  UnavailableError,
  UnpricedError,
  type ClientOptions,
  type ReserveRequest,
  type Tollgate,
} from "tollgate";
import { expectStatus, newTenant, quotaOf, usdQuota, usdReserve, type Tenant } from "../support/http.ts";
import { assertPartial } from "../support/partial.ts";
import { startWorker, type TestWorker } from "../support/worker.ts";

let worker: TestWorker;
before(async () => {
  worker = await startWorker();
});
after(() => worker?.stop());

function clientOf(tenant: Tenant, options: Partial<ClientOptions> = {}): Tollgate {
  return createClient({ url: worker.url, token: tenant.app.token ?? "", tenant: tenant.id, onUnavailable: "deny", ...options });
}

/** The client's own fetch, counted. */
function counted(): { fetch: typeof fetch; paths: string[] } {
  const paths: string[] = [];
  const count: typeof fetch = (input, init) => {
    paths.push(new URL(String(input)).pathname);
    return fetch(input, init);
  };
  return { fetch: count, paths };
}

const dollar = (id: string): ReserveRequest => ({ id, resource: "llm", estimate: { usd: "1" } });
const chat: ReserveRequest = {
  resource: "llm",
  provider: "openai",
  model: "gpt-4o",
  userId: "u-7",
  estimate: { inputTokens: 1200, maxOutputTokens: 800 },
  attribution: { touchpoint: "main-chat", conversationId: "c-1", tags: { route: "/api/chat" } },
};

describe("a client of the Worker", () => {
  it("50 × $1 on $10: exactly 10 pass, in one batch", async () => {
    const tenant = await newTenant(worker, { q: usdQuota("10") });
    const { fetch, paths } = counted();
    const tollgate = clientOf(tenant, { fetch });
    const outcomes = await Promise.allSettled(Array.from({ length: 50 }, (_, i) => tollgate.reserve(dollar(`r-${i}`))));
    const held = outcomes.filter((outcome) => outcome.status === "fulfilled").map((outcome) => outcome.value);
    assert.equal(held.length, 10);
    for (const outcome of outcomes) if (outcome.status === "rejected") assert.ok(outcome.reason instanceof QuotaExceededError, String(outcome.reason));
    assert.equal(paths.length, 1);
    await Promise.all(held.map((reservation) => reservation.settle({ usd: "1" })));
    assert.equal(paths.length, 2);
    assertPartial(await tollgate.quotas(), [{ id: "q", spent: "10", held: "0", remaining: "0" }]);
  });

  it("the whole life of a hold", async () => {
    const tenant = await newTenant(worker, { q: usdQuota("10") });
    const tollgate = clientOf(tenant);
    assert.equal((await tollgate.explain(chat)).allowed, true);
    const reservation = await tollgate.reserve(chat);
    assert.deepEqual([reservation.state, reservation.unverified, reservation.held.usd], ["held", false, "0.011"]);
    const extension = await reservation.extend({ ttlSeconds: 1200, estimate: { inputTokens: 2400, maxOutputTokens: 800 } });
    assert.equal(extension.held.usd, "0.014");
    assert.equal(reservation.held.usd, "0.014");
    const settlement = await reservation.settle({ usage: { input: 1100, cache_read: 100, output: 350 } });
    assertPartial(settlement, { state: "settled", charge: { usd: "0.006375" }, released: "0.007625" });
    assertPartial(await tollgate.reservation(reservation.id), { state: "settled", userId: "u-7", attribution: chat.attribution ?? {} });
    await assert.rejects(reservation.release(), ReservationClosedError);
    const report = await tollgate.usage({ groupBy: ["model", "touchpoint", "user"] });
    assertPartial(report.groups, [{ model: "openai/gpt-4o", touchpoint: "main-chat", user: "u-7", usd: "0.006375", calls: 1 }]);
    assert.equal((await tollgate.record({ resource: "llm", usd: "1" })).state, "recorded");
    assert.equal((await tollgate.price({ provider: "openai", model: "gpt-4o", usage: { input: 1000 }, at: new Date() })).usd, "0.0025");
  });

  it("usage comes page by page, and all of it through an iterator, as in process", async () => {
    const tenant = await newTenant(worker, {});
    const local = createLocal({ quotas: {}, now: () => Date.parse("2026-11-24T18:20:00Z") });
    for (const home of [clientOf(tenant), local]) {
      const records = Array.from({ length: 7 }, (_, at) => home.record({ resource: "llm", provider: "openai", model: "openai/gpt-4o", userId: `u-${at}`, usd: String(1 + (at % 3)) }));
      await Promise.all(records);
      const first = await home.usage({ groupBy: ["user"], limit: 3 });
      assertPartial(first, { groups: [{ user: "u-2", usd: "3" }, { user: "u-5", usd: "3" }, { user: "u-1", usd: "2" }], total: { usd: "13" } });
      assert.ok(first.next !== null);
      assertPartial((await home.usage({ groupBy: ["user"], limit: 1, after: first.next })).groups, [{ user: "u-4", usd: "2" }]);
      const users: unknown[] = [];
      for await (const { user } of home.usageGroups({ groupBy: ["user"], limit: 2 })) users.push(user);
      assert.deepEqual(users, ["u-2", "u-5", "u-1", "u-4", "u-0", "u-3", "u-6"]);
      const groups = (await home.usage({ groupBy: ["model", "calledModel", "day"], timeZone: "Asia/Kolkata" })).groups;
      assertPartial(groups, [{ model: "openai/gpt-4o", calledModel: "openai/openai/gpt-4o", usd: "13" }]);
    }
    assertPartial((await local.usage({ groupBy: ["day"], timeZone: "Asia/Kathmandu" })).groups, [{ day: "2026-11-25" }]);
    await local.setQuota("paid", { scope: "tenant", resource: "all", unit: "usd", limit: "0", period: "lifetime", filter: { provider: ["openai", "azure"], model: "gpt-4o" } });
    await local.addCredit("paid", { id: "pay", amount: "5" });
    await assert.rejects(local.removeQuota("paid"), { code: "credits_left" });
    await local.removeQuota("paid", { forfeit: true });
    assert.deepEqual(await local.quotas(), []);
  });

  it("own rates and markups, of a tenant and of the platform", async () => {
    const tenant = await newTenant(worker, { q: usdQuota("10") });
    const request = { provider: "openai", model: "gpt-4o", usage: { input: 1000 } };
    const admin = createClient({ url: worker.url, token: worker.adminToken, tenant: tenant.id, onUnavailable: "deny" });
    const platform = createPlatform({ url: worker.url, token: worker.adminToken });
    const own = [{ provider: "openai", model: "gpt-4o", perMillion: { input: "1" }, perUnit: { web_search: "0.01" } }];
    assertPartial(await admin.setOverrides({ rates: own }), { version: 1, rates: own });
    const charge = await clientOf(tenant).price(request);
    assertPartial(charge, { usd: "0.001", basis: { applied: { rates: { scope: "tenant", version: 1 } } } });
    await assert.rejects(clientOf(tenant).setOverrides({}), UnauthorizedError);
    await assert.rejects(admin.setOverrides({ markups: [{ id: "m", factor: "x" }] }), (error: unknown) => {
      assert.ok(error instanceof InvalidRequestError, String(error));
      assert.equal(error.field, "markups[0].factor");
      return true;
    });
    const before = await platform.overrides();
    const after = await platform.setOverrides({ markups: [{ id: "margin", percent: "50" }] });
    assert.equal(after.version, before.version + 1);
    try {
      assert.equal((await clientOf(tenant).price(request)).usd, "0.0015");
      assertPartial(await clientOf(tenant).overrides(), { version: 1, platformVersion: after.version });
    } finally {
      await platform.setOverrides({});
    }
    assert.equal((await clientOf(tenant).price(request)).usd, "0.001");
  });

  it("open holds are listed by whoever reads, and released in bulk by the administrator", async () => {
    const tenant = await newTenant(worker, { q: usdQuota("10") });
    const tollgate = clientOf(tenant);
    for (const id of ["a", "b", "c"]) await tollgate.reserve({ ...dollar(id), userId: id === "c" ? "u-8" : "u-7", ttlSeconds: 600 });
    const first = await tollgate.reservations({ userId: "u-7", limit: 1 });
    assertPartial(first.reservations, [{ id: "a", state: "held", userId: "u-7" }]);
    assert.ok(first.next !== null);
    const second = await tollgate.reservations({ userId: "u-7", after: first.next });
    assert.deepEqual([second.reservations.map(({ id }) => id), second.next], [["b"], null]);
    const platform = createPlatform({ url: worker.url, token: worker.adminToken });
    const released = await platform.releaseReservations(tenant.id, { userId: "u-7", openedBefore: new Date(Date.now() + 60_000) });
    assert.deepEqual(released, { released: 2, remaining: 0 });
    assert.deepEqual((await tollgate.reservations()).reservations.map(({ id }) => id), ["c"]);
    await assert.rejects(platform.releaseReservations(tenant.id, {}), InvalidRequestError);
    await assert.rejects(createPlatform({ url: worker.url, token: tenant.app.token ?? "" }).releaseReservations(tenant.id, { all: true }), UnauthorizedError);
    await assert.rejects(platform.releaseReservations("nobody", { all: true }), (error: unknown) => error instanceof TollgateError && error.code === "tenant_not_found");

    const local = createLocal();
    for (let n = 0; n < 1_000; n++) await local.reserve({ id: `r-${n}`, userId: "u-7", resource: "llm", estimate: { usd: "0" }, ttlSeconds: 60 });
    await assert.rejects(local.reserve({ userId: "u-7", resource: "llm", estimate: { usd: "0" } }), (error: unknown) => {
      assert.ok(error instanceof TooManyHoldsError, String(error));
      assertPartial(error.holds, { scope: "user", scopeId: "u-7", open: 1000, limit: 1000 });
      assert.ok(error.retryAfterSeconds !== undefined && error.retryAfterSeconds > 0 && error.retryAfterSeconds <= 60);
      return true;
    });
    assert.equal((await local.reservations({ userId: "u-7", limit: 1000 })).reservations.length, 1_000);
    assert.deepEqual(await local.releaseReservations({ userId: "u-7" }), { released: 500, remaining: 500 });
  });

  it("withReservation ends its hold on every way out", async () => {
    const tenant = await newTenant(worker, { q: usdQuota("10") });
    const tollgate = clientOf(tenant);
    const own = new Error("own");
    await tollgate.withReservation(dollar("settled"), (hold) => hold.settle({ usd: "0.25" }));
    await tollgate.withReservation(dollar("left"), () => undefined);
    await assert.rejects(
      tollgate.withReservation(dollar("thrown"), () => {
        throw own;
      }),
      own,
    );
    const states = await Promise.all(["settled", "left", "thrown"].map(async (id) => (await tollgate.reservation(id)).state));
    assert.deepEqual(states, ["settled", "settled", "released"]);
    assertPartial(await quotaOf(tenant, "q"), { spent: "1.25", held: "0" });
  });

  it("errors are what they are", async () => {
    const tenant = await newTenant(worker, { q: usdQuota("10") });
    const tollgate = clientOf(tenant);
    await assert.rejects(tollgate.reserve({ resource: "llm", estimate: { usd: "-1" } }), (error) => error instanceof InvalidRequestError && error.field === "estimate.usd");
    await assert.rejects(tollgate.reserve({ ...chat, model: "gpt-99" }), UnpricedError);
    await assert.rejects(tollgate.settle("nothing", { usd: "1" }), NotFoundError);
    await assert.rejects(tollgate.reservation("nothing"), NotFoundError);
    await assert.rejects(clientOf(tenant, { token: "nonsense" }).reserve(chat), UnauthorizedError);
    await assert.rejects(clientOf(tenant, { tenant: "another" }).quotas(), (error) => error instanceof UnauthorizedError && error.code === "forbidden");
    const service = expectStatus(await tenant.admin.post("/v1/tokens", { role: "service" }), 201);
    const nobody = clientOf(tenant, { token: service.body.token, tenant: "nobody" });
    await assert.rejects(nobody.reserve(chat), (error) => error instanceof NotFoundError && error.code === "tenant_not_found");
  });

  it("one command that is too large takes nothing else with it", async () => {
    const tenant = await newTenant(worker, { q: usdQuota("10") });
    const tollgate = clientOf(tenant);
    const hold = await tollgate.reserve(chat);
    const payload = { format: "openai.chat" as const, body: { padding: "x".repeat(1_100_000) } };
    const outcomes = await Promise.allSettled([tollgate.reserve(dollar("before")), hold.settle({ payload }), tollgate.reserve(dollar("after"))]);
    assert.deepEqual(
      outcomes.map((outcome) => outcome.status),
      ["fulfilled", "rejected", "fulfilled"],
    );
    const [, refused] = outcomes;
    assert.ok(refused?.status === "rejected" && refused.reason instanceof InvalidRequestError, String(refused));
    assert.equal(refused.reason.code, "body_too_large");
    assert.equal((await tollgate.reservation(hold.id)).state, "held");
  });

  it("answers a denial as the Worker does: the same document and the same headers", async () => {
    const tenant = await newTenant(worker, { month: usdQuota("10"), life: usdQuota("5", { period: "lifetime" }), day: usdQuota("1", { period: "day" }) });
    const request = usdReserve("denied", "11");
    const direct = await tenant.app.post(`${tenant.path}/reservations`, request);
    assert.equal(direct.status, 429);
    const error = await clientOf(tenant)
      .reserve(request as unknown as ReserveRequest)
      .then(
        () => assert.fail("it was not denied"),
        (reason: unknown) => reason,
      );
    assert.ok(error instanceof QuotaExceededError);
    const response = error.toResponse();
    const seconds = /;t=\d+/g;
    for (const header of ["content-type", "ratelimit-policy", "ratelimit", "retry-after"]) {
      // A second may have passed between the two.
      assert.equal(response.headers.get(header)?.replaceAll(seconds, ""), direct.headers[header]?.toString().replaceAll(seconds, ""), header);
    }
    assert.deepEqual(Object.keys((await response.json()) as object).sort(), Object.keys(direct.body).sort());
  });

  it("what it sends again is not done again", async () => {
    const tenant = await newTenant(worker, { q: usdQuota("10") });
    let calls = 0;
    const lossy: typeof fetch = async (input, init) => {
      const response = await fetch(input, init);
      await response.arrayBuffer();
      // The Worker has committed, and its answer is lost; every other time.
      if (calls++ % 2 === 0) throw new TypeError("connection reset");
      return fetch(input, init);
    };
    const tollgate = clientOf(tenant, { fetch: lossy });
    const reservation = await tollgate.reserve({ resource: "llm", estimate: { usd: "1" } });
    assert.equal(reservation.replayed, true);
    assert.equal((await reservation.settle({ usd: "0.5" })).charge.usd, "0.5");
    assertPartial(await quotaOf(tenant, "q"), { spent: "0.5", held: "0" });
  });

  it("rides out a Worker that is killed and comes back", async () => {
    const own = await startWorker();
    try {
      const tenant = await newTenant(own, { q: usdQuota("1000") });
      const tollgate = createClient({ url: own.url, token: tenant.app.token ?? "", tenant: tenant.id, onUnavailable: "deny", retries: 10, timeoutMs: 2000 });
      const running = Promise.all(
        Array.from({ length: 20 }, async (_, lane) => {
          for (let round = 0; round < 10; round++) {
            const reservation = await tollgate.reserve(dollar(`r-${lane}-${round}`));
            await pause(10);
            await reservation.settle({ usd: "0.5" });
          }
        }),
      );
      await pause(150);
      await own.kill();
      await pause(200);
      await own.start();
      await running;
      assertPartial(await tollgate.quotas(), [{ spent: "100", held: "0" }]);
    } finally {
      await own.stop();
    }
  });

  it("allow: what was spent during an outage is recorded when the Worker is back", async () => {
    const own = await startWorker();
    try {
      const tenant = await newTenant(own, { q: usdQuota("10") });
      const tollgate = createClient({ url: own.url, token: tenant.app.token ?? "", tenant: tenant.id, onUnavailable: "allow", retries: 0, onWarning: () => undefined });
      await own.kill();
      const requests: ReserveRequest[] = [
        { ...chat, id: "usage" },
        { ...chat, id: "mode", mode: "batch" },
        { ...chat, id: "left" },
        { ...chat, id: "released" },
        { id: "box", resource: "e2b", estimate: { sandbox: { tier: "standard", vcpus: 2, memoryGib: "0.5", seconds: 300 } } },
      ];
      const [usage, mode, left, released, box] = await Promise.all(requests.map((request) => tollgate.reserve(request)));
      assert.ok(usage && mode && left && released && box);
      for (const reservation of [usage, mode, left, released, box]) assert.equal(reservation.unverified, true);
      await own.start();
      assertPartial(await usage.settle({ usage: { input: 1000, output: 100 } }), { state: "recorded", charge: { usd: "0.0035" } });
      assertPartial(await mode.settle({ usage: { input: 1000, output: 100 } }), { state: "recorded", charge: { usd: "0.00175" } });
      assertPartial(await box.settle({ sandbox: { seconds: 100 } }), { state: "recorded", charge: { usd: "0.003025" } });
      assert.equal((await released.release()).state, "released");
      assert.equal((await left.extend({ ttlSeconds: 900 })).held.usd, "0.011");
      assertPartial(await left.settle({ usd: "0.001" }), { state: "settled" });
      assertPartial(await tollgate.quotas(), [{ spent: "0.009275", held: "0" }]);
      const report = await tollgate.usage({ groupBy: ["touchpoint"] });
      assertPartial(report.groups, [{ touchpoint: "main-chat" }, { touchpoint: null }]);
    } finally {
      await own.stop();
    }
  });

  it("a Worker that is gone", async () => {
    const own = await startWorker();
    const tenant = await newTenant(own, {});
    const tollgate = createClient({ url: own.url, token: tenant.app.token ?? "", tenant: tenant.id, onUnavailable: "deny", retries: 1 });
    await own.stop();
    await assert.rejects(tollgate.reserve(chat), UnavailableError);
  });
});

describe("both homes", () => {
  it("give the same answers", async () => {
    const quota = { scope: "tenant", resource: "all", unit: "usd", limit: "10", period: "month" } as const;
    const tenant = await newTenant(worker, { q: quota });
    const local = createLocal();
    await local.setQuota("q", quota);
    const answers = async (tollgate: Tollgate) => {
      const outcomes: unknown[] = [];
      const keep = async (promise: Promise<unknown>) => outcomes.push(await promise.then(timeless, timeless));
      await keep(tollgate.explain(chat));
      await keep(tollgate.reserve({ ...chat, id: "a" }));
      await keep(tollgate.reserve({ ...chat, id: "a" }));
      await keep(tollgate.reserve({ ...chat, id: "a", userId: "u-8" }));
      await keep(tollgate.extend("a", { id: "e", estimate: { inputTokens: 2400, maxOutputTokens: 800 } }));
      await keep(tollgate.settle("a", { usage: { input: 1100, cache_read: 100, output: 350 } }));
      await keep(tollgate.settle("a", { usage: { input: 1100, cache_read: 100, output: 350 } }));
      await keep(tollgate.release("a"));
      await keep(tollgate.record({ id: "b", resource: "llm", usd: "8" }));
      await keep(tollgate.reserve({ id: "c", resource: "llm", estimate: { usd: "3" } }));
      await keep(tollgate.settle("d", { usd: "3" }));
      await keep(tollgate.reserve({ id: "e", resource: "llm", estimate: { usd: "x" } }));
      await keep(tollgate.price({ provider: "openai", model: "gpt-4o", usage: { input: 7 } }));
      await keep(tollgate.quotas());
      await keep(tollgate.reservation("a"));
      await keep(tollgate.usage({ groupBy: ["touchpoint", "model"] }));
      return outcomes;
    };
    assert.deepEqual(await answers(clientOf(tenant)), await answers(local));
  });
});

/** An answer or an error as plain data, without what depends on the moment. */
function timeless(value: unknown): unknown {
  const data = value instanceof Error ? { ...value, name: value.name } : value;
  const text = JSON.stringify(data)
    .replaceAll(/"\d{4}-\d\d-\d\dT[\d:.]+Z"/g, '"then"')
    .replaceAll(/"retryAfterSeconds":\d+/g, '"retryAfterSeconds":0')
    .replaceAll(/until \d{4}-\d\d-\d\dT[\d:.]+Z/g, "until then");
  return JSON.parse(text);
}
