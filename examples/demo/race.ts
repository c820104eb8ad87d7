/** The same requests at the same moment, once checked and recorded in separate steps, once with reservations. */
import { createClient, QuotaExceededError, type QuotaState, type Tollgate } from "tollgate";
import type { Provider } from "./provider.ts";

export interface Race {
  /** How many requests come at once. */
  requests: number;
  /** What each of them costs, known beforehand. */
  cost: string;
}

export interface Outcome {
  passed: number;
  denied: number;
  /** The quota after the last request. */
  quota: QuotaState;
}

export interface Course {
  url: string;
  token: string;
  tenant: string;
  quota: string;
  provider: Provider;
}

/**
 * As the audited app does it: check the quota, make the call, record the cost. Every step is right by itself. All
 * checks happen before the first call is over, as they do whenever a call takes longer than a check.
 */
export async function checkThenRecord(course: Course, race: Race): Promise<Outcome> {
  course.provider.gather(race.requests);
  return await run(course, race, async (tollgate) => {
    const before = await quotaOf(tollgate, course.quota);
    // In floats, as that app counts.
    if (Number(before.remaining) < Number(race.cost)) return false;
    await callModel(course.provider.url);
    await tollgate.record({ mode: "always", resource: "llm", usd: race.cost });
    return true;
  });
}

/** With a reservation around the call. `expected` of them will get as far as the call. */
export async function reserveThenSettle(course: Course, race: Race, expected: number): Promise<Outcome> {
  course.provider.gather(expected);
  return await run(course, race, async (tollgate) => {
    try {
      await tollgate.withReservation({ resource: "llm", estimate: { usd: race.cost } }, async (hold) => {
        await callModel(course.provider.url);
        await hold.settle({ usd: race.cost });
      });
      return true;
    } catch (error) {
      if (error instanceof QuotaExceededError) return false;
      throw error;
    }
  });
}

/** Every request has a client of its own, as if each came through another server of the app: nothing travels together. */
async function run(course: Course, race: Race, request: (tollgate: Tollgate) => Promise<boolean>): Promise<Outcome> {
  const { url, token, tenant } = course;
  const client = () => createClient({ url, token, tenant, onUnavailable: "deny", timeoutMs: 10_000 });
  const passes = await Promise.all(Array.from({ length: race.requests }, () => request(client())));
  const passed = passes.filter(Boolean).length;
  return { passed, denied: race.requests - passed, quota: await quotaOf(client(), course.quota) };
}

async function quotaOf(tollgate: Tollgate, id: string): Promise<QuotaState> {
  const quota = (await tollgate.quotas()).find((quota) => quota.id === id);
  if (quota === undefined) throw new Error(`the tenant has no quota \`${id}\``);
  return quota;
}

async function callModel(provider: string): Promise<void> {
  const answer = await fetch(`${provider}/openai/v1/chat/completions`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ model: "llama-3.3-70b-versatile", messages: [{ role: "user", content: "Which rules apply?" }] }),
  });
  if (!answer.ok) throw new Error(`the model answered ${answer.status}: ${await answer.text()}`);
  await answer.arrayBuffer();
}
