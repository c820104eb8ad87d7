//! Archiving: what is dropped, what stays exact, and what becomes of ids.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests fail by panicking")]

mod common;

use common::{Flaky, at, body, catalog, onboard, request, usd_quota};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tollgate_core::api::{ArchiveRequest, Code, JournalQuery, Problem};
use tollgate_core::ledger::{Entry, Ledger};
use tollgate_store::{ArchiveReport, JournalPage, Sql, TenantStore};

const NOON: &str = "2026-11-24T12:00:00Z";
const LATER: &str = "2026-11-24T13:00:00Z";

fn run(store: &mut TenantStore<Flaky>, now: &str, commands: &[Value]) -> Vec<(u16, Value)> {
    let requests: Vec<_> = commands.iter().map(request).collect();
    let answers = store.execute(catalog(), at(now), &requests).unwrap();
    answers.iter().map(|answer| (answer.status, body(answer))).collect()
}

fn reserve(id: &str, usd: &str, ttl: u32) -> Value {
    json!({ "op": "reserve", "id": id, "resource": "llm", "estimate": { "usd": usd }, "ttlSeconds": ttl,
            "attribution": { "touchpoint": "main-chat" } })
}

fn settle(id: &str, usd: &str) -> Value {
    json!({ "op": "settle", "id": id, "usd": usd })
}

/// Settled, released, recorded and expired ones, two that are open, and a late settle that comes after all this.
fn lived_in() -> (Flaky, TenantStore<Flaky>) {
    let database = Flaky::new();
    let mut store = database.open();
    let plan = json!({ "quotas": { "month": usd_quota("1000", "month") } });
    store.execute(catalog(), at(NOON), &[onboard(&plan)]).unwrap();
    run(
        &mut store,
        NOON,
        &[
            reserve("settled", "2", 600),
            reserve("released", "3", 600),
            reserve("open", "5", 86_400),
            reserve("unreported", "7", 1),
            reserve("late", "11", 1),
        ],
    );
    run(&mut store, "2026-11-24T12:00:05Z", &[settle("settled", "1.5"), json!({ "op": "release", "id": "released" })]);
    run(
        &mut store,
        "2026-11-24T12:00:06Z",
        &[json!({ "op": "record", "id": "recorded", "resource": "llm", "usd": "0.5" })],
    );
    (database, store)
}

fn all_rows(store: &TenantStore<Flaky>) -> JournalPage {
    store.journal(JournalQuery { after: 0, limit: 1_000 }).unwrap().unwrap()
}

fn archive_all(store: &mut TenantStore<Flaky>, forget_through: Option<u64>) -> ArchiveReport {
    let page = all_rows(store);
    let last = page.rows.last().map_or((page.base.through, page.base.head), |row| (row.through, row.head.clone()));
    order(store, last.0, &last.1, forget_through).unwrap()
}

fn order(
    store: &mut TenantStore<Flaky>,
    through: u64,
    head: &str,
    forget_through: Option<u64>,
) -> Result<ArchiveReport, Problem> {
    store.archive(at(LATER), &ArchiveRequest { through, head: head.to_owned(), forget_through }).unwrap()
}

fn assert_clean(database: &Flaky, store: &TenantStore<Flaky>) {
    for report in [store.audit().unwrap().unwrap(), database.open().audit().unwrap().unwrap()] {
        assert!(report.clean, "{report:#?}");
        assert_eq!(report.entries, store.ledger().last_seq());
    }
}

fn quotas(store: &mut TenantStore<Flaky>) -> Value {
    run(store, LATER, &[json!({ "op": "listQuotas" })]).remove(0).1
}

fn usage(store: &mut TenantStore<Flaky>) -> Value {
    run(store, LATER, &[json!({ "op": "usage", "groupBy": ["touchpoint", "day"] })]).remove(0).1
}

