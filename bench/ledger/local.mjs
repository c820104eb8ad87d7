// Measures the package's in-process ledger, as `cargo xtask bench ledger` asks: a JSON text per line in, one per line out.

import { createInterface } from "node:readline";

import { createLocal } from "../../pkg/dist/index.js";

answer({ ready: true, node: process.version });
for await (const line of createInterface({ input: process.stdin })) {
  const { lifecycles } = JSON.parse(line);
  answer(await measure(lifecycles));
}

/** Reserve and settle with three scopes: nanoseconds of every reserve, and of all together. */
async function measure(lifecycles) {
  const quota = (more) => ({ resource: "llm", unit: "usd", limit: "1000000000", ...more });
  const ledger = createLocal({
    quotas: {
      month: quota({ scope: "tenant", period: "month" }),
      day: quota({ scope: "tenant", period: "day" }),
      user: quota({ scope: "user", scopeId: "u-7", period: "day" }),
    },
  });
  const reserves = [];
  const start = process.hrtime.bigint();
  for (let number = 0; number < lifecycles; number++) {
    const before = process.hrtime.bigint();
    const reservation = await ledger.reserve({
      id: `r-${number}`,
      userId: "u-7",
      resource: "llm",
      provider: "openai",
      model: "gpt-4o",
      estimate: { inputTokens: 1200, maxOutputTokens: 800 },
      attribution: { touchpoint: "main-chat" },
    });
    reserves.push(Number(process.hrtime.bigint() - before));
    await reservation.settle({ usage: { input: 1100, cache_read: 100, output: 350 } });
  }
  return { reserves, nanoseconds: Number(process.hrtime.bigint() - start) };
}

function answer(value) {
  process.stdout.write(`${JSON.stringify(value)}\n`);
}
