//! From nothing to accounts, a group, and the accounts in it.

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::school::{Kind, School};
use super::stage::{Stage, TENANT};

/// What was made, by the simulator's own state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Made {
    pub(super) accounts: u64,
    pub(super) licences: u64,
    pub(super) groups: u64,
    pub(super) members: u64,
}

/// Set every site up.
pub(super) fn run_all(stage: &Stage, school: &School) -> Result<Made> {
    for kind in school.kinds() {
        let (site, group) = (kind.word(), kind.trustee());
        eprintln!("\ndemo: setting up the {site} site: accounts, and {group}");
        run(stage, *kind)?;
    }
    made(&stage.simulator("GET", "/_simulator/created")?)
}

/// Set every site up once more. Answers how much that changed.
pub(super) fn changes(stage: &Stage, school: &School) -> Result<u64> {
    let mut changes = 0;
    for kind in school.kinds() {
        let set_up = run(stage, *kind)?;
        let steps = set_up["steps"].as_array();
        let steps = steps.context("a set-up without steps")?.iter();
        changes += length(steps.map(|step| &step["did"]));
    }
    Ok(changes)
}

fn run(stage: &Stage, kind: Kind) -> Result<Value> {
    let site = kind.word();
    let rows = stage.read(&[
        "setup", "run", "--tenant", TENANT, "--site", site, "--wait", "--output", "json",
    ])?;
    let set_up = rows.into_iter().next().context("no set-up came back")?;
    ensure!(
        set_up["state"] == "done",
        "the {site} site could not be set up; logs are in {}: {set_up:#}",
        stage.dir().display()
    );
    Ok(set_up)
}

fn made(created: &Value) -> Result<Made> {
    let list = |name: &str| {
        let list = created[name].as_array();
        list.with_context(|| format!("the simulator doesn't tell of {name}"))
    };
    let (users, groups) = (list("users")?, list("groups")?);
    Ok(Made {
        accounts: users.len() as u64,
        licences: length(users.iter().map(|user| &user["licences"])),
        groups: groups.len() as u64,
        members: length(groups.iter().map(|group| &group["members"])),
    })
}

/// Of several lists together.
fn length<'a>(lists: impl Iterator<Item = &'a Value>) -> u64 {
    let lists = lists.filter_map(Value::as_array);
    lists.map(|list| list.len() as u64).sum()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_was_made_is_counted() {
        let created = json!({
            "users": [{"licences": [{}]}, {"licences": []}],
            "groups": [{"members": ["a", "b"]}],
        });
        let wanted = Made {
            accounts: 2,
            licences: 1,
            groups: 1,
            members: 2,
        };
        assert_eq!(made(&created).ok(), Some(wanted));
        assert!(made(&json!({"users": []})).is_err());
    }
}