#[test]
fn exported_rows_chain_and_refold_to_the_state() {
    let (_, store) = lived_in();
    let page = all_rows(&store);
    assert_eq!((page.base.through, page.base.head.as_str(), page.next), (0, "sha256:genesis", None));
    let mut head = page.base.head;
    let mut refolded = Ledger::new();
    for row in page.rows {
        head = format!("sha256:{}", hex(&Sha256::digest(format!("{head}\n{}", row.entries))));
        assert_eq!(head, row.head);
        for entry in serde_json::from_str::<Vec<Entry>>(&row.entries).unwrap() {
            refolded.evolve(&entry);
        }
        assert_eq!(refolded.last_seq(), row.through);
    }
    assert_eq!(store.ledger().differences(&refolded), []);
    assert_eq!(store.audit().unwrap().unwrap().head, head);
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn an_archive_drops_rows_and_changes_nothing_that_counts() {
    let (database, mut store) = lived_in();
    let (quotas_before, usage_before) = (quotas(&mut store), usage(&mut store));
    let last = store.ledger().last_seq();
    let report = archive_all(&mut store, None);
    assert_eq!((report.archived_through, report.complete, report.forgotten), (last, true, 0));
    // What is left is the entry that tells of it.
    assert_eq!(database.count("journal"), 1);
    assert_clean(&database, &store);
    for mut store in [store, database.open()] {
        assert_eq!((quotas(&mut store), usage(&mut store)), (quotas_before.clone(), usage_before.clone()));
        let page = run(&mut store, LATER, &[json!({ "op": "entries" })]).remove(0).1;
        assert_eq!(page["archivedThrough"], json!(last));
        assert_eq!((&page["entries"][0]["type"], &page["entries"][0]["through"]), (&json!("archived"), &json!(last)));
        let kept = all_rows(&store);
        assert_eq!((kept.base.through, kept.base.head, kept.rows.len()), (last, report.head.clone(), 1));
    }
}

#[test]
fn a_repeat_of_what_is_archived_is_told_so_and_neither_holds_nor_charges() {
    let (database, mut store) = lived_in();
    archive_all(&mut store, None);
    let before = quotas(&mut store);
    for mut store in [store, database.open()] {
        for command in [
            reserve("settled", "2", 600),
            settle("settled", "1.5"),
            json!({ "op": "release", "id": "released" }),
            json!({ "op": "record", "id": "recorded", "resource": "llm", "usd": "0.5" }),
            json!({ "op": "getReservation", "id": "recorded" }),
            json!({ "op": "extend", "id": "settled", "extend": { "id": "e", "ttlSeconds": 60 } }),
        ] {
            let (status, answer) = run(&mut store, LATER, core::slice::from_ref(&command)).remove(0);
            assert_eq!((status, &answer["code"]), (410, &json!("archived")), "{command}");
        }
        assert_eq!(quotas(&mut store), before);
    }
}

#[test]
fn holds_and_expired_ones_live_on_and_late_settles_stay_exact() {
    let (database, mut store) = lived_in();
    archive_all(&mut store, None);
    let answers = run(&mut store, LATER, &[settle("open", "4"), settle("late", "1")]);
    assert_eq!((answers[0].0, &answers[0].1["released"]), (200, &json!("1")));
    assert_eq!((answers[1].0, &answers[1].1["late"]), (200, &json!(true)));
    assert_clean(&database, &store);
    // 1.5 settled + 0.5 recorded + 7 unreported + 4 + 1, where 11 stood before the late settle.
    assert_eq!(quotas(&mut store)["quotas"][0]["spent"], "14");
    assert_eq!(usage(&mut store)["total"]["usd"], "14");
    // A repeat finds it, until this entry is archived too.
    assert_eq!(run(&mut store, LATER, &[settle("late", "1")])[0].1["replayed"], true);
    archive_all(&mut store, None);
    assert_clean(&database, &store);
    let answers = run(&mut store, LATER, &[settle("late", "1"), settle("open", "4"), settle("unreported", "6")]);
    let codes: Vec<_> = answers.iter().map(|(status, _)| *status).collect();
    assert_eq!(codes, [410, 410, 200]);
    assert_eq!(usage(&mut store)["total"]["usd"], "13");
    assert_clean(&database, &store);
}

#[test]
fn a_row_that_a_later_entry_changed_is_kept_until_that_one_is_archived() {
    let (database, mut store) = lived_in();
    let (through, head) = all_rows(&store).rows.last().map(|row| (row.through, row.head.clone())).unwrap();
    run(&mut store, LATER, &[settle("late", "1")]);
    order(&mut store, through, &head, None).unwrap();
    assert_eq!(run(&mut store, LATER, &[settle("late", "1")])[0].1["replayed"], true);
    assert_clean(&database, &store);
}

#[test]
fn ids_are_forgotten_only_where_that_is_asked_for() {
    let (database, mut store) = lived_in();
    let report = archive_all(&mut store, None);
    let rows = database.count("closed");
    let report = order(&mut store, report.archived_through, &report.head, Some(report.archived_through)).unwrap();
    assert_eq!((report.forgotten, report.complete), (u64::try_from(rows).unwrap(), true));
    assert_eq!(database.count("closed"), 0);
    // From now on the id is as good as new, and the answer does not claim to be a repeat.
    let (status, answer) = run(&mut store, LATER, &[reserve("settled", "2", 600)]).remove(0);
    assert_eq!((status, &answer["replayed"]), (201, &Value::Null));
    assert_eq!(run(&mut store, LATER, &[settle("unreported", "6")])[0].1["code"], "reservation_not_found");
    assert_clean(&database, &store);
}

#[test]
fn an_order_that_does_not_prove_the_export_changes_nothing() {
    let (database, mut store) = lived_in();
    let rows = all_rows(&store).rows;
    let (through, head) = rows.last().map(|row| (row.through, row.head.clone())).unwrap();
    for (through, head, forget, field) in [
        (through, "sha256:0", None, "head"),
        (through, rows[0].head.as_str(), None, "head"),
        (through + 1, head.as_str(), None, "through"),
        (1, head.as_str(), None, "through"),
        (0, head.as_str(), None, "head"),
        (through, head.as_str(), Some(through + 1), "forgetThrough"),
    ] {
        let problem = order(&mut store, through, head, forget).unwrap_err();
        assert_eq!((problem.code, problem.field.as_deref()), (Code::InvalidRequest, Some(field)), "{through} {head}");
        assert_eq!(database.count("journal"), i64::try_from(rows.len()).unwrap());
    }
    // The same order again is done already; an older one is not known any more.
    let (second, second_head) = (rows[1].through, rows[1].head.clone());
    let first = order(&mut store, through, &head, None).unwrap();
    let again = order(&mut store, through, &head, None).unwrap();
    assert_eq!(first, again);
    assert_eq!(order(&mut store, second, &second_head, None).unwrap_err().field.as_deref(), Some("through"));
    let unknown = ArchiveRequest { through: 0, head: "sha256:genesis".to_owned(), forget_through: None };
    let refused = Flaky::new().open().archive(at(LATER), &unknown).unwrap().unwrap_err();
    assert_eq!(refused.code, Code::TenantNotFound);
}

#[test]
fn a_journal_that_was_changed_is_not_archived() {
    let (database, mut store) = lived_in();
    let (through, head) = all_rows(&store).rows.last().map(|row| (row.through, row.head.clone())).unwrap();
    let sql = "UPDATE journal SET entries = replace(entries, '\"0.5\"', '\"0.4\"')";
    database.database.query(sql, &[]).unwrap();
    let rows = database.count("journal");
    assert_eq!(order(&mut store, through, &head, None).unwrap_err().code, Code::LedgerDamaged);
    assert_eq!(database.count("journal"), rows);
}

#[test]
fn a_changed_base_shows_in_the_audit() {
    for tamper in [
        "UPDATE base SET state = replace(state, '\"spent\":\"', '\"spent\":\"1')",
        "UPDATE base SET hash = 'sha256:other'",
        "UPDATE base_usage SET usd_whole = usd_whole + 1",
    ] {
        let (database, mut store) = lived_in();
        archive_all(&mut store, None);
        database.database.query(tamper, &[]).unwrap();
        let report = database.open().audit().unwrap().unwrap();
        assert!(!report.clean, "{tamper}");
        assert_eq!(report.damaged, !tamper.contains("usage"), "{tamper}");
    }
}

#[test]
fn a_failed_statement_leaves_nothing_half_archived() {
    for statement in 0.. {
        let (database, mut store) = lived_in();
        let (through, head) = all_rows(&store).rows.last().map(|row| (row.through, row.head.clone())).unwrap();
        let before = (database.count("journal"), quotas(&mut store), store.ledger().last_seq());
        database.fail_in.set(Some(statement));
        let archived =
            store.archive(at(LATER), &ArchiveRequest { through, head: head.clone(), forget_through: Some(through) });
        if archived.is_ok() {
            assert!(statement > 8, "an archive has more statements than {statement}");
            return;
        }
        assert_eq!((database.count("journal"), quotas(&mut store), store.ledger().last_seq()), before, "{statement}");
        assert_clean(&database, &store);
    }
}

#[test]
fn a_long_journal_is_archived_in_steps() {
    let (database, mut store) = lived_in();
    for batch in 0..25 {
        let records: Vec<_> = (0..500)
            .map(|n| json!({ "op": "record", "id": format!("{batch}-{n}"), "resource": "llm", "usd": "0.01" }))
            .collect();
        run(&mut store, LATER, &records);
    }
    let (through, head) = database
        .database
        .query("SELECT last_entry, hash FROM journal ORDER BY 1 DESC LIMIT 1", &[])
        .map(|rows| match &rows[0][..] {
            [tollgate_store::Cell::Integer(through), tollgate_store::Cell::Text(head)] => {
                (u64::try_from(*through).unwrap(), head.clone())
            }
            other => panic!("{other:?}"),
        })
        .unwrap();
    let mut steps = Vec::new();
    loop {
        let report = order(&mut store, through, &head, None).unwrap();
        steps.push(report.archived_through);
        if report.complete {
            break;
        }
        assert_clean(&database, &store);
    }
    assert!(steps.len() > 1, "{steps:?}");
    assert_eq!(steps.last(), Some(&through));
    assert_clean(&database, &store);
    // Start-up does not depend on what is archived.
    assert_eq!(database.open().ledger().last_seq(), store.ledger().last_seq());
}

#[test]
fn what_ended_after_the_archive_is_remembered_in_full_though_it_was_opened_before() {
    let (database, mut store) = lived_in();
    let (through, head) = all_rows(&store).rows.last().map(|row| (row.through, row.head.clone())).unwrap();
    run(&mut store, LATER, &[settle("open", "4")]);
    let before = run(&mut store, LATER, &[json!({ "op": "getReservation", "id": "open" })]).remove(0).1;
    order(&mut store, through, &head, None).unwrap();
    for mut store in [store, database.open()] {
        let found = run(&mut store, LATER, &[json!({ "op": "getReservation", "id": "open" })]).remove(0).1;
        assert_eq!(found, before);
        assert_eq!(run(&mut store, LATER, &[settle("open", "4")])[0].1["replayed"], true);
        assert_eq!(run(&mut store, LATER, &[settle("open", "5")])[0].1["code"], "idempotency_conflict");
    }
}

fn refund(id: &str, refund: &str, usd: &str) -> Value {
    json!({ "op": "refund", "id": id, "refund": { "id": refund, "usd": usd, "reason": "why not", "by": "support" } })
}

#[test]
fn what_expired_unreported_and_was_refunded_can_still_be_settled_late() {
    // Archived in one step with the refund, and in two.
    for in_steps in [false, true] {
        let (database, mut store) = lived_in();
        if in_steps {
            archive_all(&mut store, None);
        }
        run(&mut store, LATER, &[refund("unreported", "r", "3"), settle("late", "12"), refund("late", "r", "1")]);
        archive_all(&mut store, None);
        assert_clean(&database, &store);
        let mut store = database.open();
        // What was settled late has come to its end, and its refunds are in the exported entries.
        let answers = run(&mut store, LATER, &[refund("late", "s", "1"), refund("late", "r", "1")]);
        assert!(
            answers.iter().all(|(status, body)| (*status, &body["code"]) == (410, &json!("archived"))),
            "{answers:?}"
        );
        let before = quotas(&mut store)["quotas"][0]["spent"].clone();
        let (status, body) = run(&mut store, LATER, &[settle("unreported", "5")]).remove(0);
        assert_eq!((status, &body["late"], &body["left"]), (200, &json!(true), &json!("2")), "{body}");
        // 7 were charged and 3 taken back; 5 less 3 count now.
        let spent = |text: &Value| text.as_str().unwrap().parse::<f64>().unwrap();
        assert_eq!(spent(&before) - spent(&quotas(&mut store)["quotas"][0]["spent"]), 2.0);
        assert_clean(&database, &store);
        archive_all(&mut store, None);
        assert_eq!(run(&mut store, LATER, &[refund("unreported", "s", "1")])[0].0, 410);
        assert_clean(&database, &store);
    }
}

#[test]
fn a_refund_of_what_ended_before_the_archive_is_refunded_once_also_by_a_repair() {
    let (database, mut store) = lived_in();
    archive_all(&mut store, None);
    run(&mut store, LATER, &[refund("unreported", "r", "3")]);
    run(&mut store, LATER, &[reserve("next", "2", 600), settle("next", "2")]);
    database.database.query("DELETE FROM closed WHERE id = 'next'", &[]).unwrap();
    let order = tollgate_core::api::RepairRequest { by: "ops".parse().unwrap() };
    assert!(store.repair(at(LATER), &order).unwrap().unwrap().entry.is_some());
    assert_clean(&database, &store);
    let told = run(&mut store, LATER, &[json!({ "op": "getReservation", "id": "unreported" })]).remove(0).1;
    assert_eq!((&told["left"], told["refunds"].as_array().unwrap().len()), (&json!("4"), 1), "{told}");
}
