//! The wire: JSON requests in, JSON answers out. The Worker and the npm package speak through this module alone, so the same
//! request gets the same answer from both.

mod answer;
pub(crate) mod json;
mod maintenance;
mod problem;
mod quota_body;
mod request;
mod rerate_body;

pub use answer::{Answer, WholeDocument};
pub use maintenance::{
    ArchiveRequest, JournalQuery, MAX_JOURNAL_ROWS, RepairRequest, parse_archive, parse_journal_query, parse_repair,
};
pub use problem::{Code, Problem};
pub use request::{
    HistoryQuery, MAX_BATCH, MAX_ENTRIES, OnboardRequest, PriceRequest, Request, StateQuery, TokenRequest, parse_batch,
    parse_catalog_query, parse_command, parse_entries_query, parse_explain, parse_extend, parse_id, parse_meter,
    parse_onboard, parse_overrides, parse_policy, parse_price, parse_quota, parse_record, parse_release, parse_reserve,
    parse_settle, parse_tenant_price, parse_token_request, parse_usage_query,
};
pub use rerate_body::{MAX_RERATED, RerateReport, RerateRequest, RerateTotals, parse_rerate};
