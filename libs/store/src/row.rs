//! Reading columns into the domain.

use std::time::Duration;

use calgrant_domain::{Aim, BadInput, Observed, OperationId};
use tokio_postgres::Row;
use uuid::Uuid;

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

/// An entry, of a column that is empty where there is none.
pub(crate) fn entry(row: &Row, column: &str) -> Result<Observed, StoreError> {
    Ok(match row.try_get::<_, Option<&str>>(column)? {
        None | Some("") => Observed::Absent,
        Some(raw) => Observed::Present(raw.parse().map_err(|bad: BadInput| bad.within(column))?),
    })
}

/// What an entry is stored as in such a column.
pub(crate) fn entry_text(observed: Observed) -> String {
    rights(observed).unwrap_or_default()
}

/// What a job is to bring about.
pub(crate) fn aim(row: &Row) -> Result<Aim, StoreError> {
    Ok(match row.try_get("aim")? {
        "put_back" => Aim::PutBack {
            left: entry(row, "left_rights")?,
            to: entry(row, "to_rights")?,
        },
        "verify" => Aim::Verify {
            expected: parsed(row, "left_rights")?,
            role: parsed(row, "to_rights")?,
            lower_higher: row.try_get("lower_higher")?,
            repair: row.try_get("repair")?,
        },
        _ => Aim::Grant {
            role: parsed(row, "role")?,
            lower_higher: row.try_get("lower_higher")?,
        },
    })
}

/// Columns of a job that [`aim`] reads.
pub(crate) const AIM: &str = "j.aim, j.role, j.lower_higher, j.left_rights, j.to_rights, j.repair";

/// For a column of counts.
pub(crate) fn long(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// The least and the greatest id that a job of this operation can have: they begin with its time of acceptance.
/// Operations accepted in the same millisecond share them.
pub(crate) fn jobs_of(operation: OperationId) -> (Uuid, Uuid) {
    let time = operation.as_uuid().as_u128() >> 80 << 80;
    (
        Uuid::from_u128(time),
        Uuid::from_u128(time | ((1 << 80) - 1)),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use calgrant_domain::{JobId, MailboxId};

    #[test]
    fn an_operations_jobs_lie_in_its_range() {
        let at = time::OffsetDateTime::UNIX_EPOCH + Duration::from_millis(1_800_000_000_123);
        for random in 0..100u32 {
            let random = Uuid::new_v5(&Uuid::NAMESPACE_OID, &random.to_be_bytes());
            let operation = OperationId::new(at, random);
            let job = JobId::of(operation, MailboxId::from_uuid(random)).as_uuid();
            let (first, last) = jobs_of(operation);
            assert!(first <= job && job <= last);
        }
        let later = OperationId::new(at + Duration::from_millis(1), Uuid::nil());
        assert!(jobs_of(later).0 > jobs_of(OperationId::new(at, Uuid::nil())).1);
    }
}
