// At the top of a module and without its variables, as in an app whose build has no secrets.
import { createLocal } from "tollgate";
import { createClient, TollgateError } from "tollgate/client";

const client = createClient({ url: process.env.NO_SUCH_URL, token: process.env.NO_SUCH_TOKEN, tenant: "acme", onUnavailable: "deny" });

/** What fits is held and what does not is denied, in process; and what the client says of its options. */
export async function decide() {
  const local = createLocal({ quotas: { month: { scope: "tenant", resource: "all", unit: "usd", limit: "1", period: "month" } } });
  const dollar = (id) => local.reserve({ id, resource: "llm", estimate: { usd: "1" } });
  const held = await dollar("a");
  const denied = await dollar("b").catch((error) => error);
  const refused = await client.quotas().catch((error) => error);
  const price = await local.price({ provider: "openai", model: "gpt-4o", usage: { input: 1000 }, at: "2026-11-24T00:00:00Z" });
  return {
    runtime: process.env.NEXT_RUNTIME,
    held: held.state,
    denied: denied.code,
    // The classes of `tollgate/client` know what `tollgate` throws.
    isOurs: denied instanceof TollgateError,
    refused: refused.field,
    price: price.usd,
  };
}
