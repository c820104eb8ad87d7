// Paths that one reader could take for another path than the next. Over raw sockets: HTTP clients mend them.
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { Api, expectStatus, newTenant, usdQuota, usdReserve, type Body, type Tenant } from "../../support/http.ts";
import { exchange, request, type RawAnswer } from "../../support/raw.ts";
import { startWorker, type TestWorker } from "../../support/worker.ts";

let worker: TestWorker;
let own: Tenant;
let other: Tenant;

before(async () => {
  worker = await startWorker();
  own = await newTenant(worker, { q: usdQuota("100") });
  other = await newTenant(worker, { q: usdQuota("100") });
  for (const tenant of [own, other]) expectStatus(await tenant.app.post(`${tenant.path}/reservations`, usdReserve("open", "1")), 201);
});
after(() => worker?.stop());

async function send(api: Api, method: string, target: string, headers: Record<string, string> = {}, body = ""): Promise<RawAnswer> {
  const [answer] = await exchange(worker.url, request(method, target, { Authorization: `Bearer ${api.token}`, ...headers }, body));
  return answer ?? assert.fail(`no answer to ${method} ${target}`);
}

/** Everything that could have been changed. */
async function everything(): Promise<Body[]> {
  const admin = new Api(worker.url, worker.adminToken);
  const paths = [own, other].flatMap(({ path }) => ["", "/quotas", "/entries?limit=1000", "/overrides", "/audit"].map((part) => path + part));
  return Promise.all([...paths, "/v1/policy", "/v1/catalog/overrides"].map(async (path) => expectStatus(await admin.get(path), 200).body));
}

/** Each would lead somewhere that the token may not go, for a reader who resolves or decodes it once more. */
function ways(): [string, string][] {
  const { path } = own;
  const ways: [string, string][] = [];
  for (const up of ["..", ".%2e", "%2e.", "%2e%2e", "%2E%2E", "%252e%252e", "%25252e%25252e", ".%252e"]) {
    for (const slash of ["/", "\\", "%2f", "%2F", "%5c", "%5C", "%252f", "%255c"]) {
      ways.push(["GET", `${path}/reservations/${up}${slash}audit`]);
      ways.push(["GET", `${path}/reservations/open${slash}${up}${slash}${up}${slash}audit`]);
      ways.push(["GET", `${path}${slash}${up}${slash}${other.id}/quotas`]);
      ways.push(["POST", `${path}/reservations/${up}${slash}quotas${slash}q/reset`]);
      ways.push(["PUT", `${path}/reservations/${up}${slash}overrides`]);
      ways.push(["GET", `${path}/quotas${slash}${up}${slash}${up}${slash}${up}${slash}policy`]);
    }
  }
  for (const odd of ["/", "//", "/.", "/./", "/%2e", "\\", "%5c", "%00", "/%00", "%0a", "%0d%0a", "/%", "/%zz", "/%f", "%2500", "/\u00c3\u00a9"]) ways.push(["GET", `${path}/quotas${odd}`]);
  for (const start of ["//", "/\\", "\\", "/./", "/%2e/", "/%2f"]) ways.push(["GET", `${start}${path.slice(1)}/audit`]);
  return ways;
}

describe("a path with two meanings", () => {
  it("is refused, whoever sends it, and nothing has happened", async () => {
    const before = await everything();
    for (const [method, target] of ways()) {
      for (const api of [own.read, own.app, own.admin]) {
        const answer = await send(api, method, target, {}, method === "GET" ? "" : "{}");
        // What has no slash at its start is no request at all, as far as the runtime is concerned.
        if (!target.startsWith("/")) assert.equal(answer.status, 400, `${target}: ${answer.text}`);
        else assert.deepEqual([answer.status, answer.body?.code, answer.body?.field], [400, "invalid_request", "path"], `${target}: ${answer.status} ${answer.text}`);
      }
    }
    assert.deepEqual(await everything(), before);
  });

  it("is refused before anybody looks at the token", async () => {
    const [answer] = await exchange(worker.url, request("GET", `${own.path}/reservations/..\\audit`));
    assert.deepEqual([answer?.status, answer?.body.field], [400, "path"]);
  });

  it("as it is where the host is made to look like the path", async () => {
    const before = await everything();
    for (const host of ["x/v1/policy?", `x${other.path}/quotas?`, "x/v1/policy#", "x\\v1\\policy?", "x/v1/tenants/../policy?", "@x"]) {
      const answer = await send(own.read, "GET", `${other.path}/quotas`, { Host: host });
      assert.ok(answer.status >= 400 && answer.status < 500, `${host}: ${answer.status} ${answer.text}`);
    }
    assert.deepEqual(await everything(), before);
  });

  it("and a whole address is its path", async () => {
    for (const target of [`http://tollgate.test${own.path}/quotas`, `http://tollgate.test${other.path}/quotas`]) {
      const answer = await send(own.read, "GET", target);
      assert.ok([200, 400, 403, 404].includes(answer.status), `${target}: ${answer.status}`);
      if (answer.status === 200) assert.ok(target.includes(own.id));
    }
  });
});

describe("what the Worker tells an object", () => {
  const operation = (route: unknown) => ({ "Tollgate-Operation": JSON.stringify({ operation: { route }, overrides: 9 }) });

  it("is not the client's to say", async () => {
    const audited = await send(own.read, "GET", `${own.path}/quotas`, operation({ endpoint: "audit", tenant: own.id }));
    assert.deepEqual([audited.status, audited.body.quotas.length, audited.body.clean], [200, 1, undefined]);
    const forged = { "Tollgate-Operation": JSON.stringify({ operation: { takeOverrides: { version: 9 } } }) };
    const settled = await send(own.app, "POST", `${own.path}/reservations/open/release`, forged, "{}");
    assert.equal(settled.status, 200, settled.text);
    const { body } = expectStatus(await own.admin.get(`${own.path}/overrides`), 200);
    assert.equal(body.platformVersion, 0);
  });

  it("has no address", async () => {
    for (const target of ["/platform-overrides", `${own.path}/platform-overrides`, "/", "/takeOverrides", `${own.path}/takeOverrides`]) {
      for (const method of ["PUT", "POST", "GET"]) {
        const answer = await send(own.admin, method, target, {}, method === "GET" ? "" : "{}");
        assert.deepEqual([answer.status, answer.body.code], [404, "not_found"], `${method} ${target}: ${answer.text}`);
      }
    }
  });
});

describe("an id", () => {
  it("may have every character that is its own when it is decoded once", async () => {
    for (const [id, written] of [["a@b", "a%40b"], ["a+b", "a+b"], ["a:b;c=d,e", "a:b;c=d,e"], ["...", "..."], ["~a", "%7ea"], ["..a", "..a"]] as const) {
      expectStatus(await own.app.post(`${own.path}/reservations`, usdReserve(id, "0.01")), 201);
      const answer = await send(own.read, "GET", `${own.path}/reservations/${written}`);
      assert.deepEqual([answer.status, answer.body.id], [200, id]);
    }
  });
});
