// A Worker that uses the package: the scenario in process, and a client of the Worker that LEDGER_URL names.
import * as tollgate from "tollgate";
import { createClient } from "tollgate/client";
import { run } from "./scenario.ts";

interface Environment {
  LEDGER_URL: string;
}

export default {
  async fetch(request: Request, environment: Environment): Promise<Response> {
    try {
      return await answer(new URL(request.url).pathname, environment);
    } catch (error) {
      return new Response(error instanceof Error ? (error.stack ?? error.message) : String(error), { status: 500 });
    }
  },
};

async function answer(path: string, { LEDGER_URL }: Environment): Promise<Response> {
  if (path === "/scenario") return Response.json(await run(tollgate));
  // A client for each request: one request may not wait for another's connections.
  const client = createClient({ url: LEDGER_URL, token: "token", tenant: "acme", onUnavailable: "deny" });
  const held = await Promise.all(["a", "b", "c"].map((id) => client.reserve({ id, resource: "llm", estimate: { usd: "1" } })));
  const settled = await Promise.all(held.map((hold) => hold.settle({ usd: "1" })));
  return Response.json(settled.map(({ id, state }) => [id, state]));
}
