// Archiving against the real thing: export by cursor, check the chain, confirm, and go on.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { expectProblem, expectStatus, newTenant, quotaOf, usdQuota, usdReserve, type Tenant } from "../support/http.ts";
import { startWorker, type TestWorker } from "../support/worker.ts";

const PROGRAM = new URL("../../examples/archive/main.ts", import.meta.url).pathname;

let worker: TestWorker;
let folder: string;
before(async () => {
  worker = await startWorker({ testClock: true });
  folder = await mkdtemp(join(tmpdir(), "tollgate-archive-"));
});
after(async () => {
  await worker?.stop();
  await rm(folder, { recursive: true, force: true });
});

const minutesAgo = (minutes: number) => ({ now: new Date(Date.now() - minutes * 60_000).toISOString() });
/** Old enough for the example to archive with `--keep-days 0.01`, a quarter of an hour. */
const THEN = minutesAgo(60);
const SOON = minutesAgo(55);

async function livedIn(): Promise<Tenant> {
  const tenant = await newTenant(worker, { ever: usdQuota("100", { period: "lifetime" }) }, THEN);
  const reservations = `${tenant.path}/reservations`;
  for (const [id, usd, ttlSeconds] of [["settled", "2", 600], ["open", "3", 86_400], ["unreported", "5", 1]] as const) {
    expectStatus(await tenant.app.post(reservations, usdReserve(id, usd, { ttlSeconds }), THEN), 201);
  }
  expectStatus(await tenant.app.post(`${reservations}/settled/settle`, { usd: "1.5" }, SOON), 200);
  expectStatus(await tenant.app.post(`${tenant.path}/records`, { id: "recorded", resource: "llm", usd: "0.25" }, SOON), 201);
  return tenant;
}

async function example(...args: string[]): Promise<{ code: number; output: string }> {
  const child = spawn(process.execPath, [PROGRAM, ...args], { env: { ...process.env, TOLLGATE_URL: worker.url, TOLLGATE_ADMIN_TOKEN: worker.adminToken } });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding("utf8").on("data", (text: string) => (output += text));
  const [code] = await once(child, "close");
  return { code, output };
}

async function assertClean(tenant: Tenant): Promise<void> {
  const audit = expectStatus(await tenant.admin.get(`${tenant.path}/audit`), 200).body;
  assert.deepEqual(audit.differences, []);
}

