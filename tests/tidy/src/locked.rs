//! What `Cargo.lock` may hold.

use crate::Violations;

/// Crates that some feature brings back in silence, and what is used instead.
const BANNED: &[(&str, &str)] = &[
    (
        "aws-lc-sys",
        "the one crypto library is ring: look which crate has its default features on",
    ),
    (
        "native-tls",
        "TLS is rustls: look which crate has its default features on",
    ),
    (
        "openssl-sys",
        "TLS is rustls: look which crate has its default features on",
    ),
];

/// Where every crate of others comes from.
const REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// No banned crate, and none from anywhere but crates.io.
#[must_use]
pub fn packages(lock: &str) -> Violations {
    let mut violations = Violations::new();
    for entry in lock.split("[[package]]").skip(1) {
        let field = |name: &str| {
            let line = entry
                .lines()
                .find_map(|line| line.strip_prefix(name)?.trim_start().strip_prefix('='));
            line.map(|value| value.trim().trim_matches('"'))
        };
        let name = field("name").unwrap_or_default();
        if let Some((_, instead)) = BANNED.iter().find(|(banned, _)| *banned == name) {
            violations.push(format!("Cargo.lock holds {name}: {instead}"));
        }
        if let Some(source) = field("source").filter(|source| *source != REGISTRY) {
            violations.push(format!(
                "Cargo.lock takes {name} from {source}: only crates.io is trusted"
            ));
        }
    }
    violations
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn planted_violations_are_found() {
        let entry = |name: &str, source: &str| {
            format!("[[package]]\nname = \"{name}\"\nversion = \"1.0.0\"\n{source}\n")
        };
        let good = format!("source = \"{REGISTRY}\"");
        assert_eq!(
            packages(&(entry("ring", &good) + &entry("calgrant-api", ""))),
            Violations::new()
        );
        assert_eq!(packages(&entry("openssl-sys", &good)).len(), 1);
        assert_eq!(packages(&entry("openssl-sys-like", &good)).len(), 0);
        assert_eq!(
            packages(&entry("x", "source = \"git+https://example.org/x\"")).len(),
            1
        );
        assert_eq!(
            packages(&entry(
                "x",
                "source = \"registry+https://mirror.example.org/index\""
            ))
            .len(),
            1
        );
    }
}
