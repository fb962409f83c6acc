//! Packages of Debian, in a root of their own.

use super::*;

const APT: &str = include_str!("../../src/texts/apt.sh");

/// A root that apt and dpkg take for the machine's, and a repository with `tool` 1.0 and 2.0.
#[derive(Debug)]
struct Debian {
    folder: TempDir,
}

impl Debian {
    fn new() -> Self {
        let debian = Self { folder: tempfile::tempdir().unwrap() };
        let at = |path: &str| debian.path(path);
        for folder in ["root", "dpkg/info", "dpkg/updates", "dpkg/triggers", "log", "repository"] {
            fs::create_dir_all(at(folder)).unwrap();
        }
        fs::create_dir_all(at("state/lists/partial")).unwrap();
        fs::create_dir_all(at("cache/archives/partial")).unwrap();
        fs::write(at("dpkg/status"), "").unwrap();
        // The configuration of this machine is not read: it may act on fixed places.
        let here = debian.folder.path().display();
        let configuration = format!(
            r#"Dir::State "{here}/state/";
            Dir::State::status "{here}/dpkg/status";
            Dir::Cache "{here}/cache/";
            Dir::Log "{here}/log/";
            Dir::Etc::main "/dev/null";
            Dir::Etc::parts "/dev/null";
            Dir::Etc::sourcelist "{here}/sources.list";
            Dir::Etc::sourceparts "/dev/null";
            Dir::Etc::preferences "/dev/null";
            Dir::Etc::preferencesparts "/dev/null";
            DPkg::Options {{ "--log={here}/log/dpkg.log"; }};
            APT::Sandbox::User "root";
            Acquire::Languages "none";
            "#
        );
        fs::write(at("apt.conf"), configuration).unwrap();
        fs::write(at("sources.list"), format!("deb [trusted=yes] file:{here}/repository ./\n"))
            .unwrap();
        let packages: Vec<_> = ["1.0", "2.0"].map(|version| debian.build("tool", version)).into();
        fs::write(at("repository/Packages"), packages.join("\n")).unwrap();
        debian
    }

    fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    /// Builds a package into the repository; its entry for the list there.
    fn build(&self, name: &str, version: &str) -> String {
        let source = self.path(&format!("source-{name}-{version}"));
        fs::create_dir_all(source.join("DEBIAN")).unwrap();
        // dpkg-deb insists, whatever the mask of this process is.
        let mode = fs::Permissions::from_mode(0o755);
        fs::set_permissions(source.join("DEBIAN"), mode).unwrap();
        fs::create_dir_all(source.join("etc")).unwrap();
        let control = format!(
            "Package: {name}\nVersion: {version}\nArchitecture: all\n\
             Maintainer: Nobody <nobody@example.org>\nDescription: a package\n"
        );
        fs::write(source.join("DEBIAN/control"), &control).unwrap();
        fs::write(source.join("DEBIAN/conffiles"), format!("/etc/{name}.conf\n")).unwrap();
        fs::write(source.join(format!("etc/{name}.conf")), format!("of {version}\n")).unwrap();
        let file = self.path(&format!("repository/{name}_{version}.deb"));
        let mut build = Command::new("dpkg-deb");
        build.args(["--root-owner-group", "--build"]).arg(&source).arg(&file);
        let output = build.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let bytes = fs::read(&file).unwrap();
        format!(
            "{control}Filename: ./{name}_{version}.deb\nSize: {}\nSHA256: {}\n",
            bytes.len(),
            hex(&bytes)
        )
    }

