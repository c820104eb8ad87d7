// Every answer has a bound, at the largest sizes that the documented limits allow.
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { Connection } from "../../support/connection.ts";
import { Api, expectProblem, expectStatus, newTenant, usdQuota, usdReserve, type Body, type Tenant } from "../../support/http.ts";
import { startWorker, type TestWorker } from "../../support/worker.ts";

const MOST = 1_048_576;

let worker: TestWorker;
let admin: Api;
/** 1,000 quotas with the longest ids on everything that the tenant spends. */
let crowded: Tenant;

const longId = (index: number) => `${String(index).padStart(4, "0")}-${"q".repeat(123)}`;

before(async () => {
  worker = await startWorker();
  admin = new Api(worker.url, worker.adminToken);
  const quotas = Object.fromEntries(Array.from({ length: 1000 }, (_, index) => [longId(index), usdQuota("1000", { warnAt: ["0.1", "0.2", "0.3", "0.4", "0.5", "0.6", "0.7", "0.8"] })]));
  const plans = { crowded: { quotas }, none: { quotas: {} } };
  expectStatus(await admin.put("/v1/policy", { defaultPlan: "none", plans }), 200);
  crowded = await newTenant(worker);
  expectStatus(await admin.put(crowded.path, { plan: "crowded" }), 200);
});
after(() => worker?.stop());

const size = (text: string) => Buffer.byteLength(text);

describe("1,000 quotas", () => {
  it("come by page", async () => {
    const ids: string[] = [];
    let pages = 0;
    for (let after: string | null = ""; after !== null; pages++) {
      const { body, text } = expectStatus(await crowded.read.get(`${crowded.path}/quotas?limit=1000${after === "" ? "" : `&after=${after}`}`), 200);
      assert.ok(size(text) <= MOST, `${size(text)}`);
      ids.push(...body.quotas.map((quota: Body) => quota.id));
      after = body.next;
    }
    assert.deepEqual(ids, Array.from({ length: 1000 }, (_, index) => longId(index)));
    const usual = expectStatus(await crowded.read.get(`${crowded.path}/quotas`), 200).body;
    assert.deepEqual([usual.quotas.length, usual.next], [100, longId(99)]);
    const last = expectStatus(await crowded.read.get(`${crowded.path}/quotas?after=${longId(989)}&limit=10`), 200).body;
    assert.deepEqual([last.quotas.length, last.next], [10, null]);
    assert.equal(expectStatus(await crowded.read.get(`${crowded.path}/quotas/${longId(7)}`), 200).body.id, longId(7));
    expectProblem(await crowded.read.get(`${crowded.path}/quotas/nothing`), 404, "quota_not_found");
  });

  it("are cut in the answers of commands, which say how many there are", async () => {
    for (const answer of [
      await crowded.admin.get(crowded.path),
      await crowded.app.post(`${crowded.path}/reservations`, usdReserve("alone", "1")),
      await crowded.read.post(`${crowded.path}/explain`, usdReserve("x", "1")),
    ]) {
      assert.deepEqual([answer.body.quotas.length, answer.body.moreQuotas], [100, 900], answer.text.slice(0, 300));
      assert.ok(size(answer.text) <= MOST);
    }
  });

  for (const over of ["HTTP", "a connection"]) {
    it(`a batch of 500 over ${over} says each quota once, within its bound, and what is left out comes when it is sent again`, async () => {
      const connection = over === "HTTP" ? undefined : await Connection.open(worker, crowded.path, crowded.app.token ?? "");
      const commands = Array.from({ length: 500 }, (_, index) => ({ op: "explain", ...usdReserve(`e-${index}`, "1") }));
      const answer =
        connection === undefined ? await crowded.app.post(`${crowded.path}/batch`, { commands }) : await connection.ask(commands);
      const { body } = answer;
      const text = JSON.stringify(body);
      assert.ok(size(text) <= MOST, `${size(text)}`);
      const done = body.results.findIndex((result: Body) => result.status === 503);
      assert.ok(done > 0, text.slice(0, 300));
      assert.equal(body.leftOut, 500 - done);
      assert.ok(body.results.slice(done).every((result: Body) => result.status === 503 && result.body.code === "unavailable"));
      assert.equal(new Set(body.quotas.map((quota: Body) => quota.id)).size, body.quotas.length);
      const [{ body: first }] = body.results;
      assert.deepEqual([first.quotas.length, first.quotas[0], first.moreQuotas], [100, { id: longId(0), fits: true }, 900]);
      assert.deepEqual([body.quotas[0].id, body.quotas[0].limit], [longId(0), "1000"]);
      connection?.socket.close();
    });
  }

  it("a denial by all of them has headers that Node's fetch reads", async () => {
    const response = await fetch(`${worker.url}${crowded.path}/reservations`, {
      method: "POST",
      headers: { authorization: `Bearer ${crowded.app.token}`, "content-type": "application/json" },
      body: JSON.stringify(usdReserve("too-much", "100000")),
    });
    const text = await response.text();
    assert.equal(response.status, 429, text.slice(0, 300));
    const headers = [...response.headers].reduce((sum, [name, value]) => sum + name.length + value.length + 4, 0);
    assert.ok(headers <= 4096, `${headers}`);
    const { denial } = JSON.parse(text);
    assert.ok(response.headers.get("RateLimit")?.startsWith(`"${denial.quota}";r=`), String(response.headers.get("RateLimit")));
    assert.deepEqual([denial.quotas.length, denial.moreQuotas, denial.quotas[0].id], [100, 900, denial.quota]);
    assert.ok(size(text) <= MOST);
  });
});

