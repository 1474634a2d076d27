//! Which crate may depend on which. The map is in `ARCHITECTURE.md`.

use serde_json::Value;

use crate::Violations;

/// When a dependency is there.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// In every build.
    Normal,
    /// For the build script.
    Build,
    /// For tests, examples and benchmarks.
    Dev,
}

/// A crate of ours or of others that one of ours depends on.
#[derive(Clone, Debug)]
pub struct Dependency {
    /// The package's name.
    pub name: String,
    /// When it is there.
    pub kind: Kind,
}

/// A crate of the workspace.
#[derive(Clone, Debug)]
pub struct Package {
    /// The package's name.
    pub name: String,
    /// Its folder, from the root of the workspace: `libs/domain`.
    pub dir: String,
    /// All it depends on, ours and others.
    pub dependencies: Vec<Dependency>,
}

/// The packages in the output of `cargo metadata --no-deps`.
///
/// # Errors
///
/// What is not as cargo writes it.
pub fn packages(metadata: &Value) -> Result<Vec<Package>, String> {
    let root = metadata["workspace_root"]
        .as_str()
        .ok_or("no workspace_root")?;
    let packages = metadata["packages"].as_array().ok_or("no packages")?;
    packages
        .iter()
        .map(|package| {
            let name = package["name"].as_str().ok_or("a package without a name")?;
            let manifest = package["manifest_path"]
                .as_str()
                .ok_or("a package without a manifest")?;
            let dir = manifest
                .strip_prefix(root)
                .and_then(|path| path.strip_suffix("/Cargo.toml"))
                .ok_or_else(|| format!("{manifest} is outside {root}"))?;
            let dependencies = package["dependencies"]
                .as_array()
                .ok_or("a package without dependencies")?;
            let dependencies = dependencies
                .iter()
                .map(dependency)
                .collect::<Result<_, _>>()?;
            Ok(Package {
                name: name.to_owned(),
                dir: dir.trim_start_matches('/').to_owned(),
                dependencies,
            })
        })
        .collect()
}

fn dependency(value: &Value) -> Result<Dependency, String> {
    let name = value["name"]
        .as_str()
        .ok_or("a dependency without a name")?
        .to_owned();
    let kind = match value["kind"].as_str() {
        None => Kind::Normal,
        Some("build") => Kind::Build,
        Some("dev") => Kind::Dev,
        Some(other) => return Err(format!("{name} is a dependency of unknown kind {other}")),
    };
    Ok(Dependency { name, kind })
}

/// Every dependency between our crates must be one of the allowed arrows.
#[must_use]
pub fn between_ours(packages: &[Package]) -> Violations {
    let mut violations = Violations::new();
    for from in packages {
        if may_reach(&from.dir, "libs/domain").is_none() {
            violations.push(format!(
                "{} is not on the map: say in `may_reach` what it may depend on",
                from.dir
            ));
            continue;
        }
        for dependency in &from.dependencies {
            let Some(to) = packages
                .iter()
                .find(|package| package.name == dependency.name)
            else {
                continue;
            };
            let allowed = may_reach(&from.dir, &to.dir).unwrap_or(false)
                || (dependency.kind == Kind::Dev && tests_may_reach(&from.dir, &to.dir));
            if !allowed {
                violations.push(format!(
                    "{} must not depend on {} ({:?})",
                    from.dir, to.dir, dependency.kind
                ));
            }
        }
    }
    violations
}

/// Whether the tests of the crate in folder `from` may reach further, to `to`.
fn tests_may_reach(from: &str, to: &str) -> bool {
    // Adapters are tried on the stand-in for their servers.
    let tries_an_adapter = from.starts_with("libs/exchange-");
    // Set-up is tried on them, and on the stand-in.
    let tries_set_up = from == "libs/setup";
    to == "libs/testkit"
        || (tries_set_up && (to.starts_with("libs/exchange-") || to == "services/simulator"))
        || (tries_an_adapter && ["services/simulator", "libs/runtime"].contains(&to))
}

