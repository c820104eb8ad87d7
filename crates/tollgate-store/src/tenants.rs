//! The registry: which tenants there are.
//!
//! A tenant is written here before its ledger is, so that what is not here does not exist, and is answered without making anything. Ledgers from before
//! there was a registry are not here at first: while it *adopts*, whoever is asked for one looks whether it is there.

use tollgate_core::ids::TenantId;
use tollgate_core::time::Timestamp;

use crate::schema;
use crate::sql::{Param, Row, Sql, StoreError};

/// The version of the tables that has the registry.
const SINCE: i64 = 3;

/// How long after it began a registry stops adopting by itself: longer than any token lives that was issued before, which is a year. An onboarding finds
/// a ledger also after that, with everything in it.
pub const ADOPTION_DAYS: i64 = 400;
const DAY_MILLIS: i64 = 86_400_000;

/// What the administrator says about ledgers from before there was a registry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Adoption {
    /// Nothing: there may be some until [`ADOPTION_DAYS`] after the registry began.
    #[default]
    ForAWhile,
    /// There are none, or none any more. That is remembered.
    Never,
    /// There may be some, whatever was said before.
    Always,
}

/// Keeps the registry.
#[derive(Debug)]
pub struct TenantsStore<S> {
    sql: S,
}

impl<S: Sql> TenantsStore<S> {
    /// Opens the database. Writes nothing.
    pub const fn open(sql: S) -> Self {
        Self { sql }
    }

    /// Since when a tenant is known. None where it is not.
    ///
    /// # Errors
    /// The database failed, or what is stored cannot be read.
    pub fn since(&self, tenant: &TenantId) -> Result<Option<Timestamp>, StoreError> {
        if schema::version(&self.sql)? < SINCE {
            return Ok(None);
        }
        let rows = self.sql.query("SELECT since FROM tenants WHERE id = ?1", &[Param::Text(tenant.as_str())])?;
        rows.first().map(|row| timestamp(&mut Row::new(row, "tenants"))).transpose()
    }

    /// Makes a tenant known, and says since when it is: a second time changes nothing.
    ///
    /// # Errors
    /// The database failed: nothing was changed.
    pub fn register(&mut self, tenant: &TenantId, since: Timestamp) -> Result<Timestamp, StoreError> {
        if let Some(known) = self.since(tenant)? {
            return Ok(known);
        }
        let sql = &self.sql;
        sql.transaction(&mut || {
            schema::migrate(sql, schema::PLATFORM)?;
            let row = [Param::Text(tenant.as_str()), Param::Integer(since.millis())];
            sql.query("INSERT INTO tenants (id, since) VALUES (?1, ?2)", &row)?;
            Ok(())
        })?;
        Ok(since)
    }

    /// Whether a tenant that is not known may have a ledger all the same. The registry begins with the first time that this is asked.
    ///
    /// # Errors
    /// The database failed: nothing was changed.
    pub fn adopts(&mut self, adoption: Adoption, now: Timestamp) -> Result<bool, StoreError> {
        let known = self.registry()?;
        let (began, adopts) = match (known, adoption) {
            (Some(registry), Adoption::ForAWhile | Adoption::Always) => registry,
            (None, Adoption::ForAWhile | Adoption::Always) => (now, true),
            (known, Adoption::Never) => (known.map_or(now, |(began, _)| began), false),
        };
        if known != Some((began, adopts)) {
            let sql = &self.sql;
            sql.transaction(&mut || {
                schema::migrate(sql, schema::PLATFORM)?;
                sql.query("DELETE FROM registry", &[])?;
                let row = [Param::Integer(began.millis()), Param::Integer(adopts.into())];
                sql.query("INSERT INTO registry (began, adopts) VALUES (?1, ?2)", &row)?;
                Ok(())
            })?;
        }
        let is_young = now.millis().saturating_sub(began.millis()) < ADOPTION_DAYS * DAY_MILLIS;
        Ok(adoption == Adoption::Always || (adopts && is_young))
    }

