//! Reading columns into the domain.

use std::time::Duration;

use calgrant_domain::{BadInput, Observed};
use tokio_postgres::Row;

use crate::StoreError;

/// A column that holds a word or a name.
pub(crate) fn parsed<T: std::str::FromStr<Err = BadInput>>(
    row: &Row,
    column: &str,
) -> Result<T, StoreError> {
    Ok(row
        .try_get::<_, &str>(column)?
        .parse()
        .map_err(|bad: BadInput| bad.within(column))?)
}

/// Columns that hold lists of them.
pub(crate) fn parsed_all<T: std::str::FromStr<Err = BadInput>>(
    row: &Row,
    column: &str,
) -> Result<Vec<T>, StoreError> {
    let raw: Vec<String> = row.try_get(column)?;
    raw.iter()
        .map(|raw| Ok(raw.parse().map_err(|bad: BadInput| bad.within(column))?))
        .collect()
}

/// A count.
pub(crate) fn count(row: &Row, column: &str) -> Result<u64, StoreError> {
    Ok(u64::try_from(row.try_get::<_, i64>(column)?).unwrap_or(0))
}

/// A small count.
pub(crate) fn small(row: &Row, column: &str) -> Result<u32, StoreError> {
    Ok(u32::try_from(row.try_get::<_, i32>(column)?).unwrap_or(0))
}

/// For a small column.
pub(crate) fn int(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

/// For a column of milliseconds.
pub(crate) fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// From one.
pub(crate) fn duration(millis: i64) -> Duration {
    Duration::from_millis(u64::try_from(millis).unwrap_or(0))
}

/// The before-image of a job that has begun.
pub(crate) fn before(row: &Row) -> Result<Option<Observed>, StoreError> {
    if row
        .try_get::<_, Option<time::OffsetDateTime>>("begun_at")?
        .is_none()
    {
        return Ok(None);
    }
    Ok(Some(
        match row.try_get::<_, Option<&str>>("before_rights")? {
            None => Observed::Absent,
            Some(rights) => Observed::Present(
                rights
                    .parse()
                    .map_err(|bad: BadInput| bad.within("before_rights"))?,
            ),
        },
    ))
}

/// What an observation is stored as.
pub(crate) fn rights(observed: Observed) -> Option<String> {
    match observed {
        Observed::Absent => None,
        Observed::Present(rights) => Some(rights.to_string()),
    }
}
