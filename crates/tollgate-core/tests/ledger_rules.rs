//! One test per rule of the ledger. Where others' users were hurt by the lack of a rule, the test names their complaint.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

mod support;

use serde_json::{Value, json};
use support::{
    Desk, Local, OPENING, at, record, release, reserve, reserve_tokens, settle, tenant_quota, user_quota, with,
};
use tollgate_core::api::{Request, parse_command};
use tollgate_core::catalog::Catalog;
use tollgate_core::ledger::{Command, Event, Ledger, Onboard, Rejection};
use tollgate_core::money::Usd;
use tollgate_core::usage_report::contribution;

const GPT_4O: (&str, &str) = ("openai", "gpt-4o");

// What fits.

#[test]
fn exactly_at_the_limit_passes() {
    let mut desk = Desk::with_monthly_limit("50");
    desk.expect(reserve("a", "50"), 201, json!({ "state": "held", "held": { "usd": "50" } }));
    desk.ask(reserve("b", "0.000000000001")).expect_denial("month");
    desk.expect(settle("a", "50"), 200, json!({ "overrun": "0", "released": "0" }));
    desk.ask(reserve("c", "0.000000000001")).expect_denial("month");
}

/// The first user's audit: two requests of 45 USD pass a limit of 50 and the tenant ends at 90. LiteLLM #34732: concurrent
/// requests bypass the budget before spend is recorded.
#[test]
fn the_second_45_of_50_is_denied() {
    let mut desk = Desk::with_monthly_limit("50");
    desk.ask(reserve("first", "45")).expect(201, json!({ "state": "held" }));
    let denial = desk.ask(reserve("second", "45"));
    denial.expect(
        429,
        json!({
            "type": "urn:tollgate:problem:quota_exceeded", "status": 429, "code": "quota_exceeded",
            "denial": { "quota": "month", "scope": "tenant", "resource": "llm", "unit": "usd", "limit": "50", "spent": "0", "held": "45",
                "remaining": "5", "requested": "45", "periodEnd": "2026-12-01T00:00:00.000Z", "retryAfterSeconds": 561_600,
                "affordable": { "usd": "5" }, "quotas": [{ "id": "month", "remaining": "5" }] },
        }),
    );
    assert_eq!(denial.header("Retry-After"), Some("561600"));
    assert_eq!(denial.header("RateLimit"), Some(r#""month";r=5000000;t=561600"#));
    desk.expect(settle("first", "45"), 200, json!({ "state": "settled" }));
    assert_eq!(desk.spent_and_held("month"), "45/0");
}

/// The audit's test of 50 concurrent requests.
#[test]
fn of_fifty_times_one_dollar_ten_fit_ten_dollars() {
    let mut desk = Desk::with_monthly_limit("10");
    let passed = (0..50).filter(|n| desk.ask(reserve(&format!("r-{n}"), "1")).status == 201).count();
    assert_eq!(passed, 10);
    assert_eq!(desk.spent_and_held("month"), "0/10");
}

/// LiteLLM, Autumn and others count money in floats: ten times 0.1 is not 1 there.
#[test]
fn money_adds_up_exactly() {
    let mut desk = Desk::with_monthly_limit("1");
    for n in 0..10 {
        desk.ask(reserve(&format!("r-{n}"), "0.1")).expect(201, json!({}));
    }
    desk.ask(reserve("r-10", "0.1")).expect_denial("month");
    for n in 0..10 {
        desk.ask(settle(&format!("r-{n}"), "0.1")).expect(200, json!({}));
    }
    assert_eq!(desk.spent_and_held("month"), "1/0");
}

#[test]
fn a_limit_of_zero_lets_nothing_through() {
    let mut desk = Desk::with_monthly_limit("0");
    desk.ask(reserve("a", "0.000000000001")).expect_denial("month");
    assert_eq!(desk.quota("month")["utilization"], Value::Null);
    desk.ask(reserve("free", "0")).expect(201, json!({ "held": { "usd": "0" } }));
}

/// Otari checks its ceilings one by one, each with a commit of its own, and compensates when a later one denies.
#[test]
fn all_quotas_pass_or_none_holds_anything() {
    let mut desk = Desk::open(json!({ "quotas": {
        "all": tenant_quota("all", "100", "month"),
        "llm": tenant_quota("llm", "100", "day"),
        "u-1": user_quota("u-1", "all", "5", "day"),
        "u-2": user_quota("u-2", "llm", "50", "day"),
    } }));
    let by = |id: &str, usd: &str, user: &str| with(reserve(id, usd), json!({ "userId": user }));
    desk.ask(by("a", "5.01", "u-1")).expect_denial("u-1");
    for quota in ["all", "llm", "u-1", "u-2"] {
        assert_eq!(desk.spent_and_held(quota), "0/0", "{quota}");
    }
    let held = desk.expect(by("b", "5", "u-1"), 201, json!({}));
    let mut counted: Vec<_> = held["quotas"].as_array().unwrap().iter().map(|quota| &quota["id"]).collect();
    counted.sort_by_key(|id| id.to_string());
    assert_eq!(counted, ["all", "llm", "u-1"]);
    desk.ask(by("c", "50", "u-2")).expect(201, json!({}));
    // The tenant's quotas bind every user, also one without a quota.
    desk.ask(by("d", "45.01", "u-3")).expect_denial("all");
    desk.ask(by("e", "45", "u-3")).expect(201, json!({}));
    assert_eq!(desk.spent_and_held("all"), "0/100");
    assert_eq!(desk.spent_and_held("llm"), "0/100");
    assert_eq!(desk.spent_and_held("u-2"), "0/50");
}

/// A user's quota is that user's alone, and a sandbox does not draw on the budget for language models.
#[test]
fn a_quota_counts_what_it_covers_and_nothing_else() {
    let mut desk = Desk::open(json!({ "quotas": {
        "llm": tenant_quota("llm", "10", "month"),
        "e2b": tenant_quota("e2b", "10", "month"),
        "u-1": user_quota("u-1", "all", "10", "month"),
    } }));
    desk.expect(with(reserve("a", "1"), json!({ "resource": "e2b", "userId": "u-1" })), 201, json!({}));
    desk.expect(with(reserve("b", "2"), json!({ "userId": "u-2" })), 201, json!({}));
    desk.expect(reserve("c", "3"), 201, json!({}));
    assert_eq!(desk.spent_and_held("e2b"), "0/1");
    assert_eq!(desk.spent_and_held("llm"), "0/5");
    assert_eq!(desk.spent_and_held("u-1"), "0/1");
}

/// Of the quotas that do not fit, waiting for an earlier one is no use.
#[test]
fn the_quota_that_resets_last_binds() {
    let quotas = json!({ "quotas": {
        "hour": tenant_quota("llm", "1", "hour"),
        "month": tenant_quota("llm", "2", "month"),
        "day": tenant_quota("llm", "1", "day"),
    } });
    let mut desk = Desk::open(quotas);
    desk.ask(reserve("a", "1")).expect(201, json!({}));
    let denial = desk.ask(reserve("b", "1"));
    denial.expect_denial("day");
    denial.expect(
        429,
        json!({ "denial": { "retryAfterSeconds": 43_200, "quotas": [{ "id": "day" }, { "id": "hour" }] } }),
    );
    assert_eq!(denial.header("Retry-After"), Some("43200"));
    let denial = desk.ask(reserve("c", "1.5"));
    denial.expect(
        429,
        json!({ "denial": { "quota": "month", "quotas": [{ "id": "month" }, { "id": "day" }, { "id": "hour" }] } }),
    );

    // One that never resets resets last.
    desk.expect(
        json!({ "op": "putQuota", "id": "ever", "quota": tenant_quota("llm", "0.5", "lifetime") }),
        200,
        json!({ "spent": "0", "periodStart": null, "periodEnd": null }),
    );
    let denial = desk.ask(reserve("d", "1"));
    denial.expect_denial("ever");
    denial.expect(429, json!({ "denial": { "retryAfterSeconds": null, "periodEnd": null } }));
    assert_eq!(denial.header("Retry-After"), None);
}

// Units, filters, warnings.

fn quota_of(unit: &str, limit: &str, period: &str) -> Value {
    json!({ "scope": "tenant", "resource": "all", "unit": unit, "limit": limit, "period": period })
}

/// Otari PR #906: "asked to cap tokens and requests, not dollars alone". One reservation passes all of them or none.
#[test]
fn dollars_tokens_and_requests_pass_together_or_not_at_all() {
    let mut desk = Desk::open(json!({ "quotas": {
        "money": quota_of("usd", "1", "month"),
        "tokens": quota_of("tokens", "5000", "hour"),
        "calls": quota_of("requests", "3", "hour"),
    } }));
    desk.expect(reserve_tokens("a", GPT_4O, 1000, 2000), 201, json!({}));
    assert_eq!(desk.spent_and_held("tokens"), "0/3000");
    assert_eq!(desk.spent_and_held("calls"), "0/1");
    // Tokens are short: what is left of them after the prompt is what the answer may have.
    let denial = desk.ask(reserve_tokens("b", GPT_4O, 1000, 1001));
    denial.expect(
        429,
        json!({ "denial": { "quota": "tokens", "unit": "tokens", "requested": "2001", "remaining": "2000",
                            "affordable": { "maxOutputTokens": 1000 } } }),
    );
    assert_eq!(denial.header("RateLimit-Policy"), Some(r#""tokens";q=5000;qu="tokens";w=3600"#));
    assert_eq!(desk.spent_and_held("money"), "0/0.0225");
    // Settled by usage, the tokens that were used count; settled by an amount, those that were held.
    let usage = json!({ "op": "settle", "id": "a", "usage": { "input": 900, "cache_read": 100, "output": 500 } });
    desk.expect(usage, 200, json!({}));
    assert_eq!(desk.spent_and_held("tokens"), "1500/0");
    desk.expect(reserve_tokens("c", GPT_4O, 1000, 1000), 201, json!({}));
    desk.expect(settle("c", "0.01"), 200, json!({}));
    assert_eq!(desk.spent_and_held("tokens"), "3500/0");
    desk.expect(reserve_tokens("d", GPT_4O, 10, 10), 201, json!({}));
    let denial = desk.ask(reserve_tokens("e", GPT_4O, 10, 10));
    denial.expect(429, json!({ "denial": { "quota": "calls", "requested": "1", "remaining": "0" } }));
    assert_eq!(desk.spent_and_held("calls"), "2/1");
}

#[test]
fn what_is_open_at_the_same_time_is_limited_and_never_spent() {
    let mut desk = Desk::open(json!({ "quotas": { "open": quota_of("concurrent", "2", "lifetime") } }));
    for id in ["a", "b"] {
        desk.expect(reserve(id, "1"), 201, json!({}));
    }
    let denial = desk.ask(reserve("c", "1"));
    denial.expect(429, json!({ "denial": { "quota": "open", "retryAfterSeconds": null } }));
    // A record opens nothing.
    desk.ask(with(record("r", "1"), json!({ "mode": "within_limit" }))).expect(201, json!({}));
    assert_eq!(desk.spent_and_held("open"), "0/2");
    desk.expect(settle("a", "1"), 200, json!({}));
    desk.expect(reserve("c", "1"), 201, json!({}));
    desk.restart();
    assert_eq!(desk.spent_and_held("open"), "0/2");
    // One that expires makes room as well.
    desk.at("2026-11-24T13:00:00Z").expect(reserve("d", "1"), 201, json!({}));
    assert_eq!(desk.spent_and_held("open"), "0/1");
}

#[test]
fn sandbox_seconds_are_held_and_spent() {
    let mut desk = Desk::open(json!({ "quotas": { "seconds": quota_of("seconds", "600", "day") } }));
    let sandbox = |id: &str, seconds: u32| {
        json!({ "op": "reserve", "id": id, "resource": "e2b", "onInsufficient": "shrink",
                "estimate": { "sandbox": { "tier": "standard", "seconds": seconds, "vcpus": 2, "memoryGib": "0.5" } } })
    };
    desk.expect(sandbox("a", 400), 201, json!({}));
    desk.expect(json!({ "op": "settle", "id": "a", "sandbox": { "seconds": 141.25 } }), 200, json!({}));
    assert_eq!(desk.spent_and_held("seconds"), "141.25/0");
    desk.expect(sandbox("b", 3600), 201, json!({ "granted": { "seconds": 458 } }));
    assert_eq!(desk.spent_and_held("seconds"), "141.25/458");
}

/// Bifrost, LiteLLM: budgets per model and per route.
#[test]
fn a_filter_lets_a_quota_count_some_calls_alone() {
    let filtered = |filter: Value| with(quota_of("usd", "1", "month"), json!({ "filter": filter }));
    let mut desk = Desk::open(json!({ "quotas": {
        "chat": filtered(json!({ "touchpoint": "main-chat" })),
        "mini": filtered(json!({ "provider": "openai", "model": "gpt-4o-mini" })),
    } }));
    let from =
        |id: &str, touchpoint: &str| with(reserve(id, "1"), json!({ "attribution": { "touchpoint": touchpoint } }));
    desk.expect(from("a", "main-chat"), 201, json!({}));
    desk.ask(from("b", "main-chat")).expect_denial("chat");
    desk.expect(from("c", "pii-sanitizer"), 201, json!({}));
    desk.expect(reserve("d", "1"), 201, json!({}));
    assert_eq!((desk.spent_and_held("chat"), desk.spent_and_held("mini")), ("0/1".to_owned(), "0/0".to_owned()));
    let of = |id: &str, model: &str| with(reserve(id, "1"), json!({ "provider": "openai", "model": model }));
    desk.expect(of("e", "gpt-4o-mini"), 201, json!({}));
    desk.expect(of("f", "gpt-4o"), 201, json!({}));
    desk.ask(of("g", "gpt-4o-mini")).expect_denial("mini");
    // Another filter counts something else.
    let other = with(filtered(json!({ "touchpoint": "pii-sanitizer" })), json!({}));
    desk.expect(json!({ "op": "putQuota", "id": "chat", "quota": other }), 200, json!({ "spent": "0", "held": "0" }));
}

#[test]
fn a_quota_that_warns_counts_and_lets_pass() {
    let soft = with(quota_of("usd", "10", "month"), json!({ "enforcement": "warn" }));
    let mut desk = Desk::open(json!({ "quotas": { "soft": soft, "hard": quota_of("usd", "30", "month") } }));
    desk.expect(reserve("a", "12"), 201, json!({}));
    desk.expect(settle("a", "12"), 200, json!({}));
    assert_eq!(desk.spent_and_held("soft"), "12/0");
    desk.expect(
        json!({ "op": "listQuotas" }),
        200,
        json!({ "quotas": [{}, { "id": "soft", "warned": ["0.8", "1"], "remaining": "0" }] }),
    );
    desk.ask(reserve("b", "19")).expect_denial("hard");
    // Whether it warns or blocks is a setting; what was counted stays.
    let blocks = quota_of("usd", "10", "month");
    desk.expect(json!({ "op": "putQuota", "id": "soft", "quota": blocks }), 200, json!({ "spent": "12" }));
    desk.ask(reserve("c", "1")).expect_denial("soft");
}

#[test]
fn a_limit_fits_its_unit() {
    let mut desk = Desk::open(json!({ "quotas": {} }));
    for (unit, limit, period, field) in [
        ("tokens", "1.5", "day", "limit"),
        ("requests", "0.1", "day", "limit"),
        ("seconds", "0.0000001", "day", "limit"),
        ("usd", "1000000000.01", "day", "limit"),
        ("tokens", "1000000000001", "day", "limit"),
        ("concurrent", "2", "day", "period"),
    ] {
        let put = json!({ "op": "putQuota", "id": "q", "quota": quota_of(unit, limit, period) });
        desk.ask(put).expect(400, json!({ "code": "invalid_request", "field": field }));
    }
}

// What a denial says would fit.

#[test]
fn what_a_denial_calls_affordable_fits_and_one_token_more_does_not() {
    let mut desk = Desk::open(json!({ "quotas": {
        "all": tenant_quota("all", "0.02", "month"),
        "llm": tenant_quota("llm", "0.0103335", "month"),
    } }));
    // 1000 input tokens cost 0.0025, and a token of the answer 0.00001.
    let denial = desk.ask(reserve_tokens("a", GPT_4O, 1000, 4000));
    denial.expect(
        429,
        json!({ "denial": { "requested": "0.0425", "affordable": { "usd": "0.0103335", "maxOutputTokens": 783 } } }),
    );
    desk.ask(reserve_tokens("b", GPT_4O, 1000, 784)).expect_denial("llm");
    desk.ask(reserve_tokens("c", GPT_4O, 1000, 783))
        .expect(201, json!({ "held": { "usd": "0.01033", "tokens": 1783 } }));
    // Not even the prompt fits.
    let denial = desk.ask(reserve_tokens("d", GPT_4O, 1000, 1));
    assert_eq!(denial.expect_denial("llm")["affordable"], json!({ "usd": "0.0000035" }));
}

/// litellm#38647, #27509: worst-case holds lock everybody out. LiteLLM shrinks the hold and lets the call use all the same; here the
/// caller is told what it may use, and holds exactly that.
#[test]
fn a_call_that_may_shrink_holds_the_largest_part_that_fits() {
    let shrink = |command: Value| with(command, json!({ "onInsufficient": "shrink" }));
    let mut desk = Desk::open(json!({ "quotas": {
        "llm": tenant_quota("llm", "0.0103335", "month"), "e2b": tenant_quota("e2b", "0.01", "month"),
    } }));
    // What fits is not cut.
    let fits = desk.ask(shrink(reserve_tokens("small", GPT_4O, 10, 1)));
    fits.expect(201, json!({}));
    assert!(fits.body.get("granted").is_none());
    desk.expect(json!({ "op": "release", "id": "small" }), 200, json!({}));
    let cut = json!({ "granted": { "maxOutputTokens": 783 }, "held": { "usd": "0.01033", "tokens": 1783 } });
    desk.expect(shrink(reserve_tokens("a", GPT_4O, 1000, 4000)), 201, cut.clone());
    desk.restart();
    let mut again = cut;
    again["replayed"] = json!(true);
    desk.expect(shrink(reserve_tokens("a", GPT_4O, 1000, 4000)), 201, again);
    // Without the word it is another content, and another id is denied: of the prompt nothing is cut.
    desk.ask(reserve_tokens("a", GPT_4O, 1000, 4000)).expect(409, json!({ "code": "idempotency_conflict" }));
    desk.ask(shrink(reserve_tokens("b", GPT_4O, 1000, 4000))).expect_denial("llm");
    desk.expect(json!({ "op": "release", "id": "a" }), 200, json!({}));
    // Money and a sandbox's life are cut as well; a sandbox settles by what it was granted.
    desk.expect(shrink(reserve("c", "5")), 201, json!({ "granted": { "usd": "0.0103335" } }));
    desk.ask(shrink(reserve("d", "5"))).expect_denial("llm");
    let sandbox = json!({ "op": "reserve", "id": "s", "resource": "e2b",
        "estimate": { "sandbox": { "tier": "standard", "seconds": 3600, "vcpus": 2, "memoryGib": 0.5 } } });
    desk.expect(shrink(sandbox), 201, json!({ "granted": { "seconds": 330 }, "held": { "seconds": 330 } }));
    desk.expect(json!({ "op": "settle", "id": "s", "sandbox": { "seconds": 330 } }), 200, json!({ "overrun": "0" }));
}

#[test]
fn what_a_denial_of_a_sandbox_calls_affordable_fits() {
    let mut desk = Desk::open(json!({ "quotas": { "e2b": tenant_quota("e2b", "0.01", "month") } }));
    let sandbox = |id: &str, seconds: u32| {
        json!({ "op": "reserve", "id": id, "resource": "e2b",
            "estimate": { "sandbox": { "tier": "standard", "seconds": seconds, "vcpus": 2, "memoryGib": "0.5" } } })
    };
    // A second costs 2 × 0.000014 + 0.5 × 0.0000045 = 0.00003025 USD.
    let denial = desk.ask(sandbox("a", 3600));
    denial.expect(429, json!({ "denial": { "requested": "0.1089", "affordable": { "usd": "0.01", "seconds": 330 } } }));
    desk.ask(sandbox("b", 331)).expect_denial("e2b");
    desk.ask(sandbox("c", 330)).expect(201, json!({ "held": { "usd": "0.0099825", "seconds": 330 } }));
}

#[test]
fn explain_answers_as_a_reserve_would_and_holds_nothing() {
    let mut desk = Desk::open(json!({ "quotas": {
        "llm": tenant_quota("llm", "0.01", "day"),
        "all": tenant_quota("all", "1", "day"),
    } }));
    let explain = |tokens: u64| with(reserve_tokens("x", GPT_4O, 1000, tokens), json!({ "op": "explain" }));
    desk.expect(
        explain(750),
        200,
        json!({ "allowed": true, "estimate": { "usd": "0.01", "tokens": 1750, "requests": 1 },
            "basis": { "rateCard": "openai/gpt-4o@2024-10-01" },
            "quotas": [{ "id": "all", "fits": true, "held": "0" }, { "id": "llm", "fits": true, "held": "0" }] }),
    );
    let explained = desk.expect(
        explain(751),
        200,
        json!({ "allowed": false, "quotas": [{ "id": "all", "fits": true }, { "id": "llm", "fits": false }] }),
    );
    let denied = desk.ask(reserve_tokens("x", GPT_4O, 1000, 751));
    assert_eq!(&explained["denial"], denied.expect_denial("llm"));
    assert_eq!(desk.spent_and_held("llm"), "0/0");
}

// Periods.

#[test]
fn spend_lands_in_the_period_of_the_reservation() {
    let mut desk = Desk::open(json!({ "quotas": { "day": tenant_quota("llm", "10", "day") } }));
    desk.at("2026-11-24T23:59:59.999Z").ask(reserve("a", "8")).expect(201, json!({}));
    desk.at("2026-11-25T00:00:00Z");
    assert_eq!(desk.spent_and_held("day"), "0/0");
    desk.expect(
        settle("a", "6"),
        200,
        json!({ "quotas": [{ "spent": "6", "held": "0", "periodStart": "2026-11-24T00:00:00.000Z" }] }),
    );
    assert_eq!(desk.spent_and_held("day"), "0/0");
    desk.ask(reserve("b", "10")).expect(201, json!({}));
}

/// A hold that is open across a boundary neither uses up the new period nor frees the old one early.
#[test]
fn a_hold_open_across_a_boundary_stays_with_its_own_period() {
    let mut desk = Desk::open(json!({ "quotas": {
        "hour": tenant_quota("llm", "10", "hour"),
        "day": tenant_quota("llm", "15", "day"),
    } }));
    desk.at("2026-11-24T12:59:00Z").ask(with(reserve("a", "10"), json!({ "ttlSeconds": 7200 }))).expect(201, json!({}));
    desk.at("2026-11-24T13:00:00Z");
    assert_eq!(desk.spent_and_held("hour"), "0/0");
    assert_eq!(desk.spent_and_held("day"), "0/10");
    desk.ask(reserve("b", "5.01")).expect_denial("day");
    desk.ask(reserve("b", "5")).expect(201, json!({}));
    // It grows within its own hour, which is full, although the present one is not.
    let more = |usd: &str| json!({ "op": "extend", "id": "a", "extend": { "id": "x", "estimate": { "usd": usd } } });
    let denial = desk.ask(more("10.01"));
    assert_eq!(denial.expect_denial("day")["quotas"][1]["periodStart"], "2026-11-24T12:00:00.000Z");
    desk.restart();
    desk.ask(release("a")).expect(200, json!({ "released": "10" }));
    assert_eq!(desk.spent_and_held("day"), "0/5");
    assert_eq!(desk.spent_and_held("hour"), "0/5");
}

/// LiteLLM #10288, #9098 ("why 15:43?"), #33161: periods start when the calendar says so; nothing has to run for that.
#[test]
fn periods_start_on_the_calendar_and_by_themselves() {
    let mut desk = Desk::open(json!({ "quotas": {
        "hour": tenant_quota("all", "1", "hour"),
        "day": tenant_quota("all", "2", "day"),
        "week": tenant_quota("all", "3", "week"),
        "month": tenant_quota("all", "4", "month"),
    } }));
    // A Sunday, the last hour of its week; two days before the month's end.
    desk.at("2026-11-29T23:30:00Z").ask(record("a", "1")).expect(201, json!({}));
    let spent = |desk: &mut Desk| {
        ["hour", "day", "week", "month"].map(|id| desk.quota(id)["spent"].as_str().unwrap().to_owned())
    };
    assert_eq!(spent(&mut desk), ["1", "1", "1", "1"]);
    desk.at("2026-11-29T23:59:59.999Z");
    assert_eq!(spent(&mut desk), ["1", "1", "1", "1"]);
    desk.at("2026-11-30T00:00:00Z");
    assert_eq!(spent(&mut desk), ["0", "0", "0", "1"]);
    assert_eq!(desk.quota("week")["periodEnd"], "2026-12-07T00:00:00.000Z");
    // Nobody asked for months; the month has rolled all the same.
    desk.at("2027-03-15T08:20:00Z");
    assert_eq!(spent(&mut desk), ["0", "0", "0", "0"]);
    assert_eq!(desk.quota("month")["periodStart"], "2027-03-01T00:00:00.000Z");
}

/// A clock that is set back neither reopens a period nor brings a deadline back.
#[test]
fn a_clock_that_is_set_back_by_an_hour_is_overruled() {
    let mut desk = Desk::open(json!({ "quotas": { "day": tenant_quota("llm", "10", "day") } }));
    desk.at("2026-11-25T00:00:01Z").ask(reserve("a", "10")).expect(201, json!({}));
    // An hour back the last entry overrules it; more, and the ledger follows: `clock.rs`.
    desk.at("2026-11-24T23:00:01Z");
    desk.ask(reserve("b", "1")).expect_denial("day");
    assert_eq!(desk.quota("day")["periodStart"], "2026-11-25T00:00:00.000Z");
    desk.expect(settle("a", "4"), 200, json!({}));
    desk.expect(
        reserve("c", "1"),
        201,
        json!({ "createdAt": "2026-11-25T00:00:01.000Z", "expiresAt": "2026-11-25T00:10:01.000Z" }),
    );
    let times: Vec<_> = desk.history().iter().map(|entry| entry.at).collect();
    assert!(times.is_sorted(), "{times:?}");
}

// The life of a hold.

/// LiteLLM #38647: worst-case holds fill the counter and stay, so that requests are denied at 0 USD recorded. Here the rest of a
/// hold is free as soon as the call is settled.
#[test]
fn a_settle_replaces_the_hold() {
    let mut desk = Desk::with_monthly_limit("10");
    desk.ask(reserve("a", "10")).expect(201, json!({}));
    desk.ask(reserve("b", "1")).expect_denial("month");
    desk.expect(
        settle("a", "0.25"),
        200,
        json!({ "state": "settled", "charge": { "usd": "0.25" }, "released": "9.75", "overrun": "0" }),
    );
    assert_eq!(desk.spent_and_held("month"), "0.25/0");
    desk.ask(reserve("b", "9.75")).expect(201, json!({}));
}

#[test]
fn a_release_charges_nothing() {
    let mut desk = Desk::with_monthly_limit("10");
    desk.ask(reserve("a", "10")).expect(201, json!({}));
    desk.expect(release("a"), 200, json!({ "state": "released", "released": "10" }));
    assert_eq!(desk.spent_and_held("month"), "0/0");
    let kept = desk.expect(json!({ "op": "getReservation", "id": "a" }), 200, json!({ "state": "released" }));
    assert_eq!(kept.get("charge"), None);
}

/// What an expired hold is charged. LiteLLM #30522 and Otari #128: holds of calls that broke off are never freed; the opposite
/// mistake is to free them as if no work had been done.
#[test]
fn expiry_follows_the_reservations_own_rule() {
    let tokens = |id: &str, rule: &str| {
        with(reserve_tokens(id, GPT_4O, 1000, 1000), json!({ "ttlSeconds": 60, "onExpiry": rule }))
    };
    for (rule, spent, calls) in [("release", "0", 0), ("charge_input", "0.0025", 1), ("charge_hold", "0.0125", 1)] {
        let mut desk = Desk::with_monthly_limit("10");
        desk.expect(tokens("a", rule), 201, json!({ "onExpiry": rule, "expiresAt": "2026-11-24T12:01:00.000Z" }));
        desk.at("2026-11-24T12:00:59.999Z");
        assert_eq!(desk.spent_and_held("month"), "0/0.0125");
        desk.at("2026-11-24T12:01:00Z");
        assert_eq!(desk.spent_and_held("month"), format!("{spent}/0"), "{rule}");
        desk.expect(
            json!({ "op": "getReservation", "id": "a" }),
            200,
            json!({ "state": "expired", "charge": { "usd": spent, "flags": ["expired"] }, "closedAt": "2026-11-24T12:01:00.000Z" }),
        );
        let charged = desk.history().iter().filter_map(contribution).map(|(_, totals)| totals.calls).sum::<i64>();
        assert_eq!(charged, calls, "{rule}");
    }
    // Where the caller does not say: the input of token estimates, and all of everything else.
    let mut desk = Desk::with_monthly_limit("10");
    desk.expect(reserve_tokens("a", GPT_4O, 1000, 1000), 201, json!({ "onExpiry": "charge_input" }));
    desk.expect(reserve("b", "1"), 201, json!({ "onExpiry": "charge_hold", "expiresAt": "2026-11-24T12:10:00.000Z" }));
}

/// Invariant 5: whatever clients do, every hold ends.
#[test]
fn every_hold_ends_within_its_ttl() {
    let mut desk = Desk::with_monthly_limit("1000");
    for n in 1..=50 {
        let ttl = json!({ "ttlSeconds": n * 1_700, "onExpiry": if n % 2 == 0 { "release" } else { "charge_hold" } });
        desk.ask(with(reserve(&format!("r-{n}"), "1"), ttl)).expect(201, json!({}));
    }
    desk.at("2026-11-25T12:00:00Z");
    assert_eq!(desk.spent_and_held("month"), "25/0");
    assert_eq!(desk.ledger().open_holds(), 0);
    assert_eq!(desk.ledger().next_deadline(), None);
}

/// A settle that comes after the hold expired is not lost and not added on top: it replaces what expiry charged.
#[test]
fn a_late_settle_corrects_what_expiry_charged() {
    for (rule, actual, spent) in
        [("charge_hold", "4", "4"), ("charge_hold", "12", "12"), ("release", "4", "4"), ("charge_hold", "0", "0")]
    {
        let mut desk = Desk::with_monthly_limit("10");
        desk.ask(with(reserve("a", "10"), json!({ "onExpiry": rule, "ttlSeconds": 1 }))).expect(201, json!({}));
        desk.at("2026-11-24T13:00:00Z");
        desk.restart();
        let late = json!({ "state": "expired", "late": true, "charge": { "usd": actual } });
        desk.expect(settle("a", actual), 200, late.clone());
        assert_eq!(desk.spent_and_held("month"), format!("{spent}/0"));
        desk.restart();
        desk.expect(settle("a", actual), 200, with(late, json!({ "replayed": true })));
        desk.ask(settle("a", "5")).expect(409, json!({ "code": "idempotency_conflict" }));
        assert_eq!(desk.spent_and_held("month"), format!("{spent}/0"));
        let charged: Usd = desk.history().iter().filter_map(contribution).map(|(_, totals)| totals.usd).sum();
        assert_eq!(charged.to_string(), spent);
        let calls: i64 = desk.history().iter().filter_map(contribution).map(|(_, totals)| totals.calls).sum();
        assert_eq!(calls, 1, "one call was made");
    }
}

/// Autumn's refunds land in the wrong bucket: a correction belongs to the period of the reservation, also when that is over.
#[test]
fn a_late_settle_corrects_the_period_of_the_reservation() {
    let mut desk = Desk::open(json!({ "quotas": {
        "hour": tenant_quota("llm", "10", "hour"),
        "day": tenant_quota("llm", "20", "day"),
    } }));
    desk.ask(with(reserve("a", "8"), json!({ "ttlSeconds": 60 }))).expect(201, json!({}));
    desk.at("2026-11-24T13:10:00Z").ask(record("next-hour", "3")).expect(201, json!({}));
    desk.restart();
    // The hour that is over is forgotten; nothing is said of it rather than something wrong.
    desk.expect(
        settle("a", "2"),
        200,
        json!({ "state": "expired", "late": true, "quotas": [{ "id": "day", "spent": "5" }] }),
    );
    assert_eq!(desk.spent_and_held("hour"), "3/0");
    assert_eq!(desk.spent_and_held("day"), "5/0");
    let by_hour: Vec<_> = desk
        .history()
        .iter()
        .filter_map(contribution)
        .map(|(key, totals)| format!("{} {}", &key.quarter.to_string()[11..13], totals.usd))
        .collect();
    assert_eq!(by_hour, ["12 8", "13 3", "12 -6"]);
}

/// A late settle into a period whose warnings have been given does not give them again.
#[test]
fn a_late_settle_into_a_period_that_is_over_warns_no_second_time() {
    let mut desk = Desk::open(json!({ "quotas": { "hour": tenant_quota("llm", "10", "hour") } }));
    desk.ask(with(reserve("a", "1"), json!({ "ttlSeconds": 60, "onExpiry": "release" }))).expect(201, json!({}));
    desk.ask(record("b", "10")).expect(201, json!({}));
    desk.at("2026-11-24T13:10:00Z").ask(record("next-hour", "1")).expect(201, json!({}));
    desk.ask(settle("a", "15")).expect(200, json!({ "late": true }));
    assert_eq!(desk.warnings(), ["hour 0.8 2026-11-24", "hour 1 2026-11-24"]);
}

/// Actuals are never lost: the first user's app throws away what a denied call cost.
#[test]
fn what_was_really_spent_is_stored_whatever_the_limits_say() {
    let mut desk = Desk::with_monthly_limit("10");
    desk.ask(reserve("a", "10")).expect(201, json!({}));
    desk.expect(settle("a", "25"), 200, json!({ "charge": { "usd": "25" }, "released": "0", "overrun": "15" }));
    assert_eq!(desk.spent_and_held("month"), "25/0");
    desk.expect(record("b", "5"), 201, json!({ "state": "recorded", "charge": { "usd": "5" } }));
    assert_eq!(desk.spent_and_held("month"), "30/0");
    assert_eq!(desk.quota("month")["remaining"], "0");
    assert_eq!(desk.quota("month")["utilization"], "3");
    let denial = desk.ask(reserve("c", "0.01"));
    assert_eq!(denial.expect_denial("month")["affordable"]["usd"], "0");
}

#[test]
fn a_record_within_the_limit_is_charged_or_denied_as_a_whole() {
    let mut desk = Desk::with_monthly_limit("10");
    let within = |id: &str, usd: &str| with(record(id, usd), json!({ "mode": "within_limit" }));
    desk.ask(within("a", "10.01")).expect_denial("month");
    assert_eq!(desk.spent_and_held("month"), "0/0");
    // A denial is not an answer that is kept: the same id may be tried again.
    desk.expect(within("a", "10"), 201, json!({ "state": "recorded" }));
    desk.ask(within("b", "0.01")).expect_denial("month");
    desk.expect(within("a", "10"), 201, json!({ "replayed": true }));
    desk.ask(record("a", "10")).expect(409, json!({ "code": "idempotency_conflict" }));
    assert_eq!(desk.spent_and_held("month"), "10/0");
}

#[test]
fn an_extension_names_the_new_total_and_never_shortens() {
    let extend =
        |id: &str, parts: Value| json!({ "op": "extend", "id": "a", "extend": with(json!({ "id": id }), parts) });
    let mut desk = Desk::with_monthly_limit("10");
    desk.ask(reserve("a", "4")).expect(201, json!({ "expiresAt": "2026-11-24T12:10:00.000Z" }));
    desk.at("2026-11-24T12:05:00Z");
    desk.expect(
        extend("x-1", json!({ "ttlSeconds": 60 })),
        200,
        json!({ "expiresAt": "2026-11-24T12:10:00.000Z", "held": { "usd": "4" } }),
    );
    desk.expect(extend("x-2", json!({ "ttlSeconds": 600 })), 200, json!({ "expiresAt": "2026-11-24T12:15:00.000Z" }));
    desk.expect(
        extend("x-3", json!({ "estimate": { "usd": "9" } })),
        200,
        json!({ "held": { "usd": "9" }, "state": "held" }),
    );
    assert_eq!(desk.spent_and_held("month"), "0/9");
    desk.expect(
        extend("x-4", json!({ "estimate": { "usd": "8.99" } })),
        200,
        json!({ "held": { "usd": "8.99" }, "expiresAt": "2026-11-24T12:15:00.000Z" }),
    );
    assert_eq!(desk.spent_and_held("month"), "0/8.99");
    desk.expect(extend("x-9", json!({ "estimate": { "usd": "9" } })), 200, json!({ "held": { "usd": "9" } }));
    let denial = desk.ask(extend("x-5", json!({ "estimate": { "usd": "10.5" }, "ttlSeconds": 6000 })));
    // The whole call can afford what is held and what is left.
    denial.expect(
        429,
        json!({ "denial": { "quota": "month", "requested": "1.5", "remaining": "1", "affordable": { "usd": "10" } } }),
    );
    desk.ask(extend("x-6", json!({}))).expect(400, json!({ "code": "invalid_request" }));
    desk.expect(extend("x-2", json!({ "ttlSeconds": 600 })), 200, json!({ "replayed": true, "held": { "usd": "9" } }));
    desk.ask(extend("x-2", json!({ "ttlSeconds": 601 }))).expect(409, json!({ "code": "idempotency_conflict" }));
    desk.expect(extend("x-7", json!({ "estimate": { "usd": "10" } })), 200, json!({ "held": { "usd": "10" } }));
    desk.restart();
    desk.at("2026-11-24T12:14:59Z").expect(settle("a", "9.5"), 200, json!({ "state": "settled", "released": "0.5" }));
    desk.ask(extend("x-8", json!({ "ttlSeconds": 1 }))).expect(409, json!({ "code": "already_settled" }));
    // A repeat of one that was carried out is answered as such even now.
    desk.expect(
        extend("x-7", json!({ "estimate": { "usd": "10" } })),
        200,
        json!({ "replayed": true, "state": "settled" }),
    );
    assert_eq!(desk.spent_and_held("month"), "9.5/0");
}

/// A sandbox that lives for days is extended again and again. A repeat is recognized however old it is, also after the end; what cannot be remembered is refused.
#[test]
fn a_hold_remembers_every_extension_and_refuses_one_too_many() {
    let extend = |n: usize, ttl: u32| json!({ "op": "extend", "id": "a", "extend": { "id": format!("x-{n}"), "ttlSeconds": ttl } });
    let mut local = Local::open(json!({ "tenant": "acme" }));
    let mut ask = |command: Value| local.ask(at(OPENING), &command).status;
    assert_eq!(ask(reserve("a", "4")), 201);
    let most = tollgate_core::ledger::MAX_CHANGES;
    assert!((0..most).all(|n| ask(extend(n, 600)) == 200));
    for n in [0, 1, most / 2, most - 1] {
        assert_eq!(ask(extend(n, 600)), 200);
        assert_eq!(ask(extend(n, 601)), 409);
    }
    let refused = local.ask(at(OPENING), &extend(most, 600));
    refused.expect(429, json!({ "code": "too_many_changes" }));
    assert_eq!(local.ledger().fingerprints(), most - 2);
    let mut ask = |command: Value| local.ask(at(OPENING), &command).status;
    assert_eq!(ask(settle("a", "4")), 200);
    assert_eq!(ask(extend(3, 600)), 200);
    assert_eq!(ask(extend(3, 601)), 409);
    assert_eq!(ask(extend(most, 600)), 409);
    assert_eq!(local.ledger().fingerprints(), 0, "what has ended is its owner's");
}

/// A lower estimate comes between an extension and its repeat: carried out again, it would hold what was given back.
#[test]
fn an_old_extension_does_not_hold_again() {
    let extend = |id: String, usd: &str| json!({ "op": "extend", "id": "a", "extend": { "id": id, "estimate": { "usd": usd } } });
    let mut desk = Desk::with_monthly_limit("100");
    desk.expect(reserve("a", "4"), 201, json!({}));
    desk.expect(extend("first".to_owned(), "50"), 200, json!({}));
    for n in 0..9 {
        desk.expect(extend(format!("x-{n}"), "5"), 200, json!({}));
    }
    for restart in [false, true] {
        if restart {
            desk.restart();
        }
        desk.expect(extend("first".to_owned(), "50"), 200, json!({ "replayed": true, "held": { "usd": "5" } }));
        desk.ask(extend("first".to_owned(), "51")).expect(409, json!({ "code": "idempotency_conflict" }));
        assert_eq!(desk.spent_and_held("month"), "0/5");
    }
}

/// Entries of before say nothing of older extensions, and are folded as they were: all but the latest eight are forgotten.
#[test]
fn entries_of_before_forget_older_extensions() {
    let extend =
        |n: usize| json!({ "op": "extend", "id": "a", "extend": { "id": format!("x-{n}"), "ttlSeconds": 600 } });
    let mut desk = Desk::with_monthly_limit("100");
    desk.expect(reserve("a", "4"), 201, json!({}));
    for n in 0..20 {
        desk.expect(extend(n), 200, json!({}));
    }
    let mut ledger = Ledger::new();
    for mut entry in desk.history() {
        if let Event::Extended { known, .. } = &mut entry.event {
            assert!(known.take().is_some());
        }
        ledger.evolve(&entry);
    }
    let hold = ledger.reservation(&"a".parse().unwrap()).unwrap();
    let ids: Vec<String> = hold.extensions.iter().map(|extension| extension.id.to_string()).collect();
    assert_eq!(ids, (12..20).map(|n| format!("x-{n}")).collect::<Vec<_>>());
    assert!(hold.older_extensions.is_none());
}

/// The same of readings.
#[test]
fn a_hold_remembers_every_reading() {
    let meter = |n: usize, usd: usize| json!({ "op": "meter", "id": "a", "meter": { "id": format!("m-{n}"), "usd": usd.to_string() } });
    let mut desk = Desk::with_monthly_limit("100");
    desk.expect(reserve("a", "100"), 201, json!({}));
    for n in 1..=20 {
        desk.expect(meter(n, n), 200, json!({ "metered": { "usd": n.to_string() } }));
    }
    for restart in [false, true] {
        if restart {
            desk.restart();
        }
        for n in [1, 10, 20] {
            desk.expect(meter(n, n), 200, json!({ "replayed": true, "metered": { "usd": "20" } }));
            desk.expect(meter(n, 50), 409, json!({ "code": "idempotency_conflict" }));
        }
        assert_eq!(desk.spent_and_held("month"), "20/80");
    }
}

// Idempotency.

/// Everything repeats safely, also after a restart; the same id with other content is an error. Cycles and Stripe do this;
/// LiteLLM has a flag in the process and no reservation.
#[test]
fn everything_repeats_safely() {
    let mut desk = Desk::with_monthly_limit("10");
    let extend = json!({ "op": "extend", "id": "a", "extend": { "id": "x", "estimate": { "usd": "5" } } });
    for (command, other) in [
        (reserve("a", "4"), reserve("a", "4.1")),
        (reserve("a", "4.00"), with(reserve("a", "4"), json!({ "userId": "u-1" }))),
        (extend.clone(), with(extend, json!({ "extend": { "id": "x", "estimate": { "usd": "6" } } }))),
        (settle("a", "3"), settle("a", "3.5")),
        (record("b", "2"), record("b", "2.5")),
        (reserve("c", "1"), with(reserve("c", "1"), json!({ "ttlSeconds": 601 }))),
        (release("c"), reserve("c", "2")),
    ] {
        let first = desk.ask(command.clone());
        assert!(first.status < 300, "{first:?}");
        let after_first = desk.snapshot();
        for restart in [false, true] {
            if restart {
                desk.restart();
            }
            let again = desk.expect(command.clone(), first.status, json!({ "replayed": true }));
            for same in ["id", "charge", "released", "overrun", "expiresAt", "createdAt", "basis"] {
                assert_eq!(again.get(same), first.body.get(same), "{same} of {command}");
            }
            desk.ask(other.clone()).expect(409, json!({ "code": "idempotency_conflict" }));
            assert_eq!(desk.snapshot(), after_first);
        }
    }
    assert_eq!(desk.spent_and_held("month"), "5/0");
}

/// Otari #767: a double release was silent, and there was nothing to be idempotent against (#742).
#[test]
fn a_reservation_ends_once() {
    let mut desk = Desk::with_monthly_limit("10");
    desk.ask(reserve("s", "1")).expect(201, json!({}));
    desk.ask(settle("s", "1")).expect(200, json!({}));
    desk.ask(reserve("r", "1")).expect(201, json!({}));
    desk.ask(release("r")).expect(200, json!({}));
    desk.ask(with(reserve("e", "1"), json!({ "ttlSeconds": 1 }))).expect(201, json!({}));
    desk.at("2026-11-24T12:05:00Z");
    let extend = |id: &str| json!({ "op": "extend", "id": id, "extend": { "id": "x", "ttlSeconds": 60 } });
    for (command, code) in [
        (release("s"), "already_settled"),
        (extend("s"), "already_settled"),
        (settle("r", "1"), "already_released"),
        (extend("r"), "already_released"),
        (release("e"), "already_expired"),
        (extend("e"), "already_expired"),
    ] {
        desk.ask(command).expect(409, json!({ "code": code }));
    }
    desk.expect(release("r"), 200, json!({ "replayed": true }));
    // The answer to a repeated reserve says what became of it: nothing is held.
    desk.expect(reserve("s", "1"), 201, json!({ "state": "settled", "replayed": true }));
    desk.expect(reserve("r", "1"), 201, json!({ "state": "released", "replayed": true }));
    desk.expect(
        with(reserve("e", "1"), json!({ "ttlSeconds": 1 })),
        201,
        json!({ "state": "expired", "replayed": true }),
    );
    assert_eq!(desk.spent_and_held("month"), "2/0");
    for command in [settle("?!", "1"), release("none"), extend("none"), json!({ "op": "getReservation", "id": "none" })]
    {
        let reply = desk.ask(command);
        assert!([400, 404].contains(&reply.status), "{reply:?}");
    }
}

#[test]
fn records_and_reservations_share_their_ids() {
    let mut desk = Desk::with_monthly_limit("10");
    desk.ask(record("a", "1")).expect(201, json!({}));
    desk.ask(reserve("a", "1")).expect(409, json!({ "code": "idempotency_conflict" }));
    desk.ask(settle("a", "1")).expect(409, json!({ "code": "already_settled" }));
    desk.ask(release("a")).expect(409, json!({ "code": "already_settled" }));
    desk.ask(reserve("b", "1")).expect(201, json!({}));
    desk.ask(record("b", "1")).expect(409, json!({ "code": "idempotency_conflict" }));
    desk.ask(settle("b", "1")).expect(200, json!({}));
    desk.ask(record("b", "1")).expect(409, json!({ "code": "idempotency_conflict" }));
    assert_eq!(desk.spent_and_held("month"), "2/0");
}

// Quotas that change.

/// Editing a limit is not a way to spend it twice.
#[test]
fn editing_a_limit_keeps_what_was_spent_and_held() {
    let mut desk = Desk::with_monthly_limit("10");
    let put = |limit: &str| json!({ "op": "putQuota", "id": "month", "quota": tenant_quota("llm", limit, "month") });
    desk.ask(record("a", "3")).expect(201, json!({}));
    desk.ask(reserve("b", "4")).expect(201, json!({}));
    desk.expect(put("6"), 200, json!({ "spent": "3", "held": "4", "remaining": "0", "source": "custom" }));
    desk.ask(reserve("c", "0.01")).expect_denial("month");
    desk.expect(put("8"), 200, json!({ "remaining": "1" }));
    desk.ask(reserve("c", "1")).expect(201, json!({}));
    desk.expect(settle("b", "4"), 200, json!({}));
    assert_eq!(desk.spent_and_held("month"), "7/1");
}

#[test]
fn a_quota_that_counts_something_else_starts_at_zero_and_old_holds_do_not_count() {
    let mut desk = Desk::with_monthly_limit("10");
    desk.ask(record("a", "3")).expect(201, json!({}));
    desk.ask(reserve("b", "4")).expect(201, json!({}));
    let put = json!({ "op": "putQuota", "id": "month", "quota": tenant_quota("all", "10", "month") });
    desk.expect(put.clone(), 200, json!({ "spent": "0", "held": "0" }));
    desk.ask(reserve("c", "10")).expect(201, json!({}));
    desk.expect(settle("b", "4"), 200, json!({ "quotas": [] }));
    assert_eq!(desk.spent_and_held("month"), "0/10");
    // The same again is the same quota.
    desk.expect(put, 200, json!({ "held": "10" }));
    desk.ask(release("c")).expect(200, json!({}));
    assert_eq!(desk.spent_and_held("month"), "0/0");
}

/// Bifrost #4921: a manual reset. It forgives what was spent, not what is held.
#[test]
fn a_reset_starts_the_period_again_and_keeps_holds() {
    let mut desk = Desk::with_monthly_limit("10");
    desk.ask(record("a", "6")).expect(201, json!({}));
    desk.ask(reserve("b", "4")).expect(201, json!({}));
    let reset = json!({ "op": "resetQuota", "id": "month" });
    desk.expect(reset, 200, json!({ "spent": "0", "held": "4", "remaining": "6" }));
    desk.ask(reserve("c", "6.01")).expect_denial("month");
    desk.expect(settle("b", "4"), 200, json!({}));
    assert_eq!(desk.spent_and_held("month"), "4/0");
    desk.ask(json!({ "op": "resetQuota", "id": "none" })).expect(404, json!({ "code": "quota_not_found" }));
}

/// What expiry charged was forgiven by the reset; the late settle must not forgive it a second time.
#[test]
fn a_correction_after_a_reset_never_frees_money() {
    let mut desk = Desk::with_monthly_limit("10");
    desk.ask(with(reserve("a", "10"), json!({ "ttlSeconds": 1 }))).expect(201, json!({}));
    desk.at("2026-11-24T12:05:00Z");
    assert_eq!(desk.spent_and_held("month"), "10/0");
    desk.ask(json!({ "op": "resetQuota", "id": "month" })).expect(200, json!({ "spent": "0" }));
    desk.ask(record("b", "10")).expect(201, json!({}));
    desk.ask(settle("a", "1")).expect(200, json!({ "late": true }));
    desk.ask(reserve("c", "0.01")).expect_denial("month");
    assert_eq!(desk.spent_and_held("month"), "10/0");
}

#[test]
fn a_correction_after_a_reset_never_leaves_less_than_nothing() {
    let mut desk = Desk::with_monthly_limit("10");
    desk.ask(with(reserve("a", "10"), json!({ "ttlSeconds": 1 }))).expect(201, json!({}));
    desk.at("2026-11-24T12:05:00Z")
        .ask(json!({ "op": "resetQuota", "id": "month" }))
        .expect(200, json!({ "spent": "0" }));
    desk.ask(settle("a", "1")).expect(200, json!({ "late": true }));
    let spent = desk.quota("month")["spent"].as_str().unwrap().to_owned();
    assert!(!spent.starts_with('-'), "spent {spent}");
    desk.ask(reserve("c", "10.01")).expect_denial("month");
}

#[test]
fn a_removed_quota_counts_no_more() {
    let mut desk = Desk::open(
        json!({ "quotas": { "a": tenant_quota("llm", "10", "month"), "b": tenant_quota("llm", "20", "month") } }),
    );
    desk.ask(reserve("r", "10")).expect(201, json!({}));
    desk.expect(json!({ "op": "deleteQuota", "id": "a" }), 204, Value::Null);
    desk.ask(json!({ "op": "deleteQuota", "id": "a" })).expect(404, json!({ "code": "quota_not_found" }));
    desk.ask(reserve("s", "10")).expect(201, json!({}));
    desk.expect(settle("r", "10"), 200, json!({ "quotas": [{ "id": "b", "spent": "10", "held": "10" }] }));
    // One that comes back under the same id is another quota.
    let put = json!({ "op": "putQuota", "id": "a", "quota": tenant_quota("llm", "10", "month") });
    desk.expect(put, 200, json!({ "spent": "0", "held": "0" }));
    desk.expect(release("s"), 200, json!({}));
    assert_eq!(desk.spent_and_held("a"), "0/0");
    assert_eq!(desk.spent_and_held("b"), "10/0");
}

#[test]
fn another_plan_takes_its_own_quotas_away_and_keeps_what_was_spent() {
    let quotas = json!({ "both": tenant_quota("llm", "10", "month"), "free": tenant_quota("all", "10", "day"), "own": tenant_quota("llm", "9", "day") });
    let mut desk = Desk::open(json!({ "quotas": quotas }));
    desk.ask(json!({ "op": "putQuota", "id": "own", "quota": tenant_quota("llm", "8", "day") }))
        .expect(200, json!({ "source": "custom" }));
    desk.ask(record("a", "3")).expect(201, json!({}));
    desk.ask(reserve("b", "2")).expect(201, json!({}));
    let pro = json!({ "quotas": { "both": tenant_quota("llm", "100", "month"), "pro": tenant_quota("all", "50", "day"), "own": tenant_quota("llm", "90", "day") } });
    desk.onboard("pro", pro.clone()).expect(
        200,
        json!({ "plan": "pro", "quotas": [
            { "id": "both", "limit": "100", "spent": "3", "held": "2", "source": "plan" },
            { "id": "own", "limit": "8", "spent": "3", "held": "2", "source": "custom" },
            { "id": "pro", "limit": "50", "spent": "0", "held": "0" },
        ] }),
    );
    let entries = desk.history().len();
    desk.onboard("pro", pro).expect(200, json!({ "plan": "pro" }));
    assert_eq!(desk.history().len(), entries, "onboarding again changes nothing");
    desk.expect(settle("b", "2"), 200, json!({}));
    assert_eq!(desk.spent_and_held("both"), "5/0");
    assert_eq!(desk.spent_and_held("pro"), "0/0");
}

#[test]
fn a_tenant_has_a_thousand_quotas_at_most() {
    let quotas: serde_json::Map<_, _> =
        (0..1000).map(|n| (format!("q-{n}"), user_quota(&format!("u-{n}"), "llm", "1", "day"))).collect();
    let mut desk = Desk::open(json!({ "quotas": quotas }));
    let put = |id: &str| json!({ "op": "putQuota", "id": id, "quota": tenant_quota("llm", "1", "day") });
    desk.ask(put("one-more")).expect(400, json!({ "code": "invalid_request" }));
    desk.ask(put("q-1")).expect(200, json!({ "scope": "tenant" }));
}

/// A plan's quotas are counted with those that it leaves alone, and what goes makes room for what comes.
#[test]
fn a_plan_fits_beside_the_quotas_that_it_leaves_alone() {
    let quota = user_quota("u-1", "llm", "1", "day");
    let a_thousand: serde_json::Map<_, _> = (0..1000).map(|n| (format!("q-{n}"), quota.clone())).collect();
    let mut ledger = Ledger::new();
    let mut carry_out = |command: &Command| {
        let entries = &mut Vec::new();
        ledger.execute(Catalog::builtin().unwrap(), at(OPENING), command, entries).map(|_| entries.len())
    };
    let onboard = |name: &str, quotas: &Value| {
        Command::Onboard(Onboard {
            tenant: "acme".parse().unwrap(),
            plan_name: name.parse().unwrap(),
            plan: serde_json::from_value(json!({ "quotas": quotas })).unwrap(),
            policy_version: 1,
        })
    };
    let a_thousand = Value::from(a_thousand);
    assert_eq!(carry_out(&onboard("first", &a_thousand)), Ok(1001));
    // The same thousand again, under another name.
    assert_eq!(carry_out(&onboard("second", &a_thousand)), Ok(1));
    assert_eq!(carry_out(&Command::RemoveQuota("q-0".parse().unwrap(), false)), Ok(1));
    let own = serde_json::from_value(quota.clone()).unwrap();
    assert_eq!(carry_out(&Command::SetQuota("own".parse().unwrap(), own)), Ok(1));
    let refused = carry_out(&onboard("third", &a_thousand));
    assert!(matches!(&refused, Err(Rejection::Invalid { field, .. }) if field == "quotas"), "{refused:?}");
    // The plan, 999 that go and one that comes.
    assert_eq!(carry_out(&onboard("fourth", &json!({ "another": quota }))), Ok(1001));
}

// What no rule covers.

#[test]
fn nothing_happens_before_onboarding() {
    let catalog = Catalog::builtin().unwrap();
    let mut ledger = Ledger::new();
    let mut entries = Vec::new();
    for command in [reserve("a", "1"), record("a", "1"), settle("a", "1"), json!({ "op": "resetQuota", "id": "q" })] {
        let Request::Command(command) = parse_command(&command.to_string()).unwrap() else {
            panic!("a command");
        };
        let rejection = ledger.execute(catalog, at(OPENING), &command, &mut entries).unwrap_err();
        assert_eq!(rejection, Rejection::TenantNotFound);
    }
    assert!(entries.is_empty());
}

/// Autumn #2174: a check without any entitlement came out as allowed, because an empty list is a success. #1534: a tenant
/// without limits got no receipt, and could not finalize.
#[test]
fn without_a_quota_the_policy_decides_and_a_receipt_is_kept() {
    let user_only = json!({ "u-1": user_quota("u-1", "llm", "10", "day") });
    let mut allowing = Desk::open(json!({ "quotas": user_only }));
    allowing.expect(reserve("a", "1000"), 201, json!({ "state": "held", "quotas": [] }));
    allowing.restart();
    allowing.expect(settle("a", "900"), 200, json!({ "state": "settled", "charge": { "usd": "900" } }));
    let charged = allowing.history().iter().filter_map(contribution).map(|(_, totals)| totals.usd).next();
    assert_eq!(charged.unwrap().to_string(), "900");

    let mut denying = Desk::open(json!({ "quotas": user_only, "withoutQuota": "deny" }));
    let denial = denying.ask(reserve("a", "1"));
    denial.expect(429, json!({ "code": "quota_exceeded", "denial": { "quota": null, "quotas": [], "requested": "1", "retryAfterSeconds": null } }));
    assert_eq!(denial.header("Retry-After"), None);
    denying.ask(with(reserve("a", "1"), json!({ "userId": "u-2" }))).expect(429, json!({}));
    denying.ask(with(record("r", "1"), json!({ "mode": "within_limit" }))).expect(429, json!({}));
    denying.ask(with(reserve("a", "1"), json!({ "userId": "u-1" }))).expect(201, json!({}));
    // The money is spent, so it is written down.
    denying.ask(record("r", "1")).expect(201, json!({ "state": "recorded" }));
    denying.expect(
        with(reserve("x", "1"), json!({ "op": "explain" })),
        200,
        json!({ "allowed": false, "denial": { "quota": null } }),
    );
}

/// LiteLLM does not reserve for an unknown model, Cloudflare applies no limit to it, and others price it at nothing.
#[test]
fn an_unknown_model_is_denied_or_costs_the_fallback_and_never_nothing() {
    let unknown = ("openai", "gpt-99");
    let quotas = json!({ "month": tenant_quota("llm", "10", "month") });
    let mut denying = Desk::open(json!({ "quotas": quotas }));
    denying.ask(reserve_tokens("a", unknown, 1000, 1000)).expect(422, json!({ "code": "unpriced", "field": "model" }));
    let used = json!({ "op": "record", "id": "b", "resource": "llm", "provider": "openai", "model": "gpt-99", "usage": { "input": 1000 } });
    denying.ask(used.clone()).expect(422, json!({ "code": "unpriced" }));
    // An amount needs no price.
    denying.ask(with(reserve("c", "1"), json!({ "provider": "openai", "model": "gpt-99" }))).expect(201, json!({}));
    denying.expect(with(settle("c", "1"), json!({})), 200, json!({ "charge": { "usd": "1" } }));

    let fallback = json!({ "fallback": { "perMillion": { "input": "10", "output": "30" } } });
    let mut charging = Desk::open(json!({ "quotas": quotas, "unknownModel": fallback }));
    charging.expect(reserve_tokens("a", unknown, 1000, 1000), 201, json!({ "held": { "usd": "0.04" } }));
    charging.expect(
        json!({ "op": "settle", "id": "a", "usage": { "input": 600, "cache_read": 400, "output": 100, "reasoning": 100 } }),
        200,
        json!({ "charge": { "usd": "0.016", "flags": ["fallback_rates"] } }),
    );
    charging.expect(used, 201, json!({ "charge": { "usd": "0.01", "flags": ["fallback_rates"] } }));
    charging.restart();
    charging.expect(reserve_tokens("e", unknown, 1000, 1000), 201, json!({ "held": { "usd": "0.04" } }));
    // A known model keeps its own price, and a mode that it does not have is not an unknown model.
    charging.expect(reserve_tokens("c", GPT_4O, 1000, 0), 201, json!({ "held": { "usd": "0.0025" } }));
    charging
        .ask(with(reserve_tokens("d", GPT_4O, 1000, 0), json!({ "mode": "flex" })))
        .expect(422, json!({ "code": "unpriced", "field": "mode" }));
}

// What a call costs.

/// LiteLLM #11364, #9812, #14849; Bifrost #904; Langfuse #10592: cached tokens were charged twice. Prompt tokens of this format
/// include the cached ones.
#[test]
fn cached_tokens_are_charged_once() {
    let mut desk = Desk::with_monthly_limit("10");
    desk.ask(reserve_tokens("a", GPT_4O, 10_000, 1000)).expect(201, json!({}));
    let answer = json!({ "choices": [{ "finish_reason": "stop" }], "usage": { "prompt_tokens": 10_000, "completion_tokens": 500, "total_tokens": 10_500,
        "prompt_tokens_details": { "cached_tokens": 8_000 }, "completion_tokens_details": { "reasoning_tokens": 200 } } });
    // 2000 × 2.5 + 8000 × 1.25 + 500 × 10 per million.
    desk.expect(
        json!({ "op": "settle", "id": "a", "payload": { "format": "openai.chat", "body": answer } }),
        200,
        json!({ "charge": { "usd": "0.02", "flags": [], "lines": [
            { "meter": "input", "quantity": 2000, "usd": "0.005" },
            { "meter": "cache_read", "quantity": 8000, "usd": "0.01" },
            { "meter": "output", "quantity": 300, "usd": "0.003" },
            { "meter": "reasoning", "quantity": 200, "usd": "0.002" },
        ] } }),
    );
    assert_eq!(desk.spent_and_held("month"), "0.02/0");
}

/// LiteLLM #33736, #36008, #37558; Otari: a stream that the client leaves is billed at nothing, or at what was seen by chance.
#[test]
fn an_answer_that_broke_off_costs_at_least_what_was_held() {
    let broken = json!([
        { "type": "message_start", "message": { "usage": { "input_tokens": 1000, "output_tokens": 1 } } },
        { "type": "content_block_delta", "index": 0, "delta": { "type": "text_delta", "text": "Once" } },
    ]);
    let settle = json!({ "op": "settle", "id": "a", "payload": { "format": "anthropic.messages", "body": broken } });
    let mut desk = Desk::with_monthly_limit("10");
    let held = desk.expect(reserve_tokens("a", ("anthropic", "claude-haiku-4-5"), 1000, 1000), 201, json!({}));
    let settled = desk.expect(
        settle.clone(),
        200,
        json!({ "released": "0", "overrun": "0", "charge": { "flags": ["incomplete_usage"] } }),
    );
    assert_eq!(settled["charge"]["usd"], held["held"]["usd"]);
    let tokens = desk.history().iter().find_map(|entry| match &entry.event {
        Event::Settled(charged) => Some(charged.spent.tokens.to_string()),
        _ => None,
    });
    assert_eq!(tokens.as_deref(), Some("2000"), "what was not seen may have been tokens, too");
    desk.expect(settle.clone(), 200, json!({ "replayed": true }));

    // What was seen already costs more than was held: that is charged.
    let mut desk = Desk::with_monthly_limit("10");
    desk.ask(reserve_tokens("a", ("anthropic", "claude-haiku-4-5"), 100, 10))
        .expect(201, json!({ "held": { "usd": "0.00025" } }));
    desk.expect(
        settle,
        200,
        json!({ "overrun": "0.000755", "charge": { "usd": "0.001005", "flags": ["incomplete_usage"] } }),
    );
}

/// LiteLLM #37992: an explicit zero was taken for "not reported", and over-billed.
#[test]
fn explicit_zero_usage_is_zero() {
    let mut desk = Desk::with_monthly_limit("10");
    for (id, zero) in [
        ("a", json!({ "usage": { "input": 0, "output": 0 } })),
        ("b", json!({ "usage": {} })),
        ("c", json!({ "usd": "0" })),
        (
            "d",
            json!({ "payload": { "format": "openai.chat", "body": { "choices": [{ "finish_reason": "stop" }],
            "usage": { "prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0 } } } }),
        ),
    ] {
        desk.ask(reserve_tokens(id, GPT_4O, 1000, 1000)).expect(201, json!({}));
        desk.expect(
            with(json!({ "op": "settle", "id": id }), zero),
            200,
            json!({ "charge": { "usd": "0" }, "released": "0.0125" }),
        );
    }
    assert_eq!(desk.spent_and_held("month"), "0/0");
}

/// agency-swarm #742: tiers were applied to the sum of many calls, and doubled the bill. Each call is priced by itself.
#[test]
fn a_tier_is_chosen_by_the_call_and_not_by_the_sum() {
    let mut desk = Desk::with_monthly_limit("10");
    for n in 0..3 {
        desk.expect(
            json!({ "op": "record", "id": format!("r-{n}"), "resource": "llm", "provider": "google", "model": "gemini-2.5-pro",
                "usage": { "input": 150_000, "output": 1000 } }),
            201,
            json!({ "charge": { "usd": "0.1975" } }),
        );
    }
    assert_eq!(desk.spent_and_held("month"), "0.5925/0");
}

/// LiteLLM #40002: reservations ignored the rates above 272,000 tokens.
#[test]
fn a_hold_reckons_with_the_tier_that_the_prompt_can_reach() {
    let mut desk = Desk::with_monthly_limit("100");
    let model = ("openai", "gpt-6.1-sol");
    let input_only = |id: &str, input: u64| {
        with(
            reserve_tokens(id, model, input, 1000),
            json!({ "estimate": { "inputTokens": input, "maxOutputTokens": 1000, "meters": ["input", "output"] } }),
        )
    };
    desk.expect(input_only("a", 272_000), 201, json!({ "held": { "usd": "0.554" } }));
    desk.expect(input_only("b", 272_001), 201, json!({ "held": { "usd": "1.103004" } }));
    // Nobody said that nothing is written to the cache for an hour, so it may be.
    desk.expect(reserve_tokens("c", model, 100_000, 1000), 201, json!({ "held": { "usd": "0.51" } }));
    // Bytes bound tokens: a token has at least one.
    desk.expect(
        with(
            reserve_tokens("d", model, 0, 0),
            json!({ "estimate": { "inputBytes": 100_000, "maxOutputTokens": 1000 } }),
        ),
        201,
        json!({ "held": { "usd": "0.51", "tokens": 101_000 } }),
    );
}

/// The price is the one in force when the call was reserved, however late it is settled.
#[test]
fn the_rate_card_of_the_reservation_prices_the_settle() {
    let mut desk = Desk::with_monthly_limit("100");
    let model = ("google", "gemini-4-argon");
    desk.at("2026-11-30T23:59:59Z").expect(
        reserve_tokens("a", model, 1_000_000, 0),
        201,
        json!({ "held": { "usd": "2" }, "basis": { "rateCard": "google/gemini-4-argon@2026-10-13" } }),
    );
    desk.at("2026-12-01T00:00:00Z");
    desk.expect(
        json!({ "op": "settle", "id": "a", "usage": { "input": 1_000_000 } }),
        200,
        json!({ "charge": { "usd": "2", "basis": { "rateCard": "google/gemini-4-argon@2026-10-13" } } }),
    );
    desk.expect(reserve_tokens("b", model, 1_000_000, 0), 201, json!({ "held": { "usd": "4" } }));
}

#[test]
fn a_sandbox_is_held_by_the_second_and_settled_by_the_second() {
    let mut desk = Desk::open(
        json!({ "quotas": { "llm": tenant_quota("llm", "1", "month"), "e2b": tenant_quota("e2b", "1", "month") } }),
    );
    let sandbox = json!({ "tier": "standard", "seconds": 300, "vcpus": 2, "memoryGib": "0.5" });
    desk.expect(
        json!({ "op": "reserve", "id": "a", "resource": "e2b", "estimate": { "sandbox": sandbox } }),
        201,
        json!({ "held": { "usd": "0.009075", "seconds": 300, "requests": 1 }, "onExpiry": "charge_hold", "basis": { "rateCard": "e2b/standard@1970-01-01" } }),
    );
    desk.expect(
        json!({ "op": "settle", "id": "a", "sandbox": { "seconds": "141.2" } }),
        200,
        json!({ "charge": { "usd": "0.0042713", "lines": [
            { "meter": "vcpu_second", "quantity": "282.4", "usd": "0.0039536" },
            { "meter": "gib_second", "quantity": "70.6", "usd": "0.0003177" },
        ] }, "released": "0.0048037" }),
    );
    assert_eq!(desk.spent_and_held("e2b"), "0.0042713/0");
    assert_eq!(desk.spent_and_held("llm"), "0/0");
    desk.expect(
        json!({ "op": "record", "id": "b", "resource": "e2b", "sandbox": sandbox }),
        201,
        json!({ "charge": { "usd": "0.009075" } }),
    );
    // A tier with one price for the whole box does not care about its size.
    desk.expect(
        json!({ "op": "record", "id": "c", "resource": "e2b", "sandbox": { "tier": "gpu", "seconds": 10 } }),
        201,
        json!({ "charge": { "usd": "0.01" } }),
    );
    // A reservation that was not made for a sandbox has no resources to price.
    desk.ask(reserve("d", "0.1")).expect(201, json!({}));
    desk.ask(json!({ "op": "settle", "id": "d", "sandbox": { "seconds": 1 } }))
        .expect(400, json!({ "field": "sandbox" }));
}

/// A resource that the tier has a price for and that is not named is not free.
#[test]
fn a_sandbox_whose_memory_is_not_named_is_not_held_without_it() {
    let mut desk = Desk::open(json!({ "quotas": { "e2b": tenant_quota("e2b", "1", "month") } }));
    for sandbox in [
        json!({ "tier": "standard", "seconds": 300, "vcpus": 2 }),
        json!({ "tier": "standard", "seconds": 300, "memoryGib": "0.5" }),
        json!({ "tier": "standard", "seconds": 300 }),
    ] {
        let reply =
            desk.ask(json!({ "op": "reserve", "id": "a", "resource": "e2b", "estimate": { "sandbox": sandbox } }));
        assert_eq!(reply.status, 400, "{sandbox}: {reply:?}");
    }
}

#[test]
fn a_sandboxs_extension_is_for_the_same_tier() {
    let mut desk = Desk::open(json!({ "quotas": { "e2b": tenant_quota("e2b", "10", "month") } }));
    desk.ask(json!({ "op": "reserve", "id": "a", "resource": "e2b", "estimate": { "sandbox": { "tier": "high-cpu", "seconds": 10 } } })).expect(201, json!({}));
    let extend =
        |id: &str, estimate: Value| json!({ "op": "extend", "id": "a", "extend": { "id": id, "estimate": estimate } });
    // Ten seconds more on a dearer box, at the price of the cheaper one.
    desk.ask(extend("x", json!({ "sandbox": { "tier": "gpu", "seconds": 20 } })))
        .expect(400, json!({ "code": "invalid_request" }));
    // However the hold grew, the sandbox is still settled by its seconds.
    desk.ask(extend("y", json!({ "usd": "0.01" }))).expect(200, json!({ "held": { "usd": "0.01" } }));
    desk.expect(
        json!({ "op": "settle", "id": "a", "sandbox": { "seconds": 12 } }),
        200,
        json!({ "charge": { "usd": "0.0036" } }),
    );
}

// Warnings.

/// Bifrost #5770: a warning at 99 % fired at 0.40 of 15 USD. Each threshold is crossed when spend reaches it, once per period.
#[test]
fn thresholds_fire_once_when_spend_reaches_them() {
    let quota = with(tenant_quota("llm", "10", "day"), json!({ "warnAt": ["1", "0.5", "0.9"] }));
    let mut desk = Desk::open(json!({ "quotas": { "day": quota } }));
    // A hold is not spend.
    desk.ask(reserve("a", "10")).expect(201, json!({}));
    assert!(desk.warnings().is_empty());
    desk.ask(settle("a", "4.99")).expect(200, json!({}));
    assert!(desk.warnings().is_empty());
    desk.ask(record("b", "0.01")).expect(201, json!({ "quotas": [{ "warned": ["0.5"] }] }));
    desk.restart();
    desk.ask(record("c", "0.5")).expect(201, json!({}));
    assert_eq!(desk.warnings(), ["day 0.5 2026-11-24"]);
    // Two at once, the lower first.
    desk.ask(record("d", "7")).expect(201, json!({ "quotas": [{ "warned": ["0.5", "0.9", "1"] }] }));
    desk.ask(record("e", "7")).expect(201, json!({}));
    assert_eq!(desk.warnings(), ["day 0.5 2026-11-24", "day 0.9 2026-11-24", "day 1 2026-11-24"]);
    // A new period, and a hold that expires in it.
    desk.at("2026-11-25T00:00:00Z").ask(with(reserve("f", "5"), json!({ "ttlSeconds": 1 }))).expect(201, json!({}));
    desk.at("2026-11-25T00:00:01Z").quota("day");
    assert_eq!(desk.warnings().last().unwrap(), "day 0.5 2026-11-25");
    assert_eq!(desk.warnings().len(), 4);
}

#[test]
fn a_raised_limit_may_be_reached_again() {
    let mut desk = Desk::with_monthly_limit("10");
    let put = |limit: &str| json!({ "op": "putQuota", "id": "month", "quota": tenant_quota("llm", limit, "month") });
    desk.ask(record("a", "10")).expect(201, json!({ "quotas": [{ "warned": ["0.8", "1"] }] }));
    desk.expect(put("12"), 200, json!({ "warned": ["0.8"] }));
    desk.ask(record("b", "2")).expect(201, json!({ "quotas": [{ "warned": ["0.8", "1"] }] }));
    assert_eq!(desk.warnings(), ["month 0.8 2026-11-01", "month 1 2026-11-01", "month 1 2026-11-01"]);
}

// Bounds on everything.

#[test]
fn the_ten_thousand_and_first_hold_is_refused() {
    let mut local = Local::open(json!({ "tenant": "acme", "plan": { "quotas": {} } }));
    let mut ask = |command: Value| local.ask(at(OPENING), &command);
    assert!((0..10_000).all(|n| ask(reserve(&format!("r-{n}"), "1")).status == 201));
    let refused = ask(reserve("one-more", "1"));
    refused.expect(
        429,
        json!({ "code": "too_many_holds", "holds": { "scope": "tenant", "open": 10_000, "limit": 10_000,
            "freesAt": "2026-11-24T12:10:00.000Z", "retryAfterSeconds": 600 } }),
    );
    assert_eq!(refused.header("Retry-After"), Some("600"));
    ask(json!({ "op": "explain", "resource": "llm", "estimate": { "usd": "1" } }))
        .expect(429, json!({ "code": "too_many_holds" }));
    assert_eq!(ask(reserve("r-7", "1")).status, 201, "a repeat holds nothing more");
    assert_eq!(ask(record("spent", "1")).status, 201, "what was spent is recorded all the same");
    assert_eq!(ask(settle("r-7", "1")).status, 200);
    assert_eq!(ask(reserve("one-more", "1")).status, 201);
}

/// A hold of nothing keeps no counter alive; ending it in a later period must leave that period alone.
#[test]
fn a_hold_of_nothing_never_erases_what_the_next_period_spent() {
    let nothing = |id: &str| with(reserve(id, "0"), json!({ "ttlSeconds": 86_400 }));
    let extend = json!({ "op": "extend", "id": "a", "extend": { "id": "x", "ttlSeconds": 86_400 } });
    for end in [settle("a", "0"), settle("a", "2"), release("a"), extend] {
        let mut desk = Desk::open(json!({ "quotas": { "day": tenant_quota("llm", "10", "day") } }));
        desk.ask(nothing("a")).expect(201, json!({}));
        desk.at("2026-11-25T00:00:00Z").ask(record("b", "10")).expect(201, json!({}));
        desk.ask(end.clone()).expect(200, json!({}));
        assert_eq!(desk.spent_and_held("day"), "10/0", "after {end}");
        desk.ask(reserve("c", "10")).expect_denial("day");
    }
    // Its own period still counts it, too.
    let mut desk = Desk::open(json!({ "quotas": { "day": tenant_quota("llm", "10", "day") } }));
    desk.ask(nothing("a")).expect(201, json!({}));
    desk.ask(record("b", "3")).expect(201, json!({}));
    desk.at("2026-11-25T00:00:00Z").ask(record("c", "1")).expect(201, json!({}));
    let of_the_first_day = json!({ "spent": "5", "periodStart": "2026-11-24T00:00:00.000Z" });
    desk.expect(settle("a", "2"), 200, json!({ "overrun": "2", "quotas": [of_the_first_day] }));
}

/// One amount is bounded by a billion; sums are not, and a state that was written must be readable.
#[test]
fn sums_beyond_a_billion_survive_a_restart() {
    let mut desk = Desk::with_monthly_limit("1000000000");
    desk.ask(record("a", "1000000000")).expect(201, json!({}));
    desk.ask(record("b", "999999999.999999999999")).expect(201, json!({}));
    desk.restart();
    assert_eq!(desk.spent_and_held("month"), "1999999999.999999999999/0");
    desk.expect(json!({ "op": "resetQuota", "id": "month" }), 200, json!({ "spent": "0" }));
    desk.restart();
}

/// More money than the quota has was spent by others; a caller that asks for no more money is not held up by that.
#[test]
fn an_extension_that_adds_nothing_passes_on_an_overrun_quota() {
    let mut desk = Desk::with_monthly_limit("10");
    desk.ask(reserve("a", "5")).expect(201, json!({}));
    desk.ask(record("b", "20")).expect(201, json!({}));
    let extend =
        json!({ "op": "extend", "id": "a", "extend": { "id": "x", "ttlSeconds": 6000, "estimate": { "usd": "5" } } });
    desk.expect(extend, 200, json!({ "held": { "usd": "5" }, "expiresAt": "2026-11-24T13:40:00.000Z" }));
}

/// Waiting for the end of a period that is over is no advice.
#[test]
fn a_hold_that_cannot_grow_in_a_period_that_is_over_is_not_told_to_wait() {
    let mut desk = Desk::open(json!({ "quotas": { "hour": tenant_quota("llm", "5", "hour") } }));
    desk.ask(with(reserve("a", "5"), json!({ "ttlSeconds": 86_400 }))).expect(201, json!({}));
    desk.at("2026-11-24T14:00:00Z");
    let denial = desk.ask(json!({ "op": "extend", "id": "a", "extend": { "id": "x", "estimate": { "usd": "6" } } }));
    denial.expect(429, json!({ "denial": { "quota": "hour", "retryAfterSeconds": null } }));
    assert_eq!(denial.header("Retry-After"), None);
}
