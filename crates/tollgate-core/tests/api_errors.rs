//! Requests that are wrong, for everything that reads requests: which code they get and which field is named. Nothing that is wrong is
//! ignored, guessed or read in part.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

mod support;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde::Deserialize;
use serde_json::{Value, json};
use support::{at, with};
use tollgate_core::api::{
    self, Answer, Code, MAX_BATCH, Problem, parse_batch, parse_command, parse_entries_query, parse_explain,
    parse_extend, parse_id, parse_onboard, parse_policy, parse_price, parse_quota, parse_record, parse_release,
    parse_reserve, parse_settle, parse_token_request, parse_usage_query,
};
use tollgate_core::ids::{QuotaId, TenantId};

/// A request that is wrong, and the field that is to be named.
type Case = (Value, &'static str);

/// Every one is refused as invalid, with its field, and the sentence says where.
fn refused<T>(parse: impl Fn(&str) -> Result<T, Problem>, cases: impl IntoIterator<Item = Case>) {
    refused_as(Code::InvalidRequest, parse, cases);
}

fn refused_as<T>(code: Code, parse: impl Fn(&str) -> Result<T, Problem>, cases: impl IntoIterator<Item = Case>) {
    let mut failures = Vec::new();
    for (request, field) in cases {
        match parse(&request.to_string()) {
            Ok(_) => failures.push(format!("{request}: accepted, although `{field}` is wrong")),
            Err(problem) if problem.code == code && problem.field.as_deref() == Some(field) => {
                assert!(!problem.detail.is_empty());
                assert_eq!(problem.denial, None);
            }
            Err(problem) => failures.push(format!("{request}: expected {} of `{field}`, got {problem:?}", code.name())),
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// A request without one of its members.
fn without(mut request: Value, name: &str) -> Value {
    assert!(request.as_object_mut().unwrap().remove(name).is_some(), "there is no {name} in {request}");
    request
}

fn reserve() -> Value {
    json!({ "id": "a", "resource": "llm", "provider": "openai", "model": "gpt-4o", "estimate": { "inputTokens": 1, "maxOutputTokens": 1 } })
}

fn record() -> Value {
    json!({ "id": "a", "resource": "llm", "provider": "openai", "model": "gpt-4o", "usage": { "input": 1 } })
}

fn quota() -> Value {
    json!({ "scope": "tenant", "resource": "llm", "unit": "usd", "limit": "1", "period": "day" })
}

/// Wrong in the parts that reserve, explain and record have in common.
fn wrong_calls(base: &Value) -> Vec<Case> {
    let long = "x".repeat(129);
    let many: serde_json::Map<_, _> = (0..17).map(|n| (format!("k-{n}"), json!("v"))).collect();
    // Each within its bound, and all together too much.
    let big: serde_json::Map<_, _> = (0..5).map(|n| (format!("k-{n}"), json!("v".repeat(250)))).collect();
    let put = |member: Value| with(base.clone(), member);
    vec![
        (without(base.clone(), "resource"), "resource"),
        (put(json!({ "resource": "gpu" })), "resource"),
        (put(json!({ "resource": null })), "resource"),
        (put(json!({ "id": "" })), "id"),
        (put(json!({ "id": long })), "id"),
        (put(json!({ "id": "a b" })), "id"),
        (put(json!({ "id": "../b" })), "id"),
        (put(json!({ "id": 7 })), "id"),
        (put(json!({ "userId": "u/7" })), "userId"),
        (put(json!({ "userId": { "name": "u" } })), "userId"),
        (put(json!({ "provider": "" })), "provider"),
        (put(json!({ "provider": "open\nai" })), "provider"),
        (put(json!({ "model": long })), "model"),
        (put(json!({ "model": ["gpt-4o"] })), "model"),
        (put(json!({ "region": "" })), "region"),
        (put(json!({ "attribution": "main-chat" })), "attribution"),
        (put(json!({ "attribution": { "touchpoint": "" } })), "attribution.touchpoint"),
        (put(json!({ "attribution": { "conversationId": long } })), "attribution.conversationId"),
        (put(json!({ "attribution": { "user": "u-7" } })), "attribution.user"),
        (put(json!({ "attribution": { "tags": ["a"] } })), "attribution.tags"),
        (put(json!({ "attribution": { "tags": { "route": 7 } } })), "attribution.tags.route"),
        (put(json!({ "attribution": { "tags": { "route": "x".repeat(257) } } })), "attribution.tags"),
        (put(json!({ "attribution": { "tags": many } })), "attribution.tags"),
        (put(json!({ "attribution": { "tags": big } })), "attribution.tags"),
        (put(json!({ "attribution": { "tags": { "k".repeat(65): "v" } } })), "attribution.tags"),
        (put(json!({ "tenantId": "acme" })), "tenantId"),
        (put(json!({ "user_id": "u-7" })), "user_id"),
    ]
}

fn wrong_estimates(path: &'static str) -> Vec<(Value, String)> {
    let at = |field: &str| if field.is_empty() { path.to_owned() } else { format!("{path}.{field}") };
    let tokens = json!({ "inputTokens": 1, "maxOutputTokens": 1 });
    let sandbox = json!({ "tier": "standard", "seconds": 1, "vcpus": 1, "memoryGib": 1 });
    let token = |member: Value| with(tokens.clone(), member);
    let sand = |member: Value| json!({ "sandbox": with(sandbox.clone(), member) });
    vec![
        (json!({}), at("")),
        (json!("1"), at("")),
        (json!([1]), at("")),
        (json!({ "inputTokens": 1 }), at("maxOutputTokens")),
        (json!({ "maxOutputTokens": 1 }), at("")),
        (json!({ "meters": ["input"] }), at("")),
        (token(json!({ "inputBytes": 1 })), at("")),
        (token(json!({ "usd": "1" })), at("")),
        (token(json!({ "sandbox": sandbox })), at("")),
        (json!({ "usd": "1", "sandbox": sandbox }), at("")),
        (json!({ "usd": "1", "maxWebSearches": 1 }), at("")),
        (token(json!({ "inputTokens": "1" })), at("inputTokens")),
        (token(json!({ "inputTokens": -1 })), at("inputTokens")),
        (token(json!({ "inputTokens": 1.5 })), at("inputTokens")),
        (token(json!({ "inputTokens": 1_000_000_000_001_u64 })), at("inputTokens")),
        (token(json!({ "maxOutputTokens": -1 })), at("maxOutputTokens")),
        (token(json!({ "maxOutputTokens": 1_000_000_000_001_u64 })), at("maxOutputTokens")),
        (token(json!({ "maxWebSearches": 0.5 })), at("maxWebSearches")),
        (token(json!({ "maxWebSearches": 1_000_000_000_001_u64 })), at("maxWebSearches")),
        (token(json!({ "meters": ["input", "inptu"] })), at("meters[1]")),
        (token(json!({ "meters": "input" })), at("meters")),
        (token(json!({ "maxTokens": 1 })), at("maxTokens")),
        (json!({ "usd": 1 }), at("usd")),
        (json!({ "usd": "" }), at("usd")),
        (json!({ "usd": "1,5" }), at("usd")),
        (json!({ "usd": "1e3" }), at("usd")),
        (json!({ "usd": "-0.01" }), at("usd")),
        (json!({ "usd": "1000000000.01" }), at("usd")),
        (json!({ "usd": "0.0000000000001" }), at("usd")),
        (json!({ "usd": "NaN" }), at("usd")),
        (sand(json!({ "tier": "" })), at("sandbox.tier")),
        (json!({ "sandbox": without(sandbox.clone(), "tier") }), at("sandbox.tier")),
        (json!({ "sandbox": without(sandbox.clone(), "seconds") }), at("sandbox.seconds")),
        (sand(json!({ "seconds": -1 })), at("sandbox.seconds")),
        (sand(json!({ "seconds": "0.0000001" })), at("sandbox.seconds")),
        (sand(json!({ "seconds": "long" })), at("sandbox.seconds")),
        (sand(json!({ "vcpus": -2 })), at("sandbox.vcpus")),
        (sand(json!({ "memoryGib": 1e13 })), at("sandbox.memoryGib")),
        (sand(json!({ "memory": 1 })), at("sandbox.memory")),
    ]
}

#[test]
fn reserve_and_explain() {
    let base = reserve();
    let put = |member: Value| with(base.clone(), member);
    let mut cases = wrong_calls(&base);
    cases.extend([
        (without(base.clone(), "estimate"), "estimate"),
        (put(json!({ "ttlSeconds": 0 })), "ttlSeconds"),
        (put(json!({ "ttlSeconds": 86_401 })), "ttlSeconds"),
        (put(json!({ "ttlSeconds": -1 })), "ttlSeconds"),
        (put(json!({ "ttlSeconds": 4_294_967_296_u64 })), "ttlSeconds"),
        (put(json!({ "ttlSeconds": "600" })), "ttlSeconds"),
        (put(json!({ "onExpiry": "forget" })), "onExpiry"),
        (put(json!({ "onExpiry": "chargeHold" })), "onExpiry"),
        (put(json!({ "mode": "fast" })), "mode"),
        (put(json!({ "mode": "always" })), "mode"),
        (put(json!({ "estimate": { "sandbox": { "tier": "gpu", "seconds": 1 } } })), "resource"),
        (put(json!({ "resource": "e2b", "estimate": { "sandbox": { "tier": "gpu", "seconds": 1 } } })), "model"),
        // In a batch a command has its name; here that would be ignored.
        (put(json!({ "op": "reserve" })), "op"),
    ]);
    refused(parse_reserve, cases.clone());
    refused(parse_explain, cases);
    refused(parse_reserve, [(without(base.clone(), "id"), "id")]);
    assert!(parse_explain(&without(base.clone(), "id").to_string()).is_ok());
    for (estimate, field) in wrong_estimates("estimate") {
        let problem = parse_reserve(
            &put(json!({ "resource": "e2b", "model": null, "provider": null, "estimate": estimate })).to_string(),
        )
        .expect_err(&format!("{estimate} was accepted"));
        assert_eq!(
            (problem.code, problem.field.as_deref()),
            (Code::InvalidRequest, Some(&*field)),
            "{estimate}: {problem:?}"
        );
    }
}

#[test]
fn settle() {
    refused(
        parse_settle,
        [
            (json!({}), "usage"),
            (json!({ "usage": { "input": 1 }, "usd": "1" }), "usage"),
            (json!({ "usd": "1", "sandbox": { "seconds": 1 } }), "usage"),
            (json!({ "usd": 1 }), "usd"),
            (json!({ "usd": "-1" }), "usd"),
            (json!({ "usd": "1.0000000000001" }), "usd"),
            (json!({ "usage": [1] }), "usage"),
            (json!({ "usage": { "inptu": 1 } }), "usage.inptu"),
            (json!({ "usage": { "input": -1 } }), "usage.input"),
            (json!({ "usage": { "input": 1.5 } }), "usage.input"),
            (json!({ "usage": { "input": "1.5" } }), "usage.input"),
            (json!({ "usage": { "input": null } }), "usage.input"),
            (json!({ "usage": { "input": 1_000_000_000_001_u64 } }), "usage.input"),
            (json!({ "usage": { "input": 1, "web_search": 0.5 } }), "usage.web_search"),
            (json!({ "usage": { "vcpu_second": "0.0000001" } }), "usage.vcpu_second"),
            (json!({ "sandbox": {} }), "sandbox.seconds"),
            (json!({ "sandbox": { "seconds": -1 } }), "sandbox.seconds"),
            (json!({ "sandbox": { "seconds": 1, "tier": "gpu" } }), "sandbox.tier"),
            (json!({ "payload": { "format": "openai" } }), "payload.format"),
            (json!({ "payload": { "format": "openai.chat" } }), "payload.body"),
            (json!({ "payload": { "body": {} } }), "payload.format"),
            (json!({ "payload": { "format": "openai.chat", "body": {}, "model": "gpt-4o" } }), "payload.model"),
            (json!({ "payload": "openai.chat" }), "payload"),
            (json!({ "usd": "1", "charge": "2" }), "charge"),
            // An id that is not the path's must not be taken for it.
            (json!({ "usd": "1", "id": "b" }), "id"),
            (json!({ "usd": "1", "op": "settle" }), "op"),
        ],
    );
    refused_as(
        Code::InvalidPayload,
        parse_settle,
        [
            (json!({ "payload": { "format": "openai.chat", "body": {} } }), "payload.body.usage"),
            (
                json!({ "payload": { "format": "openai.chat", "body": { "usage": { "prompt_tokens": "1", "completion_tokens": 1 } } } }),
                "payload.body.usage.prompt_tokens",
            ),
        ],
    );
    // The last one wins in many a JSON reader; here nobody has to know which.
    for twice in [r#"{"usd":"1","usd":"2"}"#, r#"{"usage":{"input":1,"input":2}}"#] {
        let problem = parse_settle(twice).unwrap_err();
        assert_eq!(problem.code, Code::InvalidRequest, "{twice}");
        assert!(problem.field.is_some(), "{twice}");
    }
}

#[test]
fn release() {
    refused(
        parse_release,
        [(json!({ "reason": "x" }), "reason"), (json!({ "id": "b" }), "id"), (json!({ "op": "release" }), "op")],
    );
    for nothing in ["", "  \n", "{}"] {
        assert_eq!(parse_release(nothing), Ok(()));
    }
    for other in ["[]", "null", "7", "{"] {
        assert_eq!(parse_release(other).unwrap_err().code, Code::InvalidRequest, "{other}");
    }
}

#[test]
fn extend() {
    refused(
        parse_extend,
        [
            (json!({ "ttlSeconds": 60 }), "id"),
            (json!({ "id": "x/y", "ttlSeconds": 60 }), "id"),
            (json!({ "id": "x", "ttlSeconds": 0 }), "ttlSeconds"),
            (json!({ "id": "x", "ttlSeconds": 86_401 }), "ttlSeconds"),
            (json!({ "id": "x", "seconds": 60 }), "seconds"),
            (json!({ "id": "x", "estimate": { "usd": "-1" } }), "estimate.usd"),
        ],
    );
    for (estimate, field) in wrong_estimates("estimate") {
        let problem = parse_extend(&json!({ "id": "x", "estimate": estimate }).to_string()).unwrap_err();
        assert_eq!(
            (problem.code, problem.field.as_deref()),
            (Code::InvalidRequest, Some(&*field)),
            "{estimate}: {problem:?}"
        );
    }
}

#[test]
fn records() {
    let base = record();
    let put = |member: Value| with(base.clone(), member);
    let mut cases = wrong_calls(&base);
    cases.extend([
        (without(base.clone(), "id"), "id"),
        (without(base.clone(), "usage"), "usage"),
        (put(json!({ "usd": "1" })), "usage"),
        (put(json!({ "mode": "batch" })), "mode"),
        (put(json!({ "mode": "never" })), "mode"),
        (put(json!({ "processing": "always" })), "processing"),
        (put(json!({ "usage": { "output": -1 } })), "usage.output"),
        (put(json!({ "ttlSeconds": 60 })), "ttlSeconds"),
        (with(without(base.clone(), "usage"), json!({ "usd": "-1" })), "usd"),
        (with(without(base.clone(), "usage"), json!({ "sandbox": { "tier": "gpu", "seconds": 1 } })), "resource"),
        (json!({ "id": "a", "resource": "e2b", "sandbox": { "seconds": 1 } }), "sandbox.tier"),
        (json!({ "id": "a", "resource": "e2b", "sandbox": { "tier": "gpu", "seconds": -1 } }), "sandbox.seconds"),
        (
            json!({ "id": "a", "resource": "e2b", "model": "other", "sandbox": { "tier": "gpu", "seconds": 1 } }),
            "model",
        ),
        (put(json!({ "op": "record" })), "op"),
    ]);
    refused(parse_record, cases);
}

#[test]
fn commands() {
    let op = |name: &str, more: Value| with(json!({ "op": name }), more);
    refused(
        parse_command,
        [
            (json!({ "id": "a" }), "op"),
            (op("frobnicate", json!({ "id": "a" })), "op"),
            (op("get_reservation", json!({ "id": "a" })), "op"),
            (json!({ "op": 7 }), "op"),
            (op("settle", json!({ "usd": "1" })), "id"),
            (op("settle", json!({ "id": "a b", "usd": "1" })), "id"),
            (op("settle", json!({ "id": 7, "usd": "1" })), "id"),
            (op("settle", json!({ "id": "a", "usd": "1", "when": "now" })), "when"),
            (op("release", json!({})), "id"),
            (op("release", json!({ "id": "a", "usd": "1" })), "usd"),
            (op("extend", json!({ "id": "a" })), "extend"),
            (op("extend", json!({ "id": "a", "ttlSeconds": 60 })), "ttlSeconds"),
            (op("extend", json!({ "id": "a", "extend": {} })), "extend.id"),
            (op("extend", json!({ "id": "a", "extend": { "id": "x", "ttlSeconds": 0 } })), "extend.ttlSeconds"),
            (
                op("extend", json!({ "id": "a", "extend": { "id": "x", "estimate": { "usd": "-1" } } })),
                "extend.estimate.usd",
            ),
            (op("extend", json!({ "extend": { "id": "x", "ttlSeconds": 60 } })), "id"),
            (op("reserve", without(reserve(), "id")), "id"),
            (op("reserve", with(reserve(), json!({ "ttl": 60 }))), "ttl"),
            (op("explain", with(reserve(), json!({ "ttl": 60 }))), "ttl"),
            (op("record", with(record(), json!({ "ttl": 60 }))), "ttl"),
            (op("getReservation", json!({})), "id"),
            (op("getReservation", json!({ "id": "a", "verbose": true })), "verbose"),
            (op("listQuotas", json!({ "user": "u-7" })), "user"),
            (op("putQuota", json!({ "id": "q" })), "quota"),
            (op("putQuota", json!({ "quota": quota() })), "id"),
            (op("putQuota", json!({ "id": "q", "quota": without(quota(), "limit") })), "quota.limit"),
            (op("putQuota", json!({ "id": "q", "quota": with(quota(), json!({ "limit": 1 })) })), "quota.limit"),
            (op("deleteQuota", json!({})), "id"),
            (op("deleteQuota", json!({ "id": "q", "dryRun": true })), "dryRun"),
            (op("resetQuota", json!({ "id": "" })), "id"),
            (op("resetQuota", json!({ "id": "q", "dryRun": true })), "dryRun"),
            (op("usage", json!({ "groupBy": "user" })), "groupBy"),
            (op("usage", json!({ "groupBy": ["colour"] })), "groupBy"),
            (op("usage", json!({ "groupBy": ["day", "user", "day"] })), "groupBy"),
            (op("usage", json!({ "from": "2026-11-24" })), "from"),
            (op("usage", json!({ "from": "2026-11-24T12:00:00.001Z" })), "from"),
            (op("usage", json!({ "to": 7 })), "to"),
            (op("usage", json!({ "until": "2026-11-24T12:00:00Z" })), "until"),
            (op("entries", json!({ "limit": 0 })), "limit"),
            (op("entries", json!({ "limit": 1001 })), "limit"),
            (op("entries", json!({ "limit": "10" })), "limit"),
            (op("entries", json!({ "after": -1 })), "after"),
            (op("entries", json!({ "before": 7 })), "before"),
        ],
    );
}

#[test]
fn batches() {
    refused(
        parse_batch,
        [
            (json!({}), "commands"),
            (json!({ "commands": {} }), "commands"),
            (json!({ "commands": [], "atomic": true }), "atomic"),
            (json!({ "commands": vec![json!({ "op": "release", "id": "a" }); MAX_BATCH + 1] }), "commands"),
        ],
    );
    // One that is wrong is answered by itself.
    let batch = json!({ "commands": [
        { "op": "release", "id": "a" },
        7,
        { "op": "settle", "id": "a" },
        { "op": "frobnicate" },
        { "op": "explain", "resource": "llm", "estimate": { "usd": "1" } },
    ] });
    let read = parse_batch(&batch.to_string()).unwrap();
    let fields: Vec<_> =
        read.iter().map(|command| command.as_ref().err().map(|problem| problem.field.as_deref())).collect();
    assert_eq!(fields, [None, Some(None), Some(Some("usage")), Some(Some("op")), None]);
    assert_eq!(
        parse_batch(&json!({ "commands": vec![json!({ "op": "release", "id": "a" }); MAX_BATCH] }).to_string())
            .unwrap()
            .len(),
        MAX_BATCH
    );
    // A batch is open to whoever may spend: what only the administrator may do is not in it, and neither are reports.
    for command in [
        json!({ "op": "putQuota", "id": "q", "quota": quota() }),
        json!({ "op": "deleteQuota", "id": "q" }),
        json!({ "op": "resetQuota", "id": "q" }),
        json!({ "op": "listQuotas" }),
        json!({ "op": "getReservation", "id": "a" }),
        json!({ "op": "usage" }),
        json!({ "op": "entries" }),
    ] {
        let read = parse_batch(&json!({ "commands": [command] }).to_string()).unwrap();
        let problem = read[0].as_ref().expect_err("an operation that a batch does not have");
        assert_eq!((problem.code, problem.field.as_deref()), (Code::InvalidRequest, Some("op")), "{command}");
    }
}

#[test]
fn quotas() {
    let put = |member: Value| with(quota(), member);
    refused(
        parse_quota,
        [
            (without(quota(), "scope"), "scope"),
            (without(quota(), "resource"), "resource"),
            (without(quota(), "unit"), "unit"),
            (without(quota(), "limit"), "limit"),
            (without(quota(), "period"), "period"),
            (put(json!({ "scope": "platform" })), "scope"),
            (put(json!({ "scopeId": "u/7" })), "scopeId"),
            (put(json!({ "resource": "gpu" })), "resource"),
            (put(json!({ "unit": "eur" })), "unit"),
            (put(json!({ "limit": 100 })), "limit"),
            (put(json!({ "limit": "1000000001" })), "limit"),
            (put(json!({ "limit": "unlimited" })), "limit"),
            (put(json!({ "period": "year" })), "period"),
            (put(json!({ "period": { "rolling": -60 } })), "period.rolling"),
            (put(json!({ "warnAt": "0.8" })), "warnAt"),
            (put(json!({ "warnAt": ["0"] })), "warnAt"),
            (put(json!({ "warnAt": ["0.5", "1.01"] })), "warnAt"),
            (put(json!({ "warnAt": [0.8] })), "warnAt[0]"),
            (put(json!({ "warnAt": ["-0.5"] })), "warnAt"),
            (put(json!({ "warnAt": ["0.1", "0.2", "0.3", "0.4", "0.5", "0.6", "0.7", "0.8", "0.9"] })), "warnAt"),
            (put(json!({ "enforcment": "warn" })), "enforcment"),
        ],
    );
}

#[test]
fn onboarding_policies_and_tokens() {
    refused(
        parse_onboard,
        [(json!({ "plan": "" }), "plan"), (json!({ "plan": 7 }), "plan"), (json!({ "plans": "pro" }), "plans")],
    );
    for nothing in ["", "{}", " \n"] {
        assert_eq!(parse_onboard(nothing).unwrap().plan, None);
    }
    let policy = |plan: Value| json!({ "defaultPlan": "free", "plans": { "free": plan } });
    let fallback = |rates: Value| policy(json!({ "unknownModel": { "fallback": rates } }));
    let plans: serde_json::Map<_, _> = (0..101).map(|n| (format!("p-{n}"), json!({}))).collect();
    refused(
        parse_policy,
        [
            (json!({ "plans": {} }), "defaultPlan"),
            (json!({ "defaultPlan": "free" }), "plans"),
            (json!({ "defaultPlan": "pro", "plans": { "free": {} } }), "defaultPlan"),
            (json!({ "defaultPlan": "p-1", "plans": plans }), "plans"),
            (with(policy(json!({})), json!({ "default": "free" })), "default"),
            (policy(json!({ "quota": {} })), "plans.free.quota"),
            (policy(json!({ "quotas": { "q": without(quota(), "limit") } })), "plans.free.quotas.q.limit"),
            (
                policy(json!({ "quotas": { "q": with(quota(), json!({ "limit": "-1" })) } })),
                "plans.free.quotas.q.limit",
            ),
            (
                policy(json!({ "quotas": { "q": with(quota(), json!({ "scope": "user" })) } })),
                "plans.free.quotas.q.scopeId",
            ),
            (
                policy(json!({ "quotas": { "q": with(quota(), json!({ "scopeId": "u-7" })) } })),
                "plans.free.quotas.q.scopeId",
            ),
            (policy(json!({ "quotas": { "a/b": quota() } })), "plans.free.quotas.a/b"),
            (policy(json!({ "withoutQuota": "maybe" })), "plans.free.withoutQuota"),
            (policy(json!({ "unknownModel": "allow" })), "plans.free.unknownModel"),
            (fallback(json!({ "perMillion": { "input": "1" } })), "plans.free.unknownModel.fallback"),
            (fallback(json!({ "perMillion": { "input": "0", "output": "1" } })), "plans.free.unknownModel.fallback"),
            (fallback(json!({ "perMillion": { "input": "-1", "output": "1" } })), "plans.free.unknownModel.fallback"),
            (
                fallback(json!({ "perMillion": { "input": "1", "output": "1", "request": "1" } })),
                "plans.free.unknownModel.fallback",
            ),
            (fallback(json!({})), "plans.free.unknownModel.fallback"),
        ],
    );

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "snake_case")]
    enum Role {
        App,
    }
    refused(
        parse_token_request::<Role>,
        [
            (json!({}), "role"),
            (json!({ "role": "admin" }), "role"),
            (json!({ "role": "app", "expiresInSeconds": 0 }), "expiresInSeconds"),
            (json!({ "role": "app", "expiresInSeconds": 31_536_001 }), "expiresInSeconds"),
            (json!({ "role": "app", "expiresInSeconds": "86400" }), "expiresInSeconds"),
            (json!({ "role": "app", "tenant": "other" }), "tenant"),
        ],
    );
    let Role::App = parse_token_request::<Role>(r#"{"role":"app"}"#).unwrap().role;
}

#[test]
fn prices() {
    let base =
        json!({ "provider": "openai", "model": "gpt-4o", "usage": { "input": 1 }, "at": "2026-11-24T12:00:00Z" });
    let put = |member: Value| with(base.clone(), member);
    let broken = json!({ "format": "anthropic.messages", "body": [{ "type": "message_start", "message": { "usage": { "input_tokens": 1, "output_tokens": 1 } } }] });
    let cases = [
        (without(base.clone(), "provider"), "provider"),
        (without(base.clone(), "model"), "model"),
        (without(base.clone(), "usage"), "usage"),
        (put(json!({ "payload": broken })), "usage"),
        (put(json!({ "provider": "" })), "provider"),
        (put(json!({ "usage": { "input": -1 } })), "usage.input"),
        (put(json!({ "mode": "always" })), "mode"),
        (put(json!({ "at": "yesterday" })), "at"),
        (put(json!({ "at": "1969-12-31T23:59:59Z" })), "at"),
        (put(json!({ "at": 1_795_521_600 })), "at"),
        (put(json!({ "usd": "1" })), "usd"),
        (with(without(base.clone(), "usage"), json!({ "payload": broken })), "payload"),
    ];
    let now = at("2026-11-24T12:00:00Z");
    refused(|json| parse_price(json, Some(now)), cases.clone());
    refused(|json| parse_price(json, None), cases);
    refused(|json| parse_price(json, None), [(without(base.clone(), "at"), "at")]);
    assert!(parse_price(&without(base, "at").to_string(), Some(now)).is_ok());
}

#[test]
fn queries() {
    let field = |answer: Result<_, Problem>| answer.map(|_: api::Request| ()).unwrap_err().field.unwrap();
    for (name, value) in [
        ("groupBy", "colour"),
        ("groupBy", "user,user"),
        ("from", "2026-11-24"),
        ("from", "2026-11-24T12:40:00Z"),
        ("to", "2026-11-24T12:00:00.5Z"),
        ("to", ""),
        ("group_by", "user"),
        ("timeZone", "Asia/Kolkata"),
        ("limit", "0"),
        ("limit", "1001"),
        ("limit", "x"),
        ("after", "x"),
        ("after", "5b5d"),
    ] {
        assert_eq!(field(parse_usage_query([(name, value)])), name, "{name}={value}");
    }
    for (name, value) in [
        ("after", "-1"),
        ("after", "x"),
        ("after", ""),
        ("after", "1.0"),
        ("limit", "0"),
        ("limit", "1001"),
        ("limit", "99999999999999999999"),
        ("before", "1"),
    ] {
        assert_eq!(field(parse_entries_query([(name, value)])), name, "{name}={value}");
    }
    // The same parameter twice: which of them counts would be a guess.
    assert_eq!(field(parse_usage_query([("from", "2026-11-24T12:00:00Z"), ("from", "2026-11-24T13:00:00Z")])), "from");
    assert_eq!(field(parse_entries_query([("after", "1"), ("after", "2")])), "after");
    assert!(parse_usage_query([("groupBy", "user,day"), ("from", "2026-11-24T13:00:00+01:00")]).is_ok());
    assert!(parse_usage_query([]).is_ok() && parse_entries_query([("after", "0"), ("limit", "1000")]).is_ok());
}

#[test]
fn ids() {
    for bad in ["", "a/b", "a b", "ü", "..", &"x".repeat(129), "a?b", "<a>"] {
        let problem = parse_id::<TenantId>("tenant", bad).unwrap_err();
        assert_eq!((problem.code, problem.field.as_deref()), (Code::InvalidRequest, Some("tenant")), "{bad}");
        assert!(parse_id::<QuotaId>("quota", bad).is_err());
    }
}

/// Whatever text comes, it is read or refused: no panic, no half-read request, and a big one costs no more than its size.
#[test]
fn any_text_is_read_or_refused() {
    let whole = with(json!({ "op": "reserve" }), reserve()).to_string();
    for end in 0..whole.len() {
        assert_eq!(parse_command(&whole[..end]).unwrap_err().code, Code::InvalidRequest, "{}", &whole[..end]);
    }
    for text in [
        "null",
        "[]",
        "\"reserve\"",
        "{\"op\":\"reserve\"} {}",
        "{\"op\":\"rel\\u0065ase\",\"id\":\"a\",\"\\ud800\":1}",
        "\u{feff}{}",
        "{\"op\":\"settle\",\"id\":\"a\",\"usage\":{\"input\":1e400}}",
        "{\"op\":\"settle\",\"id\":\"a\",\"usd\":\"\\\"",
        "{\"commands\":[{]}",
    ] {
        assert_eq!(parse_command(text).unwrap_err().code, Code::InvalidRequest, "{text}");
        assert_eq!(parse_batch(text).unwrap_err().code, Code::InvalidRequest, "{text}");
        assert_eq!(parse_policy(text).unwrap_err().code, Code::InvalidRequest, "{text}");
    }
    let deep =
        format!("{{\"payload\":{{\"format\":\"openai.chat\",\"body\":{}{}}}}}", "[".repeat(10_000), "]".repeat(10_000));
    assert_eq!(parse_settle(&deep).unwrap_err().code, Code::InvalidRequest);
}

/// Naming the field takes no longer for a full body of nested members than reading it does.
#[test]
fn the_field_is_named_at_the_end_of_a_full_body() {
    let nested = format!("{}0{}", "{\"a\":".repeat(120), "}".repeat(120));
    let bodies = vec![nested; 1_000_000 / 720].join(",");
    let full = format!("{{\"payload\":{{\"format\":\"openai.chat\",\"body\":[{bodies}]}},\"wrong\":1}}");
    assert_eq!(parse_settle(&full).unwrap_err().field.as_deref(), Some("wrong"));
}

/// A request with some of its bytes changed is read or refused by every reader; none panics, and what is refused says why.
#[test]
fn damaged_requests_are_read_or_refused() {
    let sound = [
        with(json!({ "op": "reserve", "ttlSeconds": 60, "attribution": { "touchpoint": "a", "tags": { "b": "c" } } }), reserve()),
        json!({ "op": "reserve", "id": "a", "resource": "e2b", "estimate": { "sandbox": { "tier": "standard", "seconds": 1.5, "vcpus": 2, "memoryGib": "0.5" } } }),
        json!({ "op": "settle", "id": "a", "payload": { "format": "openai.chat", "body": { "usage": { "prompt_tokens": 1, "completion_tokens": 1 } } } }),
        json!({ "op": "extend", "id": "a", "extend": { "id": "x", "ttlSeconds": 60, "estimate": { "usd": "1.25" } } }),
        with(json!({ "op": "record" }), record()),
        json!({ "op": "putQuota", "id": "q", "quota": with(quota(), json!({ "warnAt": ["0.5", "1"] })) }),
        json!({ "op": "usage", "groupBy": ["user", "day"], "from": "2026-11-24T12:00:00Z" }),
        json!({ "commands": [{ "op": "release", "id": "a" }] }),
        json!({ "defaultPlan": "a", "plans": { "a": { "quotas": { "q": quota() }, "unknownModel": { "fallback": { "perMillion": { "input": "1", "output": "2" } } } } } }),
        json!({ "provider": "openai", "model": "gpt-4o", "usage": { "input": 1 }, "at": "2026-11-24T12:00:00Z", "mode": "batch" }),
    ]
    .map(|request| request.to_string());
    let bytes = prop::sample::select(b"{}[]\",:\\-+.eE0159aznul \n\x7f\xc3\xa9".to_vec());
    let damage = prop::collection::vec((any::<prop::sample::Index>(), prop::option::of(bytes), any::<bool>()), 1..4);
    let now = at("2026-11-24T12:00:00Z");
    let config = Config { cases: 4_000, failure_persistence: None, ..Config::default() };
    let outcome = TestRunner::new(config).run(&(prop::sample::select(sound.to_vec()), damage), |(request, damage)| {
        let mut text = request.into_bytes();
        for (at, byte, replaces) in damage {
            let at = at.index(text.len().max(1));
            if replaces && at < text.len() {
                text.remove(at);
            }
            if let Some(byte) = byte {
                text.insert(at.min(text.len()), byte);
            }
        }
        let text = String::from_utf8_lossy(&text);
        let answers = [
            parse_command(&text).map(drop),
            parse_batch(&text).map(|commands| commands.into_iter().for_each(|command| drop(command.map(drop)))),
            parse_reserve(&text).map(drop),
            parse_explain(&text).map(drop),
            parse_settle(&text).map(drop),
            parse_release(&text),
            parse_extend(&text).map(drop),
            parse_record(&text).map(drop),
            parse_quota(&text).map(drop),
            parse_onboard(&text).map(drop),
            parse_policy(&text).map(drop),
            parse_price(&text, Some(now)).map(drop),
        ];
        for problem in answers.into_iter().filter_map(Result::err) {
            prop_assert!([Code::InvalidRequest, Code::InvalidPayload].contains(&problem.code), "{problem:?}");
            prop_assert!(!problem.detail.is_empty());
            prop_assert_ne!(problem.field.as_deref(), Some(""));
        }
        Ok(())
    });
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
}

#[test]
fn whole_numbers_end_where_javascripts_do() {
    for number in
        ["9007199254740992", "18446744073709551615", "18446744073709551616", "1e3", "1e999", "-0", "-1", "1.0", "\"1\""]
    {
        for (body, field) in [
            (format!(r#"{{"op":"entries","after":{number}}}"#), "after"),
            (format!(r#"{{"op":"entries","limit":{number}}}"#), "limit"),
            (format!(r#"{{"op":"listQuotas","limit":{number}}}"#), "limit"),
        ] {
            let problem = parse_command(&body).unwrap_err();
            assert_eq!(problem.field.as_deref(), Some(field), "{body}: {}", problem.detail);
        }
        for (body, field) in [
            (format!(r#"{{"through":{number},"head":"x"}}"#), "through"),
            (format!(r#"{{"through":1,"head":"x","forgetThrough":{number}}}"#), "forgetThrough"),
        ] {
            assert_eq!(api::parse_archive(&body).unwrap_err().field.as_deref(), Some(field), "{body}");
        }
    }
    for text in ["9007199254740992", "18446744073709551616", "+1", "-0", "-1", "1e3", "1.0", " 1", ""] {
        for name in ["after", "limit"] {
            assert_eq!(parse_entries_query([(name, text)]).unwrap_err().field.as_deref(), Some(name), "{text}");
            assert_eq!(api::parse_journal_query([(name, text)]).unwrap_err().field.as_deref(), Some(name), "{text}");
        }
        assert_eq!(api::parse_quotas_query([("limit", text)]).unwrap_err().field.as_deref(), Some("limit"), "{text}");
    }
    assert!(parse_entries_query([("after", "9007199254740991"), ("limit", "1")]).is_ok());
    assert!(api::parse_quotas_query([("after", "a"), ("limit", "1000")]).is_ok());
}

#[test]
fn a_policy_is_no_longer_than_an_answer() {
    let plan = |count: usize| {
        let quota = r#"{"scope":"tenant","resource":"llm","unit":"usd","limit":"1","period":"day"}"#;
        let quotas: Vec<String> = (0..count).map(|at| format!(r#""{at}":{quota}"#)).collect();
        format!(r#"{{"quotas":{{{}}}}}"#, quotas.join(","))
    };
    let policy = |plans: usize| {
        let plans: Vec<String> = (0..plans).map(|at| format!(r#""p{at}":{}"#, plan(1_000))).collect();
        format!(r#"{{"defaultPlan":"p0","plans":{{{}}}}}"#, plans.join(","))
    };
    assert!(parse_policy(&policy(8)).is_ok());
    let long = policy(10);
    assert!(long.len() < 1 << 20, "it could be sent");
    assert_eq!(parse_policy(&long).unwrap_err().field.as_deref(), Some("plans"));
}

#[test]
fn what_callers_call_things_is_cut_in_errors() {
    for name in ["x".repeat(1_000_000), "\\u0001".repeat(100_000), "\\\"".repeat(300_000), "ü".repeat(400_000)] {
        for body in [
            format!(r#"{{"op":"reserve","{name}":1}}"#),
            format!(r#"{{"op":"reserve","id":"{name}"}}"#),
            format!(r#"{{"op":"{name}"}}"#),
            format!(r#"{{"op":"reserve","id":"a","resource":"llm","estimate":{{"{name}":1}}}}"#),
            format!(r#"{{"op":"settle","id":"a","usage":{{"{name}":1}}}}"#),
        ] {
            let answer = Answer::problem(&parse_command(&body).unwrap_err());
            assert!(answer.body.len() <= 4_096, "{} bytes", answer.body.len());
            assert!(serde_json::from_str::<Value>(&answer.body).is_ok());
        }
    }
}
