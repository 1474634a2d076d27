//! Settings: one section of a TOML file, then the environment over it.

use std::{
    fmt,
    net::{SocketAddr, ToSocketAddrs},
    path::Path,
};

use figment::{
    Figment,
    providers::{Env, Format, Toml},
};
use serde::de::DeserializeOwned;

/// One setting we can't work with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Where it is set: `api.listen`.
    pub setting: String,
    /// What it is set to; empty when that isn't known or must not be shown.
    pub value: String,
    /// What is wrong with it, and what to do.
    pub why: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.setting)?;
        if !self.value.is_empty() {
            write!(f, " = {:?}", self.value)?;
        }
        write!(f, ": {}", self.why)
    }
}

impl std::error::Error for Fault {}

/// Reads `[section]` of the file, then `<env_prefix>NAME` variables over it. A key that `R` doesn't know is refused
/// if `R` says `deny_unknown_fields`; so is a file that was named but isn't there.
///
/// # Errors
///
/// Every fault found, each with the name of its key.
pub fn load<R: DeserializeOwned>(
    file: Option<&Path>,
    section: &str,
    env_prefix: &str,
) -> Result<R, Vec<Fault>> {
    let mut figment = Figment::new();
    if let Some(path) = file {
        if !path.is_file() {
            return Err(vec![Fault {
                setting: "settings file".to_owned(),
                value: path.display().to_string(),
                why: "there is no such file".to_owned(),
            }]);
        }
        let read = Figment::from(Toml::file_exact(path));
        // A broken file is an error of every look at it; a missing section isn't one.
        if let Err(error) = read.extract::<figment::value::Dict>() {
            return Err(faults(&path.display().to_string(), error));
        }
        figment = figment.merge(read.focus(section));
    }
    figment
        .merge(Env::prefixed(env_prefix))
        .extract()
        .map_err(|error| faults(section, error))
}

fn faults(section: &str, error: figment::Error) -> Vec<Fault> {
    error
        .into_iter()
        .map(|error| {
            let mut path = vec![section.to_owned()];
            path.extend(error.path.iter().cloned());
            let source = error.metadata.as_ref().map(|metadata| {
                metadata.source.as_ref().map_or_else(
                    || metadata.name.to_string(),
                    |source| format!("{} {source}", metadata.name),
                )
            });
            Fault {
                setting: path.join("."),
                value: String::new(),
                why: source.map_or_else(
                    || error.kind.to_string(),
                    |source| format!("{} (from {source})", error.kind),
                ),
            }
        })
        .collect()
}

/// The address to listen on. One that other machines can reach is refused unless that was asked for, because the
/// port itself doesn't ask who is calling.
///
/// # Errors
///
/// The setting, when it is no address, or one that must not be listened on.
pub fn checked_bind(setting: &str, raw: &str, insecure_remote: bool) -> Result<SocketAddr, Fault> {
    let fault = |why: String| Fault {
        setting: setting.to_owned(),
        value: raw.to_owned(),
        why,
    };
    let mut found = match raw.parse::<SocketAddr>() {
        Ok(address) => vec![address],
        Err(_) => raw
            .to_socket_addrs()
            .map_err(|cause| {
                fault(format!(
                    "write it as address:port, like 127.0.0.1:7010 ({cause})"
                ))
            })?
            .collect(),
    };
    // `localhost` may be both ::1 and 127.0.0.1; the older one is what people expect.
    found.sort_by_key(SocketAddr::is_ipv6);
    let Some(address) = found.first().copied() else {
        return Err(fault("this name has no address".to_owned()));
    };
    if insecure_remote || found.iter().all(|address| address.ip().is_loopback()) {
        return Ok(address);
    }
    Err(fault(
        "other machines can reach this address, and this port takes any caller at his word: listen on 127.0.0.1, or put \
         a proxy that checks callers in front and set insecure_remote = true"
            .to_owned(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Raw {
        listen: String,
        #[serde(default)]
        window: u32,
    }

    fn written(name: &str, text: &str) -> std::path::PathBuf {
        let path = std::env::temp_dir().join(format!(
            "calgrant-settings-{}-{name}.toml",
            std::process::id()
        ));
        std::fs::write(&path, text).unwrap();
        path
    }

    #[test]
    fn reads_the_section_alone() {
        let path = written(
            "section",
            "[api]\nlisten = \"a\"\nwindow = 3\n[worker]\nother = 1\n",
        );
        let raw: Raw = load(Some(&path), "api", "CALGRANT_TEST_NONE_").unwrap();
        std::fs::remove_file(path).unwrap();
        assert_eq!((raw.listen.as_str(), raw.window), ("a", 3));
    }

    #[test]
    fn names_the_key_that_is_wrong() {
        let path = written("unknown", "[api]\nlisten = \"a\"\nwindoww = 3\n");
        let found = load::<Raw>(Some(&path), "api", "CALGRANT_TEST_NONE_").unwrap_err();
        std::fs::remove_file(path).unwrap();
        assert!(found[0].to_string().contains("windoww"), "{}", found[0]);
        let path = written("type", "[api]\nlisten = \"a\"\nwindow = \"many\"\n");
        let found = load::<Raw>(Some(&path), "api", "CALGRANT_TEST_NONE_").unwrap_err();
        std::fs::remove_file(path).unwrap();
        assert_eq!(found[0].setting, "api.window", "{}", found[0]);
    }

    #[test]
    fn says_what_is_missing_or_broken() {
        let found = load::<Raw>(None, "api", "CALGRANT_TEST_NONE_").unwrap_err();
        assert!(found[0].to_string().contains("listen"), "{}", found[0]);
        let path = written("broken", "[api\n");
        assert!(load::<Raw>(Some(&path), "api", "CALGRANT_TEST_NONE_").is_err());
        std::fs::remove_file(path).unwrap();
        let gone = load::<Raw>(
            Some(Path::new("/nonexistent/calgrant.toml")),
            "api",
            "CALGRANT_TEST_NONE_",
        )
        .unwrap_err();
        assert!(gone[0].why.contains("no such file"));
    }

    #[test]
    fn listens_at_home_unless_told_otherwise() {
        assert_eq!(
            checked_bind("api.listen", "127.0.0.1:7010", false)
                .unwrap()
                .port(),
            7010
        );
        assert!(
            checked_bind("api.listen", "localhost:7010", false)
                .unwrap()
                .ip()
                .is_loopback()
        );
        assert!(checked_bind("api.listen", "[::1]:7010", false).is_ok());
        let fault = checked_bind("api.listen", "0.0.0.0:7010", false).unwrap_err();
        assert!(fault.to_string().contains("insecure_remote"), "{fault}");
        assert!(checked_bind("api.listen", "0.0.0.0:7010", true).is_ok());
        assert!(checked_bind("api.listen", "7010", false).is_err());
    }
}
