//! Tollgate over HTTP: a Worker that routes, authenticates and bounds, and one Durable Object per tenant that decides and stores.
//!
//! `gateway` is the stateless Worker; `tenant_ledger` and `platform_pool` are the objects. What needs no JavaScript is tested natively:
//! `router`, `access`, `auth`, `token`, `asked`, `gather`, `connection`, `upkeep`, `entries_csv`, and the decisions of the others.

mod access;
mod alarm;
mod asked;
mod auth;
mod body;
mod clock;
mod config;
mod connection;
mod entries_csv;
mod gateway;
mod gather;
mod known_tenants;
mod log;
mod object;
mod platform_pool;
mod platform_prices;
mod policy_document;
mod probe;
mod registry;
mod respond;
mod router;
mod sql;
mod tenant_ledger;
mod token;
mod transaction;
mod upkeep;
mod url;

use worker::web_sys::Response;
use worker::{Context, Env, Request, Result, event};

use crate::gateway::Reply;

/// Answers a request.
///
/// # Errors
/// The runtime refuses the answer.
#[event(fetch)]
pub async fn fetch(request: Request, env: Env, _context: Context) -> Result<Response> {
    match gateway::reply(request, &env).await {
        Reply::Passed(response) => Ok(response),
        Reply::Own(answer) => Ok(respond::response(answer)?.into()),
    }
}
