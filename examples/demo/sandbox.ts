/** One sandbox's life: held when it is created, held longer when it is kept, settled by how long it ran. */
import type { Tollgate } from "tollgate";
import type { Settled } from "./touchpoints.ts";

export const SANDBOX_TOUCHPOINT = "sandbox";

export interface SandboxLife extends Settled {
  /** Held after the extension. */
  heldAfter: string;
  seconds: number;
}

export async function liveSandbox(tollgate: Tollgate, apiUrl: string): Promise<SandboxLife> {
  const size = { tier: "standard", vcpus: 2, memoryGib: "0.5" };
  const request = {
    resource: "e2b",
    estimate: { sandbox: { ...size, seconds: 300 } },
    userId: "u-7",
    attribution: { touchpoint: SANDBOX_TOUCHPOINT },
  } as const;
  // A sandbox that was created costs money even if what follows fails.
  const options = { onError: "charge_hold" } as const;
  return await tollgate.withReservation(
    request,
    async (hold) => {
      const held = hold.held.usd;
      const { sandboxID } = (await api(apiUrl, "POST", "/sandboxes", { templateID: "base", timeout: 300 })) as { sandboxID: string };
      const path = `/sandboxes/${sandboxID}`;

      await hold.extend({ ttlSeconds: 900, estimate: { sandbox: { ...size, seconds: 600 } } });
      const heldAfter = hold.held.usd;
      await api(apiUrl, "POST", `${path}/timeout`, { timeout: 600 });

      const { startedAt, endAt } = (await api(apiUrl, "GET", path)) as { startedAt: string; endAt: string };
      await api(apiUrl, "DELETE", path);
      const seconds = (Date.parse(endAt) - Date.parse(startedAt)) / 1000;
      const settlement = await hold.settle({ sandbox: { seconds } });
      return { touchpoint: SANDBOX_TOUCHPOINT, held, heldAfter, seconds, settlement };
    },
    options,
  );
}

async function api(url: string, method: string, path: string, body?: unknown): Promise<unknown> {
  const answer = await fetch(url + path, {
    method,
    headers: { "Content-Type": "application/json" },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  const text = await answer.text();
  if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${text}`);
  return text === "" ? undefined : JSON.parse(text);
}
