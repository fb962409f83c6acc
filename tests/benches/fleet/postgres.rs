//! A PostgreSQL of one's own, with what makes a commit durable switched on.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::Skipped;

/// A cluster in a folder of its own, with `fsync` on.
pub(crate) struct Postgres {
    folder: TempDir,
    programs: PathBuf,
    port: u16,
}

impl Postgres {
    pub(crate) fn start() -> Result<Self, Skipped> {
        let programs = programs().ok_or("PostgreSQL is not installed (/usr/lib/postgresql)")?;
        let folder = TempDir::new().unwrap();
        let cluster = Self { folder, programs, port: free_port() };
        if nix::unistd::geteuid().is_root() {
            let path = cluster.folder.path().to_str().unwrap().to_owned();
            run(Command::new("chown").args(["postgres", &path]))?;
        }
        let data = cluster.data();
        run(cluster.command("initdb").args(["-D", &data, "-U", "muster", "-A", "trust"]))?;
        let options = format!(
            "-p {} -h 127.0.0.1 -k {} -c max_connections=200",
            cluster.port,
            cluster.folder.path().display()
        );
        let log = format!("{}/log", cluster.folder.path().display());
        run(cluster
            .command("pg_ctl")
            .args(["start", "-w", "-D", &data, "-o", &options, "-l", &log]))?;
        let port = cluster.port.to_string();
        let host = ["-h", "127.0.0.1", "-p", &port, "-U", "muster"];
        run(cluster.command("createdb").args(host).arg("muster"))?;
        Ok(cluster)
    }

    pub(crate) fn url(&self) -> String {
        format!("postgres://muster@127.0.0.1:{}/muster", self.port)
    }

    pub(crate) fn version(&self) -> String {
        let output = self.command("postgres").arg("--version").output();
        let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
        let version = text.unwrap_or_default();
        let number = version.split_whitespace().nth(2).unwrap_or_default();
        format!("PostgreSQL {number}, fsync on")
    }

    fn data(&self) -> String {
        format!("{}/data", self.folder.path().display())
    }

    /// PostgreSQL does not run as root.
    fn command(&self, name: &str) -> Command {
        let path = self.programs.join(name);
        let mut command = if nix::unistd::geteuid().is_root() {
            let mut command = Command::new("runuser");
            command.args(["-u", "postgres", "--"]).arg(path);
            command
        } else {
            Command::new(path)
        };
        command.stdin(Stdio::null()).current_dir("/");
        command
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let data = self.data();
        let _ = self.command("pg_ctl").args(["stop", "-m", "fast", "-D", &data]).output();
    }
}

/// Runs a command to its end.
pub(crate) fn run(command: &mut Command) -> Result<(), Skipped> {
    // A daemon that it leaves behind keeps its output open: nobody waits for that.
    let status = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{command:?} ended with {status}")),
        Err(error) => Err(format!("{command:?} does not start: {error}")),
    }
}

/// The programs of the newest PostgreSQL that is installed.
fn programs() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?;
    let found = versions.filter_map(Result::ok).map(|entry| entry.path().join("bin"));
    found.filter(|bin| Path::new(&bin.join("initdb")).is_file()).max()
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