describe("archive", () => {
  it("drops what was exported and keeps everything exact, across restarts and late settles", async () => {
    const tenant = await livedIn();
    // What is asked at that time: today the open hold would have ended.
    const usage = async () => expectStatus(await tenant.read.get(`${tenant.path}/usage`, SOON), 200).body;
    const quota = async () => (expectStatus(await tenant.read.get(`${tenant.path}/quotas`, SOON), 200).body.quotas as { spent: string; held: string }[])[0];
    const before = [await usage(), await quota()];
    const file = join(folder, "ledger.jsonl");
    const { code, output } = await example("--tenant", tenant.id, "--file", file, "--keep-days", "0.01");
    assert.equal(code, 0, output);
    const { archivedThrough, entries } = expectStatus(await tenant.read.get(`${tenant.path}/entries`, SOON), 200).body;
    assert.ok(archivedThrough > 5, output);
    assert.match(output, new RegExp(`archived: entries 1 to ${archivedThrough}\\n$`));
    assert.deepEqual(entries.map((entry: { type: string }) => entry.type), ["archived"]);
    assert.deepEqual([await usage(), await quota()], before);
    await assertClean(tenant);
    await worker.restart();
    assert.deepEqual([await usage(), await quota()], before);

    const reservations = `${tenant.path}/reservations`;
    expectProblem(await tenant.app.post(reservations, usdReserve("settled", "2", { ttlSeconds: 600 }), SOON), 410, "archived");
    expectProblem(await tenant.app.post(`${tenant.path}/records`, { id: "recorded", resource: "llm", usd: "0.25" }, SOON), 410, "archived");
    const batch = await tenant.app.post(`${tenant.path}/batch`, { commands: [{ op: "settle", id: "settled", usd: "1.5" }, { op: "record", id: "new", resource: "llm", usd: "1" }] }, SOON);
    assert.deepEqual(batch.body.results.map((result: { status: number }) => result.status), [410, 201]);
    expectStatus(await tenant.app.post(`${reservations}/open/settle`, { usd: "3" }, SOON), 200);
    const late = expectStatus(await tenant.app.post(`${reservations}/unreported/settle`, { usd: "4" }, SOON), 200);
    assert.equal(late.body.late, true);
    assert.equal((await quotaOf(tenant, "ever")).spent, "9.75");
    assert.equal((await usage()).total.usd, "9.75");
    await assertClean(tenant);

    // Once more: it goes on where the file ends, and the file is one chain from the first entry to the last.
    const again = await example("--tenant", tenant.id, "--file", file, "--keep-days", "0");
    assert.equal(again.code, 0, again.output);
    await assertClean(tenant);
    const audit = expectStatus(await tenant.admin.get(`${tenant.path}/audit`), 200).body;
    const rows = (await readFile(file, "utf8")).trimEnd().split("\n").map((line) => JSON.parse(line));
    assert.equal(rows.at(-1).through, audit.archivedThrough);
    const seqs = rows.flatMap((row) => JSON.parse(row.entries).map((entry: { seq: number }) => entry.seq));
    assert.deepEqual(seqs, seqs.map((_, index) => index + 1));
    assert.match((await example("--file", file, "--verify-only")).output, new RegExp(`entries 1 to ${audit.archivedThrough}, head ${rows.at(-1).head}`));
  });

  it("the check finds a line that was changed, is missing, or is out of order", async () => {
    const tenant = await livedIn();
    const file = join(folder, "tampered.jsonl");
    assert.equal((await example("--tenant", tenant.id, "--file", file, "--keep-days", "3650")).code, 0);
    const lines = (await readFile(file, "utf8")).trimEnd().split("\n");
    assert.equal((await example("--file", file, "--verify-only")).code, 0);
    const [first = "", second = "", ...rest] = lines;
    for (const changed of [[first, second.replace('\\"held\\"', '\\"hold\\"').replace("100", "101"), ...rest], [first, ...rest], [second, first, ...rest], lines.slice(1)]) {
      if (changed.join("\n") === lines.join("\n")) continue;
      await writeFile(file, `${changed.join("\n")}\n`);
      const { code, output } = await example("--file", file, "--verify-only");
      assert.equal(code, 1, output);
      assert.match(output, /does not follow/);
    }
  });

  it("only who proves to have the rows may drop them, and only the administrator", async () => {
    const tenant = await livedIn();
    const page = expectStatus(await tenant.admin.get(`${tenant.path}/journal?limit=2`), 200).body;
    assert.equal(page.rows.length, 2);
    assert.equal(page.next, page.rows[1].through);
    const [first, second] = page.rows;
    for (const [body, field] of [
      [{ through: second.through, head: first.head }, "head"],
      [{ through: 99_999, head: first.head }, "through"],
      [{ through: second.through }, "head"],
      [{ head: second.head }, "through"],
      [{ through: -1, head: first.head }, "through"],
      [{ through: second.through, head: second.head, forgetThrough: second.through + 1 }, "forgetThrough"],
      [{ through: second.through, head: second.head, before: "2026" }, "before"],
    ] as const) {
      expectProblem(await tenant.admin.post(`${tenant.path}/archive`, body), 400, "invalid_request", field);
    }
    for (const limit of ["0", "1001", "x", "-1"]) expectProblem(await tenant.admin.get(`${tenant.path}/journal?limit=${limit}`), 400, "invalid_request", "limit");
    for (const caller of [tenant.app, tenant.read]) {
      expectProblem(await caller.post(`${tenant.path}/archive`, { through: second.through, head: second.head }), 403, "forbidden");
      expectProblem(await caller.get(`${tenant.path}/journal`), 403, "forbidden");
    }
    assert.equal(expectStatus(await tenant.admin.get(`${tenant.path}/entries`), 200).body.archivedThrough, undefined);
    const done = expectStatus(await tenant.admin.post(`${tenant.path}/archive`, { through: second.through, head: second.head }), 200).body;
    assert.deepEqual(done, { archivedThrough: second.through, head: second.head, forgotten: 0, complete: true });
    for (const path of ["journal", "audit"]) expectProblem(await tenant.admin.get(`/v1/tenants/nobody/${path}`), 404, "tenant_not_found");
    expectProblem(await tenant.admin.post("/v1/tenants/nobody/archive", { through: 0, head: "sha256:genesis" }), 404, "tenant_not_found");
  });

  it("forgets ids when it is told to", async () => {
    const tenant = await livedIn();
    const { rows } = expectStatus(await tenant.admin.get(`${tenant.path}/journal?limit=1000`), 200).body;
    const { through, head } = rows.at(-1);
    const done = expectStatus(await tenant.admin.post(`${tenant.path}/archive`, { through, head, forgetThrough: through }), 200).body;
    assert.equal(done.forgotten, 3);
    const again = expectStatus(await tenant.app.post(`${tenant.path}/records`, { id: "recorded", resource: "llm", usd: "0.25" }), 201);
    assert.equal(again.body.replayed, undefined);
    await assertClean(tenant);
  });
});
