// Requests that are wrong in one way each, and the field that the answer names.
import { usdQuota, usdReserve } from "./http.ts";

export function chat(more: Record<string, unknown> = {}): Record<string, unknown> {
  return { id: "new", resource: "llm", provider: "openai", model: "gpt-4o", estimate: { inputTokens: 10, maxOutputTokens: 10 }, ...more };
}

export const long = (length: number) => "x".repeat(length);
const dollar = (more: Record<string, unknown>) => usdReserve("new", "1", more);
const record = (more: Record<string, unknown>) => ({ id: "new", resource: "llm", usd: "1", ...more });
export const sandbox = (more: Record<string, unknown>) => ({
  id: "new",
  resource: "e2b",
  estimate: { sandbox: { tier: "standard", seconds: 300, vcpus: 2, memoryGib: "0.5", ...more } },
});
export const without = (body: Record<string, unknown>, key: string) => Object.fromEntries(Object.entries(body).filter(([name]) => name !== key));

export type Case = [name: string, body: unknown, field: string | undefined];

/** What any body with ids and attribution can get wrong. */
function common(body: (more: Record<string, unknown>) => Record<string, unknown>): Case[] {
  return [
    ["an unknown field", body({ touchpoint: "main-chat" }), "touchpoint"],
    ["an id that is missing", without(body({}), "id"), "id"],
    ["an id that is empty", body({ id: "" }), "id"],
    ["an id that is too long", body({ id: long(129) }), "id"],
    ["an id that is a number", body({ id: 7 }), "id"],
    ["an id that is null", body({ id: null }), "id"],
    ["an id with a slash", body({ id: "a/b" }), "id"],
    ["an id with a space", body({ id: "a b" }), "id"],
    ["an id with a control character", body({ id: "a\u0000b" }), "id"],
    ["an id beyond ASCII", body({ id: "é" }), "id"],
    ["a user id that is too long", body({ userId: long(129) }), "userId"],
    ["a user id that is empty", body({ userId: "" }), "userId"],
    ["a resource that is missing", without(body({}), "resource"), "resource"],
    ["an unknown resource", body({ resource: "gpu" }), "resource"],
    ["resource all", body({ resource: "all" }), "resource"],
    ["a provider that is too long", body({ provider: long(129) }), "provider"],
    ["a model that is too long", body({ model: long(129) }), "model"],
    ["a model that is empty", body({ model: "" }), "model"],
    ["attribution that is a string", body({ attribution: "main-chat" }), "attribution"],
    ["an unknown attribution", body({ attribution: { touchPoint: "x" } }), "attribution.touchPoint"],
    ["a touchpoint that is too long", body({ attribution: { touchpoint: long(129) } }), "attribution.touchpoint"],
    ["a touchpoint that is empty", body({ attribution: { touchpoint: "" } }), "attribution.touchpoint"],
    ["a conversation that is too long", body({ attribution: { conversationId: long(129) } }), "attribution.conversationId"],
    ["17 tags", body({ attribution: { tags: Object.fromEntries(Array.from({ length: 17 }, (_, i) => [`t${i}`, "v"])) } }), "attribution.tags"],
    ["a tag's name that is too long", body({ attribution: { tags: { [long(65)]: "v" } } }), "attribution.tags"],
    ["a tag's value that is too long", body({ attribution: { tags: { t: long(257) } } }), "attribution.tags"],
    ["a tag that is a number", body({ attribution: { tags: { t: 1 } } }), "attribution.tags.t"],
  ];
}

const money = (field: string, body: (usd: unknown) => unknown): Case[] => [
  ["money as a number", body(1), field],
  ["money as a number with decimals", body(1.5), field],
  ["negative money", body("-1"), field],
  ["money with 13 decimals", body("0.0000000000001"), field],
  ["more money than there is", body("1000000000.000000000001"), field],
  ["huge money", body("9".repeat(200)), field],
  ["money with an exponent", body("1e3"), field],
  ["money with a plus", body("+1"), field],
  ["money in words", body("one"), field],
  ["money with a currency", body("$1"), field],
  ["money with a comma", body("1,5"), field],
  ["money with spaces", body(" 1"), field],
  ["money that is empty", body(""), field],
  // Null is as if it were left out.
  ["money that is null", body(null), undefined],
  ["money in a list", body(["1"]), field],
];

const whole = (field: string, body: (value: unknown) => unknown): Case[] => [
  [`${field} negative`, body(-1), field],
  [`${field} with decimals`, body(1.5), field],
  [`${field} as a string`, body("10"), field],
  [`${field} beyond 2^64`, body(1e300), field],
];