/// Whether the crate in folder `from` may depend on that in folder `to`, outside its tests; `None` for an unknown room.
fn may_reach(from: &str, to: &str) -> Option<bool> {
    let (room, name) = from.split_once('/').unwrap_or((from, ""));
    let to_a_lib = to.starts_with("libs/") && to != "libs/testkit";
    Some(match (room, name) {
        ("libs", "domain" | "bus" | "runtime" | "gssapi") | ("xtask", "") => false,
        ("libs", "budget" | "contract" | "exchange" | "secrets" | "store") => to == "libs/domain",
        // Budgets as services use them: decided in one, told in the other's words.
        ("libs", "leases") => [
            "libs/budget",
            "libs/contract",
            "libs/domain",
            "libs/runtime",
        ]
        .contains(&to),
        // The steps of a set-up, carried out: under leases, told in the contract's words.
        ("libs", "setup") => [
            "libs/budget",
            "libs/contract",
            "libs/domain",
            "libs/exchange",
            "libs/leases",
            "libs/runtime",
            "libs/secrets",
        ]
        .contains(&to),
        ("libs", "testkit") => to_a_lib || to == "services/simulator",
        ("libs", adapter) if adapter.starts_with("exchange-") => {
            ["libs/exchange", "libs/domain"].contains(&to)
                || (adapter == "exchange-onprem" && to == "libs/gssapi")
        }
        // Written from the protocols, never from our client's types: it is the judge. The binding to the system's Kerberos
        // knows nothing of them.
        ("services", "simulator") => ["libs/runtime", "libs/gssapi"].contains(&to),
        // Only wires, and may see them all.
        ("services", "calgrant") => to_a_lib || to.starts_with("services/"),
        ("services", _) => to_a_lib && (to != "libs/store" || name == "status"),
        // The libraries too: a test of the whole speaks the contract as a client does, and looks behind the doors.
        ("tests", _) => to.starts_with("libs/") || to.starts_with("services/"),
        _ => return None,
    })
}

/// What only some rooms may know about: the crate, the rooms, and why.
const KNOWN_BY: &[(&str, &[&str], &str)] = &[
    (
        "lapin",
        &["libs/bus", "libs/testkit", "tests/"],
        "AMQP is spoken in libs/bus",
    ),
    (
        "tokio-postgres",
        &["libs/store", "libs/testkit", "tests/"],
        "SQL lives in libs/store",
    ),
    (
        "deadpool-postgres",
        &["libs/store", "libs/testkit", "tests/"],
        "SQL lives in libs/store",
    ),
];

/// What a room does without, outside its tests, and why.
const NEVER: &[(&str, &[&str], &str)] = &[(
    "libs/domain",
    &[
        "async-trait",
        "futures",
        "lapin",
        "prost",
        "reqwest",
        "serde",
        "serde_json",
        "tokio",
        "tokio-postgres",
        "tonic",
    ],
    "no I/O, no async, and no serde, prost or SQL derives",
)];

/// Crates of others stay in the rooms that are there for them.
#[must_use]
pub fn to_others(packages: &[Package]) -> Violations {
    let mut violations = Violations::new();
    for Package {
        dir, dependencies, ..
    } in packages
    {
        for Dependency { name, .. } in dependencies
            .iter()
            .filter(|dependency| dependency.kind != Kind::Dev)
        {
            for (known, rooms, why) in KNOWN_BY {
                if name == known && !rooms.iter().any(|room| dir.starts_with(room)) {
                    violations.push(format!("{dir} must not depend on {name}: {why}"));
                }
            }
            for (room, without, why) in NEVER {
                if dir == room && without.contains(&name.as_str()) {
                    violations.push(format!("{dir} must not depend on {name}: {why}"));
                }
            }
        }
    }
    violations
}

#[cfg(test)]
mod tests {
    use super::*;

    fn house(arrows: &[(&str, &str, Kind)]) -> Vec<Package> {
        let name = |dir: &str| dir.replace('/', "-");
        let mut packages: Vec<Package> = Vec::new();
        for dir in arrows.iter().flat_map(|(from, to, _)| [from, to]) {
            if !packages.iter().any(|package| package.dir == **dir) {
                packages.push(Package {
                    name: name(dir),
                    dir: (*dir).to_owned(),
                    dependencies: Vec::new(),
                });
            }
        }
        for (from, to, kind) in arrows {
            let package = packages
                .iter_mut()
                .find(|package| package.dir == *from)
                .expect("made above");
            package.dependencies.push(Dependency {
                name: name(to),
                kind: *kind,
            });
        }
        packages
    }

