//! What one turn reads, what one answer has, and that what fails fails alone, whatever is asked.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests fail by panicking")]

mod common;

use common::{Flaky, at, body, catalog, onboard, request, usd_quota};
use serde_json::{Map, Value, json};
use tollgate_core::api::{self, Ask, Code, HistoryQuery, JournalQuery, MAX_ANSWER_BYTES, Request, parse_rerate};
use tollgate_core::ids::QuotaId;
use tollgate_store::{Param, Sql, StoreError, TenantStore};

const NOW: &str = "2026-11-24T12:00:00Z";

fn opened(quotas: Map<String, Value>) -> (Flaky, TenantStore<Flaky>) {
    let database = Flaky::new();
    let mut store = database.open();
    let answers = store.execute(catalog(), at(NOW), &[onboard(&json!({ "quotas": quotas }))]).unwrap();
    assert_eq!(answers[0].status, 200, "{}", answers[0].body);
    (database, store)
}

fn with_one_quota() -> (Flaky, TenantStore<Flaky>) {
    opened(Map::from_iter([("month".to_owned(), usd_quota("1000000", "month"))]))
}

fn long_id(at: usize) -> String {
    format!("{at:0128}")
}

fn crowded() -> (Flaky, TenantStore<Flaky>) {
    opened((0..1000).map(|at| (long_id(at), usd_quota("1000", "month"))).collect())
}

fn reserve(id: &str) -> Value {
    let tags: Map<String, Value> = (0..4).map(|at| (format!("t{at}"), json!("x".repeat(200)))).collect();
    json!({ "op": "reserve", "id": id, "resource": "llm", "estimate": { "usd": "1" },
            "attribution": { "touchpoint": "main-chat", "tags": tags } })
}

fn settle(id: &str) -> Value {
    json!({ "op": "settle", "id": id, "usd": "1" })
}

fn batch(store: &mut TenantStore<Flaky>, commands: &[Value]) -> Value {
    let ask = Ask::Batch(api::parse_batch(&json!({ "commands": commands }).to_string()).unwrap());
    let answers = store.carry_out(catalog(), at(NOW), &[ask]).unwrap();
    assert!(answers[0].body.len() <= MAX_ANSWER_BYTES, "{} bytes", answers[0].body.len());
    body(&answers[0])
}

fn statuses(answer: &Value) -> Vec<u64> {
    answer["results"].as_array().unwrap().iter().map(|result| result["status"].as_u64().unwrap()).collect()
}

fn ids(count: usize) -> Vec<String> {
    (0..count).map(|at| format!("r-{at:03}")).collect()
}

#[test]
fn repeats_take_no_more_statements_than_the_first_time_whatever_rows_they_lie_in() {
    let (database, mut store) = with_one_quota();
    let together = ids(200);
    batch(&mut store, &together.iter().map(|id| reserve(id)).collect::<Vec<_>>());
    database.statements.borrow_mut().clear();
    batch(&mut store, &together.iter().map(|id| settle(id)).collect::<Vec<_>>());
    let first = database.statements.borrow().len();
    // Each in a row of its own, which is as long as rows become.
    let apart: Vec<String> = (0..100).map(|at| format!("apart-{at}")).collect();
    for id in &apart {
        let others = (0..20).map(|at| format!("{id}-{at}"));
        batch(&mut store, &[id.clone()].into_iter().chain(others).map(|id| reserve(&id)).collect::<Vec<_>>());
        batch(&mut store, &[settle(id)]);
    }
    for some in [&together, &apart] {
        database.statements.borrow_mut().clear();
        let again = batch(&mut store, &some.iter().map(|id| settle(id)).collect::<Vec<_>>());
        assert!(again["results"].as_array().unwrap().iter().all(|result| result["body"]["replayed"] == true));
        let repeat = database.statements.borrow().len();
        assert!(repeat <= first + 4, "{repeat} statements, {first} the first time: {:?}", database.statements.borrow());
    }
}

#[test]
fn rows_of_the_journal_are_short_unless_an_entry_is_long() {
    let (database, mut store) = with_one_quota();
    batch(&mut store, &ids(200).iter().map(|id| reserve(id)).collect::<Vec<_>>());
    let longest = |database: &Flaky| {
        let rows = database.database.query("SELECT MAX(octet_length(entries)) FROM journal", &[]).unwrap();
        match rows[0][0] {
            tollgate_store::Cell::Integer(longest) => longest,
            ref other => panic!("{other:?}"),
        }
    };
    assert!((16_000..=32_768).contains(&longest(&database)), "{}", longest(&database));
    let (database, mut store) = crowded();
    batch(&mut store, &[reserve("a"), reserve("b")]);
    assert!(longest(&database) > 100_000);
    batch(&mut store, &[settle("a"), settle("b")]);
    assert_eq!(statuses(&batch(&mut store, &[settle("b"), settle("a")])), [200, 200], "long entries are found, too");
}

