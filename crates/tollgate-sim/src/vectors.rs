//! Conformance vectors: runs of the simulator as questions with the model's answers, for every home of the rules to replay.

use serde_json::{Value, json};
use tollgate_core::catalog::Catalog;

use crate::model::calendar;
use crate::model::words::{Command, plan};
use crate::scenario::{Admin, Move, Question, Scenario, Step, Tick};
use crate::seeds;
use crate::world::{Logged, Record};

/// The seeds that become vectors.
pub const SEEDS: [u64; 7] = [2, 9, 23, 42, 77, 128, 301];

/// The file's name and text for a seed.
///
/// # Errors
/// What must never happen, and did.
pub fn file(seed: u64, catalog: &Catalog) -> Result<(String, String), String> {
    let scenario = replayable(Scenario::of_seed(seed));
    let run = seeds::run(&scenario, catalog, Record { trace: false, log: true });
    if let Some(violation) = run.violation {
        return Err(format!("seed {seed}: {violation:?}"));
    }
    let steps: Vec<String> = run.log.iter().filter_map(step).map(|step| step.to_string()).collect();
    let description = format!(
        "Seed {seed} of the simulator: what took effect, with the answers of its model. Made by `cargo xtask sim --vectors`."
    );
    let text = format!(
        "{{\n  \"description\": {},\n  \"cases\": [\n    {{\n      \"name\": \"seed {seed}\",\n      \"plan\": {},\n      \"steps\": [\n        {}\n      ]\n    }}\n  ]\n}}\n",
        Value::from(description),
        plan(scenario.plan).to_json(),
        steps.join(",\n        "),
    );
    Ok((format!("simulated-{seed}.json"), text))
}

/// What every home can replay: a vector's plan stays, its clock never goes backwards, nothing is archived, and nothing is asked that has no
/// JSON.
fn replayable(mut scenario: Scenario) -> Scenario {
    scenario.skew = 0;
    // Elsewhere there are the caps that ship.
    scenario.caps = None;
    for step in &mut scenario.steps {
        if let Step::GoOn(_, wanted) | Step::Meddle(_, wanted) = step
            && let Move::SettleIncomplete(pieces) = *wanted
        {
            *wanted = Move::Settle(pieces);
        }
    }
    let stays = |step: &Step| {
        !matches!(
            step,
            Step::Archive(..)
                | Step::ReleaseHolds(_)
                | Step::Ask(Question::Holds(_))
                | Step::Rerate(..)
                | Step::Repair(..)
                | Step::Administer(Admin::Onboard(_))
                | Step::Tick(
                    Tick::Back(_)
                        | Tick::Return(_)
                        | Tick::ToDeadline(..0)
                        | Tick::ToBoundary(..0)
                        | Tick::ToEndOfFunds(..0)
                )
        )
    };
    scenario.steps.retain(stays);
    scenario
}

fn step(logged: &Logged) -> Option<Value> {
    let command = match logged.command {
        // A vector's ledger opens with its first step, and the periods before that one left nothing to it.
        Command::Onboard(_) => Command::ListQuotas.to_json()?,
        _ => logged.command.to_json()?,
    };
    let Logged { now, expected, .. } = logged;
    Some(
        json!({ "now": calendar::text(*now), "command": command, "expect": { "status": expected.status, "body": expected.body } }),
    )
}