describe("1,000 credits and increases on one quota", () => {
  it("are all shown where it is asked for by itself, and ten of them elsewhere", async () => {
    const tenant = await newTenant(worker, { prepaid: usdQuota("0", { period: "lifetime" }) });
    const quota = `${tenant.path}/quotas/prepaid`;
    const id = (index: number) => `${String(index).padStart(4, "0")}-${"c".repeat(123)}`;
    const add = async (from: number) => {
      for (let index = from; index < 1000; index += 25) {
        expectStatus(await tenant.admin.post(`${quota}/credits`, { id: id(index), amount: "0.123456789012", expiresAt: `2030-01-01T00:00:00.${String(index).padStart(3, "0")}Z` }), 200);
        expectStatus(await tenant.admin.post(`${quota}/increases`, { id: id(index), amount: "0.123456789012", until: "2030-01-01T00:00:00Z" }), 200);
      }
    };
    await Promise.all(Array.from({ length: 25 }, (_, from) => add(from)));
    const whole = expectStatus(await tenant.read.get(quota), 200);
    assert.ok(size(whole.text) <= MOST);
    assert.deepEqual([whole.body.credits.length, whole.body.increases.length, whole.body.moreCredits], [1000, 1000, undefined]);
    const reserved = expectStatus(await tenant.app.post(`${tenant.path}/reservations`, usdReserve("a", "1")), 201);
    const batch = expectStatus(await tenant.app.post(`${tenant.path}/batch`, { commands: [{ op: "reserve", ...usdReserve("b", "1") }] }), 200);
    for (const [state] of [reserved.body.quotas, batch.body.quotas, (await tenant.read.get(`${tenant.path}/quotas`)).body.quotas, (await tenant.admin.get(tenant.path)).body.quotas]) {
      assert.deepEqual([state.credits.length, state.moreCredits, state.increases.length, state.moreIncreases], [10, 990, 10, 990]);
    }
    assert.equal(reserved.body.quotas[0].credits[0].id, id(0), "the one that is spent first");
  });
});

describe("pages of what has happened", () => {
  it("end before they are too long, and go on where they ended", async () => {
    const tenant = await newTenant(worker, { q: usdQuota("100000") });
    const tags = Object.fromEntries(Array.from({ length: 4 }, (_, index) => [`t-${index}`, "ü".repeat(120)]));
    for (let round = 0; round < 3; round++) {
      const commands = Array.from({ length: 300 }, (_, index) => ({ op: "record", id: `${round}-${index}`, resource: "llm", usd: "0.01", attribution: { touchpoint: "t", tags } }));
      assert.ok(expectStatus(await tenant.app.post(`${tenant.path}/batch`, { commands }), 200).body.results.every((result: Body) => result.status === 201));
    }
    for (const [path, list, last, caller] of [
      ["entries", "entries", "seq", tenant.read],
      ["journal", "rows", "through", tenant.admin],
    ] as const) {
      let [pages, seen] = [0, 0];
      for (let after: number | null = 0; after !== null; pages++) {
        const { text, body }: { text: string; body: Body } = expectStatus(await caller.get(`${tenant.path}/${path}?after=${after}&limit=1000`), 200);
        assert.ok(size(text) <= MOST, `${path}: ${size(text)}`);
        seen += body[list].length;
        if (body.next !== null) assert.equal(body.next, body[list].at(-1)[last]);
        after = body.next;
      }
      assert.ok(pages >= 2, `${path}: ${pages} pages`);
      assert.ok(seen > 40, `${path}: ${seen}`);
    }
    const csv = await tenant.read.get(`${tenant.path}/entries?limit=1000`, { headers: { accept: "text/csv" } });
    assert.ok(expectStatus(csv, 200).text.split("\r\n").length > 300);
  });

  it("the catalog, a provider of it, and the largest document of overrides", async () => {
    const { providers } = expectStatus(await admin.get("/v1/catalog"), 200).body;
    for (const { provider } of providers) {
      const { text } = expectStatus(await admin.get(`/v1/catalog?provider=${provider}`), 200);
      assert.ok(size(text) <= MOST, `${provider}: ${size(text)}`);
    }
    const tenant = await newTenant(worker, {});
    const rates = Array.from({ length: 400 }, (_, index) => ({ provider: "own", model: `${index}-${"m".repeat(100)}`, perMillion: { input: "1.5", output: "3.25" } }));
    const put = await tenant.admin.put(`${tenant.path}/overrides`, { rates });
    assert.ok(size(expectStatus(put, 200).text) <= MOST);
    assert.ok(size(expectStatus(await tenant.read.get(`${tenant.path}/overrides`), 200).text) <= MOST);
  });
});

