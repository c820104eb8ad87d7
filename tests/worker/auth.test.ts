// Every kind of token on every route: its own tenant, another tenant, a tenant that does not exist.
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { Api, expectProblem, expectStatus, newTenant, quotaOf, usdQuota, usdReserve, type Answer, type Tenant } from "../support/http.ts";
import { startWorker, type TestWorker } from "../support/worker.ts";

type Kind = "admin" | "service" | "app" | "read";
interface Route {
  method: string;
  /** After `/v1/tenants/{tenant}`; or the whole path of a route that has no tenant. */
  path: string;
  json?: unknown;
  tenantless?: true;
  kinds: Kind[];
}

const ADMIN: Kind[] = ["admin"];
const SPENDERS: Kind[] = ["admin", "service", "app"];
const READERS: Kind[] = ["admin", "service", "app", "read"];

/** The table of docs/http-api.md, "Who may call". */
const ROUTES: Route[] = [
  { method: "PUT", path: "", json: {}, kinds: ADMIN },
  { method: "GET", path: "", kinds: ADMIN },
  { method: "POST", path: "/tokens", json: { role: "app" }, kinds: ADMIN },
  { method: "POST", path: "/v1/tokens", json: { role: "service" }, tenantless: true, kinds: ADMIN },
  { method: "GET", path: "/v1/policy", tenantless: true, kinds: ADMIN },
  { method: "PUT", path: "/v1/policy", json: { defaultPlan: "p", plans: { p: { quotas: {} } } }, tenantless: true, kinds: ADMIN },
  { method: "PUT", path: "/quotas/put", json: usdQuota("1000"), kinds: ADMIN },
  { method: "POST", path: "/quotas/q/reset", kinds: ADMIN },
  { method: "DELETE", path: "/quotas/put", kinds: ADMIN },
  { method: "POST", path: "/reservations", json: usdReserve("made", "1"), kinds: SPENDERS },
  { method: "POST", path: "/reservations/held/settle", json: { usd: "1" }, kinds: SPENDERS },
  { method: "POST", path: "/reservations/gone/release", json: {}, kinds: SPENDERS },
  { method: "POST", path: "/reservations/long/extend", json: { id: "e", ttlSeconds: 60 }, kinds: SPENDERS },
  { method: "POST", path: "/records", json: { id: "recorded", resource: "llm", usd: "1" }, kinds: SPENDERS },
  { method: "POST", path: "/batch", json: { commands: [{ op: "record", id: "batched", resource: "llm", usd: "1" }] }, kinds: SPENDERS },
  { method: "POST", path: "/explain", json: { resource: "llm", estimate: { usd: "1" } }, kinds: READERS },
  { method: "GET", path: "/quotas", kinds: READERS },
  { method: "GET", path: "/reservations", kinds: READERS },
  { method: "POST", path: "/reservations/release", json: { ids: ["nobody"] }, kinds: ADMIN },
  { method: "GET", path: "/reservations/held", kinds: READERS },
  { method: "GET", path: "/usage", kinds: READERS },
  { method: "GET", path: "/entries", kinds: READERS },
  { method: "GET", path: "/audit", kinds: ADMIN },
  { method: "POST", path: "/v1/price", json: { provider: "openai", model: "gpt-4o", usage: { input: 1 } }, tenantless: true, kinds: READERS },
  { method: "GET", path: "/v1/catalog", tenantless: true, kinds: READERS },
  { method: "GET", path: "/v1/catalog/overrides", tenantless: true, kinds: ADMIN },
  { method: "PUT", path: "/v1/catalog/overrides", json: { markups: [] }, tenantless: true, kinds: ADMIN },
  { method: "GET", path: "/overrides", kinds: READERS },
  { method: "PUT", path: "/overrides", json: { markups: [{ id: "m", factor: "1" }] }, kinds: ADMIN },
  { method: "POST", path: "/rerate", json: { from: "2026-11-01T00:00:00Z", to: "2026-12-01T00:00:00Z" }, kinds: ADMIN },
  { method: "POST", path: "/price", json: { provider: "openai", model: "gpt-4o", usage: { input: 1 } }, kinds: READERS },
];

let worker: TestWorker;
let own: Tenant;
let other: Tenant;
let callers: Record<Kind, Api>;

before(async () => {
  worker = await startWorker();
  own = await ready();
  other = await ready();
  const made = expectStatus(await own.admin.post("/v1/tokens", { role: "service" }), 201);
  callers = { admin: own.admin, service: own.admin.as(made.body.token), app: own.app, read: own.read };
});
after(() => worker?.stop());

/** A tenant with one reservation for each route that needs one. */
async function ready(): Promise<Tenant> {
  const tenant = await newTenant(worker, { q: usdQuota("1000") });
  for (const id of ["held", "gone", "long"]) expectStatus(await tenant.app.post(`${tenant.path}/reservations`, usdReserve(id, "1")), 201);
  return tenant;
}

function call(api: Api, route: Route, tenant: string): Promise<Answer> {
  const path = route.tenantless === true ? route.path : `/v1/tenants/${tenant}${route.path}`;
  return api.send(route.method, path, { json: route.json });
}

/** Everything that a foreign token could have changed. */
async function everything(tenant: Tenant): Promise<unknown> {
  const paths = ["", "/quotas", "/entries?limit=1000", "/usage", "/reservations/held", "/reservations/gone", "/reservations/long"];
  const answers = await Promise.all(paths.map((path) => tenant.admin.get(tenant.path + path)));
  return answers.map((answer) => expectStatus(answer, 200).body);
}