    /// What is to be done about `package`.
    fn run(&self, wanted: &str, package: &str) -> Run<'_> {
        let at = |path: &str| self.path(path).display().to_string();
        Run { text: APT, place: self.folder.path(), variables: Vec::new() }
            .with("APT_CONFIG", at("apt.conf"))
            .with("DPKG_ROOT", at("root"))
            .with("DPKG_ADMINDIR", at("dpkg"))
            .with("DPKG_FORCE", "not-root,downgrade,security-mac")
            .with("MUSTER_WANTED", wanted)
            .with("MUSTER_PACKAGE", package)
    }

    /// The same by a file that is there already.
    fn by_file(&self, package: &str, file: &str, sum: &str) -> Run<'_> {
        let file = self.path(&format!("repository/{file}"));
        self.run("present", package)
            .with("MUSTER_URL", file.display().to_string())
            .with("MUSTER_SHA256", sum)
    }

    fn sum(&self, file: &str) -> String {
        hex(&fs::read(self.path(&format!("repository/{file}"))).unwrap())
    }

    /// What dpkg has on record.
    fn installed(&self) -> String {
        let output = Command::new("dpkg-query")
            .args(["-W", "-f", "${Package} ${Version} ${db:Status-Status}\\n"])
            .env("DPKG_ADMINDIR", self.path("dpkg"))
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap()
    }
}

#[test]
fn an_apt_package_that_is_missing_is_installed() {
    let debian = Debian::new();
    let run = debian.run("present", "tool");
    assert!(!run.check());
    run.apply();
    assert!(run.check());
    assert_eq!(debian.installed(), "tool 2.0 installed\n");
    assert!(debian.path("root/etc/tool.conf").is_file());
}

#[test]
fn an_apt_package_that_is_there_is_left_alone() {
    let debian = Debian::new();
    debian.run("present", "tool").with("MUSTER_VERSION", "1.0").apply();
    fs::remove_file(debian.path("sources.list")).unwrap();
    let output = debian.run("present", "tool").apply();
    assert!(output.stdout.is_empty() && output.stderr.is_empty(), "{output:?}");
    assert_eq!(debian.installed(), "tool 1.0 installed\n");
}

#[test]
fn only_the_version_that_apt_is_asked_for_is_right() {
    let debian = Debian::new();
    let run = |version: &str| debian.run("present", "tool").with("MUSTER_VERSION", version);
    for version in ["1.0", "2.0", "1.0"] {
        assert!(!run(version).check());
        run(version).apply();
        assert!(run(version).check());
        assert_eq!(debian.installed(), format!("tool {version} installed\n"));
        assert!(!run("1").check() && !run("1.0.0").check() && !run("*").check());
    }
    // apt itself would take these for patterns.
    assert_eq!((run("2*").failure().0, run("/2.*/").failure().0), (2, 2));
    let (code, message) = run("3.0").failure();
    assert_eq!(code, 100);
    assert!(message.contains("tool=3.0"), "{message}");
    assert_eq!(debian.installed(), "tool 1.0 installed\n");
}

#[test]
fn an_apt_package_is_absent_although_its_configuration_stays() {
    let debian = Debian::new();
    let absent = debian.run("absent", "tool");
    assert!(absent.check());
    absent.apply();
    debian.run("present", "tool").apply();
    assert!(!absent.check());
    absent.apply();
    assert!(absent.check() && !debian.run("present", "tool").check());
    assert_eq!(debian.installed(), "tool 2.0 config-files\n");
}

#[test]
fn configuration_that_somebody_changed_survives_another_version() {
    let debian = Debian::new();
    debian.run("present", "tool").with("MUSTER_VERSION", "1.0").apply();
    fs::write(debian.path("root/etc/tool.conf"), "of somebody\n").unwrap();
    debian.run("present", "tool").with("MUSTER_VERSION", "2.0").apply();
    assert_eq!(fs::read_to_string(debian.path("root/etc/tool.conf")).unwrap(), "of somebody\n");
}

#[test]
fn odd_names_of_apt_packages_harm_nothing() {
    let debian = Debian::new();
    debian.run("present", "tool").apply();
    let before = listed(debian.folder.path());
    for wanted in ["present", "absent"] {
        for name in ODD_NAMES {
            let run = debian.run(wanted, name);
            assert!(!run.check(), "{wanted} {name}");
            run.failure();
        }
        let version = "2.0 --purge;touch owned";
        debian.run("present", "tool").with("MUSTER_VERSION", version).failure();
    }
    assert_eq!(listed(debian.folder.path()), before);
    assert_eq!(debian.installed(), "tool 2.0 installed\n");
}