    #[test]
    fn each_arrow_is_judged() {
        use Kind::{Build, Dev, Normal};
        for (from, to, kind, allowed) in [
            ("libs/budget", "libs/domain", Normal, true),
            ("libs/budget", "libs/store", Normal, false),
            ("libs/contract", "libs/domain", Build, true),
            ("libs/contract", "libs/runtime", Build, false),
            ("libs/domain", "libs/budget", Normal, false),
            ("libs/bus", "libs/domain", Normal, false),
            ("libs/runtime", "libs/domain", Normal, false),
            ("libs/exchange", "libs/domain", Normal, true),
            ("libs/exchange-online", "libs/exchange", Normal, true),
            ("libs/exchange-online", "libs/runtime", Normal, false),
            (
                "libs/exchange-online",
                "libs/exchange-onprem",
                Normal,
                false,
            ),
            ("libs/exchange-online", "libs/testkit", Dev, true),
            ("libs/exchange-online", "services/simulator", Dev, true),
            ("libs/exchange-online", "libs/runtime", Dev, true),
            ("libs/exchange-online", "services/simulator", Normal, false),
            ("libs/exchange-online", "libs/store", Dev, false),
            ("libs/exchange", "services/simulator", Dev, false),
            ("libs/store", "libs/contract", Normal, false),
            ("libs/secrets", "libs/domain", Normal, true),
            ("libs/secrets", "libs/exchange", Normal, false),
            ("libs/setup", "libs/exchange", Normal, true),
            ("libs/setup", "libs/exchange-online", Normal, false),
            ("libs/setup", "libs/exchange-online", Dev, true),
            ("libs/setup", "libs/store", Normal, false),
            ("libs/testkit", "services/simulator", Normal, true),
            ("libs/testkit", "services/api", Normal, false),
            ("services/api", "libs/bus", Normal, true),
            ("services/api", "libs/store", Normal, false),
            ("services/api", "libs/testkit", Normal, false),
            ("services/api", "libs/testkit", Dev, true),
            ("services/api", "services/worker", Normal, false),
            ("services/api", "services/worker", Dev, false),
            ("services/status", "libs/store", Normal, true),
            ("services/simulator", "libs/runtime", Normal, true),
            ("services/simulator", "libs/gssapi", Normal, true),
            ("libs/exchange-onprem", "libs/gssapi", Normal, true),
            ("libs/exchange-online", "libs/gssapi", Normal, false),
            ("libs/gssapi", "libs/domain", Normal, false),
            ("services/simulator", "libs/exchange-online", Normal, false),
            ("services/simulator", "libs/contract", Dev, false),
            ("services/calgrant", "services/worker", Normal, true),
            ("services/calgrant", "libs/testkit", Normal, false),
            ("tests/e2e", "services/api", Normal, true),
            ("tests/e2e", "libs/testkit", Normal, true),
            ("tests/e2e", "xtask", Normal, false),
            ("xtask", "libs/runtime", Normal, false),
        ] {
            let violations = between_ours(&house(&[(from, to, kind)]));
            assert_eq!(
                violations.is_empty(),
                allowed,
                "{from} -> {to} ({kind:?}): {violations:?}"
            );
        }
    }

    #[test]
    fn a_crate_in_no_known_room_is_a_violation() {
        let violations = between_ours(&house(&[("attic/old", "libs/domain", Kind::Normal)]));
        assert_eq!(violations.len(), 1, "{violations:?}");
    }

    #[test]
    fn crates_of_others_stay_in_their_rooms() {
        for (from, to, kind, allowed) in [
            ("libs/bus", "lapin", Kind::Normal, true),
            ("services/api", "lapin", Kind::Normal, false),
            ("services/status", "tokio-postgres", Kind::Normal, false),
            ("services/status", "tokio-postgres", Kind::Dev, true),
            ("libs/domain", "serde", Kind::Normal, false),
            ("libs/domain", "serde_json", Kind::Dev, true),
            ("libs/domain", "uuid", Kind::Normal, true),
        ] {
            let dependencies = vec![Dependency {
                name: to.to_owned(),
                kind,
            }];
            let package = Package {
                name: from.to_owned(),
                dir: from.to_owned(),
                dependencies,
            };
            assert_eq!(
                to_others(&[package]).is_empty(),
                allowed,
                "{from} -> {to} ({kind:?})"
            );
        }
    }

    #[test]
    fn metadata_is_read_as_cargo_writes_it() {
        let metadata = serde_json::json!({
            "workspace_root": "/w",
            "packages": [{
                "name": "calgrant-api", "manifest_path": "/w/services/api/Cargo.toml",
                "dependencies": [{"name": "prost", "kind": null}, {"name": "calgrant-testkit", "kind": "dev"}],
            }],
        });
        let packages = packages(&metadata).expect("readable");
        assert_eq!(packages[0].dir, "services/api");
        let kinds: Vec<Kind> = packages[0]
            .dependencies
            .iter()
            .map(|dependency| dependency.kind)
            .collect();
        assert_eq!(kinds, [Kind::Normal, Kind::Dev]);
    }
}