describe("what each token may", () => {
  for (const kind of ["read", "app", "service", "admin"] as const) {
    for (const route of ROUTES) {
      const allowed = route.kinds.includes(kind);
      it(`${kind} ${allowed ? "may" : "may not"} ${route.method} ${route.path || "the tenant"}`, async () => {
        const answer = await call(callers[kind], route, own.id);
        if (allowed) {
          assert.ok(answer.status < 300, `${answer.status}: ${answer.text}`);
        } else {
          expectProblem(answer, 403, "forbidden");
        }
      });
    }
  }
});

describe("another tenant", () => {
  for (const kind of ["app", "read"] as const) {
    for (const route of ROUTES.filter((candidate) => candidate.tenantless !== true)) {
      it(`is out of reach of ${kind} for ${route.method} ${route.path || "the tenant"}, and it does not learn whether it exists`, async () => {
        const before = await everything(other);
        const existing = expectProblem(await call(callers[kind], route, other.id), 403, "forbidden");
        const missing = expectProblem(await call(callers[kind], route, "no-such-tenant"), 403, "forbidden");
        assert.deepEqual({ ...missing.body, detail: "" }, { ...existing.body, detail: "" });
        assert.equal(missing.body.detail.replaceAll("no-such-tenant", ""), existing.body.detail.replaceAll(other.id, ""));
        assert.deepEqual(await everything(other), before);
      });
    }
  }

  it("is not reached by a name that only looks like the own one", async () => {
    for (const name of [own.id.toUpperCase(), `${own.id}.`, `${own.id}%20`, `%2e%2e/${other.id}`, `${own.id}/../${other.id}`, `${own.id}%2F..%2F${other.id}`]) {
      const answer = await callers.app.get(`/v1/tenants/${name}/quotas`);
      assert.ok([400, 403, 404].includes(answer.status), `${name}: ${answer.status} ${answer.text}`);
    }
  });
});

describe("no good token", () => {
  const encode = (value: unknown) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const headers: [string, Record<string, string>][] = [
    ["none", {}],
    ["an empty one", { authorization: "" }],
    ["another scheme", { authorization: "Basic YWRtaW46YWRtaW4=" }],
    ["no token after Bearer", { authorization: "Bearer " }],
    ["nonsense", { authorization: "Bearer nonsense" }],
    ["an unsigned one", { authorization: `Bearer ${encode({ alg: "none" })}.${encode({ role: "admin", exp: 4102444800 })}.` }],
  ];
  for (const [name, sent] of headers) {
    it(name, async () => {
      const anyone = own.admin.as(undefined);
      for (const route of ROUTES) {
        const path = route.tenantless === true ? route.path : own.path + route.path;
        const answer = expectProblem(await anyone.send(route.method, path, { json: route.json, headers: sent }), 401, "unauthorized");
        assert.match(String(answer.headers["www-authenticate"]), /^Bearer\b/, "RFC 9110 asks for WWW-Authenticate");
      }
    });
  }

  it("one that was tampered with, anywhere", async () => {
    const token = own.app.token ?? "";
    for (let index = 0; index < token.length; index += 7) {
      const changed = token[index] === "A" ? "B" : "A";
      const broken = token.slice(0, index) + changed + token.slice(index + 1);
      const answer = await own.app.as(broken).get(`${own.path}/quotas`);
      // The last character of a base64url text may have bits that mean nothing.
      if (index === token.length - 1 && answer.status === 200) continue;
      expectProblem(answer, 401, "unauthorized");
    }
    for (const broken of [token.slice(0, -1), `${token}A`, token.split(".").slice(0, -1).join(".")]) {
      expectProblem(await own.app.as(broken).get(`${own.path}/quotas`), 401, "unauthorized");
    }
  });

  it("one of another Worker", async () => {
    const foreign = await startWorker();
    try {
      const tenant = await newTenant(foreign, {});
      expectProblem(await own.app.as(tenant.app.token).get(`${own.path}/quotas`), 401, "unauthorized");
      expectProblem(await own.app.as(foreign.adminToken).get(`${own.path}/quotas`), 401, "unauthorized");
    } finally {
      await foreign.stop();
    }
  });

  it("one that has expired", async () => {
    const made = expectStatus(await own.admin.post(`${own.path}/tokens`, { role: "read", expiresInSeconds: 1 }), 201);
    const brief = own.admin.as(made.body.token);
    await pause(Math.max(0, Date.parse(made.body.expiresAt) - Date.now()) + 50);
    expectProblem(await brief.get(`${own.path}/quotas`), 401, "unauthorized");
  });
});

describe("spending", () => {
  it("a read token changes nothing, whatever it sends", async () => {
    const tenant = await newTenant(worker, { q: usdQuota("10") });
    const before = await quotaOf(tenant, "q");
    for (const route of ROUTES.filter((candidate) => !candidate.kinds.includes("read") && candidate.tenantless !== true)) {
      expectProblem(await call(tenant.read, route, tenant.id), 403, "forbidden");
    }
    assert.deepEqual(await quotaOf(tenant, "q"), before);
  });

  it("a service token spends for every tenant", async () => {
    for (const tenant of [own, other]) {
      expectStatus(await callers.service.post(`${tenant.path}/records`, { id: "by-service", resource: "llm", usd: "1" }), 201);
    }
  });
});
