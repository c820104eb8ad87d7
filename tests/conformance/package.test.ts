// The package's own ways around JSON: each must come to what the module answers in JSON, for every vector.
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import type { Charge, LocalTollgate, PriceRequest, Reservation } from "../../pkg/dist/index.js";
import { wasmHome, type Home } from "./homes.ts";
import { casesOf, type PriceCase } from "./vectors.ts";

describe("prices by numbers", () => {
  let home: Home;
  let local: LocalTollgate;

  before(async () => {
    home = await wasmHome();
    local = await createLocal();
  });
  after(() => home.close());

  /** The charge, or the error's code and field. */
  async function outcome(request: object): Promise<unknown> {
    try {
      return await local.price(request as PriceRequest);
    } catch (error) {
      const { code, field, detail } = error as { code: string; field?: string; detail: string };
      return { code, field, detail };
    }
  }

  async function expected(request: object): Promise<unknown> {
    const { status, body } = await home.price(request);
    return status < 400 ? body : { code: body.code, field: body.field, detail: body.detail };
  }

  for (const { file, cases } of casesOf<PriceCase>("price")) {
    it(`price/${file}`, async () => {
      for (const one of cases) {
        const request = one.request as { at: string };
        const asJson = await expected(request);
        const dated = { ...request, at: new Date(request.at) };
        // As it is, by its text; then twice by numbers: once while the model is made known, once when it is.
        for (const form of [request, dated, dated]) {
          const found = await outcome(form);
          assert.deepEqual(found, asJson, JSON.stringify(request));
          assert.equal(JSON.stringify(found), JSON.stringify(asJson));
        }
      }
    });
  }

  it("any usage of any model, in any mode and region", async () => {
    let seed = 7;
    const random = (below: number) => {
      seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
      return Math.floor((seed / 2 ** 32) * below);
    };
    const models = [
      ["openai", "gpt-5.4"], ["openai", "gpt-4o"], ["openai", "gpt-4o-mini"], ["openai", "o3"], ["anthropic", "claude-sonnet-4-5"], ["google", "gemini-2.5-pro"],
      ["deepseek", "deepseek-chat"], ["xai", "grok-4"], ["mistral", "mistral-large-latest"], ["openai", "no-such-model"], ["nobody", "gpt-4o"],
    ];
    const modes = [undefined, undefined, undefined, "batch", "flex", "priority", "", "none", null];
    const regions = [undefined, undefined, undefined, "eu", "us", "nowhere", "", null];
    const meters = ["input", "cache_read", "cache_write_5m", "cache_write_1h", "output", "reasoning", "input_audio", "output_image", "web_search", "request", "meter"];
    const quantities = [0, -0, 1, 7, 1200, 200_000, 200_001, 1_000_000_000_000, 1_000_000_000_001, -1, 0.5, Number.NaN, "12", "0.5", undefined, null, 2 ** 53];
    let priced = 0;
    for (let round = 0; round < 6_000; round += 1) {
      const [provider, model] = models[random(models.length)]!;
      const usage: Record<string, unknown> = {};
      for (let count = random(4); count >= 0; count -= 1) {
        const usual = random(8) > 0;
        usage[meters[random(usual ? 6 : meters.length)]!] = usual ? random(300_000) : quantities[random(quantities.length)];
      }
      const at = new Date(Date.UTC(2023 + random(4), random(12), 1 + random(28), random(24), random(60), random(60), random(1000)));
      const request = { provider, model, mode: modes[random(modes.length)], region: regions[random(regions.length)], usage, at, ...(random(50) === 0 && { extra: 1 }) };
      const asJson = await expected(request);
      assert.deepEqual(await outcome(request), asJson, JSON.stringify(request));
      if ("usd" in (asJson as object)) priced += 1;
    }
    assert.ok(priced > 500, `${priced} had a price`);
  });

  it("a charge is its receiver's own", async () => {
    const request: PriceRequest = { provider: "openai", model: "gpt-4o", usage: { input: 1000, output: 100 }, at: new Date("2026-06-01") };
    await local.price(request);
    const first = await local.price(request);
    const usage = request.usage as { input?: number };
    usage.input = 1;
    first.flags.push("mine");
    if (first.basis !== undefined) first.basis.rateCard = "mine";
    // Read only now: they are of what was asked, not of what became of it.
    assert.equal(first.lines[0]?.quantity, 1000);
    first.lines = [];
    assert.deepEqual(first.lines, []);
    usage.input = 1000;
    const second: Charge = await local.price(request);
    assert.deepEqual(second.flags, []);
    assert.equal(second.basis?.rateCard, "openai/gpt-4o@2024-10-01");
    assert.equal(structuredClone(second).lines.length, 2);
  });
});

describe("quotas of a reserve, read when they are looked at", () => {
  const quotas = {
    month: { scope: "tenant", resource: "llm", unit: "usd", limit: "10", period: "month" },
    mine: { scope: "user", scopeId: "u-7", resource: "llm", unit: "tokens", limit: "100000", period: "day" },
  } as const;
  const request = {
    id: "r-1",
    userId: "u-7",
    resource: "llm",
    provider: "openai",
    model: "gpt-4o",
    estimate: { inputTokens: 1000, maxOutputTokens: 100 },
    attribution: { touchpoint: '{"quotas":[' },
  } as const;

  it("are those of the answer, whatever happens afterwards", async () => {
    const now = () => Date.UTC(2026, 5, 1);
    const lazy = await createLocal({ quotas, now });
    const warned: unknown[] = [];
    // With somebody to warn, the answer is read at once.
    const eager = await createLocal({ quotas, now, onWarning: (warning: unknown) => warned.push(warning) });
    const [one, other] = [await lazy.reserve(request), await eager.reserve(request)];
    await one.settle({ usage: { input: 1000, output: 100 } });
    assert.deepEqual(Object.keys(one), Object.keys(other));
    assert.equal(JSON.stringify(one), JSON.stringify(other));
    assert.deepEqual(one.quotas, other.quotas);
    assert.equal(one.quotas.length, 2);
    assert.equal(one.quotas, one.quotas);
    assert.deepEqual({ ...one }.quotas, other.quotas);
  });

  it("are replaced by those of an extension", async () => {
    const local = await createLocal({ quotas });
    const hold: Reservation = await local.reserve(request);
    const extension = await hold.extend({ ttlSeconds: 900 });
    assert.equal(hold.quotas, extension.quotas);
  });

  it("and none where none applies", async () => {
    const local = await createLocal();
    assert.deepEqual((await local.reserve(request)).quotas, []);
  });
});

async function createLocal(options?: object): Promise<LocalTollgate> {
  const { createLocal: create } = await import("../../pkg/dist/index.js");
  return create(options);
}
