import type { CommandResult } from "./commands.js";

/**
 * The results of a batch, when there is a well-formed one for each command. They name the quotas whose states stand once beside them; here each result gets those states, as
 * if its command had been asked alone.
 */
export function resultsOf(body: unknown, count: number): CommandResult[] | undefined {
  if (!isObject(body) || !Array.isArray(body["results"])) return undefined;
  const { results, quotas } = body as { results: unknown[]; quotas?: unknown };
  if (results.length !== count || !results.every(isResult)) return undefined;
  if (Array.isArray(quotas)) {
    const states = new Map(quotas.filter(isObject).map((state) => [state["id"], state]));
    for (const { body } of results) {
      if (!isObject(body)) continue;
      fillIn(body, states);
      if (isObject(body["denial"])) fillIn(body["denial"], states, withoutFunds);
    }
  }
  return results;
}

/** How many of a batch's last commands were not carried out, because all at once was too much. */
export function leftOut(body: unknown): number {
  const count = isObject(body) ? body["leftOut"] : undefined;
  return typeof count === "number" && Number.isInteger(count) && count > 0 ? count : 0;
}

type Members = Record<string, unknown>;

/** A quota is a name; or an object with what more is said of it here, all of it where it is of another period than the state beside the results. */
function fillIn(body: Members, states: Map<unknown, Members>, of = (state: Members) => state): void {
  const { quotas } = body;
  if (!Array.isArray(quotas)) return;
  const known: Members[] = [];
  for (const quota of quotas) {
    const said: Members = isObject(quota) ? quota : { id: quota };
    const state = states.get(said["id"]);
    // Each result has its own, to do with as its owner likes.
    if (state !== undefined) known.push({ ...of(state), ...said });
    else if ("limit" in said) known.push(said);
  }
  const { moreQuotas = 0 } = body;
  // Where even the states beside the results would have been too much.
  const missing = quotas.length - known.length;
  if (missing > 0) body["moreQuotas"] = Number(moreQuotas) + missing;
  body["quotas"] = known;
}

/** A denial says of its quotas what there is, and not of which credits and increases it is made. */
function withoutFunds({ credits, moreCredits, increases, moreIncreases, ...state }: Members): Members {
  return state;
}

function isObject(value: unknown): value is Members {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isResult(value: unknown): value is CommandResult {
  return isObject(value) && typeof value["status"] === "number" && "body" in value;
}
