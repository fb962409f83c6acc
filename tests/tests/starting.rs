//! Starts that can't succeed: they say why, soon, and leave nothing behind.
#![expect(clippy::unwrap_used, reason = "a test ends where it fails")]

use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output};

use muster_tests::program;
use tempfile::TempDir;

fn muster(arguments: &[&str], data_dir: &Path, listen: &str) -> Output {
    Command::new(program("muster"))
        .args(arguments)
        .args(["--listen", listen, "--data-dir"])
        .arg(data_dir)
        .current_dir(data_dir.parent().unwrap())
        .output()
        .unwrap()
}

#[test]
fn a_taken_address_is_told_before_anything_is_made() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    taken.set_nonblocking(true).unwrap();
    let listen = taken.local_addr().unwrap().to_string();
    for command in ["serve", "quickstart"] {
        let folder = TempDir::new().unwrap();
        let data = folder.path().join("data");
        let output = muster(&[command], &data, &listen);
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && error.contains("MUSTER_LISTEN"), "{error}");
        assert!(output.stdout.is_empty(), "no password is shown that will never open anything");
        assert!(!data.exists(), "{command} left a data folder behind");
        assert!(taken.accept().is_err(), "{command} spoke to whoever holds the address");
    }
}

#[cfg(unix)]
#[test]
fn a_quickstart_whose_agent_does_not_start_says_so_and_ends() {
    use std::os::unix::fs::PermissionsExt;
    let folder = TempDir::new().unwrap();
    let server = folder.path().join("muster");
    std::fs::copy(program("muster"), &server).unwrap();
    let agent = folder.path().join("muster-agent");
    std::fs::write(&agent, "#!/nowhere\n").unwrap();
    std::fs::set_permissions(&agent, std::fs::Permissions::from_mode(0o755)).unwrap();
    let output = Command::new(server)
        .args(["quickstart", "--listen", "127.0.0.1:0", "--data-dir", "data"])
        .current_dir(folder.path())
        .output()
        .unwrap();
    let (shown, error) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(!output.status.success() && error.contains("muster-agent"), "{error}");
    assert!(shown.contains("password"), "what was drawn is shown, whatever happens then: {shown}");
}
