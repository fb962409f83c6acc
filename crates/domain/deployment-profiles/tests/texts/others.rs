//! Installers that this machine does not have, played by stand-ins.

use super::*;

const BREW: &str = include_str!("../../src/texts/brew.sh");
const DNF: &str = include_str!("../../src/texts/dnf.sh");

/// Programs that stand in for those of another system: they write down how they were called.
fn stand_ins(programs: &[(&str, &str)]) -> TempDir {
    let place = tempfile::tempdir().unwrap();
    for (name, text) in programs {
        let text =
            format!("#!/bin/sh\necho \"{name} $*\" >>'{}/calls'\n{text}", place.path().display());
        executable(&place.path().join("bin").join(name), &text);
    }
    place
}

/// The calls since the last time.
fn calls(place: &TempDir) -> Vec<String> {
    let path = place.path().join("calls");
    let text = fs::read_to_string(&path).unwrap_or_default();
    let _ = fs::remove_file(path);
    text.lines().map(str::to_owned).collect()
}

fn wanted<'a>(text: &'static str, place: &'a TempDir, wanted: &str, package: &str) -> Run<'a> {
    Run { text, place: place.path(), variables: Vec::new() }
        .with("MUSTER_WANTED", wanted)
        .with("MUSTER_PACKAGE", package)
}

/// Says that `tool` 1.0-2 is there as long as there is such a file.
const RPM: &str = "[ -e bin/down ] && exit 1
case $* in 'rpm'|'-q rpm') exit 0 ;; *' tool') ;; *) exit 1 ;; esac
[ -e tool ] || exit 1
printf '1.0\\n1.0-2\\n1.0-2\\n'";

#[test]
fn dnf_takes_a_version_with_its_release_and_without() {
    let place = stand_ins(&[("rpm", RPM), ("dnf", "")]);
    let run =
        |version: &str| wanted(DNF, &place, "present", "tool").with("MUSTER_VERSION", version);
    assert!(!run("").check() && !run("1.0").check());
    assert!(wanted(DNF, &place, "absent", "tool").check());
    fs::write(place.path().join("tool"), "").unwrap();
    assert!(run("").check() && run("1.0").check() && run("1.0-2").check());
    assert!(!run("1").check() && !run("1.0-").check() && !run("1.0-20").check());
    assert!(!wanted(DNF, &place, "absent", "tool").check());
    for package in ODD_NAMES {
        assert!(!wanted(DNF, &place, "absent", package).check(), "{package}");
    }
}

#[test]
fn dnf_is_told_what_to_install_and_what_to_remove() {
    let place =
        stand_ins(&[("rpm", RPM), ("dnf", "case $1 in install) >tool ;; *) rm tool ;; esac")]);
    let dnf =
        || calls(&place).into_iter().filter(|call| call.starts_with("dnf ")).collect::<Vec<_>>();
    let present = wanted(DNF, &place, "present", "tool").with("MUSTER_VERSION", "1.0");
    assert!(present.output("apply", &["--setopt=a b"]).status.success());
    assert_eq!(dnf(), ["dnf install -y --setopt=a b tool-1.0"]);
    present.apply();
    assert_eq!(dnf(), [""; 0]);
    wanted(DNF, &place, "absent", "tool").apply();
    assert_eq!(dnf(), ["dnf remove -y tool"]);
}

#[test]
fn what_rpm_can_not_tell_is_not_as_it_is_wanted() {
    let place = stand_ins(&[("rpm", RPM), ("dnf", "")]);
    fs::write(place.path().join("bin/down"), "").unwrap();
    for how in ["present", "absent"] {
        assert!(!wanted(DNF, &place, how, "tool").check());
    }
}

/// Has the formula `tool` 1.0 and 1.1 and the cask `window` 3 as long as there are such files.
const BREW_ITSELF: &str = r#"cd "${0%/*}/.." || exit
case $1-$* in
    *'list --formula --versions -- tool') [ -e tool ] && echo 'tool 1.0 1.1' ;;
    *'list --cask --versions -- window') [ -e window ] && echo 'window 3' ;;
    *'list --versions') [ ! -e bin/down ] ;;
    install-*) >tool ;;
    uninstall-*) rm tool ;;
    update-*) exit 1 ;;
    *) exit 1 ;;
esac"#;

#[test]
fn brew_finds_formulae_and_casks() {
    let place = stand_ins(&[("brew", BREW_ITSELF)]);
    let run = |package: &str, version: &str| {
        wanted(BREW, &place, "present", package).with("MUSTER_VERSION", version)
    };
    assert!(!run("tool", "").check() && !run("window", "").check());
    assert!(wanted(BREW, &place, "absent", "tool").check());
    fs::write(place.path().join("tool"), "").unwrap();
    fs::write(place.path().join("window"), "").unwrap();
    assert!(run("tool", "").check() && run("tool", "1.0").check() && run("tool", "1.1").check());
    assert!(
        run("window", "3").check()
            && !run("window", "").output("check", &["--formula"]).status.success()
    );
    assert!(!run("tool", "1").check() && !run("tool", "*").check());
    assert!(!wanted(BREW, &place, "absent", "window").check());
    for package in ODD_NAMES {
        assert!(!wanted(BREW, &place, "absent", package).check(), "{package}");
    }
    fs::remove_file(place.path().join("tool")).unwrap();
    fs::write(place.path().join("bin/down"), "").unwrap();
    assert!(!wanted(BREW, &place, "absent", "tool").check());
}

#[test]
fn brew_is_run_as_its_owner() {
    let sudo = "while [ \"$1\" != -- ]; do shift; done; shift; exec \"$@\"";
    let place = stand_ins(&[
        ("brew", BREW_ITSELF),
        ("id", "echo 0"),
        ("stat", "echo anna"),
        ("sudo", sudo),
    ]);
    let run = wanted(BREW, &place, "present", "tool");
    assert!(run.output("apply", &["--quiet"]).status.success());
    let calls = calls(&place);
    let brew = |call: &&String| call.starts_with("brew ");
    let sudo = |call: &&String| call.starts_with("sudo -n -H -u anna -- env ");
    assert!(calls.iter().any(|call| call == "brew install --quiet -- tool"), "{calls:?}");
    assert_eq!(calls.iter().filter(brew).count(), calls.iter().filter(sudo).count(), "{calls:?}");
    wanted(BREW, &place, "absent", "tool").apply();
    assert!(!run.check());
    let (code, message) = run.with("MUSTER_VERSION", "9").failure();
    assert_eq!(code, 1);
    assert!(message.contains("Homebrew has no 9 of tool"), "{message}");
}
