/** The demo: the audit's race lost and won, eight touchpoints and a sandbox metered, and the bill checked to the last digit. */
import { createClient, type QuotaState, type Tollgate, type UsageReport } from "tollgate";
import { Admin } from "./admin.ts";
import { startProvider, type Provider } from "./provider.ts";
import { checkThenRecord, reserveThenSettle, type Outcome, type Race } from "./race.ts";
import { aside, check, heading, line, table, verdict } from "./report.ts";
import { liveSandbox, SANDBOX_TOUCHPOINT } from "./sandbox.ts";
import { callModel, modelCalls, type Settled } from "./touchpoints.ts";
import { parseUsd, showUsd, sumUsd } from "./usd.ts";

const url = process.env["TOLLGATE_URL"];
const adminToken = process.env["TOLLGATE_ADMIN_TOKEN"];

if (url === undefined || adminToken === undefined) {
  console.error("TOLLGATE_URL and TOLLGATE_ADMIN_TOKEN are not set. `cargo xtask demo` starts a Worker and sets them.");
  process.exitCode = 2;
} else {
  const provider = await startProvider();
  try {
    process.exitCode = await demo(url, adminToken, provider);
  } catch (error) {
    console.error(error);
    process.exitCode = 1;
  } finally {
    await provider.close();
  }
}

/** The exit code. */
async function demo(url: string, adminToken: string, provider: Provider): Promise<number> {
  const started = performance.now();
  const admin = new Admin(url, adminToken);
  const { version, catalog } = await admin.health();
  line(`Tollgate ${version} at ${url}, prices of ${catalog}`);
  const token = await admin.serviceToken();
  // Tenants of this run alone, so that a Worker that remembers earlier runs does no harm.
  const run = Date.now().toString(36);
  const setting = { url, token, admin, provider, run };

  await races(setting);
  await bill(setting);
  aside(`${((performance.now() - started) / 1000).toFixed(1)} s`);
  return verdict();
}

interface Setting {
  url: string;
  token: string;
  admin: Admin;
  provider: Provider;
  run: string;
}

async function races(setting: Setting): Promise<void> {
  const two = { requests: 2, cost: "45", budget: "50", fit: 1 };
  const fifty = { requests: 50, cost: "1", budget: "10", fit: 10 };

  heading("1  The race, lost: check, call, record");
  for (const race of [two, fifty]) {
    const { passed, quota } = await lost(setting, race);
    const all = parseUsd(race.cost) * BigInt(race.requests);
    const over = showUsd(parseUsd(quota.spent) - parseUsd(quota.limit));
    line(`${describe(race)}: ${passed} pass, ${showUsd(quota.spent)} spent, ${over} too much.`);
    check(`all ${race.requests} pass and the tenant ends at ${showUsd(all)}`, passed === race.requests && parseUsd(quota.spent) === all);
  }

  heading("2  The race, won: reserve, call, settle");
  for (const race of [two, fifty]) {
    const { passed, denied, quota } = await won(setting, race);
    const fit = parseUsd(race.cost) * BigInt(race.fit);
    line(`${describe(race)}: ${passed} admitted, ${denied} denied, ${showUsd(quota.spent)} spent, ${showUsd(quota.remaining)} left.`);
    check(`exactly ${race.fit} of ${race.requests} admitted, none too many`, passed === race.fit && denied === race.requests - race.fit);
    check(`exactly ${showUsd(fit)} is spent, nothing is left held`, parseUsd(quota.spent) === fit && parseUsd(quota.held) === 0n);
  }
}

type BudgetRace = Race & { budget: string; fit: number };

function describe(race: BudgetRace): string {
  return `${race.requests} × ${showUsd(race.cost)} at once on a budget of ${showUsd(race.budget)}`;
}

async function lost(setting: Setting, race: BudgetRace): Promise<Outcome> {
  return await checkThenRecord(await course(setting, race, "check"), race);
}

async function won(setting: Setting, race: BudgetRace): Promise<Outcome> {
  return await reserveThenSettle(await course(setting, race, "reserve"), race, race.fit);
}

/** A fresh tenant with the race's budget. */
async function course({ admin, url, token, provider, run }: Setting, race: BudgetRace, name: string) {
  const tenant = `demo-${name}-${race.requests}-${run}`;
  const quota = "race-budget";
  await admin.onboard(tenant);
  await admin.setQuota(tenant, quota, { scope: "tenant", resource: "llm", unit: "usd", limit: race.budget, period: "lifetime" });
  return { url, token, tenant, quota, provider };
}

