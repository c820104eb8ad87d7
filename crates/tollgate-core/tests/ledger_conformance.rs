//! Replays tests/conformance/ledger against the native core. The same vectors run through the npm package's wasm and the Worker.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use support::{Local, at, difference};

const FOLDER: &str = "../../tests/conformance/ledger";

/// Everything that can be asked of a ledger is asked by some vector.
const OPS: &[&str] = &[
    "reserve",
    "settle",
    "release",
    "extend",
    "record",
    "refund",
    "explain",
    "getReservation",
    "listReservations",
    "releaseReservations",
    "listQuotas",
    "putQuota",
    "deleteQuota",
    "resetQuota",
    "usage",
    "entries",
    "putOverrides",
    "getOverrides",
    "price",
];

#[test]
fn conformance() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(FOLDER);
    let mut files = 0;
    let mut steps = 0;
    let mut ops = BTreeSet::new();
    let mut failures = Vec::new();
    for file in fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        let name = path.file_name().unwrap().display().to_string();
        let document: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).expect(&name);
        assert!(document["description"].is_string(), "{name} says what it is about");
        files += 1;
        for case in document["cases"].as_array().expect("a file has `cases`") {
            let all = case["steps"].as_array().expect("a case has `steps`");
            steps += all.len();
            ops.extend(all.iter().map(|step| step["command"]["op"].as_str().unwrap_or("none").to_owned()));
            if let Err(failure) = replay(&case["plan"], all) {
                failures.push(format!("{name}: {}: {failure}", case["name"]));
            }
        }
    }
    assert!(failures.is_empty(), "{} cases:\n{}", failures.len(), failures.join("\n\n"));
    assert!(files >= 12 && steps >= 150, "only {files} files and {steps} steps were found");
    let unasked: Vec<_> = OPS.iter().filter(|op| !ops.contains(**op)).collect();
    assert!(unasked.is_empty(), "no vector asks {unasked:?}");
}

/// A case, from the onboarding of its tenant to its last step.
fn replay(plan: &Value, steps: &[Value]) -> Result<(), String> {
    let config = json!({ "tenant": "vector", "plan": plan });
    let mut now = at(steps[0]["now"].as_str().expect("a step has `now`"));
    let mut ledger = Local::open_at(now, config);
    for (index, step) in steps.iter().enumerate() {
        now = at(step["now"].as_str().expect("a step has `now`"));
        let number = index + 1;
        let reply = ledger.ask(now, &step["command"]);
        let expect = &step["expect"];
        let status = expect["status"].as_u64().expect("`expect` has `status`");
        let wrong = if u64::from(reply.status) == status {
            expect.get("body").and_then(|body| difference("$", &reply.body, body))
        } else {
            Some(format!("expected status {status}, got {}", reply.status))
        };
        if let Some(wrong) = wrong {
            return Err(format!(
                "step {number}: {wrong}\n  {}\n  got {} {}",
                step["command"], reply.status, reply.body
            ));
        }
    }
    Ok(())
}
