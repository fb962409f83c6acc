//! The texts that machines run do what they say: with the real apt and dpkg in a root of their own,
//! with real files, and with stand-ins for what this system does not have.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test ends where it fails")]

mod apt;
mod files;
mod others;

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

/// Names that shells or the tools would read as something else than a name.
const ODD_NAMES: [&str; 11] = [
    "",
    "-y",
    "--help",
    "tool --purge",
    "tool;touch owned",
    "$(touch owned)",
    "`touch owned`",
    "tool\ntouch owned",
    "too*",
    "./tool.deb",
    "'\"",
];

fn hex(bytes: &[u8]) -> String {
    let digits = Sha256::digest(bytes);
    let digits = digits.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits.map(|digit| char::from_digit(digit.into(), 16).unwrap()).collect()
}

/// A text with the variables that it gets.
#[derive(Debug, Clone)]
struct Run<'a> {
    text: &'static str,
    /// Where programs are looked for first, temporary files go, and it is run.
    place: &'a Path,
    variables: Vec<(&'a str, String)>,
}

impl<'a> Run<'a> {
    fn with(mut self, name: &'a str, value: impl Into<String>) -> Self {
        self.variables.retain(|(known, _)| *known != name);
        self.variables.push((name, value.into()));
        self
    }

    fn output(&self, operation: &str, args: &[&str]) -> Output {
        self.output_of(self.text, operation, args)
    }

    fn output_of(&self, text: &str, operation: &str, args: &[&str]) -> Output {
        let temporary = self.place.join("tmp");
        let _ = fs::create_dir(&temporary);
        let output = Command::new("sh")
            .arg("-c")
            .arg(text)
            .arg("sh")
            .args(args)
            .env_clear()
            .env("PATH", format!("{}/bin:/usr/bin:/bin", self.place.display()))
            .env("TMPDIR", &temporary)
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .env("MUSTER_OPERATION", operation)
            .current_dir(self.place)
            .output()
            .unwrap();
        assert_eq!(listed(&temporary), [""; 0], "it left something behind: {output:?}");
        output
    }

    fn check(&self) -> bool {
        self.output("check", &[]).status.success()
    }

    #[track_caller]
    fn apply(&self) -> Output {
        let output = self.output("apply", &[]);
        assert!(output.status.success(), "{output:?}");
        output
    }

    /// Its code, and what it wrote about itself.
    #[track_caller]
    fn failure(&self) -> (i32, String) {
        failure(&self.output("apply", &[]))
    }
}

#[track_caller]
fn failure(output: &Output) -> (i32, String) {
    let errors = String::from_utf8_lossy(&output.stderr);
    let Some(own) = errors.lines().rfind(|line| line.starts_with("muster: ")) else {
        panic!("{output:?}")
    };
    assert!(!output.status.success(), "{output:?}");
    (output.status.code().unwrap(), own.to_owned())
}

fn listed(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Another process writes it: were it this one, a process that another test starts meanwhile could
/// hold it open, and what is open for writing is not run.
fn executable(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let write = "printf %s \"$1\" >\"$2\" && chmod 755 \"$2\"";
    let status = Command::new("sh").args(["-c", write, "sh", text]).arg(path).status().unwrap();
    assert!(status.success());
}
