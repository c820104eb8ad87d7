// The types, as a user meets them. Nothing of this runs: it compiles, or the lines marked so do not.
import {
  createClient,
  createLocal,
  QuotaExceededError,
  TollgateError,
  type Actual,
  type Charge,
  type ErrorCode,
  type Estimate,
  type Hold,
  type LocalTollgate,
  type RecordRequest,
  type Reservation,
  type ReserveRequest,
  type Settlement,
  type Tollgate,
} from "tollgate";

type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
const same = <T extends true>(value?: T) => value;

export async function types(): Promise<void> {
  const client = createClient({ url: "https://tollgate.example.com", token: "t", tenant: "acme", onUnavailable: "deny" });
  const local = createLocal();
  same<Equal<typeof client, Tollgate>>();
  same<Equal<typeof local, LocalTollgate>>();
  // One interface, two homes.
  const either: Tollgate = local;

  // @ts-expect-error what happens in an outage has no default
  createClient({ url: "u", token: "t", tenant: "acme" });
  // @ts-expect-error and only two answers
  createClient({ url: "u", token: "t", tenant: "acme", onUnavailable: "maybe" });

  const request: ReserveRequest = { resource: "llm", estimate: { usd: "1" } };
  // @ts-expect-error money is a string
  request.estimate = { usd: 1 };
  // @ts-expect-error tokens need their output bound
  request.estimate = { inputTokens: 1 };
  // @ts-expect-error memory is a decimal string
  request.estimate = { sandbox: { tier: "standard", vcpus: 2, memoryGib: 0.5, seconds: 1 } };
  // @ts-expect-error no such resource
  request.resource = "gpu";
  // @ts-expect-error a typing error is not ignored
  await either.reserve({ resource: "llm", estimate: { usd: "1" }, touchpoint: "main-chat" });
  const estimates: Estimate[] = [{ inputTokens: 1, maxOutputTokens: 1 }, { inputBytes: 1, maxOutputTokens: 1 }, { usd: "1" }];

  const reservation = await either.reserve(request);
  same<Equal<typeof reservation, Reservation>>();
  same<Equal<typeof reservation.state, "held">>();
  same<Equal<typeof reservation.held.usd, string>>();
  const settlement = await reservation.settle({ usage: { input: 1, cache_read: 2, output: 3 } });
  same<Equal<typeof settlement, Settlement>>();
  same<Equal<typeof settlement.charge, Charge>>();
  // @ts-expect-error no such meter
  await reservation.settle({ usage: { inputs: 1 } });
  // @ts-expect-error nothing was used
  const none: Actual = {};
  // @ts-expect-error a recorded sandbox needs its size
  const record: RecordRequest = { resource: "e2b", sandbox: { seconds: 1 } };
  // @ts-expect-error a setting that only the in-process ledger has
  await either.setQuota("q", {});

  const text = await either.withReservation(request, async (hold) => {
    same<Equal<typeof hold, Hold>>();
    return "text";
  });
  same<Equal<typeof text, string>>();
  const count = await either.withReservation(request, () => 1, { onError: "charge_hold" });
  same<Equal<typeof count, number>>();

  try {
    await either.reserve(request);
  } catch (error) {
    if (error instanceof QuotaExceededError) {
      same<Equal<typeof error.retryAfterSeconds, number | undefined>>();
      const response: Response = error.toResponse();
      void response;
    } else if (error instanceof TollgateError) {
      same<Equal<typeof error.code, ErrorCode>>();
    }
  }
  void [estimates, none, record];
}
