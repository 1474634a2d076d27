//! Scenario files: TOML, read whole, every mistake named with its place.

use std::collections::HashSet;

use serde::de::DeserializeOwned;
use toml::{Table, Value};

use crate::scenario::{Scenario, TenantSpec};
use crate::school::SchoolOptions;

impl Scenario {
    /// Reads a scenario file: `seed`, `[dials]`, `[school]` to generate one tenant, `[[tenant]]` for written-out ones.
    ///
    /// # Errors
    /// Every mistake that was found, with the path of the field.
    pub fn from_toml(text: &str) -> Result<Self, Vec<String>> {
        let mut file: Table = toml::from_str(text).map_err(|error| vec![error.to_string()])?;
        let mut mistakes = Vec::new();
        let school: Option<SchoolOptions> = take(&mut file, "school", "", &mut mistakes);
        let mut scenario = school.as_ref().map(Self::school).unwrap_or_default();
        if let Some(seed) = take(&mut file, "seed", "", &mut mistakes) {
            scenario.seed = seed;
        }
        if let Some(dials) = take(&mut file, "dials", "", &mut mistakes) {
            scenario.dials = dials;
        }
        for (number, tenant) in tables(&mut file, "tenant", "", &mut mistakes)
            .into_iter()
            .enumerate()
        {
            let tenant = read_tenant(tenant, &format!("tenant[{number}]"), &mut mistakes);
            scenario.tenants.extend(tenant);
        }
        mistakes.extend(file.keys().map(|name| format!("{name}: unknown field")));
        if mistakes.is_empty() {
            mistakes = scenario.mistakes();
        }
        if mistakes.is_empty() {
            Ok(scenario)
        } else {
            Err(mistakes)
        }
    }
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() {
        name.to_owned()
    } else {
        format!("{path}.{name}")
    }
}

/// Takes a field out of a table and reads it.
fn take<T: DeserializeOwned>(
    table: &mut Table,
    name: &str,
    path: &str,
    mistakes: &mut Vec<String>,
) -> Option<T> {
    read(table.remove(name)?, &join(path, name), mistakes)
}

fn read<T: DeserializeOwned>(value: Value, path: &str, mistakes: &mut Vec<String>) -> Option<T> {
    match T::deserialize(value) {
        Ok(read) => Some(read),
        Err(error) => {
            let text = error.to_string();
            mistakes.push(format!("{path}: {}", text.lines().next().unwrap_or(&text)));
            None
        }
    }
}

/// Takes an array of tables out of a table.
fn tables(table: &mut Table, name: &str, path: &str, mistakes: &mut Vec<String>) -> Vec<Table> {
    match table.remove(name) {
        None => Vec::new(),
        Some(value) => read(value, &join(path, name), mistakes).unwrap_or_default(),
    }
}

/// Reads each object of a tenant by itself, so that one mistake doesn't hide another.
fn read_tenant(mut table: Table, path: &str, mistakes: &mut Vec<String>) -> Option<TenantSpec> {
    let apps = objects(&mut table, "app", path, mistakes);
    let users = objects(&mut table, "user", path, mistakes);
    let groups = objects(&mut table, "group", path, mistakes);
    let units = objects(&mut table, "unit", path, mistakes);
    let plain: TenantSpec = read(Value::Table(table), path, mistakes)?;
    let tenant = TenantSpec {
        apps,
        users,
        groups,
        units,
        ..plain
    };
    references(&tenant, path, mistakes);
    Some(tenant)
}

fn objects<T: DeserializeOwned>(
    table: &mut Table,
    name: &str,
    path: &str,
    mistakes: &mut Vec<String>,
) -> Vec<T> {
    let path = join(path, name);
    let list = match table.remove(name) {
        None => return Vec::new(),
        Some(Value::Array(list)) => list,
        Some(_) => {
            mistakes.push(format!("{path}: write [[{name}]]"));
            return Vec::new();
        }
    };
    let numbered = list.into_iter().enumerate();
    numbered
        .filter_map(|(number, value)| read(value, &format!("{path}[{number}]"), mistakes))
        .collect()
}

/// Looks for names of objects that aren't there.
fn references(tenant: &TenantSpec, path: &str, mistakes: &mut Vec<String>) {
    let mut known = HashSet::new();
    let mut add = |name: &str| {
        known.insert(name.to_lowercase());
    };
    for user in &tenant.users {
        add(&user.upn);
        add(&user.name);
        add(&user.id.to_string());
        user.mail
            .iter()
            .chain(&user.alias)
            .for_each(|name| add(name));
        user.addresses.iter().for_each(|name| add(name));
        if user.alias.is_none() {
            add(user.upn.split('@').next().unwrap_or_default());
        }
    }
    for group in &tenant.groups {
        add(&group.name);
        add(&group.id.to_string());
        group.mail.iter().for_each(|name| add(name));
    }
    tenant
        .contacts
        .iter()
        .chain(&tenant.devices)
        .for_each(|name| add(name));

    let mut check = |name: &str, place: String| {
        let special = ["Default", "Anonymous"]
            .iter()
            .any(|special| special.eq_ignore_ascii_case(name));
        if !special && !name.starts_with("NT:S-1-") && !known.contains(&name.to_lowercase()) {
            mistakes.push(format!("{place}: {name:?} isn't in this tenant"));
        }
    };
    for (number, name) in tenant.managed.iter().enumerate() {
        check(name, format!("{path}.managed[{number}]"));
    }
    for (at, group) in tenant.groups.iter().enumerate() {
        for (number, name) in group.members.iter().enumerate() {
            check(name, format!("{path}.group[{at}].members[{number}]"));
        }
    }
    for (at, unit) in tenant.units.iter().enumerate() {
        for (number, name) in unit.members.iter().enumerate() {
            check(name, format!("{path}.unit[{at}].members[{number}]"));
        }
    }
    for (at, user) in tenant.users.iter().enumerate() {
        for (number, calendar) in user.calendars.iter().enumerate() {
            for (entry, spec) in calendar.entries.iter().enumerate() {
                let place =
                    format!("{path}.user[{at}].calendar[{number}].entries[{entry}].principal");
                check(&spec.principal, place);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Scenario;

    const EXAMPLE: &str = include_str!("../../../deploy/examples/scenario.toml");

    #[test]
    fn the_example_is_right() {
        let scenario = Scenario::from_toml(EXAMPLE).unwrap();
        assert_eq!(scenario.tenants.len(), 2);
        assert_eq!(scenario.tenants[1].users.len(), 4);
    }

    #[test]
    fn every_mistake_is_named_with_its_place() {
        let text = r#"
            sed = 1
            [dials]
            latency = 5
            [[tenant]]
            id = "99999999-0000-0000-0000-000000000001"
            domain = "x.example"
            managed = ["nobody@x.example"]
            [[tenant.user]]
            upn = "a@x.example"
            kind = "robot"
            [[tenant.user]]
            upn = "b@x.example"
            [[tenant.user.calendar]]
            path = "Kalender"
            entries = [{ principal = "ghost@x.example", rights = ["Author"] }]
            [[tenant.group]]
            name = "G"
            members = ["b@x.example", "c@x.example"]
        "#;
        let mistakes = Scenario::from_toml(text).unwrap_err();
        for place in [
            "sed:",
            "dials:",
            "tenant[0].user[0]:",
            "tenant[0].managed[0]:",
            "tenant[0].user[0].calendar[0].entries[0].principal:",
            "tenant[0].group[0].members[1]:",
        ] {
            assert!(
                mistakes.iter().any(|mistake| mistake.starts_with(place)),
                "{place} in {mistakes:?}"
            );
        }
    }
}