/** For a reserve; the same in explain, but that the id may be left out there. */
export const RESERVE_CASES: Case[] = [
  ...common(dollar),
  ...money("estimate.usd", (usd) => dollar({ estimate: { usd } })),
  ...whole("estimate.inputTokens", (value) => chat({ estimate: { inputTokens: value, maxOutputTokens: 1 } })),
  ...whole("estimate.maxOutputTokens", (value) => chat({ estimate: { inputTokens: 1, maxOutputTokens: value } })),
  ...whole("estimate.inputBytes", (value) => chat({ estimate: { inputBytes: value, maxOutputTokens: 1 } })),
  ...whole("ttlSeconds", (value) => dollar({ ttlSeconds: value })),
  ["a time to live of 0", dollar({ ttlSeconds: 0 }), "ttlSeconds"],
  ["a time to live of more than a day", dollar({ ttlSeconds: 86_401 }), "ttlSeconds"],
  ["an estimate that is missing", without(dollar({}), "estimate"), "estimate"],
  ["an estimate that is empty", dollar({ estimate: {} }), "estimate"],
  ["an estimate that is a string", dollar({ estimate: "1" }), "estimate"],
  ["two estimates in one", chat({ estimate: { usd: "1", inputTokens: 1, maxOutputTokens: 1 } }), "estimate"],
  ["tokens and bytes", chat({ estimate: { inputTokens: 1, inputBytes: 1, maxOutputTokens: 1 } }), "estimate"],
  ["an estimate without its output", chat({ estimate: { inputTokens: 1 } }), "estimate.maxOutputTokens"],
  ["an unknown estimate", chat({ estimate: { tokens: 1 } }), "estimate.tokens"],
  ["tokens without a provider", without(chat(), "provider"), "provider"],
  ["tokens without a model", without(chat(), "model"), "model"],
  ["an unknown mode", chat({ mode: "express" }), "mode"],
  ["a region that is too long", chat({ region: long(129) }), "region"],
  ["an unknown expiry", dollar({ onExpiry: "forget" }), "onExpiry"],
  ["a sandbox for an llm", { ...sandbox({}), resource: "llm" }, "resource"],
  ["a sandbox of negative seconds", sandbox({ seconds: -1 }), "estimate.sandbox.seconds"],
  ["a sandbox of negative memory", sandbox({ memoryGib: "-1" }), "estimate.sandbox.memoryGib"],
  ["a sandbox with something unknown", sandbox({ disk: 1 }), "estimate.sandbox.disk"],
  ["a sandbox without a tier", { id: "new", resource: "e2b", estimate: { sandbox: { seconds: 1, vcpus: 1, memoryGib: "1" } } }, "estimate.sandbox.tier"],
];

/** For a settle of a chat. */
export const SETTLE_CASES: Case[] = [
  ...money("usd", (usd) => ({ usd })),
  ["nothing", {}, undefined],
  ["two actuals in one", { usd: "1", usage: { input: 1 } }, undefined],
  ["an unknown field", { usd: "1", note: "x" }, "note"],
  ["usage that is a list", { usage: [] }, "usage"],
  ["an unknown meter", { usage: { inputs: 1 } }, "usage.inputs"],
  ["a negative quantity", { usage: { input: -1 } }, "usage.input"],
  ["a fraction of a token", { usage: { input: 1.5 } }, "usage.input"],
  ["an unknown format", { payload: { format: "openai.images", body: {} } }, "payload.format"],
  ["a payload without a body", { payload: { format: "openai.chat" } }, "payload.body"],
  ["a payload with something unknown", { payload: { format: "openai.chat", body: {}, model: "x" } }, "payload.model"],
];

export const EXTEND_CASES: Case[] = [
  ["no id", { ttlSeconds: 60 }, "id"],
  ["an unknown field", { id: "e", ttl: 60 }, "ttl"],
  ["a time to live of 0", { id: "e", ttlSeconds: 0 }, "ttlSeconds"],
  ["a time to live of more than a day", { id: "e", ttlSeconds: 86_401 }, "ttlSeconds"],
  ["another kind of estimate", { id: "e", estimate: { sandbox: { tier: "standard", seconds: 1, vcpus: 1, memoryGib: "1" } } }, undefined],
  ...money("estimate.usd", (usd) => ({ id: "e", estimate: { usd } })),
];

export const RECORD_CASES: Case[] = [
  ...common(record),
  ...money("usd", (usd) => record({ usd })),
  ["an unknown mode", record({ mode: "sometimes" }), "mode"],
  ["usage without a model", { id: "new", resource: "llm", provider: "openai", usage: { input: 1 } }, "model"],
  ["usage without a provider", { id: "new", resource: "llm", model: "gpt-4o", usage: { input: 1 } }, "provider"],
  ["a negative quantity", { id: "new", resource: "llm", provider: "openai", model: "gpt-4o", usage: { output: -1 } }, "usage.output"],
  ["a sandbox without its size", { id: "new", resource: "e2b", sandbox: { tier: "standard", seconds: 1 } }, "sandbox.vcpus"],
];

export const QUOTA_CASES: Case[] = [
  ...money("limit", (limit) => usdQuota("1", { limit })),
  ["an unknown field", usdQuota("1", { limits: "1" }), "limits"],
  ["an unknown scope", usdQuota("1", { scope: "team" }), "scope"],
  ["a user without an id", usdQuota("1", { scope: "user" }), "scopeId"],
  ["a tenant with an id", usdQuota("1", { scopeId: "u-7" }), "scopeId"],
  ["an unknown resource", usdQuota("1", { resource: "gpu" }), "resource"],
  ["an unknown unit", usdQuota("1", { unit: "eur" }), "unit"],
  ["an unknown period", usdQuota("1", { period: "fortnight" }), "period"],
  ["no limit", without(usdQuota("1"), "limit"), "limit"],
  ["a threshold of 0", usdQuota("1", { warnAt: ["0"] }), "warnAt"],
  ["a threshold above 1", usdQuota("1", { warnAt: ["0.5", "1.01"] }), "warnAt"],
  ["a threshold as a number", usdQuota("1", { warnAt: [0.8] }), "warnAt[0]"],
];
