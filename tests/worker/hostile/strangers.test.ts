// Tenants that do not exist: whoever asks for them gets 404, and nothing is made. Tenants from before there was a registry: each is found, however it is asked for.
import assert from "node:assert/strict";
import { DatabaseSync } from "node:sqlite";
import { after, before, describe, it } from "node:test";
import { Connection, PROTOCOL } from "../../support/connection.ts";
import { Api, expectProblem, expectStatus, newTenant, usdQuota, usdReserve, type Answer, type Call } from "../../support/http.ts";
import { startWorker, type TestWorker } from "../../support/worker.ts";

const GHOSTS = 5_000;
/** How many are asked for at once. */
const CALLERS = 50;
/** How many tenants that do not exist a registry looks for at once, while it adopts. */
const BURST = 64;

const MIB = 1024 * 1024;

/** Asks for many tenants that do not exist, and counts the answers by status. */
async function ask(admin: Api, count: number, name: (n: number) => string): Promise<Map<number, number>> {
  const statuses = new Map<number, number>();
  let next = 0;
  await Promise.all(
    Array.from({ length: CALLERS }, async () => {
      for (let n = next++; n < count; n = next++) {
        const { status } = await admin.get(`/v1/tenants/${name(n)}/quotas`);
        statuses.set(status, (statuses.get(status) ?? 0) + 1);
      }
    }),
  );
  return statuses;
}

/** The files that were not there before. Others go by themselves: an object that sleeps leaves one of three. */
async function made(worker: TestWorker, before: string[]): Promise<string[]> {
  return (await worker.files()).filter((file) => !before.includes(file));
}

describe("strangers", () => {
  let worker: TestWorker;
  let admin: Api;

  before(async () => {
    worker = await startWorker();
    admin = new Api(worker.url, worker.adminToken);
  });
  after(() => worker?.stop());

  it("5,000 of them make no file, and take no memory", { timeout: 300_000 }, async () => {
    const tenant = await newTenant(worker, { q: usdQuota("10") });
    await ask(admin, 500, (n) => `warm-${n}`);
    const [files, memory] = [await worker.files(), await worker.memory()];
    assert.deepEqual(await ask(admin, GHOSTS, (n) => `ghost-${n}`), new Map([[404, GHOSTS]]));
    assert.deepEqual(await made(worker, files), []);
    const more = ((await worker.memory()) ?? 0) - (memory ?? 0);
    // Their objects would take 1.2 GB; what is left is what the runtime has not collected yet.
    assert.ok(more < 300 * MIB, `${Math.round(more / MIB)} MiB more`);
    expectStatus(await tenant.app.post(`${tenant.path}/reservations`, usdReserve("a", "1")), 201);
  });

  const ROUTES: [string, string, unknown?][] = [
    ["GET", ""],
    ["GET", "/quotas"],
    ["PUT", "/quotas/q", usdQuota("1")],
    ["DELETE", "/quotas/q"],
    ["POST", "/quotas/q/reset", {}],
    ["POST", "/quotas/q/credits", { id: "c", amount: "1" }],
    ["DELETE", "/quotas/q/credits/c"],
    ["POST", "/quotas/q/increases", { id: "c", amount: "1", until: "2030-01-01T00:00:00Z" }],
    ["DELETE", "/quotas/q/increases/c"],
    ["GET", "/overrides"],
    ["PUT", "/overrides", {}],
    ["POST", "/price", { provider: "openai", model: "gpt-4o", usage: { input: 1 } }],
    ["POST", "/rerate", { from: "2026-01-01T00:00:00Z", to: "2027-01-01T00:00:00Z" }],
    ["POST", "/tokens", { role: "app" }],
    ["POST", "/reservations", usdReserve("a", "1")],
    ["GET", "/reservations"],
    ["POST", "/reservations/release", { all: true }],
    ["GET", "/reservations/a"],
    ["POST", "/reservations/a/meter", { id: "m", usd: "1" }],
    ["POST", "/reservations/a/settle", { usd: "1" }],
    ["POST", "/reservations/a/release", {}],
    ["POST", "/reservations/a/extend", { id: "x", ttlSeconds: 1 }],
    ["POST", "/reservations/a/refund", { id: "r", usd: "1", reason: "x" }],
    ["POST", "/records", { id: "a", resource: "llm", usd: "1" }],
    ["POST", "/batch", { commands: [] }],
    ["POST", "/explain", usdReserve("a", "1")],
    ["GET", "/usage"],
    ["GET", "/entries"],
    ["GET", "/journal"],
    ["POST", "/archive", { through: 1, head: "sha256:genesis" }],
    ["GET", "/audit"],
    ["POST", "/audit/repair", { by: "ops" }],
    ["HEAD", "/quotas"],
  ];

  it("every route answers that there is none, and makes nothing", async () => {
    const files = await worker.files();
    for (const [method, path, json] of ROUTES) {
      const answer = await admin.send(method, `/v1/tenants/nobody${path}`, json === undefined ? {} : { json });
      if (method === "HEAD") assert.equal(answer.status, 404);
      else expectProblem(answer, 404, "tenant_not_found");
    }
    const headers = { connection: "Upgrade", upgrade: "websocket", "sec-websocket-version": "13", "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==", "sec-websocket-protocol": PROTOCOL };
    expectProblem(await admin.get("/v1/tenants/nobody/connect", { headers }), 404, "tenant_not_found");
    assert.deepEqual(await made(worker, files), []);
  });

  it("who may not ask learns nothing of what exists", async () => {
    const tenant = await newTenant(worker);
    for (const path of ["/v1/tenants/nobody/quotas", `/v1/tenants/${(await newTenant(worker)).id}/quotas`]) {
      expectProblem(await tenant.app.get(path), 403, "forbidden");
      expectProblem(await admin.as(undefined).get(path), 401, "unauthorized");
    }
    expectProblem(await admin.get("/v1/tenants/a%20b/quotas"), 400, "invalid_request");
  });

  it("one that is onboarded exists at once, for every route", async () => {
    const path = "/v1/tenants/tomorrow";
    expectProblem(await admin.get(`${path}/quotas`), 404, "tenant_not_found");
    expectProblem(await admin.post(`${path}/tokens`, { role: "app" }), 404, "tenant_not_found");
    expectStatus(await admin.put(path, {}), 200);
    expectStatus(await admin.get(`${path}/quotas`), 200);
    const { token } = expectStatus(await admin.post(`${path}/tokens`, { role: "app" }), 201).body;
    const connection = await Connection.open(worker, path, token);
    const { status, body } = await connection.ask([{ op: "reserve", ...usdReserve("a", "1") }]);
    assert.deepEqual([status, body.results[0].status], [200, 201]);
    connection.socket.close();
    await connection.closed;
    // A plan that the policy does not have onboards nobody.
    expectProblem(await admin.put("/v1/tenants/planless", { plan: "gold" }), 400, "invalid_request");
    expectProblem(await admin.get("/v1/tenants/planless/quotas"), 404, "tenant_not_found");
  });

  it("names of every kind are kept apart", async () => {
    const names = ["a+b", "a&b", "a=b", "release", "metadata", "~", "{id}", "A", "a", "..a", "a;b", "a|b", "a%27b", "x".repeat(128)];
    for (const name of names) expectStatus(await admin.put(`/v1/tenants/${name}`, {}), 200);
    await worker.restart();
    for (const name of names) {
      const { tenant } = expectStatus(await admin.get(`/v1/tenants/${name}`), 200).body;
      assert.equal(tenant, decodeURIComponent(name));
    }
    expectProblem(await admin.get("/v1/tenants/b"), 404, "tenant_not_found");
    expectProblem(await admin.get("/v1/tenants/RELEASE"), 404, "tenant_not_found");
  });

  it("a registered tenant without a ledger is completed by onboarding it again", async () => {
    const path = "/v1/tenants/halfway";
    const [platform] = await worker.databases("PlatformPool");
    assert.ok(platform !== undefined);
    // As a crash between the two writes leaves it.
    await worker.offline(() => change(platform, (database) => database.exec("INSERT INTO tenants (id, since) VALUES ('halfway', 0)")));
    expectProblem(await admin.get(`${path}/quotas`), 404, "tenant_not_found");
    expectStatus(await admin.post(`${path}/tokens`, { role: "app" }), 201);
    expectStatus(await admin.put(path, {}), 200);
    expectStatus(await admin.get(`${path}/quotas`), 200);
  });
});