#[test]
fn a_look_that_fails_costs_nothing_that_is_in_memory() {
    let (database, mut store) = with_one_quota();
    batch(&mut store, &ids(50).iter().map(|id| reserve(id)).collect::<Vec<_>>());
    batch(&mut store, &[settle("r-000")]);
    let looks = [
        request(&json!({ "op": "entries" })),
        request(&json!({ "op": "usage" })),
        request(&json!({ "op": "getReservation", "id": "r-000" })),
        request(&json!({ "op": "listQuotas" })),
    ];
    for look in &looks {
        for statement in 0.. {
            database.fail_in.set(Some(statement));
            let looked = store.look(catalog(), at(NOW), look);
            if looked.is_ok() {
                database.fail_in.set(None);
                assert!(statement > 0);
                break;
            }
            assert!(!store.is_stale(), "{look:?}: {looked:?}");
        }
    }
    // Nor does what a turn would read first, or an audit, or a dry run of re-rating.
    database.fail_in.set(Some(1));
    assert!(store.execute(catalog(), at(NOW), &[request(&settle("r-000"))]).is_err());
    assert!(!store.is_stale());
    database.fail_in.set(Some(2));
    assert!(store.audit().is_err());
    let dry = parse_rerate(r#"{"from":"2026-11-01T00:00:00Z","to":"2026-12-01T00:00:00Z"}"#).unwrap();
    database.fail_in.set(Some(2));
    assert!(store.rerate(catalog(), at(NOW), &dry).is_err());
    assert!(!store.is_stale());
    database.statements.borrow_mut().clear();
    batch(&mut store, &[reserve("next")]);
    let read_anew = database.statements.borrow().iter().any(|sql| sql.contains("FROM snapshot"));
    assert!(!read_anew, "{:?}", database.statements.borrow());
    assert_eq!(store.ledger().open_holds(), 50);
}

#[test]
fn a_look_sees_what_has_ended_by_itself_and_what_another_instance_has_written() {
    let (database, mut store) = with_one_quota();
    let mut other = database.open();
    batch(
        &mut store,
        &[json!({ "op": "reserve", "id": "a", "resource": "llm", "estimate": { "usd": "4" }, "ttlSeconds": 60 })],
    );
    let look = |store: &mut TenantStore<Flaky>, now: &str| {
        body(&store.look(catalog(), at(now), &request(&json!({ "op": "getReservation", "id": "a" }))).unwrap())["state"]
            .clone()
    };
    assert_eq!(look(&mut other, NOW), "held");
    assert_eq!(look(&mut other, "2026-11-24T12:02:00Z"), "expired");
    assert_eq!(look(&mut store, "2026-11-24T12:02:00Z"), "expired");
    assert!(store.look(catalog(), at(NOW), &request(&reserve("b"))).is_err(), "a command does not only look");
}

#[test]
fn what_is_damaged_fails_alone_and_is_never_taken_for_new() {
    let (database, mut store) = with_one_quota();
    batch(&mut store, &ids(3).iter().map(|id| reserve(id)).collect::<Vec<_>>());
    batch(&mut store, &ids(3).iter().map(|id| settle(id)).collect::<Vec<_>>());
    for damage in ["'{\"id\"'", "'x'", "'999'"] {
        let statement = format!("UPDATE closed SET reservation = {damage} WHERE id = 'r-001'");
        database.database.query(&statement, &[] as &[Param<'_>]).unwrap();
        let all: Vec<_> = ids(3).iter().flat_map(|id| [settle(id), reserve(id)]).collect();
        assert_eq!(statuses(&batch(&mut store, &all)), [200, 201, 500, 500, 200, 201], "{damage}");
        let looked =
            store.look(catalog(), at(NOW), &request(&json!({ "op": "getReservation", "id": "r-001" }))).unwrap();
        assert_eq!((looked.status, body(&looked)["code"].clone()), (500, json!("internal")));
    }
    let report = store.audit().unwrap().unwrap();
    assert_eq!((report.clean, report.damaged), (false, false));
}

#[test]
fn a_turn_reads_a_bounded_part_of_the_journal_and_leaves_the_rest_for_later() {
    let (database, mut store) = with_one_quota();
    let all = ids(40);
    for id in &all {
        batch(&mut store, &[reserve(id)]);
        batch(&mut store, &[settle(id)]);
    }
    // Rows of a megabyte, as earlier versions wrote them: the white space takes the place of the entries of others.
    database
        .database
        .query(
            "UPDATE journal SET entries = substr(entries, 1, length(entries) - 1) || printf('%1000000s', ']')",
            &[] as &[Param<'_>],
        )
        .unwrap();
    let repeats: Vec<_> = all.iter().map(|id| settle(id)).collect();
    let answer = batch(&mut store, &repeats);
    let done = statuses(&answer).iter().position(|status| *status == 503).unwrap();
    assert!((10..30).contains(&done), "{done}");
    assert_eq!(answer["leftOut"], json!(40 - done));
    assert!(statuses(&answer)[done..].iter().all(|status| *status == 503));
    // What is new is not carried out behind what is left out.
    let mut with_new = repeats.clone();
    with_new.push(reserve("new"));
    assert_eq!(batch(&mut store, &with_new)["results"][40]["body"]["code"], "unavailable");
    assert_eq!(store.ledger().open_holds(), 0);
    // Sent again, the rest is done.
    assert_eq!(statuses(&batch(&mut store, &repeats[done..]))[0], 200);
    // Asked alone, those that are too much say so themselves.
    let requests: Vec<Request> = repeats.iter().map(request).collect();
    let answers = store.execute(catalog(), at(NOW), &requests).unwrap();
    assert_eq!(answers.iter().filter(|answer| answer.status == 200).count(), done);
    assert!(answers[39].body.contains("\"unavailable\""));
}

#[test]
fn a_batch_on_a_thousand_quotas_is_answered_within_its_bound() {
    let (_, mut store) = crowded();
    let all: Vec<_> = (0..500).map(|at| reserve(&format!("r-{at}"))).collect();
    let answer = batch(&mut store, &all);
    let done = statuses(&answer).iter().filter(|status| **status == 201).count();
    assert_eq!(
        (done, &answer["leftOut"]),
        (51, &json!(449)),
        "50,000 quotas are looked at, and one command is then under way"
    );
    assert_eq!(store.ledger().open_holds(), 51);
    let results = answer["results"].as_array().unwrap();
    let first = &results[0]["body"];
    assert_eq!((first["quotas"].as_array().unwrap().len(), &first["moreQuotas"]), (100, &json!(900)));
    assert_eq!(answer["quotas"].as_array().unwrap().len(), 100);
    assert_eq!((&answer["quotas"][0]["id"], &answer["quotas"][0]["held"]), (&json!(long_id(0)), &json!("51")));
    // Where there is no room for more names, it is said how many there are.
    let names: usize = results.iter().filter_map(|result| result["body"]["quotas"].as_array()).map(Vec::len).sum();
    assert!((900..1_100).contains(&names), "{names}");
    assert_eq!(results[50]["body"]["moreQuotas"], 1000);
    let denied: Vec<_> = (0..500)
        .map(|at| json!({ "op": "reserve", "id": format!("d-{at}"), "resource": "llm", "estimate": { "usd": "5000" } }))
        .collect();
    let answer = batch(&mut store, &denied);
    let denial = &answer["results"][0]["body"]["denial"];
    assert_eq!((denial["quotas"].as_array().unwrap().len(), &denial["moreQuotas"]), (100, &json!(900)));
    assert_eq!(denial["quotas"][0]["id"], denial["quota"]);
}

#[test]
fn a_result_that_does_not_fit_can_be_had_by_sending_the_command_again() {
    let (_, mut store) = with_one_quota();
    // Own rates with as many regions as there may be are part of every basis: 30 KB, and twice in an answer.
    let regions: Map<String, Value> = (0..50)
        .map(|at| {
            (
                format!("{at:02}{}", "r".repeat(100)),
                json!({ "perMillion": { "input": "1.123456", "output": "2.123456", "cache_read": "3.123456" } }),
            )
        })
        .collect();
    let rates =
        json!([{ "provider": "own", "model": "m", "perMillion": { "input": "1", "output": "2" }, "regions": regions }]);
    let set = store
        .execute(catalog(), at(NOW), &[request(&json!({ "op": "putOverrides", "overrides": { "rates": rates } }))])
        .unwrap();
    assert_eq!(set[0].status, 200, "{}", set[0].body);
    let record = |id: &String| json!({ "op": "record", "id": id, "resource": "llm", "provider": "own", "model": "m", "usage": { "input": 10 } });
    let mut left: Vec<Value> = ids(300).iter().map(record).collect();
    let mut rounds = 0;
    while !left.is_empty() {
        let answer = batch(&mut store, &left);
        let statuses = statuses(&answer);
        assert!(statuses.iter().all(|status| [201, 503].contains(status)), "{}", answer["results"][0]);
        let before = left.len();
        let mut done = statuses.iter().map(|status| *status == 201);
        left.retain(|_| !done.next().unwrap());
        assert!(left.len() < before);
        rounds += 1;
    }
    assert!(rounds > 1, "all of it fits");
    let usage = store.look(catalog(), at(NOW), &request(&json!({ "op": "usage" }))).unwrap();
    assert_eq!(body(&usage)["total"]["calls"], 300, "each is charged once");
    // Pages of entries, and of re-rated charges, end before they are too long, and none is missing.
    let rerated = |after: u64, totals: &Value| {
        let more = json!({ "from": "2026-11-01T00:00:00Z", "to": "2026-12-01T00:00:00Z", "after": after, "totals": totals,
                           "overrides": { "rates": [{ "provider": "own", "model": "m", "perMillion": { "input": "7", "output": "2" } }] } });
        parse_rerate(&more.to_string()).unwrap()
    };
    let (mut after, mut totals, mut lines, mut pages) = (0, Value::Null, 0, 0);
    loop {
        let report = store.rerate(catalog(), at(NOW), &rerated(after, &totals)).unwrap().unwrap();
        let text = serde_json::to_string(&report).unwrap();
        assert!(text.len() <= MAX_ANSWER_BYTES, "{}", text.len());
        lines += report.lines.len();
        pages += 1;
        totals = serde_json::to_value(report.totals).unwrap();
        match report.next {
            Some(next) => after = next,
            None => break,
        }
    }
    assert_eq!((lines, &totals["charges"]), (300, &json!(300)));
    assert!(pages > 1, "all of it fits");
    let (mut after, mut seen) = (0, 0);
    loop {
        let query = Request::History(HistoryQuery::Entries { after, limit: 1_000 });
        let page = store.look(catalog(), at(NOW), &query).unwrap();
        assert!(page.body.len() <= MAX_ANSWER_BYTES, "{}", page.body.len());
        let page = body(&page);
        seen += page["entries"].as_array().unwrap().len();
        match page["next"].as_u64() {
            Some(next) => after = next,
            None => break,
        }
    }
    assert_eq!(seen as u64, store.ledger().last_seq());
    let journal = store.journal(JournalQuery { after: 0, limit: 1_000 }).unwrap().unwrap();
    assert!(journal.next.is_some() && serde_json::to_string(&journal).unwrap().len() <= MAX_ANSWER_BYTES);
}

#[test]
fn the_largest_pages_and_reports_are_within_the_bound() {
    let (database, mut store) = crowded();
    let mut after: Option<QuotaId> = None;
    let mut seen = 0;
    loop {
        let query = json!({ "op": "listQuotas", "after": after, "limit": 1000 });
        let page = store.look(catalog(), at(NOW), &request(&query)).unwrap();
        assert!(page.body.len() <= MAX_ANSWER_BYTES);
        let page = body(&page);
        seen += page["quotas"].as_array().unwrap().len();
        match page["next"].as_str() {
            Some(next) => after = Some(next.parse().unwrap()),
            None => break,
        }
    }
    assert_eq!(seen, 1000);
    // Everything that an audit can find, told with all that is kept and refolded.
    batch(&mut store, &(0..40).map(|at| reserve(&long_id(at))).collect::<Vec<_>>());
    batch(&mut store, &(0..40).map(|at| settle(&long_id(at))).collect::<Vec<_>>());
    database.database.query("UPDATE closed SET reservation = '{}'", &[] as &[Param<'_>]).unwrap();
    let report = store.audit().unwrap().unwrap();
    assert!(!report.clean);
    let text = serde_json::to_string(&report).unwrap();
    assert!(text.len() <= MAX_ANSWER_BYTES, "{}", text.len());
}

#[test]
fn a_command_that_looks_is_refused_by_its_name() {
    let (_, mut store) = with_one_quota();
    let ask = Ask::Batch(vec![Ok(request(&json!({ "op": "usage" })))]);
    let answer = body(&store.carry_out(catalog(), at(NOW), &[ask]).unwrap()[0]);
    assert_eq!(answer["results"][0]["body"]["code"], Code::InvalidRequest.name());
    assert!(matches!(store.look(catalog(), at(NOW), &request(&settle("a"))), Err(StoreError::Damaged(_))));
}
