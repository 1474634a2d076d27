//! Rules about the text of one file, given its path from the root of the workspace.

use std::path::Path;

use crate::Violations;

/// Past this many lines, a file says at its head why it is one thing.
const LONGEST: usize = 800;
/// How that is said, in the `//!` lines of its head.
const WHY_LONG: &str = "Long because";

/// A long Rust file says why. Near 400 lines, look for the second noun in it.
#[must_use]
pub fn length(path: &str, text: &str) -> Violations {
    let lines = text.lines().count();
    let says_why = text
        .lines()
        .take_while(|line| line.starts_with("//!"))
        .any(|line| line.contains(WHY_LONG));
    if !is_rust(path) || lines <= LONGEST || says_why {
        return Violations::new();
    }
    vec![format!(
        "{path} has {lines} lines: split it, or say at its head (`//! {WHY_LONG} …`) why it is one thing"
    )]
}

/// A module is named for the one thing it knows.
#[must_use]
pub fn module_names(path: &str, text: &str) -> Violations {
    let is_nothing =
        |name: &str| ["common", "helper", "helpers", "misc", "util", "utils"].contains(&name);
    if !is_rust(path) {
        return Violations::new();
    }
    let of_path = path.trim_end_matches(".rs").split('/');
    let declared = text.lines().filter_map(|line| {
        let line = line.trim_start();
        let line = line
            .strip_prefix("pub ")
            .or_else(|| line.strip_prefix("pub(crate) "))
            .unwrap_or(line);
        let name = line.strip_prefix("mod ")?;
        Some(name.trim_end_matches([';', '{', ' ']))
    });
    of_path
        .chain(declared)
        .filter(|name| is_nothing(name))
        .map(|name| {
            format!("{path}: `{name}` says nothing: name the module for the one thing it knows")
        })
        .collect()
}

/// What is written here is for those who use and build Calgrant: nothing of the place where it was made.
#[must_use]
pub fn workplace(path: &str, text: &str) -> Violations {
    // Put together here, so that this file doesn't hold them.
    let words = [
        ["/wo", "rk/main"],
        ["/wo", "rk/shared"],
        ["/wo", "rk/."],
        ["..", "/shared"],
        ["house-", "style.md"],
        ["design", ".md"],
        ["dependencies", ".md"],
        ["exchange-", "protocols.md"],
        ["ews-", "transcripts"],
        ["issues ", "show"],
        ["sub", "agent"],
    ]
    .map(|parts| parts.concat());
    let mut violations = Violations::new();
    for (number, line) in text.lines().enumerate() {
        for word in words.iter().filter(|word| line.contains(word.as_str())) {
            violations.push(format!(
                "{path}:{}: {word:?} is of the workplace, not of the product",
                number + 1
            ));
        }
    }
    violations
}

/// A Java developer reads the contracts: each message is a class of its own, in a named package.
#[must_use]
pub fn java_options(path: &str, text: &str) -> Violations {
    if !has_extension(path, "proto") {
        return Violations::new();
    }
    let has = |option: &str| {
        let lines = text
            .lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
        lines.into_iter().any(|line| line.starts_with(option))
    };
    [
        ("option java_package = \"", "java_package"),
        (
            "option java_multiple_files = true;",
            "java_multiple_files = true",
        ),
    ]
    .into_iter()
    .filter(|(option, _)| !has(option))
    .map(|(_, name)| format!("{path}: no option {name}"))
    .collect()
}

/// A test waits for what it waits for, or pauses the clock; it does not sleep.
#[must_use]
pub fn sleeping_tests(path: &str, text: &str) -> Violations {
    let in_tests = path
        .split('/')
        .rev()
        .skip(1)
        .any(|folder| folder == "tests");
    if !is_rust(path) || !in_tests {
        return Violations::new();
    }
    let ways = [
        ["time::", "sleep("],
        ["thread::", "sleep("],
        ["sleep", "_until("],
    ]
    .map(|parts| parts.concat());
    lines_with(text, &ways)
        .map(|number| {
            format!(
                "{path}:{number}: a test sleeps: wait for a condition (testkit), or pause the clock"
            )
        })
        .collect()
}