/** Makes a state folder what it was before there was a registry: only the platform's object knows of it. */
async function forgetRegistry(worker: TestWorker, everything = false): Promise<void> {
  const platform = await worker.databases("PlatformPool");
  await worker.offline(() => {
    for (const file of platform) {
      change(file, (database) => {
        database.exec("DROP TABLE tenants; DROP TABLE registry; UPDATE schema_version SET version = 2");
        if (everything) database.exec("DROP TABLE policy; DROP TABLE overrides; DROP TABLE schema_version");
      });
    }
  });
}

describe("tenants from before there was a registry", () => {
  const TENANTS = 150;
  let worker: TestWorker;
  let admin: Api;
  const holds = (n: number): Call => ({ json: usdReserve(`r-${n}`, "1", { ttlSeconds: 86_400 }) });
  const path = (n: number) => `/v1/tenants/before-${n}`;

  before(async () => {
    worker = await startWorker({ adoptTenants: undefined });
    admin = new Api(worker.url, worker.adminToken);
    for (let n = 0; n < TENANTS; n++) {
      expectStatus(await admin.put(path(n), {}), 200);
      expectStatus(await admin.send("POST", `${path(n)}/reservations`, holds(n)), 201);
    }
    await forgetRegistry(worker);
  });
  after(() => worker?.stop());

  it("are all found, asked for at once, and are registered", { timeout: 300_000 }, async () => {
    // More than are looked for at once, several times each, and whatever is asked.
    const asked = Array.from({ length: 3 * TENANTS }, async (_, at): Promise<Answer> => {
      const n = at % TENANTS;
      if (at < TENANTS) return admin.get(`${path(n)}/reservations/r-${n}`);
      if (at < 2 * TENANTS) return admin.post(`${path(n)}/explain`, usdReserve("x", "1"));
      return admin.get(path(n));
    });
    for (const answer of await Promise.all(asked)) expectStatus(answer, 200);
    const [platform] = await worker.databases("PlatformPool");
    await worker.offline(() =>
      change(platform, (database) => {
        const { count, distinct } = database.prepare("SELECT COUNT(*) AS count, COUNT(DISTINCT since) AS 'distinct' FROM tenants").get() as Record<string, number>;
        assert.equal(count, TENANTS);
        assert.ok((distinct ?? 0) > 1, "since when they were onboarded, not since they were found");
        assert.deepEqual({ ...database.prepare("SELECT adopts FROM registry").get() }, { adopts: 1 });
      }),
    );
    for (let n = 0; n < TENANTS; n++) expectStatus(await admin.post(`${path(n)}/reservations/r-${n}/settle`, { usd: "1" }), 200);
  });

  it("those that never were take up a bounded number of files, and say when to ask again", { timeout: 300_000 }, async () => {
    const files = (await worker.files()).length;
    const memory = await worker.memory();
    const statuses = await ask(admin, GHOSTS, (n) => `ghost-${n}`);
    const found = statuses.get(404) ?? 0;
    assert.equal((statuses.get(503) ?? 0) + found, GHOSTS, JSON.stringify([...statuses]));
    // One more every ten seconds.
    assert.ok(found >= BURST && found <= BURST + 30, `${found} were looked for`);
    assert.ok((await worker.files()).length <= files + 3 * found);
    assert.ok(((await worker.memory()) ?? 0) - (memory ?? 0) < 300 * MIB);
    const refused = expectProblem(await admin.get("/v1/tenants/one-more/quotas"), 503, "unavailable");
    assert.ok(Number(refused.headers["retry-after"]) >= 1 && Number(refused.headers["retry-after"]) <= 10);
    // Whoever is known goes on, and whoever comes is let in.
    expectStatus(await admin.get(`${path(0)}/quotas`), 200);
    expectStatus(await admin.put("/v1/tenants/one-more", {}), 200);
    expectStatus(await admin.get("/v1/tenants/one-more/quotas"), 200);
  });
});

