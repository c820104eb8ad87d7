// One caller's strange request costs nobody else anything: numbers beyond what can be stored, looks at what cannot be read, repeats of everything.
import assert from "node:assert/strict";
import { DatabaseSync } from "node:sqlite";
import { after, before, describe, it } from "node:test";
import { expectProblem, expectStatus, newTenant, quotaOf, usdQuota, usdReserve, type Answer, type Body, type Tenant } from "../../support/http.ts";
import { startWorker, type TestWorker } from "../../support/worker.ts";

let worker: TestWorker;
before(async () => {
  worker = await startWorker();
});
after(() => worker?.stop());

/** Numbers that are none, or not ones that are exact everywhere. */
const BEYOND = ["9007199254740992", "9007199254740993", "18446744073709551615", "18446744073709551616", "1e3", "1e999", "-0", "-1", "+1", "1.0", "0x10", " 1", "", "NaN", "9".repeat(5000)];

describe("numbers are bounded where they are read", () => {
  it("in queries", async () => {
    const tenant = await newTenant(worker, {});
    for (const number of BEYOND) {
      const value = encodeURIComponent(number);
      for (const field of ["after", "limit"]) {
        expectProblem(await tenant.read.get(`${tenant.path}/entries?${field}=${value}`), 400, "invalid_request", field);
        expectProblem(await tenant.admin.get(`${tenant.path}/journal?${field}=${value}`), 400, "invalid_request", field);
      }
      expectProblem(await tenant.read.get(`${tenant.path}/quotas?limit=${value}`), 400, "invalid_request", "limit");
    }
    // The largest there is comes after everything.
    const last = "9007199254740991";
    assert.deepEqual(expectStatus(await tenant.read.get(`${tenant.path}/entries?after=${last}`), 200).body, { entries: [], next: null });
    assert.deepEqual(expectStatus(await tenant.admin.get(`${tenant.path}/journal?after=${last}`), 200).body.rows, []);
  });

  it("in bodies", async () => {
    const tenant = await newTenant(worker, { q: usdQuota("100") });
    const raw = (path: string, body: string) => tenant.admin.send("POST", `${tenant.path}/${path}`, { raw: body });
    const period = '"from":"2026-11-01T00:00:00Z","to":"2026-12-01T00:00:00Z"';
    for (const number of ["9007199254740992", "18446744073709551615", "18446744073709551616", "1e3", "1e999", "-0", "-1", "1.0"]) {
      expectProblem(await raw("archive", `{"through":${number},"head":"sha256:genesis"}`), 400, "invalid_request", "through");
      expectProblem(await raw("archive", `{"through":1,"head":"sha256:genesis","forgetThrough":${number}}`), 400, "invalid_request", "forgetThrough");
      for (const field of ["after", "limit"]) expectProblem(await raw("rerate", `{${period},"${field}":${number}}`), 400, "invalid_request", field);
      const totals = (charges: string, changed: string) => `{${period},"totals":{"charges":${charges},"changed":${changed},"old":"0","new":"0","difference":"0"}}`;
      expectProblem(await raw("rerate", totals(number, "0")), 400, "invalid_request", "totals.charges");
      expectProblem(await raw("rerate", totals("0", number)), 400, "invalid_request", "totals.changed");
      expectProblem(await raw("reservations", `{"id":"a","resource":"llm","estimate":{"usd":"1"},"ttlSeconds":${number}}`), 400, "invalid_request", "ttlSeconds");
      const tokens = `{"id":"a","resource":"llm","provider":"openai","model":"gpt-4o","estimate":{"inputTokens":${number},"maxOutputTokens":1}}`;
      assert.equal((await raw("reservations", tokens)).status, 400, tokens);
      assert.equal((await raw("records", `{"id":"a","mode":"always","resource":"llm","provider":"openai","model":"gpt-4o","usage":{"input":${number}}}`)).status, 400, number);
      assert.equal((await raw("tokens", `{"role":"read","expiresInSeconds":${number}}`)).status, 400, number);
    }
    assert.equal((await quotaOf(tenant, "q")).held, "0");
  });
});

