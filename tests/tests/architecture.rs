//! The rules that hold the house up: which crate may know which, and that documents tell the truth.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test ends where it fails")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use cargo_metadata::{DependencyKind, MetadataCommand};

/// Longer files are looked at by a person first, who then puts them here with a reason.
const LONG_FILES: &[&str] = &[];
const MAX_LINES: usize = 500;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// What each crate of ours depends on among crates of ours, and its folder.
fn crates() -> BTreeMap<String, (String, BTreeSet<String>)> {
    let metadata =
        MetadataCommand::new().current_dir(root()).no_deps().exec().expect("cargo metadata works");
    let ours = |name: &str| name.starts_with("muster-");
    metadata
        .packages
        .iter()
        .map(|package| {
            let folder = package.manifest_path.parent().unwrap();
            let folder = folder.strip_prefix(root().to_str().unwrap()).unwrap().to_string();
            let needs = package
                .dependencies
                .iter()
                .filter(|needed| needed.kind == DependencyKind::Normal && ours(&needed.name))
                .map(|needed| needed.name.clone())
                .collect();
            (package.name.to_string(), (folder, needs))
        })
        .collect()
}

/// Whether a crate in `folder` may know one in `other`.
fn may_know(folder: &str, other: &str) -> bool {
    let layer =
        |folder: &str| folder.rsplit_once('/').map_or(folder.to_owned(), |(up, _)| up.to_owned());
    match (layer(folder).as_str(), layer(other).as_str()) {
        // The kernel is for everybody but the wire protocol and agents, real and simulated.
        (_, _) if other == "crates/kernel" => {
            let strangers = ["crates/protocol", "crates/agent", "crates/swarm", "crates/trust"];
            !strangers.contains(&folder) && !["crates/kernel", "migrations"].contains(&folder)
        }
        (_, _) if other == "crates/protocol" => {
            let speakers = ["crates/agent", "crates/swarm", "crates/server", "tests"];
            speakers.contains(&folder) || folder == "crates/adapters/agent-socket"
        }
        (_, _) if other == "crates/trust" => {
            ["crates/agent", "crates/swarm", "tests"].contains(&folder)
        }
        (_, _) if other == "crates/swarm" => folder == "tests",
        (_, _) if other == "migrations" => {
            ["crates/adapters/sea-orm", "crates/server"].contains(&folder)
        }
        ("crates/domain", "crates/domain") => {
            let known = |name: &str| other == format!("crates/domain/{name}");
            match folder.strip_prefix("crates/domain/") {
                Some("commands") => known("agents"),
                Some("deployment-profiles" | "assistant") => known("commands") || known("agents"),
                _ => false,
            }
        }
        ("crates/adapters", "crates/domain") => true,
        ("crates", "crates/domain" | "crates/adapters") => folder == "crates/server",
        _ => false,
    }
}

#[test]
fn dependencies_point_inwards() {
    let crates = crates();
    assert!(crates.len() >= 15, "{crates:?}");
    for (name, (folder, needs)) in &crates {
        for needed in needs {
            let (other, _) = &crates[needed];
            assert!(may_know(folder, other), "{name} must not know {needed}");
        }
    }
}

#[test]
fn domains_know_no_database_no_web_and_no_clock_of_their_own() {
    let foreign =
        ["sea-orm", "sqlx", "actix-web", "actix-ws", "reqwest", "jsonwebtoken", "bcrypt", "utoipa"];
    let metadata = MetadataCommand::new().current_dir(root()).no_deps().exec().unwrap();
    for package in &metadata.packages {
        if !package.manifest_path.as_str().contains("/domain/") {
            continue;
        }
        for needed in &package.dependencies {
            assert!(
                !foreign.contains(&needed.name.as_str()),
                "{} knows {}",
                package.name,
                needed.name
            );
        }
    }
}

fn files(folder: &Path, ending: &str, found: &mut Vec<PathBuf>) {
    let skipped = ["target", ".git", "node_modules", ".muster", "assets", "dist"];
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if path.is_dir() && !skipped.contains(&name.as_str()) {
            files(&path, ending, found);
        } else if name.ends_with(ending) {
            found.push(path);
        }
    }
}

#[test]
fn no_file_is_longer_than_a_reader_can_hold() {
    let mut sources = Vec::new();
    files(&root(), ".rs", &mut sources);
    assert!(sources.len() > 80);
    for path in sources {
        let name = path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
        let lines = fs::read_to_string(&path).unwrap().lines().count();
        assert!(lines <= MAX_LINES || LONG_FILES.contains(&name.as_str()), "{name}: {lines} lines");
    }
}

#[test]
fn every_path_that_a_document_names_is_there() {
    let mut documents = Vec::new();
    files(&root(), ".md", &mut documents);
    let mut named = 0;
    for document in documents {
        let text = fs::read_to_string(&document).unwrap();
        for (number, quoted) in text.split('`').enumerate() {
            let tops =
                ["crates/", "migrations/", "docs/", "tests/", "openapi/", "deploy/", "scripts/"];
            let is_path = number % 2 == 1
                && tops.iter().any(|top| quoted.starts_with(top))
                && !quoted.contains([' ', '<', '*', '{', '\n']);
            if is_path {
                named += 1;
                assert!(root().join(quoted).exists(), "{}: {quoted}", document.display());
            }
        }
    }
    assert!(named > 10, "documents name paths: {named}");
}

#[test]
fn the_generated_documents_are_current() {
    for (file, arguments) in [
        ("openapi/openapi.json", &["openapi"][..]),
        ("openapi/asyncapi.json", &["openapi", "--asyncapi"]),
    ] {
        let made = std::process::Command::new(muster_tests::program("muster"))
            .args(arguments)
            .output()
            .unwrap();
        let kept = fs::read_to_string(root().join(file)).unwrap();
        let made = String::from_utf8(made.stdout).unwrap();
        assert!(made == kept, "{file} is stale: run `make openapi`");
    }
}