describe("an upgraded installation", () => {
  it("whose platform's object was never written finds its tenants, too", async () => {
    const worker = await startWorker({ adoptTenants: undefined });
    try {
      const admin = new Api(worker.url, worker.adminToken);
      expectStatus(await admin.put("/v1/tenants/acme", {}), 200);
      await forgetRegistry(worker, true);
      expectStatus(await admin.post("/v1/tenants/acme/tokens", { role: "app" }), 201);
    } finally {
      await worker.stop();
    }
  });

  it("that says that all were found looks for no more; onboarding finds what was left out", async () => {
    const worker = await startWorker();
    try {
      const admin = new Api(worker.url, worker.adminToken);
      const tenant = await newTenant(worker, { q: usdQuota("10") });
      expectStatus(await tenant.app.post(`${tenant.path}/records`, { id: "a", resource: "llm", usd: "4" }), 201);
      await forgetRegistry(worker);
      expectProblem(await tenant.app.get(`${tenant.path}/quotas`), 404, "tenant_not_found");
      const { quotas } = expectStatus(await admin.put(tenant.path, {}), 200).body;
      assert.equal(quotas.find((quota: { id: string }) => quota.id === "q").spent, "4");
      expectStatus(await tenant.app.get(`${tenant.path}/quotas`), 200);
    } finally {
      await worker.stop();
    }
  });
});

describe("a platform's object that cannot be read", () => {
  it("stops no tenant that has a ledger", async () => {
    const worker = await startWorker();
    try {
      const tenant = await newTenant(worker, { q: usdQuota("10") });
      expectStatus(await tenant.app.post(`${tenant.path}/reservations`, usdReserve("a", "1")), 201);
      const [platform] = await worker.databases("PlatformPool");
      await worker.offline(() => change(platform, (database) => database.exec("UPDATE schema_version SET version = 99; DROP TABLE tenants")));
      // No isolate knows it any more, and the registry does not answer: its own object does.
      expectStatus(await tenant.app.post(`${tenant.path}/reservations/a/settle`, { usd: "2" }), 200);
      expectStatus(await tenant.app.post(`${tenant.path}/reservations`, usdReserve("b", "1")), 201);
      expectProblem(await tenant.admin.get("/v1/tenants/nobody/quotas"), 404, "tenant_not_found");
      // What must be registered first is not begun.
      const refused = await tenant.admin.put("/v1/tenants/newcomer", {});
      assert.ok(refused.status >= 500, refused.text);
      expectProblem(await tenant.admin.get("/v1/tenants/newcomer/quotas"), 404, "tenant_not_found");
    } finally {
      await worker.stop();
    }
  });
});

function change(file: string | undefined, work: (database: DatabaseSync) => void): void {
  assert.ok(file !== undefined);
  const database = new DatabaseSync(file);
  try {
    work(database);
  } finally {
    database.close();
  }
}
