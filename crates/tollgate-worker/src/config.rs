//! The Worker's bindings, secrets and variables, by name.

use worker::{Env, ObjectNamespace, Result};

use crate::auth::Secrets;

/// The objects that keep tenants' ledgers.
///
/// # Errors
/// The binding is missing.
pub fn tenant_ledgers(env: &Env) -> Result<ObjectNamespace> {
    env.durable_object("TENANT_LEDGER")
}

/// The object that keeps the policy.
///
/// # Errors
/// The binding is missing.
pub fn platform_pools(env: &Env) -> Result<ObjectNamespace> {
    env.durable_object("PLATFORM_POOL")
}

/// `ADMIN_TOKEN` and `TOKEN_SIGNING_KEY`.
#[must_use]
pub fn secrets(env: &Env) -> Secrets {
    let secret = |name| env.secret(name).ok().map(|secret| secret.to_string());
    Secrets::new(secret("ADMIN_TOKEN"), secret("TOKEN_SIGNING_KEY"))
}

/// Whether requests may say what time it is. For tests alone.
#[must_use]
pub fn has_test_clock(env: &Env) -> bool {
    env.var("TEST_CLOCK").is_ok_and(|value| value.to_string() == "1")
}
