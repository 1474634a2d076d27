//! Bringing the schema up to date: what may be done follows from what was migrated before.

use std::collections::BTreeMap;

use deadpool_postgres::ClientWrapper;
use refinery::{Migration, Runner};

use crate::StoreError;

/// A migration that doesn't get its locks by then gives way and is tried again: whoever waits for a table stands in the way of
/// all who come after.
const LOCK_TIMEOUT: &str = "SET lock_timeout = '5s'";

/// A migration that was carried out: its version, name and checksum.
type Applied = (i32, String, String);

/// Migrates. The caller sees to it that nobody else does.
pub(crate) async fn migrate(
    connection: &mut ClientWrapper,
    runner: &Runner,
) -> Result<(), StoreError> {
    let applied = applied(connection).await?;
    if !has_pending(&applied, runner.get_migrations()).map_err(StoreError::WrongSchema)? {
        return Ok(());
    }
    connection.batch_execute(LOCK_TIMEOUT).await?;
    let migrated = runner.run_async(&mut **connection).await;
    connection.batch_execute("RESET lock_timeout").await?;
    migrated
        .map(drop)
        .map_err(|failed| StoreError::of_migration(&failed))
}

async fn applied(connection: &ClientWrapper) -> Result<Vec<Applied>, StoreError> {
    let sql = "SELECT to_regclass('refinery_schema_history') IS NOT NULL AS known";
    let known: bool = connection.query_one(sql, &[]).await?.try_get("known")?;
    if !known {
        return Ok(Vec::new());
    }
    let sql = "SELECT version, name, checksum FROM refinery_schema_history ORDER BY version";
    let found = connection.query(sql, &[]).await?;
    let read = found.iter().map(|row| {
        Ok::<_, StoreError>((
            row.try_get("version")?,
            row.try_get("name")?,
            row.try_get("checksum")?,
        ))
    });
    read.collect()
}

/// Whether there is something to migrate.
///
/// What later versions add leaves what there was as it was, so a schema that is further than ours is worked with. One that took
/// another way is not.
fn has_pending(applied: &[Applied], ours: &[Migration]) -> Result<bool, String> {
    let ours: BTreeMap<i32, &Migration> = ours.iter().map(|one| (one.version(), one)).collect();
    let last = ours.keys().next_back().copied().unwrap_or(0);
    for (version, name, checksum) in applied {
        match ours.get(version) {
            Some(own) if own.name() == name && own.checksum().to_string() == *checksum => {}
            Some(own) => {
                return Err(format!(
                    "it was migrated by V{version}__{name}, which is not the V{version}__{} of this version: a migration that has been carried out \
                     never changes. Run the version that made this database, or restore a dump of one that this version made",
                    own.name()
                ));
            }
            None if *version > last => {}
            None => {
                return Err(format!(
                    "it was migrated by V{version}__{name}, which this version doesn't know though it has later ones: run the version that made \
                     this database, or a later one"
                ));
            }
        }
    }
    let reached = applied.last().map_or(0, |(version, ..)| *version);
    let missing = |version: &i32| applied.iter().all(|(applied, ..)| applied != version);
    match ours.iter().find(|(version, _)| missing(version)) {
        Some((version, own)) if *version < reached => Err(format!(
            "it lacks V{version}__{} though it has later migrations: run the version that made this database",
            own.name()
        )),
        pending => Ok(pending.is_some()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ours() -> Vec<Migration> {
        [
            ("V1__first", "CREATE TABLE a ()"),
            ("V3__third", "CREATE TABLE b ()"),
        ]
        .iter()
        .map(|(name, sql)| Migration::unapplied(name, sql).unwrap())
        .collect()
    }

    fn applied(number: usize) -> Vec<Applied> {
        let ours = ours();
        let first = ours.iter().take(number);
        first
            .map(|one| {
                (
                    one.version(),
                    one.name().to_owned(),
                    one.checksum().to_string(),
                )
            })
            .collect()
    }

    #[test]
    fn what_is_behind_is_migrated_and_what_is_further_is_left() {
        assert_eq!(has_pending(&[], &ours()), Ok(true));
        assert_eq!(has_pending(&applied(1), &ours()), Ok(true));
        assert_eq!(has_pending(&applied(2), &ours()), Ok(false));
        let mut further = applied(2);
        further.push((4, "fourth".to_owned(), "4".to_owned()));
        assert_eq!(has_pending(&further, &ours()), Ok(false));
    }

    #[test]
    fn what_went_another_way_is_named() {
        let mut changed = applied(2);
        changed[0].2 = "7".to_owned();
        let why = has_pending(&changed, &ours()).unwrap_err();
        assert!(why.contains("V1__first"), "{why}");
        let mut between = applied(2);
        between.insert(1, (2, "second".to_owned(), "2".to_owned()));
        let why = has_pending(&between, &ours()).unwrap_err();
        assert!(why.contains("V2__second"), "{why}");
        let mut lacks = applied(1);
        lacks.push((4, "fourth".to_owned(), "4".to_owned()));
        let why = has_pending(&lacks, &ours()).unwrap_err();
        assert!(why.contains("V3__third"), "{why}");
    }
}
