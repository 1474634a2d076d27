//! Rules about migrations. Each is carried out while the version before still runs, on tables that hold a year: it adds, and
//! changes nothing that others read or write, and nothing that takes long under a lock.

use std::collections::BTreeSet;

use crate::Violations;

/// Where they are, seen from the root of the workspace.
const FOLDER: &str = "libs/store/migrations/";
/// Where their SQL is used.
const STORE: &str = "libs/store/src/";
/// Tables with a row for each mailbox or change: an index on one of these keeps writers out while it is built.
const LARGE: &[&str] = &[
    "access",
    "begun",
    "coverage",
    "job",
    "mailbox",
    "mailbox_list_name",
    "mailbox_log",
    "mailbox_name",
    "operation_event",
];
/// What breaks a rule and may: the file, how the statement begins, and why.
const EXCEPTIONS: &[(&str, &str, &str)] = &[
    (
        "V2__taking_back.sql",
        "CREATE INDEX job_begun ON job",
        "it came before any installation held more than a demo's jobs",
    ),
    (
        "V3__events_and_dead_letters.sql",
        "CREATE INDEX mailbox_name_of ON mailbox_name",
        "it came before any installation held more than a demo's mailboxes",
    ),
];

/// A migration only adds, so that the version before goes on working beside it.
#[must_use]
pub fn additive(path: &str, text: &str) -> Violations {
    let Some(file) = path
        .strip_prefix(FOLDER)
        .filter(|file| file.ends_with(".sql"))
    else {
        return Violations::new();
    };
    let (mut violations, mut own) = (Violations::new(), BTreeSet::new());
    for statement in statements(text) {
        let excepted = EXCEPTIONS
            .iter()
            .any(|(of, begins, _)| *of == file && statement.starts_with(begins));
        let broken = faults(&statement, &mut own);
        if excepted && broken.is_empty() {
            violations.push(format!(
                "{path}: `{}` breaks no rule: take it from the exceptions",
                shown(&statement)
            ));
        } else if !excepted {
            let told = broken.into_iter();
            violations.extend(told.map(|why| format!("{path}: `{}`: {why}", shown(&statement))));
        }
    }
    violations
}

/// Every migration has a number of its own, and a name.
#[must_use]
pub fn numbered(paths: &[&str]) -> Violations {
    let (mut violations, mut seen) = (Violations::new(), BTreeSet::new());
    for path in paths.iter().filter_map(|path| path.strip_prefix(FOLDER)) {
        let number = path
            .strip_prefix('V')
            .and_then(|rest| rest.split_once("__"))
            .and_then(|(number, _)| number.parse::<u32>().ok());
        match number {
            None => violations.push(format!("{FOLDER}{path}: name it V<number>__<name>.sql")),
            Some(number) if !seen.insert(number) => {
                violations.push(format!("{FOLDER}{path}: there is another V{number}"));
            }
            Some(_) => {}
        }
    }
    violations
}

/// The columns that are read are named: a statement that says `*` fails on every connection that knew it, when a later version adds
/// a column.
#[must_use]
pub fn columns_are_named(path: &str, text: &str) -> Violations {
    if !path.starts_with(STORE) {
        return Violations::new();
    }
    let mut violations = Violations::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim_start();
        if line.starts_with("//") {
            continue;
        }
        let of_table = line.match_indices(".*").any(|(at, _)| {
            line[..at].ends_with(|before: char| before.is_ascii_alphanumeric() || before == '_')
        });
        // What is unnested has the columns that the statement gives it.
        let all = line
            .match_indices("SELECT * FROM ")
            .any(|(at, select)| !line[at + select.len()..].starts_with("unnest("));
        if of_table || all {
            violations.push(format!("{path}:{}: name the columns", number + 1));
        }
    }
    violations
}

/// The statements of a migration: without comments, on one line each.
fn statements(text: &str) -> Vec<String> {
    let lines = text
        .lines()
        .map(|line| line.split("--").next().unwrap_or(""));
    let code: Vec<_> = lines.collect();
    code.join(" ")
        .split(';')
        .map(|statement| statement.split_whitespace().collect::<Vec<_>>().join(" "))
        .filter(|statement| !statement.is_empty())
        .collect()
}

fn shown(statement: &str) -> String {
    statement.chars().take(80).collect()
}

/// What is wrong with a statement. `own` are the tables that this migration has made: nobody else uses them yet.
fn faults(statement: &str, own: &mut BTreeSet<String>) -> Vec<&'static str> {
    let upper = statement.to_uppercase();
    let words: Vec<&str> = statement.split([' ', '(']).collect();
    if let Some(table) = made(&words) {
        own.insert(table.to_lowercase());
        return Vec::new();
    }
    if upper.starts_with("INSERT INTO ") {
        let known = words
            .get(2)
            .is_some_and(|table| own.contains(&table.to_lowercase()));
        return if known { Vec::new() } else { vec![ONLY_OWN] };
    }
    if upper.starts_with("CREATE INDEX ") || upper.starts_with("CREATE UNIQUE INDEX ") {
        return index(&upper, own);
    }
    if upper.starts_with("ALTER TABLE ") {
        return alter(&upper, own);
    }
    vec![
        "it does something else than to add a table, a column or an index: the version before may rely on what was",
    ]
}

const ONLY_OWN: &str =
    "it changes rows that others write: what they mean must not change under them";

