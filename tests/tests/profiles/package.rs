//! A package of the system's own package manager, and a root of its own to install it in.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use aws_lc_rs::digest;
use tempfile::TempDir;

/// What the package is called.
pub(crate) const NAME: &str = "muster-probe";

/// A package that notes each time that it is installed, with a line in `installed`.
pub(crate) struct Package {
    pub(crate) file: PathBuf,
    pub(crate) sha256: String,
    _folder: TempDir,
}

impl Package {
    pub(crate) fn build() -> Self {
        let folder = TempDir::new().unwrap();
        let (tree, file) = (folder.path().join("tree"), folder.path().join("probe.deb"));
        let (about, shared) = (tree.join("DEBIAN"), tree.join("usr/share").join(NAME));
        fs::create_dir_all(&about).unwrap();
        fs::create_dir_all(&shared).unwrap();
        fs::write(shared.join("README"), "It is here.\n").unwrap();
        let control = format!(
            "Package: {NAME}\nVersion: 1.0\nArchitecture: all\n\
             Maintainer: Muster <muster@example.org>\nDescription: nothing of use\n"
        );
        fs::write(about.join("control"), control).unwrap();
        let script = about.join("postinst");
        fs::write(&script, "#!/bin/sh\necho \"$1\" >> \"$DPKG_ROOT/installed\"\n").unwrap();
        // The package manager insists on it, whatever the umask of whoever runs this.
        for (path, mode) in [(&tree, 0o755), (&about, 0o755), (&script, 0o755)] {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        }
        let mut build = Command::new("dpkg-deb");
        build.args(["--build", "--root-owner-group"]).arg(tree).arg(&file);
        let output = build.output().expect("dpkg-deb is installed");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let sha256 = sha256(&fs::read(&file).unwrap());
        Self { file, sha256, _folder: folder }
    }
}

/// As hexadecimal digits.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    let digest = digest::digest(&digest::SHA256, bytes);
    digest.as_ref().iter().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"))
}

/// Makes a folder a root that apt and dpkg work on instead of the machine's, as anybody; answers
/// with the environment that has them do so.
pub(crate) fn root(folder: &Path) -> Vec<(String, String)> {
    for inner in [
        "var/lib/dpkg/info",
        "var/lib/dpkg/updates",
        "var/lib/dpkg/triggers",
        "var/lib/apt/lists/partial",
        "var/cache/apt/archives/partial",
        "var/log/apt",
        "etc/apt/apt.conf.d",
        "etc/apt/preferences.d",
        "etc/apt/sources.list.d",
        "etc/apt/trusted.gpg.d",
    ] {
        fs::create_dir_all(folder.join(inner)).unwrap();
    }
    for empty in ["status", "available"] {
        fs::write(folder.join("var/lib/dpkg").join(empty), "").unwrap();
    }
    let place = folder.display();
    let config = format!(
        "Dir::State \"{place}/var/lib/apt/\";\n\
         Dir::State::status \"{place}/var/lib/dpkg/status\";\n\
         Dir::Cache \"{place}/var/cache/apt/\";\n\
         Dir::Etc \"{place}/etc/apt/\";\n\
         Dir::Log \"{place}/var/log/apt/\";\n\
         APT::Sandbox::User \"\";\n"
    );
    let file = folder.join("apt.conf");
    fs::write(&file, config).unwrap();
    let environment = [
        ("APT_CONFIG", file.display().to_string()),
        ("DPKG_ROOT", place.to_string()),
        ("DPKG_ADMINDIR", format!("{place}/var/lib/dpkg")),
        ("DPKG_FORCE", "not-root,script-chrootless,bad-path".to_owned()),
    ];
    environment.map(|(name, value)| (name.to_owned(), value)).into()
}
