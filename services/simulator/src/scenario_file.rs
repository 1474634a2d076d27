//! Scenario files: TOML, read whole, every mistake named with its place.

use std::collections::HashSet;

use serde::de::DeserializeOwned;
use toml::{Table, Value};

use crate::dials::{Dials, Fault};
use crate::onprem::OnPremSpec;
use crate::scenario::{CalendarSpec, Scenario, TenantSpec, UserSpec};
use crate::school::SchoolOptions;

impl Scenario {
    /// Reads a scenario file: `seed`, `https`, `ldap`, `ldaps`, `keytab`, `[dials]`, `[school]` to generate one tenant, `[[tenant]]` for written-out ones.
    ///
    /// # Errors
    /// Every mistake that was found, with the path of the field.
    pub fn from_toml(text: &str) -> Result<Self, Vec<String>> {
        let mut file: Table = toml::from_str(text).map_err(|error| vec![error.to_string()])?;
        let mut mistakes = Vec::new();
        let school: Option<SchoolOptions> = table(&mut file, "school", &mut mistakes)
            .and_then(|school| read_table(school, "school", &mut mistakes));
        if let Some(school) = &school
            && !(0.0..=1.0).contains(&school.on_premises_share)
        {
            mistakes.push("school.on_premises_share: it isn't between 0 and 1".to_owned());
        }
        let mut scenario = school.as_ref().map(Self::school).unwrap_or_default();
        if let Some(seed) = take(&mut file, "seed", "", &mut mistakes) {
            scenario.seed = seed;
        }
        scenario.https = take(&mut file, "https", "", &mut mistakes);
        scenario.ldap = take(&mut file, "ldap", "", &mut mistakes);
        scenario.ldaps = take(&mut file, "ldaps", "", &mut mistakes);
        scenario.keytab = take(&mut file, "keytab", "", &mut mistakes);
        if let Some(dials) = table(&mut file, "dials", &mut mistakes) {
            scenario.dials = read_dials(dials, &mut mistakes);
        }
        for (number, tenant) in tables(&mut file, "tenant", "", &mut mistakes)
            .into_iter()
            .enumerate()
        {
            let tenant = read_tenant(tenant, &format!("tenant[{number}]"), &mut mistakes);
            scenario.tenants.extend(tenant);
        }
        mistakes.extend(file.keys().map(|name| format!("{name}: unknown field")));
        if mistakes.is_empty() || !scenario.tenants.is_empty() {
            mistakes.extend(scenario.mistakes());
        } else {
            mistakes.extend(scenario.dials.mistakes());
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

/// Reads a table whose fields all have defaults. When it's wrong, each mistake is named, and the fields that are right
/// are read all the same.
fn read_table<T: DeserializeOwned>(
    table: Table,
    path: &str,
    mistakes: &mut Vec<String>,
) -> Option<T> {
    if let Ok(read) = T::deserialize(Value::Table(table.clone())) {
        return Some(read);
    }
    let mut right = Table::new();
    for (name, value) in table {
        let alone = Table::from_iter([(name.clone(), value.clone())]);
        if read::<T>(Value::Table(alone), &join(path, &name), mistakes).is_some() {
            right.insert(name, value);
        }
    }
    read(Value::Table(right), path, mistakes)
}

fn read_dials(mut written: Table, mistakes: &mut Vec<String>) -> Dials {
    let faults = table(&mut written, "faults", mistakes).unwrap_or_default();
    let mut dials: Dials = read_table(written, "dials", mistakes).unwrap_or_default();
    for (name, fault) in faults {
        let fault: Option<Fault> = read(fault, &format!("dials.faults.{name}"), mistakes);
        dials.faults.extend(fault.map(|fault| (name, fault)));
    }
    dials
}

/// Takes a table out of a table.
fn table(table: &mut Table, name: &str, mistakes: &mut Vec<String>) -> Option<Table> {
    match table.remove(name)? {
        Value::Table(inner) => Some(inner),
        _ => {
            mistakes.push(format!("{name}: write [{name}]"));
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
    let users = written(&mut table, "user", path, mistakes);
    let users = users
        .into_iter()
        .filter_map(|(user, path)| read_user(user, &path, mistakes));
    let users = users.collect();
    let groups = objects(&mut table, "group", path, mistakes);
    let units = objects(&mut table, "unit", path, mistakes);
    let skus = objects(&mut table, "sku", path, mistakes);
    let onprem = match table.remove("onprem") {
        None => None,
        Some(Value::Table(written)) => read_onprem(written, &join(path, "onprem"), mistakes),
        Some(_) => {
            mistakes.push(format!("{path}.onprem: write [tenant.onprem]"));
            None
        }
    };
    let plain: TenantSpec = read_table(table, path, mistakes)?;
    let tenant = TenantSpec {
        onprem,
        apps,
        users,
        groups,
        units,
        skus,
        ..plain
    };
    references(&tenant, path, mistakes);
    Some(tenant)
}

fn read_onprem(mut table: Table, path: &str, mistakes: &mut Vec<String>) -> Option<OnPremSpec> {
    let policies = objects(&mut table, "policy", path, mistakes);
    let accounts = objects(&mut table, "account", path, mistakes);
    let plain: OnPremSpec = read_table(table, path, mistakes)?;
    Some(OnPremSpec {
        policies,
        accounts,
        ..plain
    })
}

fn read_user(mut table: Table, path: &str, mistakes: &mut Vec<String>) -> Option<UserSpec> {
    let mut calendars = Vec::new();
    for (mut calendar, path) in written(&mut table, "calendar", path, mistakes) {
        let entries = objects(&mut calendar, "entries", &path, mistakes);
        let plain: Option<CalendarSpec> = read_table(calendar, &path, mistakes);
        calendars.extend(plain.map(|plain| CalendarSpec { entries, ..plain }));
    }
    let plain: UserSpec = read_table(table, path, mistakes)?;
    Some(UserSpec { calendars, ..plain })
}

fn objects<T: DeserializeOwned>(
    table: &mut Table,
    name: &str,
    path: &str,
    mistakes: &mut Vec<String>,
) -> Vec<T> {
    let list = written(table, name, path, mistakes);
    list.into_iter()
        .filter_map(|(object, path)| read_table(object, &path, mistakes))
        .collect()
}

/// Takes a list of tables out of a table, each with its path.
fn written(
    table: &mut Table,
    name: &str,
    path: &str,
    mistakes: &mut Vec<String>,
) -> Vec<(Table, String)> {
    let path = join(path, name);
    let list = match table.remove(name) {
        None => return Vec::new(),
        Some(Value::Array(list)) => list,
        Some(_) => {
            mistakes.push(format!("{path}: write [[{name}]]"));
            return Vec::new();
        }
    };
    let mut found = Vec::with_capacity(list.len());
    for (number, value) in list.into_iter().enumerate() {
        let path = format!("{path}[{number}]");
        match value {
            Value::Table(table) => found.push((table, path)),
            _ => mistakes.push(format!("{path}: it isn't a table")),
        }
    }
    found
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
        let outsider = name.starts_with("NT:S-1-") || name.starts_with("external:");
        if !special && !outsider && !known.contains(&name.to_lowercase()) {
            mistakes.push(format!("{place}: {name:?} isn't in this tenant"));
        }
    };
    for (number, name) in tenant.managed.iter().enumerate() {
        check(name, format!("{path}.managed[{number}]"));
    }
    let accounts = tenant.onprem.iter().flat_map(|site| &site.accounts);
    for (number, account) in accounts.enumerate() {
        let path = format!("{path}.onprem.account[{number}]");
        check(&account.user, format!("{path}.user"));
        for (field, scope) in [
            ("full_access", &account.full_access),
            ("impersonation", &account.impersonation),
        ] {
            let named = |name: &&String| *name != "*" && !name.to_lowercase().starts_with("ou=");
            for (number, name) in scope.iter().filter(named).enumerate() {
                check(name, format!("{path}.{field}[{number}]"));
            }
        }
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
        assert_eq!(scenario.tenants[1].users.len(), 6);
    }

    #[test]
    fn every_mistake_is_named_with_its_place() {
        let text = r#"
            sed = 1
            [dials]
            latency = 5
            jitter = "much"
            read_lag_share = 2
            [dials.faults]
            gremlins = 1
            lost_reply = { time = 1 }
            nul_403 = { rate = 7 }
            [school]
            mailboxes = "many"
            seeds = 4
            [[tenant]]
            id = "99999999-0000-0000-0000-000000000001"
            domain = "x.example"
            managed = ["nobody@x.example"]
            [[tenant.user]]
            upn = "a@x.example"
            kind = "robot"
            licensed = 1
            [[tenant.user]]
            upn = "b@x.example"
            [[tenant.user.calendar]]
            path = "Kalender"
            colour = "red"
            entries = [{ principal = "ghost@x.example", rights = ["Author"] }, { principal = "Default", right = 1 }]
            [[tenant.app]]
            client_id = "aaaaaaaa-0000-0000-0000-000000000000"
            limits = { max_in_flight = -1 }
            graph_limits = { windows = [[1, 0]] }
            [[tenant.group]]
            name = "G"
            members = ["b@x.example", "c@x.example"]
            [tenant.onprem]
            time_scale = "fast"
            [[tenant.onprem.policy]]
            ews_max_burst = "much"
            [[tenant.onprem.account]]
            user = "d@x.example"
            impersonation = ["*", "e@x.example"]
        "#;
        let mistakes = Scenario::from_toml(text).unwrap_err();
        for place in [
            "sed:",
            "dials.latency:",
            "dials.jitter:",
            "dials.read_lag_share:",
            "dials.faults.gremlins:",
            "dials.faults.lost_reply:",
            "dials.faults.nul_403:",
            "school.mailboxes:",
            "school.seeds:",
            "tenant[0].app[0].limits:",
            "tenant[0].user[0].kind:",
            "tenant[0].user[0].licensed:",
            "tenant[0].user[1].calendar[0].colour:",
            "tenant[0].user[1].calendar[0].entries[1].right:",
            "tenant[0].managed[0]:",
            "tenant[0].user[1].calendar[0].entries[0].principal:",
            "tenant[0].group[0].members[1]:",
            "tenant[0].onprem.time_scale:",
            "tenant[0].onprem.policy[0].ews_max_burst:",
            "tenant[0].onprem.account[0].user:",
            "tenant[0].onprem.account[0].impersonation[0]:",
            "tenant \"x.example\": onprem.account \"d@x.example\":",
        ] {
            assert!(
                mistakes.iter().any(|mistake| mistake.starts_with(place)),
                "{place} in {mistakes:?}"
            );
        }
    }
}
