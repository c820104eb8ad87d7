//! Many rows in one statement: they travel as a JSON array in a parameter, which SQLite takes apart.

use serde::Serialize;

use crate::sql::{SqlError, StoreError};

/// A parameter holds 2 MB in a Durable Object.
const MAX_PARAM_BYTES: usize = 1_000_000;

/// A value as JSON text.
pub(crate) fn json(value: &impl Serialize) -> Result<String, StoreError> {
    tollgate_json::to_string(value).map_err(|error| StoreError::Damaged(error.to_string()))
}

/// Gives `run` the values, each JSON, as arrays that fit into a parameter.
pub(crate) fn in_parts<T>(
    values: impl Iterator<Item = Result<String, StoreError>>,
    run: impl Fn(&str) -> Result<T, SqlError>,
) -> Result<(), StoreError> {
    each_part(values, |part| {
        run(&part)?;
        Ok(())
    })
}

/// The values, each JSON, as arrays that fit into a parameter.
pub(crate) fn parts(values: impl Iterator<Item = Result<String, StoreError>>) -> Result<Vec<String>, StoreError> {
    let mut parts = Vec::new();
    each_part(values, |part| {
        parts.push(part);
        Ok(())
    })?;
    Ok(parts)
}

fn each_part(
    values: impl Iterator<Item = Result<String, StoreError>>,
    mut take: impl FnMut(String) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let mut part = String::new();
    for value in values {
        let value = value?;
        if !part.is_empty() && part.len() + value.len() + 2 > MAX_PARAM_BYTES {
            part.push(']');
            take(core::mem::take(&mut part))?;
        }
        part.push(if part.is_empty() { '[' } else { ',' });
        part.push_str(&value);
    }
    if !part.is_empty() {
        part.push(']');
        take(part)?;
    }
    Ok(())
}