#[test]
fn apt_reads_no_name_as_a_pattern_or_a_wish() {
    let debian = Debian::new();
    for name in ["to.l", "tool+", "t.+"] {
        let (code, message) = debian.run("present", name).failure();
        assert_eq!(code, 1);
        assert!(message.contains(&format!("no source of packages has {name}:")), "{message}");
    }
    debian.run("present", "tool").apply();
    debian.run("present", "tool-").failure();
    for name in ["to.l", "tool-", "tool+", "t.+"] {
        debian.run("absent", name).apply();
    }
    assert_eq!(debian.installed(), "tool 2.0 installed\n");
}

#[test]
fn what_dpkg_can_not_tell_is_not_as_it_is_wanted() {
    let debian = Debian::new();
    executable(&debian.path("bin/dpkg-query"), "#!/bin/sh\nexit 2\n");
    for wanted in ["present", "absent"] {
        assert!(!debian.run(wanted, "tool").check());
        debian.run(wanted, "tool").failure();
    }
}

#[test]
fn a_deb_is_installed_when_it_is_the_right_one() {
    let debian = Debian::new();
    let run = debian.by_file("tool", "tool_1.0.deb", &debian.sum("tool_1.0.deb"));
    assert!(!run.check());
    run.apply();
    assert!(run.check());
    assert_eq!(debian.installed(), "tool 1.0 installed\n");
    debian.run("absent", "tool").apply();
    let path = debian.path("repository/tool_1.0.deb");
    run.with("MUSTER_URL", format!("file://{}", path.display())).apply();
    assert_eq!(debian.installed(), "tool 1.0 installed\n");
}

#[test]
fn no_other_deb_is_installed() {
    let debian = Debian::new();
    debian.build("other", "1.0");
    let (tool, other) = (debian.sum("tool_1.0.deb"), debian.sum("other_1.0.deb"));
    let wrong = [
        debian.by_file("tool", "tool_1.0.deb", &debian.sum("tool_2.0.deb")),
        debian.by_file("tool", "tool_1.0.deb", ""),
        debian.by_file("tool", "other_1.0.deb", &other),
        debian.by_file("tool", "tool_1.0.deb", &tool).with("MUSTER_VERSION", "2.0"),
    ];
    for run in wrong {
        assert_eq!(run.failure().0, 3);
    }
    assert_eq!(debian.by_file("tool", "none.deb", &tool).failure().0, 5);
    assert_eq!(debian.installed(), "");
}

#[test]
fn apt_goes_on_with_what_it_knows() {
    let debian = Debian::new();
    debian.run("present", "tool").apply();
    debian.run("absent", "tool").apply();
    let sources = debian.path("sources.list");
    let more = fs::read_to_string(&sources).unwrap() + "deb [trusted=yes] file:/nonexistent ./\n";
    fs::write(&sources, more).unwrap();
    let output = debian.run("present", "tool").apply();
    assert!(String::from_utf8_lossy(&output.stderr).contains("muster: apt-get update failed"));
    assert!(debian.run("present", "tool").check());
}

#[test]
fn arguments_reach_apt_whoever_hands_them_over() {
    let debian = Debian::new();
    let run = debian.run("present", "tool");
    let log = "#!/bin/sh\nfor it; do echo \"<$it>\"; done >>calls\nexec /usr/bin/apt-get \"$@\"\n";
    executable(&debian.path("bin/apt-get"), log);
    // Agents append them to the text in this way.
    let appended = format!("{} \"$@\"", APT.trim_end());
    for text in [APT, &appended] {
        let args = ["--download-only", "-oA=a  b"];
        let (code, message) = failure(&run.output_of(text, "apply", &args));
        assert_eq!(code, 1);
        assert!(message.contains("is not as it is wanted"), "{message}");
        let calls = fs::read_to_string(debian.path("calls")).unwrap();
        assert!(calls.ends_with("\n<--download-only>\n<-oA=a  b>\n<-->\n<tool>\n"), "{calls}");
        assert_eq!(calls.matches("a  b").count(), 1);
        fs::remove_file(debian.path("calls")).unwrap();
        assert_eq!(failure(&run.output_of(text, "apply", &["--no-such-option"])).0, 100);
        fs::remove_file(debian.path("calls")).unwrap();
    }
    assert_eq!(debian.installed(), "");
}