    /// When the registry began, and whether it adopts. None before it has.
    fn registry(&self) -> Result<Option<(Timestamp, bool)>, StoreError> {
        if schema::version(&self.sql)? < SINCE {
            return Ok(None);
        }
        let rows = self.sql.query("SELECT began, adopts FROM registry", &[])?;
        let Some(row) = rows.first() else { return Ok(None) };
        let mut row = Row::new(row, "registry");
        Ok(Some((timestamp(&mut row)?, row.integer()? != 0)))
    }
}

fn timestamp(row: &mut Row<'_>) -> Result<Timestamp, StoreError> {
    let millis = row.integer()?;
    Timestamp::from_millis(millis).map_err(|error| StoreError::Damaged(format!("registry: {error}")))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
    use super::*;
    use crate::{PolicyStore, Sqlite};

    const DAY: i64 = DAY_MILLIS;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(millis).unwrap()
    }

    fn tables(sql: &Sqlite) -> usize {
        sql.query("SELECT name FROM sqlite_master", &[]).unwrap().len()
    }

    #[test]
    fn a_tenant_is_known_since_it_was_registered_first() {
        let sql = Sqlite::in_memory().unwrap();
        let mut store = TenantsStore::open(&sql);
        let (acme, globex) = ("acme".parse().unwrap(), "globex".parse().unwrap());
        assert_eq!(store.since(&acme).unwrap(), None);
        assert_eq!(tables(&sql), 0, "asking writes nothing");
        assert_eq!(store.register(&acme, at(7)).unwrap(), at(7));
        assert_eq!(store.register(&acme, at(8)).unwrap(), at(7));
        assert_eq!(store.since(&acme).unwrap(), Some(at(7)));
        assert_eq!(store.since(&globex).unwrap(), None);
        let mut again = TenantsStore::open(&sql);
        assert_eq!(again.register(&globex, at(9)).unwrap(), at(9));
        assert_eq!(again.since(&acme).unwrap(), Some(at(7)));
    }

    #[test]
    fn adoption_ends_by_itself_or_by_order() {
        let adopting = |sql: &Sqlite, adoption, millis| TenantsStore::open(sql).adopts(adoption, at(millis)).unwrap();
        let sql = Sqlite::in_memory().unwrap();
        assert!(adopting(&sql, Adoption::ForAWhile, 5));
        assert!(adopting(&sql, Adoption::ForAWhile, 4 + 400 * DAY));
        assert!(!adopting(&sql, Adoption::ForAWhile, 5 + 400 * DAY), "400 days after it was first asked");
        assert!(adopting(&sql, Adoption::Always, 5 + 400 * DAY));
        assert!(!adopting(&sql, Adoption::ForAWhile, 5 + 400 * DAY), "that is for as long as it is said");

        // A new installation says once that it is new.
        let sql = Sqlite::in_memory().unwrap();
        assert!(!adopting(&sql, Adoption::Never, 5));
        assert!(!adopting(&sql, Adoption::ForAWhile, 6));
        assert!(adopting(&sql, Adoption::Always, 7));

        // Later, too.
        let sql = Sqlite::in_memory().unwrap();
        assert!(adopting(&sql, Adoption::ForAWhile, 5));
        assert!(!adopting(&sql, Adoption::Never, 6));
        assert!(!adopting(&sql, Adoption::ForAWhile, 7));
    }

    #[test]
    fn a_platform_from_before_gets_the_registry_beside_what_it_has() {
        let sql = Sqlite::in_memory().unwrap();
        let policy = tollgate_core::policy::Policy::default();
        sql.transaction(&mut || schema::migrate(&sql, schema::PLATFORM.get(..2).unwrap()).map(|_| ())).unwrap();
        sql.query(
            "INSERT INTO policy (version, document) VALUES (4, ?1)",
            &[Param::Text(&tollgate_json::to_string(&policy).unwrap())],
        )
        .unwrap();
        let mut store = TenantsStore::open(&sql);
        let acme = "acme".parse().unwrap();
        assert_eq!(store.since(&acme).unwrap(), None);
        assert!(store.adopts(Adoption::ForAWhile, at(5)).unwrap());
        store.register(&acme, at(1)).unwrap();
        assert_eq!(PolicyStore::open(&sql).policy().unwrap(), (4, policy));
        assert_eq!(TenantsStore::open(&sql).since(&acme).unwrap(), Some(at(1)));
    }
}