/// The table that a statement makes.
fn made<'s>(words: &[&'s str]) -> Option<&'s str> {
    let is = |at: usize, word: &str| {
        words
            .get(at)
            .is_some_and(|found| found.eq_ignore_ascii_case(word))
    };
    (is(0, "CREATE") && is(1, "TABLE")).then(|| words.get(2).copied())?
}

fn index(upper: &str, own: &BTreeSet<String>) -> Vec<&'static str> {
    let table = upper
        .split_once(" ON ")
        .and_then(|(_, rest)| rest.split([' ', '(']).next())
        .unwrap_or_default()
        .to_lowercase();
    if own.contains(&table) {
        return Vec::new();
    }
    let mut faults = Vec::new();
    if upper.starts_with("CREATE UNIQUE ") {
        faults.push("what must be unique from now on may not be: the version before doesn't know");
    }
    if LARGE.contains(&table.as_str()) {
        faults.push("its table is large, and nobody writes to it while the index is built");
    }
    faults
}

fn alter(upper: &str, own: &BTreeSet<String>) -> Vec<&'static str> {
    let rest = upper.trim_start_matches("ALTER TABLE ");
    let (table, changes) = rest.split_once(' ').unwrap_or((rest, ""));
    if own.contains(&table.to_lowercase()) {
        return Vec::new();
    }
    let mut faults = Vec::new();
    for change in parts(changes) {
        if !change.starts_with("ADD COLUMN ") {
            faults
                .push("a table only gets more columns: the version before relies on all the rest");
            continue;
        }
        if change.contains(" NOT NULL") && !change.contains(" DEFAULT ") {
            faults.push("the version before writes rows without this column: give it a default");
        }
        let computed = change
            .split_once(" DEFAULT ")
            .is_some_and(|(_, value)| value.contains('('));
        if computed {
            faults.push("a default that is computed may rewrite the table: give it a plain one");
        }
        if [" REFERENCES ", " CHECK", " UNIQUE", " PRIMARY KEY"]
            .iter()
            .any(|word| change.contains(word))
        {
            faults.push("what binds a column binds the version before, which doesn't know of it");
        }
    }
    faults
}

/// The changes of an `ALTER TABLE`, split at commas outside of parentheses.
fn parts(changes: &str) -> Vec<String> {
    let (mut parts, mut depth) = (vec![String::new()], 0);
    for character in changes.chars() {
        match character {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        if character == ',' && depth == 0 {
            parts.push(String::new());
        } else if let Some(last) = parts.last_mut() {
            last.push(character);
        }
    }
    parts.iter().map(|part| part.trim().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn broken(sql: &str) -> usize {
        additive("libs/store/migrations/V9__next.sql", sql).len()
    }

    #[test]
    fn what_only_adds_is_fine() {
        assert_eq!(
            broken(
                "-- A comment; with a semicolon.
                CREATE TABLE shelf (id uuid PRIMARY KEY, at timestamptz NOT NULL);
                CREATE UNIQUE INDEX shelf_at ON shelf (at);
                INSERT INTO shelf (id) VALUES ('x');
                ALTER TABLE job ADD COLUMN shelf uuid, ADD COLUMN why text NOT NULL DEFAULT '';
                CREATE INDEX operation_shelf ON operation (shelf) WHERE shelf IS NOT NULL;"
            ),
            0
        );
        assert!(additive("libs/store/src/jobs.rs", "DROP TABLE job;").is_empty());
    }

    #[test]
    fn what_the_version_before_would_stumble_over_is_found() {
        for sql in [
            "DROP TABLE job",
            "ALTER TABLE job DROP COLUMN lane",
            "ALTER TABLE job RENAME COLUMN lane TO way",
            "ALTER TABLE job RENAME TO task",
            "ALTER TABLE job ALTER COLUMN lane TYPE int",
            "ALTER TABLE job ALTER COLUMN account SET NOT NULL",
            "ALTER TABLE job ADD CONSTRAINT positive CHECK (calls > 0)",
            "ALTER TABLE job ADD COLUMN why text NOT NULL",
            "ALTER TABLE job ADD COLUMN at timestamptz NOT NULL DEFAULT now()",
            "ALTER TABLE job ADD COLUMN shelf uuid REFERENCES shelf",
            "UPDATE job SET lane = 'bulk'",
            "DELETE FROM job",
            "INSERT INTO job (id) VALUES ('x')",
            "CREATE INDEX job_lane ON job (lane)",
            "CREATE UNIQUE INDEX operation_lane ON operation (lane)",
            "TRUNCATE job",
        ] {
            assert_eq!(broken(sql), 1, "{sql}");
        }
    }

    #[test]
    fn two_of_a_number_are_found() {
        let path = |name: &str| format!("{FOLDER}{name}");
        let paths = [
            path("V1__a.sql"),
            path("V2__b.sql"),
            path("V2__c.sql"),
            path("d.sql"),
        ];
        let paths: Vec<_> = paths.iter().map(String::as_str).collect();
        assert_eq!(numbered(&paths).len(), 2);
    }

    #[test]
    fn a_star_is_found() {
        let broken = |line: &str| columns_are_named("libs/store/src/jobs.rs", line).len();
        assert_eq!(broken("let sql = \"SELECT b.id FROM begun b\";"), 0);
        assert_eq!(
            broken("WITH page AS (SELECT * FROM unnest($1::uuid[]) AS page (id))"),
            0
        );
        assert_eq!(broken("let sql = \"SELECT b.* FROM begun b\";"), 1);
        assert_eq!(broken("let sql = \"SELECT * FROM begun\";"), 1);
    }
}