describe("what fails fails alone", () => {
  it("strange cursors beside 50 reserves: each gets its own answer", async () => {
    const tenant = await newTenant(worker, { q: usdQuota("1000") });
    const asked: Promise<Answer>[] = [];
    for (let index = 0; index < 50; index++) {
      asked.push(tenant.app.post(`${tenant.path}/reservations`, usdReserve(`r-${index}`, "1")));
      asked.push(tenant.read.get(`${tenant.path}/entries?after=${9_007_199_254_740_991n + BigInt(index)}`));
    }
    const answers = await Promise.all(asked);
    assert.deepEqual(answers.filter((_, index) => index % 2 === 0).map(({ status }) => status), Array(50).fill(201));
    assert.deepEqual(answers.filter((_, index) => index % 2 === 1).map(({ status }) => status), [200, ...Array(49).fill(400)]);
    assert.equal((await quotaOf(tenant, "q")).held, "50");
  });

  it("what cannot be read spoils nobody else's answer, alone, in a batch, and in the same turn", async () => {
    const tenant = await newTenant(worker, { q: usdQuota("1000") });
    const ids = Array.from({ length: 20 }, (_, index) => `r-${index}`);
    const batch = async (commands: unknown[]) => expectStatus(await tenant.app.post(`${tenant.path}/batch`, { commands }), 200).body;
    await batch(ids.map((id) => ({ op: "reserve", ...usdReserve(id, "1") })));
    await batch(ids.map((id) => ({ op: "settle", id, usd: "1" })));
    await tamper(tenant, "UPDATE closed SET reservation = '{\"id\"' WHERE id = 'r-7'");
    const settle = (id: string) => tenant.app.post(`${tenant.path}/reservations/${id}/settle`, { usd: "1" });
    const answers = await Promise.all([...ids.map(settle), tenant.app.post(`${tenant.path}/reservations`, usdReserve("new", "1"))]);
    const statuses = Object.fromEntries([...ids, "new"].map((id, index) => [id, answers[index]?.status]));
    assert.deepEqual(statuses, { ...Object.fromEntries(ids.map((id) => [id, 200])), "r-7": 500, new: 201 });
    const { results } = await batch(ids.map((id) => ({ op: "settle", id, usd: "1" })));
    assert.deepEqual(results.map((result: Body) => result.status), ids.map((id) => (id === "r-7" ? 500 : 200)));
    expectProblem(await tenant.read.get(`${tenant.path}/reservations/r-7`), 500, "internal");
    // Nothing was paid or held for it a second time, and it can be set right.
    expectProblem(await tenant.app.post(`${tenant.path}/reservations`, usdReserve("r-7", "1")), 500, "internal");
    assert.deepEqual([(await quotaOf(tenant, "q")).spent, (await quotaOf(tenant, "q")).held], ["20", "1"]);
    expectStatus(await tenant.admin.post(`${tenant.path}/audit/repair`, { by: "ops" }), 200);
    assert.equal(expectStatus(await settle("r-7"), 200).body.replayed, true);
  });
});

