//! The rules, applied to this repository.

use calgrant_tidy::{Violations, arrows, house, locked, migrations, text};

fn assert_kept(violations: &Violations) {
    assert!(
        violations.is_empty(),
        "{} broken:\n  {}\n",
        violations.len(),
        violations.join("\n  ")
    );
}

fn assert_every_file(rule: fn(&str, &str) -> Violations) {
    let texts = house::texts(&house::root()).expect("the repository is readable");
    assert!(
        texts
            .iter()
            .any(|(path, _)| path == "tests/tidy/tests/house.rs"),
        "this is not the repository"
    );
    assert_kept(
        &texts
            .iter()
            .flat_map(|(path, text)| rule(path, text))
            .collect(),
    );
}

fn packages() -> Vec<arrows::Package> {
    let metadata = house::metadata(&house::root()).expect("cargo describes the workspace");
    let packages = arrows::packages(&metadata).expect("cargo metadata is readable");
    assert!(
        packages.iter().any(|package| package.dir == "libs/domain"),
        "this is not the workspace"
    );
    packages
}

#[test]
fn our_crates_depend_on_each_other_only_along_the_arrows() {
    assert_kept(&arrows::between_ours(&packages()));
}

#[test]
fn crates_of_others_stay_in_their_rooms() {
    assert_kept(&arrows::to_others(&packages()));
}

#[test]
fn the_lock_file_holds_nothing_banned() {
    let lock =
        std::fs::read_to_string(house::root().join("Cargo.lock")).expect("there is a lock file");
    assert_kept(&locked::packages(&lock));
}

#[test]
fn long_files_say_why() {
    assert_every_file(text::length);
}

#[test]
fn modules_are_named_for_what_they_know() {
    assert_every_file(text::module_names);
}

#[test]
fn nothing_of_the_workplace_is_in_the_text() {
    assert_every_file(text::workplace);
}

#[test]
fn contracts_have_their_java_options() {
    assert_every_file(text::java_options);
}

#[test]
fn no_test_sleeps() {
    assert_every_file(text::sleeping_tests);
}

#[test]
fn no_test_is_ignored() {
    assert_every_file(text::ignored_tests);
}

#[test]
fn migrations_only_add() {
    assert_every_file(migrations::additive);
}

#[test]
fn migrations_have_numbers_of_their_own() {
    let texts = house::texts(&house::root()).expect("the repository is readable");
    let paths: Vec<_> = texts.iter().map(|(path, _)| path.as_str()).collect();
    assert_kept(&migrations::numbered(&paths));
}

#[test]
fn the_columns_that_are_read_are_named() {
    assert_every_file(migrations::columns_are_named);
}