describe("errors", () => {
  it("do not send back what was sent", async () => {
    const tenant = await newTenant(worker, {});
    for (const name of ["x".repeat(900_000), "\\u0001".repeat(100_000), '\\"'.repeat(100_000), "ü".repeat(300_000)]) {
      const posted = (path: string, raw: string) => tenant.admin.send("POST", `${tenant.path}/${path}`, { raw });
      for (const answer of [
        await posted("reservations", `{"${name}":1}`),
        await posted("reservations", `{"id":"${name}"}`),
        await posted("reservations", `{"id":"a","resource":"${name}","estimate":{"usd":"1"}}`),
        await posted("reservations", `{"id":"a","resource":"llm","estimate":{"${name}":{"${name.slice(0, 1000)}":[1]}}}`),
        await posted("reservations/a/settle", `{"usage":{"${name}":1}}`),
        await posted("reservations/a/settle", `{"payload":{"format":"${name}","body":{}}}`),
        await posted("rerate", `{"from":"${name}","to":"2026-12-01T00:00:00Z"}`),
        await posted("price", `{"provider":"openai","model":"${name}","usage":{"input":1}}`),
      ]) {
        assert.ok(answer.status >= 400 && answer.status < 500, answer.text.slice(0, 300));
        assert.ok(size(answer.text) <= 4096, `${size(answer.text)}: ${answer.text.slice(0, 300)}`);
        assert.ok(answer.body.detail.length > 0);
      }
    }
    // Many of them in one batch.
    const commands = Array.from({ length: 500 }, (_, index) => ({ op: "reserve", id: `r-${index}`, [`${index}${"y".repeat(1900)}`]: 1 }));
    const { text, body } = expectStatus(await tenant.app.post(`${tenant.path}/batch`, { commands }), 200);
    assert.ok(size(text) <= MOST, `${size(text)}`);
    assert.equal(body.results[0].body.code, "invalid_request");
  });

  it("in addresses are cut, too", async () => {
    const tenant = await newTenant(worker, {});
    for (const path of [`${tenant.path}/quotas/${"q".repeat(7000)}`, `${tenant.path}/entries?${"a".repeat(7000)}=1`, `${tenant.path}/entries?after=${"9".repeat(7000)}`, `/v1/tenants/${"t".repeat(7000)}`]) {
      const answer = await tenant.admin.get(path);
      assert.ok(answer.status >= 400 && size(answer.text) <= 4096, `${size(answer.text)}`);
    }
  });
});

describe("a batch across the end of a period", () => {
  it("shows of each quota the period that a command counts in", async () => {
    const clocked = await startWorker({ testClock: true });
    try {
      const at = (time: string) => ({ now: time });
      const tenant = await newTenant(clocked, { day: usdQuota("100", { period: "day" }) }, at("2026-11-24T12:00:00Z"));
      expectStatus(await tenant.app.post(`${tenant.path}/reservations`, usdReserve("old", "4"), at("2026-11-24T23:59:00Z")), 201);
      const commands = [
        { op: "reserve", ...usdReserve("new", "1") },
        { op: "settle", id: "old", usd: "3" },
      ];
      const { body } = expectStatus(await tenant.app.post(`${tenant.path}/batch`, { commands }, at("2026-11-25T00:01:00Z")), 200);
      assert.deepEqual(body.results[0].body.quotas, ["day"]);
      const [old] = body.results[1].body.quotas;
      assert.deepEqual([old.id, old.spent, old.periodStart], ["day", "3", "2026-11-24T00:00:00.000Z"]);
      assert.deepEqual([body.quotas[0].spent, body.quotas[0].held, body.quotas[0].periodStart], ["0", "1", "2026-11-25T00:00:00.000Z"]);
    } finally {
      await clocked.stop();
    }
  });
});