/// A test that is not run says nothing.
#[must_use]
pub fn ignored_tests(path: &str, text: &str) -> Violations {
    if !is_rust(path) {
        return Violations::new();
    }
    let ways = [["#[ig", "nore"], ["cfg_attr(", "ignore"]].map(|parts| parts.concat());
    lines_with(text, &ways)
        .map(|number| format!("{path}:{number}: an ignored test: mend it or remove it"))
        .collect()
}

fn lines_with<'t>(text: &'t str, patterns: &'t [String]) -> impl Iterator<Item = usize> + 't {
    text.lines()
        .enumerate()
        .filter(|(_, line)| !line.trim_start().starts_with("//"))
        .filter(|(_, line)| {
            patterns
                .iter()
                .any(|pattern| line.contains(pattern.as_str()))
        })
        .map(|(index, _)| index + 1)
}

fn is_rust(path: &str) -> bool {
    has_extension(path, "rs")
}

fn has_extension(path: &str, extension: &str) -> bool {
    Path::new(path)
        .extension()
        .is_some_and(|found| found == extension)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_file_says_why() {
        let body = "fn f() {}\n".repeat(LONGEST + 1);
        assert_eq!(length("libs/bus/src/lib.rs", &body).len(), 1);
        assert_eq!(
            length("libs/bus/src/lib.rs", &body[10..]).len(),
            0,
            "exactly the limit"
        );
        let head = format!("//! A table.\n//!\n//! {WHY_LONG} it is a table.\n{body}");
        assert_eq!(length("libs/bus/src/lib.rs", &head).len(), 0);
        assert_eq!(
            length(
                "libs/bus/src/lib.rs",
                &format!("{body}// {WHY_LONG} of nothing\n")
            )
            .len(),
            1
        );
        assert_eq!(length("README.md", &body).len(), 0);
    }

    #[test]
    fn a_module_named_for_nothing_is_found() {
        for (path, text, count) in [
            ("libs/bus/src/utils.rs", "", 1),
            ("libs/bus/tests/common/mod.rs", "", 1),
            ("libs/bus/src/lib.rs", "pub mod helpers;", 1),
            ("libs/bus/src/lib.rs", "mod util {", 1),
            (
                "libs/bus/src/lib.rs",
                "mod utility;\n// mod utils;\nuse x::common;",
                0,
            ),
            ("deploy/utils/x.yaml", "", 0),
        ] {
            assert_eq!(module_names(path, text).len(), count, "{path} {text}");
        }
    }

    #[test]
    fn words_of_the_workplace_are_found() {
        let planted = ["see /wo", "rk/main/x and ..", "/shared/y"].concat();
        assert_eq!(workplace("README.md", &planted).len(), 2);
        assert_eq!(
            workplace(
                "README.md",
                "cd calgrant; the network/working set is shared"
            )
            .len(),
            0
        );
    }

    #[test]
    fn a_contract_without_java_options_is_found() {
        let whole = "syntax = \"proto3\";\noption java_package  = \"org.x\";\noption java_multiple_files = true;\n";
        assert_eq!(java_options("proto/x/v1/x.proto", whole).len(), 0);
        assert_eq!(
            java_options("proto/x/v1/x.proto", "syntax = \"proto3\";").len(),
            2
        );
        assert_eq!(
            java_options("proto/x/v1/x.proto", &whole.replace("true", "false")).len(),
            1
        );
        assert_eq!(java_options("proto/README.md", "").len(), 0);
    }

    #[test]
    fn a_sleeping_test_is_found() {
        let planted = ["    tokio::time::", "sleep(ms).await;"].concat();
        assert_eq!(
            sleeping_tests("services/api/tests/grpc.rs", &planted).len(),
            1
        );
        assert_eq!(sleeping_tests("tests/e2e/src/lib.rs", &planted).len(), 1);
        assert_eq!(
            sleeping_tests("services/worker/src/pool.rs", &planted).len(),
            0
        );
        assert_eq!(
            sleeping_tests("tests/e2e/src/lib.rs", &format!("// not {planted}")).len(),
            0
        );
    }

    #[test]
    fn an_ignored_test_is_found() {
        assert_eq!(
            ignored_tests(
                "libs/bus/src/lib.rs",
                &["#[ig", "nore = \"slow\"]"].concat()
            )
            .len(),
            1
        );
        assert_eq!(ignored_tests("libs/bus/src/lib.rs", "#[test]").len(), 0);
    }
}