describe("repeats", () => {
  it("of 500 commands of every kind, in any order, also whose entries lie in as many rows, get the first answers", async () => {
    const tenant = await newTenant(worker, { q: usdQuota("100000") });
    const tags = Object.fromEntries(Array.from({ length: 5 }, (_, index) => [`t-${index}`, "x".repeat(200)]));
    const batch = async (commands: unknown[]) => expectStatus(await tenant.app.post(`${tenant.path}/batch`, { commands }), 200).body.results;
    const ids = Array.from({ length: 120 }, (_, index) => `r-${index}`);
    // Each a turn of its own, so that each entry is in a row of its own.
    const first: Body[] = [];
    const commands: Record<string, unknown>[] = [];
    for (const [index, id] of ids.entries()) {
      const mine = [
        { op: "reserve", ...usdReserve(id, "2", { attribution: { touchpoint: "t", tags } }) },
        ...(index % 3 === 0 ? [{ op: "meter", id, meter: { id: "m", usd: "1" } }] : []),
        ...(index % 4 === 0 ? [{ op: "extend", id, extend: { id: "x", ttlSeconds: 900 } }] : []),
        index % 5 === 0 ? { op: "release", id } : { op: "settle", id, usd: "1.5" },
      ];
      for (const command of mine) {
        first.push(...(await batch([command])));
        commands.push(command);
      }
    }
    const order = commands.map((_, index) => (index * 7) % commands.length);
    const again = await batch(order.map((index) => commands[index]));
    for (const [at, index] of order.entries()) {
      const [{ status, body }, before] = [again[at], first[index]];
      assert.equal(status, before.status, JSON.stringify([commands[index], body]));
      assert.equal(body.replayed, true);
      assert.equal(body.id, before.body.id);
      if (["settle", "release"].includes(String(commands[index]?.["op"]))) assert.deepEqual(body.charge, before.body.charge);
    }
    // And the same id many times in one batch.
    const same = await batch(Array.from({ length: 500 }, () => ({ op: "settle", id: "r-1", usd: "1.5" })));
    assert.ok(same.every((result: Body) => result.status === 200 && result.body.replayed === true));
    assert.equal((await tenant.admin.get(`${tenant.path}/audit`)).body.clean, true);
  });

  it("are found in rows as earlier versions wrote them, of up to a megabyte", async () => {
    const tenant = await newTenant(worker, { q: usdQuota("100000") });
    const tags = Object.fromEntries(Array.from({ length: 5 }, (_, index) => [`t-${index}`, "größe".repeat(22)]));
    const ids = Array.from({ length: 400 }, (_, index) => `r-${index}`);
    const batch = async (commands: unknown[]) => expectStatus(await tenant.app.post(`${tenant.path}/batch`, { commands }), 200).body.results;
    const reserved = await batch(ids.map((id) => ({ op: "reserve", ...usdReserve(id, "1", { attribution: { touchpoint: "t", tags } }) })));
    assert.deepEqual([reserved[0].status, reserved[399].status], [201, 201], JSON.stringify(reserved[0]));
    await batch(ids.map((id) => ({ op: "settle", id, usd: "1" })));
    const rows = await join(tenant);
    assert.ok(rows > 20, `${rows} rows`);
    for (const some of [["r-0"], ["r-399", "r-200"], ids]) {
      const results = await batch(some.map((id) => ({ op: "settle", id, usd: "1" })));
      assert.ok(results.every((result: Body) => result.status === 200 && result.body.replayed === true), JSON.stringify(results[0]));
    }
    assert.equal((await tenant.read.get(`${tenant.path}/reservations/r-123`)).body.attribution.tags["t-0"], "größe".repeat(22));
    // Pages begin and end anywhere in a row.
    const seqs: number[] = [];
    for (let after: number | null = 0; after !== null; ) {
      const page: Body = expectStatus(await tenant.read.get(`${tenant.path}/entries?after=${after}&limit=33`), 200).body;
      seqs.push(...page.entries.map((entry: Body) => entry.seq));
      after = page.next;
    }
    assert.deepEqual(seqs, Array.from({ length: seqs.length }, (_, index) => index + 1));
    assert.ok(seqs.length > 800);
  });
});

/** Has its file, while the Worker is stopped. */
async function inDatabase(tenant: Tenant, act: (database: DatabaseSync) => void): Promise<void> {
  await worker.offline((databases) => {
    const changed = databases.filter((file) => {
      const database = new DatabaseSync(file);
      try {
        const found = database.prepare("SELECT 1 FROM journal WHERE instr(entries, ?) LIMIT 1").get(`"${tenant.id}"`);
        if (found !== undefined) act(database);
        return found !== undefined;
      } finally {
        database.close();
      }
    });
    assert.equal(changed.length, 1);
  });
}

async function tamper(tenant: Tenant, sql: string): Promise<void> {
  await inDatabase(tenant, (database) => assert.ok(Number(database.prepare(sql).run().changes) > 0, sql));
}

/** Joins the rows of the journal, each up to a megabyte; says how many there were. Their hashes are then of other rows, but only an audit looks at those. */
async function join(tenant: Tenant): Promise<number> {
  let count = 0;
  await inDatabase(tenant, (database) => {
    const rows = database.prepare("SELECT last_entry, hash, entries FROM journal ORDER BY last_entry").all() as { last_entry: number; hash: string; entries: string }[];
    count = rows.length;
    const joined: typeof rows = [];
    for (const row of rows) {
      const last = joined.at(-1);
      if (last !== undefined && last.entries.length + row.entries.length < 900_000) {
        joined[joined.length - 1] = { ...row, entries: `${last.entries.slice(0, -1)},${row.entries.slice(1)}` };
      } else {
        joined.push(row);
      }
    }
    database.exec("DELETE FROM journal");
    const insert = database.prepare("INSERT INTO journal (last_entry, hash, entries) VALUES (?, ?, ?)");
    for (const row of joined) insert.run(row.last_entry, row.hash, row.entries);
    assert.ok(joined.length <= 3, `${joined.length}`);
  });
  return count;
}
