// The same vectors through the npm package's wasm and through the Worker: the same answers as the native core's.
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { assertPartial } from "../support/partial.ts";
import { wasmHome, workerHome, type Home } from "./homes.ts";
import { bodyOf, casesOf, type ExtractCase, type LedgerCase, type PriceCase } from "./vectors.ts";

/** The field that is named for each reason why a usage has no price. */
const UNPRICED_FIELDS: Record<string, string> = {
  unknown_model: "model",
  no_rate_in_force: "model",
  unknown_mode: "mode",
  unknown_region: "region",
  unpriced_meter: "usage",
};

for (const [name, start] of Object.entries({ wasm: wasmHome, Worker: workerHome })) {
  describe(name, () => {
    let home: Home;
    before(async () => {
      home = await start();
    });
    after(() => home.close());

    for (const { file, cases } of casesOf<PriceCase>("price")) {
      it(`price/${file}`, async (context) => {
        for (const vector of cases) await context.test(vector.name, async () => checkPrice(home, vector));
      });
    }
    for (const { file, cases } of casesOf<ExtractCase>("extract")) {
      it(`extract/${file}`, async (context) => {
        for (const vector of cases) await context.test(vector.name, async () => checkExtract(home, vector));
      });
    }
    for (const { file, cases } of casesOf<LedgerCase>("ledger")) {
      it(`ledger/${file}`, async (context) => {
        for (const vector of cases) await context.test(vector.name, async () => checkLedger(home, vector));
      });
    }
  });
}

async function checkPrice(home: Home, { request, expect }: PriceCase): Promise<void> {
  const { status, body } = await home.price(request);
  if ("error" in expect) {
    const field = UNPRICED_FIELDS[expect.error];
    assert.ok(field, `an error that does not exist: ${expect.error}`);
    assert.deepEqual([status, body.code, body.field], [422, "unpriced", field], JSON.stringify(body));
    return;
  }
  assert.deepEqual([status, body.usd, body.basis?.rateCard], [200, expect.usd, expect.rateCard], JSON.stringify(body));
}

/** What was extracted shows in the lines of a charge, one for every pool. */
async function checkExtract(home: Home, vector: ExtractCase): Promise<void> {
  const payload = { format: vector.format, body: bodyOf(vector) };
  const { expect } = vector;
  if ("error" in expect) {
    const { status, body } = await recorded(home, payload, UNKNOWN);
    const field = `payload.body${expect.field.replace(/^\$/, "")}`;
    assert.deepEqual([status, body.code, body.field], [422, "invalid_payload", field], JSON.stringify(body));
    return;
  }
  const used = Object.entries(expect.usage).filter(([, quantity]) => quantity !== 0);
  const model = used.reduce((found, [meter]) => MODELS[meter] ?? found, UNKNOWN);
  const { status, body } = await recorded(home, payload, model);
  if (used.some(([meter]) => RATELESS.includes(meter))) {
    assert.deepEqual([status, body.code], [422, "unpriced"], JSON.stringify(body));
    return;
  }
  assert.equal(status, 201, JSON.stringify(body));
  const lines = body.charge.lines.map((line: { meter: string; quantity: number }) => [line.meter, line.quantity]);
  assert.deepEqual(lines.sort(), used.sort(), JSON.stringify(body));
  assert.equal(body.charge.flags.includes("incomplete_usage"), !expect.complete, JSON.stringify(body));
}

/** Records a payload for a tenant whose unknown models have a rate for text. */
async function recorded(home: Home, payload: unknown, model: Model) {
  const now = "2026-11-24T00:00:00Z";
  const plan = { quotas: {}, unknownModel: { fallback: { perMillion: { input: "10", output: "30" } } } };
  const ledger = await home.open(plan, now);
  return ledger.execute({ op: "record", id: "a", resource: "llm", ...model, payload }, now);
}

interface Model {
  provider: string;
  model: string;
}

const UNKNOWN: Model = { provider: "vector", model: "any" };

/** Which model to price by where there is more than text. */
const MODELS: Record<string, Model> = {
  web_search: { provider: "anthropic", model: "claude-sonnet-4-5" },
  input_audio: { provider: "google", model: "gemini-2.5-flash" },
  input_image: { provider: "google", model: "gemini-2.5-flash" },
  input_video: { provider: "google", model: "gemini-2.5-flash" },
  cache_read_audio: { provider: "google", model: "gemini-2.5-flash" },
};

/** No model of the price list has a rate for these, and what has no rate is refused, never free. */
const RATELESS = ["output_image", "output_audio"];

async function checkLedger(home: Home, { plan, steps }: LedgerCase): Promise<void> {
  const ledger = await home.open(plan, steps[0]?.now ?? "");
  for (const [index, { now, command, expect }] of steps.entries()) {
    const { status, body } = await ledger.execute(command, now);
    const step = `step ${index + 1}, ${JSON.stringify(command)}`;
    assert.equal(status, expect.status, `${step}: ${JSON.stringify(body)}`);
    if ("body" in expect) assertPartial(body, expect.body, step);
  }
}
