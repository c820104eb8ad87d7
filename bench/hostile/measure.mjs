// Measures what good tenants feel beside hostile ones, as `cargo xtask bench hostile` asks: a JSON text per line in, one per line out.
//
// The good ones live in this process, the hostile ones in another, so that neither's event loop slows down the other's. All of them are bounded: in callers, in
// requests per second, and in time.

import { fork } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";

import { KINDS, prepare } from "./attacks.mjs";
import { Api } from "./api.mjs";

/** Each good tenant has one caller, which reserves and settles in turn and rests in between, as an app does. */
const GOOD_TENANTS = 16;
const REST_MS = 50;

const { worker } = JSON.parse(process.argv[2]);
const admin = new Api(worker.url, worker.token);
const good = Array.from({ length: GOOD_TENANTS }, (_, number) => `good-${process.pid}-${number}`);
for (const tenant of good) await admin.onboard(tenant, { budget: quota("1000000000") });
const { token: service } = await admin.answer("POST", "/v1/tokens", { role: "service", expiresInSeconds: 86_400 });
const stage = await prepare(admin, `hostile-${process.pid}`);

const hostile = fork(new URL("./attacks.mjs", import.meta.url), [], { stdio: ["ignore", "ignore", "inherit", "ipc"] });
answer({ ready: true, node: process.version, kinds: KINDS, goodTenants: GOOD_TENANTS, restMs: REST_MS });

for await (const line of createInterface({ input: process.stdin })) {
  const { kind, milliseconds } = JSON.parse(line);
  answer(await turn(kind, milliseconds));
}
hostile.disconnect();

/** One turn of the good tenants, beside a kind of hostile ones where one is named. */
async function turn(kind, milliseconds) {
  if (kind !== null) {
    hostile.send({ ...stage, url: worker.url, service, kind, milliseconds: milliseconds + 500 });
    // They are at it when the good ones begin.
    await new Promise((resolve) => setTimeout(resolve, 250));
  }
  const done = kind === null ? undefined : once(hostile, "message");
  const latencies = [];
  const failures = {};
  await Promise.all(good.map((tenant, number) => caller(new Api(worker.url, service), tenant, number, milliseconds, latencies, failures)));
  const attack = done === undefined ? undefined : (await done)[0];
  latencies.sort((a, b) => a - b);
  const percentile = (part) => latencies[Math.min(latencies.length - 1, Math.floor(latencies.length * part))] ?? 0;
  return { operations: latencies.length, p50: percentile(0.5), p99: percentile(0.99), longest: percentile(1), failures, attack };
}

async function caller(api, tenant, number, milliseconds, latencies, failures) {
  const end = performance.now() + milliseconds;
  // Not all at once.
  await new Promise((resolve) => setTimeout(resolve, (REST_MS * number) / GOOD_TENANTS));
  const call = { resource: "llm", provider: "openai", model: "gpt-4o", userId: "u-1", estimate: { inputTokens: 1200, maxOutputTokens: 800 } };
  for (let count = 0; performance.now() < end; count++) {
    const id = `${Date.now().toString(36)}-${number}-${count}`;
    for (const [path, body, expected] of [
      [`/v1/tenants/${tenant}/reservations`, { id, ...call }, 201],
      [`/v1/tenants/${tenant}/reservations/${id}/settle`, { usage: { input: 1100, cache_read: 100, output: 350 } }, 200],
    ]) {
      const before = performance.now();
      const status = await api.status("POST", path, body);
      latencies.push(performance.now() - before);
      if (status !== expected) failures[status] = (failures[status] ?? 0) + 1;
      await new Promise((resolve) => setTimeout(resolve, REST_MS));
    }
  }
}

function quota(limit) {
  return { scope: "tenant", resource: "llm", unit: "usd", limit, period: "month" };
}

function answer(value) {
  process.stdout.write(`${JSON.stringify(value)}\n`);
}
