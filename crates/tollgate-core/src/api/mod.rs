//! The wire: JSON requests in, JSON answers out. The Worker and the npm package speak through this module alone, so the same
//! request gets the same answer from both.

mod actual_body;
mod admin_body;
mod answer;
mod batch;
mod batch_answer;
mod call_body;
mod fields;
mod history_query;
mod holds_body;
pub(crate) mod json;
mod maintenance;
mod price_body;
mod problem;
mod quota_body;
mod record_body;
mod request;
mod rerate_body;
mod reserve_body;

/// No answer is longer, in bytes, but for one row of the journal that is.
pub const MAX_ANSWER_BYTES: usize = 1 << 20;

pub use actual_body::{parse_meter, parse_release, parse_settle};
pub use admin_body::{
    OnboardRequest, TokenRequest, parse_credit, parse_delete_quota, parse_increase, parse_onboard, parse_overrides,
    parse_policy, parse_quota, parse_refund, parse_token_request, read_overrides,
};
pub use answer::{Answer, EntriesPage};
pub use batch::{MAX_BATCH, parse_batch, parse_command};
pub use batch_answer::BatchAnswer;
pub use fields::parse_id;
pub use history_query::{
    MAX_ENTRIES, MAX_QUOTAS_PAGE, parse_catalog_query, parse_entries_query, parse_quotas_query, parse_usage_query,
};
pub use holds_body::{MAX_LISTED_HOLDS, parse_holds_query, parse_holds_release};
pub use maintenance::{
    ArchiveRequest, JournalQuery, MAX_JOURNAL_ROWS, RepairRequest, parse_archive, parse_journal_query, parse_repair,
};
pub use price_body::{PriceRequest, parse_price, parse_tenant_price};
pub use problem::{Code, Problem};
pub use quota_body::{MAX_SHOWN_FUNDS, MAX_SHOWN_QUOTAS};
pub use record_body::parse_record;
pub use request::{Ask, HistoryQuery, HoldsQuery, QuotasQuery, Request, StateQuery};
pub use rerate_body::{MAX_RERATED, RerateReport, RerateRequest, RerateTotals, parse_rerate};
pub use reserve_body::{parse_explain, parse_extend, parse_reserve};