async function bill({ admin, url, token, provider, run }: Setting): Promise<void> {
  const tenant = `demo-app-${run}`;
  await admin.onboard(tenant);
  await admin.setQuota(tenant, "demo-llm", { scope: "tenant", resource: "llm", unit: "usd", limit: "5", period: "lifetime" });
  await admin.setQuota(tenant, "demo-e2b", { scope: "tenant", resource: "e2b", unit: "usd", limit: "5", period: "lifetime" });
  await admin.setQuota(tenant, "u-7-all", { scope: "user", scopeId: "u-7", resource: "all", unit: "usd", limit: "5", period: "lifetime" });
  const tollgate = createClient({ url, token, tenant, onUnavailable: "deny" });

  heading("3  Eight touchpoints and a sandbox, each call held before and settled after");
  const answeredBefore = provider.calls();
  const settled = await Promise.all(modelCalls.map((call) => callModel(tollgate, provider.url, call)));
  showCalls(settled);
  check(`${modelCalls.length} model calls were made`, provider.calls() - answeredBefore === modelCalls.length);
  const touchpoints = new Set(modelCalls.map((call) => call.touchpoint));
  check("all eight touchpoints spent", touchpoints.size === 8 && settled.every((call) => parseUsd(call.settlement.charge.usd) > 0n));
  check(
    "no call cost more than was held for it",
    settled.every((call) => parseUsd(call.settlement.overrun) === 0n && parseUsd(call.settlement.charge.usd) <= parseUsd(call.held)),
  );

  const first = settled[0];
  if (first !== undefined) showLines(first);

  const life = await liveSandbox(tollgate, provider.url);
  const { charge } = life.settlement;
  line(
    `sandbox: ${showUsd(life.held)} held for 5 minutes, ${showUsd(life.heldAfter)} for 10, ran ${life.seconds} s, cost ${showUsd(charge.usd)}`,
  );
  check("the extension held more, the settlement gave the rest back", sandboxAddsUp(life));

  heading("4  The bill, from the Worker's usage endpoint");
  await checkBill(tollgate, [...settled, life]);
}

function showCalls(settled: readonly Settled[]): void {
  table(
    [{ title: "touchpoint" }, { title: "API" }, { title: "model" }, { title: "held", right: true }, { title: "cost", right: true }],
    settled.map(({ touchpoint, held, settlement }, at) => {
      const call = modelCalls[at];
      const api = call === undefined ? "" : `${call.format}${call.streamed ? ", streamed" : ""}`;
      return [touchpoint, api, call?.model ?? "", showUsd(held), showUsd(settlement.charge.usd)];
    }),
  );
}

/** How one answer became its charge: no token in two lines. */
function showLines({ touchpoint, settlement }: Settled): void {
  const { lines, usd, basis } = settlement.charge;
  line(`${touchpoint}'s first answer, at ${basis?.rateCard ?? "no rate card"}:`);
  for (const { meter, quantity, unitPrice, usd } of lines) aside(`${meter} ${quantity} × $${unitPrice} = ${showUsd(usd)}`);
  const sum = sumUsd(lines.map((line) => line.usd));
  check(`its lines add up to ${showUsd(usd)}`, sum === parseUsd(usd) && lines.length > 1, `they add up to ${showUsd(sum)}`);
}

function sandboxAddsUp(life: Awaited<ReturnType<typeof liveSandbox>>): boolean {
  const { charge, released } = life.settlement;
  return (
    parseUsd(life.heldAfter) === 2n * parseUsd(life.held) &&
    parseUsd(charge.usd) > 0n &&
    parseUsd(charge.usd) + parseUsd(released) === parseUsd(life.heldAfter)
  );
}

async function checkBill(tollgate: Tollgate, settled: readonly Settled[]): Promise<void> {
  const report = await tollgate.usage({ groupBy: ["touchpoint"] });
  showBill(report);

  const expected = new Map<string, Settled[]>();
  for (const call of settled) expected.set(call.touchpoint, [...(expected.get(call.touchpoint) ?? []), call]);
  check("the report has every touchpoint and nothing else", report.groups.length === expected.size);
  for (const [touchpoint, calls] of expected) {
    const group = report.groups.find((group) => group.touchpoint === touchpoint);
    const sum = sumUsd(calls.map((call) => call.settlement.charge.usd));
    check(
      `${touchpoint}: ${showUsd(sum)} in ${calls.length === 1 ? "1 call" : `${calls.length} calls`}`,
      group !== undefined && parseUsd(group.usd) === sum && group.calls === calls.length,
      group === undefined ? "not in the report" : `${showUsd(group.usd)} in ${group.calls} in the report`,
    );
  }

  const all = sumUsd(settled.map((call) => call.settlement.charge.usd));
  const sandbox = sumUsd(settled.filter((call) => call.touchpoint === SANDBOX_TOUCHPOINT).map((call) => call.settlement.charge.usd));
  check(`the total is the sum of the settlements, ${showUsd(all)}`, parseUsd(report.total.usd) === all, showUsd(report.total.usd));

  const quotas = await tollgate.quotas();
  checkQuota(quotas, "demo-llm", all - sandbox);
  checkQuota(quotas, "demo-e2b", sandbox);
  checkQuota(quotas, "u-7-all", all);
}

function showBill(report: UsageReport): void {
  const row = (name: string, sums: UsageReport["total"]) => [
    name,
    String(sums.calls),
    String(sums.inputTokens),
    String(sums.outputTokens),
    showUsd(sums.usd),
  ];
  table(
    [
      { title: "touchpoint" },
      { title: "calls", right: true },
      { title: "tokens in", right: true },
      { title: "tokens out", right: true },
      { title: "cost", right: true },
    ],
    report.groups.map((group) => row(group.touchpoint ?? "(none)", group)),
    row("total", report.total),
  );
}

function checkQuota(quotas: readonly QuotaState[], id: string, spent: bigint): void {
  const quota = quotas.find((quota) => quota.id === id);
  check(
    `quota \`${id}\` has ${showUsd(spent)} spent and nothing held`,
    quota !== undefined && parseUsd(quota.spent) === spent && parseUsd(quota.held) === 0n,
    quota === undefined ? "no such quota" : `${showUsd(quota.spent)} spent, ${showUsd(quota.held)} held`,
  );
}
