// Measures one contender at a time, as `cargo xtask bench worker` asks: a JSON text per line in, one per line out.
//
// An operation is one decision about a dollar budget that is stored before it is answered. Every contender makes the same ones: for Tollgate a reserve
// and a settle are an operation each; for the others it is the one transaction, or script, that checks and records.

import { createInterface } from "node:readline";

import { App } from "./app.mjs";
import { Batching, Single } from "./tollgate.mjs";
import { RedisScript } from "./redis-script.mjs";
import { SqlTransaction } from "./sql-transaction.mjs";

const { worker, bare, postgres, redis } = JSON.parse(process.argv[2]);
const contenders = {
  batching: new Batching(worker),
  single: new Single(worker),
  sql: new SqlTransaction(postgres),
  redis: new RedisScript(redis),
  bare: new Batching(bare),
  app: new App(postgres),
};
for (const contender of Object.values(contenders)) await contender.start();
answer({ ready: true, versions: { node: process.version, postgres: await contenders.sql.version(), redis: await contenders.redis.version() } });

for await (const line of createInterface({ input: process.stdin })) {
  const { contender, task, ...options } = JSON.parse(line);
  answer(await { throughput, race }[task](contenders[contender], options));
}
for (const contender of Object.values(contenders)) await contender.stop();

/** So many callers, each of which asks again as soon as it has its answer, for so many milliseconds. Nothing is ever denied: there is money enough. */
async function throughput(contender, { tenants, callers, milliseconds }) {
  const names = await contender.open(tenants, 1e9, callers);
  const latencies = [];
  const start = performance.now();
  const end = start + milliseconds;
  const call = async (caller) => {
    for (let round = caller; ; round++) {
      const before = performance.now();
      if (before >= end) return;
      const admitted = await contender.operation(names[round % names.length], caller);
      if (!admitted) throw new Error(`${contender.constructor.name} denied what fits`);
      latencies.push(performance.now() - before);
    }
  };
  await Promise.all(Array.from({ length: callers }, (_, caller) => call(caller)));
  const seconds = (performance.now() - start) / 1000;
  latencies.sort((a, b) => a - b);
  const percentile = (part) => latencies[Math.min(latencies.length - 1, Math.floor(latencies.length * part))];
  await contender.close();
  return { operations: latencies.length, perSecond: latencies.length / seconds, p50: percentile(0.5), p99: percentile(0.99) };
}

/** Twice as many one-dollar requests at once as the budget has dollars: how many pass, and what the contender believes was spent. */
async function race(contender, { dollars }) {
  const [name] = await contender.open(1, dollars, 2 * dollars);
  const admitted = await Promise.all(Array.from({ length: 2 * dollars }, (_, caller) => contender.dollar(name, caller)));
  const spent = await contender.spent(name);
  await contender.close();
  return { admitted: admitted.filter(Boolean).length, spent };
}

function answer(value) {
  process.stdout.write(`${JSON.stringify(value)}\n`);
}
