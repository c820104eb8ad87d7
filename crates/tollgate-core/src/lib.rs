//! The rules of Tollgate: money, meters, prices, quotas and the ledger.
//!
//! Nothing here does I/O, reads a clock, draws random numbers or logs: `now` is an argument, and the same input gives
//! the same answer natively and in WebAssembly.

pub mod amount;
pub mod api;
pub mod arithmetic;
pub mod bounds;
pub mod call;
pub mod call_names;
pub mod catalog;
mod decimal;
pub mod estimate;
pub mod extract;
pub mod fault;
pub mod ids;
pub mod ledger;
pub mod local;
pub mod meter;
pub mod money;
mod objects;
pub mod period;
pub mod policy;
pub mod price;
pub mod quota;
pub mod ratio;
pub mod sorted_map;
pub mod time;
pub mod usage_report;
pub mod zone;
