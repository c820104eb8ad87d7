//! The Worker's bindings, secrets and variables, by name.

use tollgate_store::Adoption;
use worker::{Env, ObjectNamespace, Result};

use crate::auth::Secrets;

/// The name of the one object that keeps what concerns every tenant.
pub const PLATFORM: &str = "platform";

/// The objects that keep tenants' ledgers.
///
/// # Errors
/// The binding is missing.
pub fn tenant_ledgers(env: &Env) -> Result<ObjectNamespace> {
    env.durable_object("TENANT_LEDGER")
}

/// The object that keeps what concerns every tenant.
///
/// # Errors
/// The binding is missing.
pub fn platform_pools(env: &Env) -> Result<ObjectNamespace> {
    env.durable_object("PLATFORM_POOL")
}

/// `ADMIN_TOKEN` and `TOKEN_SIGNING_KEY`.
#[must_use]
pub fn secrets(env: &Env) -> Secrets {
    Secrets::new(text(env, "ADMIN_TOKEN"), text(env, "TOKEN_SIGNING_KEY"))
}

/// Whether requests may say what time it is. For tests alone.
#[must_use]
pub fn has_test_clock(env: &Env) -> bool {
    text(env, "TEST_CLOCK").is_some_and(|value| value == "1")
}

/// Whether there may be ledgers from before there was a registry.
#[must_use]
pub fn adoption(env: &Env) -> Adoption {
    match text(env, "ADOPT_TENANTS").as_deref() {
        Some("off") => Adoption::Never,
        Some("on") => Adoption::Always,
        _ => Adoption::ForAWhile,
    }
}

/// A secret or variable. workerd binds null where the environment does not have one, which `Env::var` and `Env::secret` trip over.
fn text(env: &Env, name: &str) -> Option<String> {
    js_sys::Reflect::get(env.as_ref(), &name.into()).ok()?.as_string()
}
