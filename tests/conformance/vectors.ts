import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import type { Command } from "./homes.ts";

/** Every case of a kind, with the file that it is in. */
export function casesOf<T>(kind: string): { file: string; cases: T[] }[] {
  const folder = new URL(`${kind}/`, import.meta.url);
  const files = readdirSync(folder).filter((name) => name.endsWith(".json"));
  assert.ok(files.length > 0, `no vectors in ${folder.pathname}`);
  return files.sort().map((file) => {
    const { cases }: { cases: T[] } = JSON.parse(readFileSync(new URL(file, folder), "utf8"));
    assert.ok(Array.isArray(cases) && cases.length > 0, `${file} has no cases`);
    return { file, cases };
  });
}

export interface PriceCase {
  name: string;
  request: unknown;
  expect: { usd: string; rateCard: string } | { error: string };
}

export type ExtractCase = {
  name: string;
  format: string;
  expect: { usage: Record<string, number>; complete: boolean } | { error: string; field: string };
} & ({ body: unknown } | { bodyFile: string } | { sseFile: string });

export interface LedgerCase {
  name: string;
  /** Quotas and rules of the tenant, as in the policy document. */
  plan: unknown;
  steps: { now: string; command: Command; expect: { status: number; body?: unknown } }[];
}

/** The provider's answer that a case is about. */
export function bodyOf(vector: ExtractCase): unknown {
  const fixture = (path: string) => readFileSync(new URL(`../fixtures/providers/${path}`, import.meta.url), "utf8");
  if ("bodyFile" in vector) return JSON.parse(fixture(vector.bodyFile));
  if ("sseFile" in vector) return eventsOf(fixture(vector.sseFile));
  return vector.body;
}

/** The payloads of an event stream, as the HTML standard reads one. */
function eventsOf(stream: string): unknown[] {
  const events: unknown[] = [];
  let data: string[] = [];
  for (const line of stream.split(/\r?\n/)) {
    if (line.startsWith("data:")) {
      data.push(line.slice(5).replace(/^ /, ""));
    } else if (line === "" && data.length > 0) {
      const text = data.join("\n");
      data = [];
      if (text !== "[DONE]") events.push(JSON.parse(text));
    }
  }
  return events;
}
