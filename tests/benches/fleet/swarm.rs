//! `muster-swarm` as a process, as people run it.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use muster_tests::{Api, Server, program};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tokio::sync::oneshot;

/// How many machines one process holds at most, of what systems allow here.
pub(crate) fn needs_files(connections: usize) -> Result<(), String> {
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = limits.lines().find(|line| line.starts_with("Max open files"));
    let hard: usize =
        line.and_then(|line| line.split_whitespace().nth(4)?.parse().ok()).unwrap_or(usize::MAX);
    if hard < connections + 300 {
        return Err(format!(
            "{connections} connections in one process need {} open files and this one may have \
             {hard} (ulimit -Hn)",
            connections + 300
        ));
    }
    Ok(())
}

/// The resident memory of a process, in KiB.
pub(crate) fn resident_kib(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// A server without rate limits, for one caller that stands for many, and an enrollment token.
pub(crate) async fn prepared(server: &Server) -> (Api, String) {
    let api = server.admin().await;
    api.put("/settings", &json!({ "rate_limits": false })).await;
    let token = api.enrollment_token("Acme").await;
    (api, token)
}

/// What a swarm is to do.
pub(crate) struct Wish<'a> {
    /// The nodes, separated by commas.
    pub(crate) servers: &'a str,
    pub(crate) token: &'a str,
    pub(crate) agents: usize,
    /// Where it keeps who the machines are.
    pub(crate) state: &'a Path,
    pub(crate) name: &'a str,
    /// What else it is told.
    pub(crate) more: &'a [&'a str],
    /// The network namespace that it runs in.
    pub(crate) namespace: Option<&'a str>,
}

impl Wish<'_> {
    fn command(&self) -> Command {
        let program = program("muster-swarm");
        let mut command = match self.namespace {
            Some(namespace) => {
                let mut command = Command::new("ip");
                command.args(["netns", "exec", namespace]).arg(program);
                command
            }
            None => Command::new(program),
        };
        command
            .args(["--server", self.servers, "--name", self.name, "--json"])
            .args(["--agents", &self.agents.to_string()])
            .arg("--state")
            .arg(self.state)
            .args(self.more)
            .env("MUSTER_ENROLLMENT_TOKEN", self.token)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Enrols the machines, and has none of them stay.
    pub(crate) fn enrol(&self) {
        let mut command = self.command();
        let output = command.args(["--duration", "0"]).output().expect("muster-swarm starts");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// Starts it.
    pub(crate) fn start(&self) -> Swarm {
        let mut child = self.command().spawn().expect("muster-swarm starts");
        let errors = BufReader::new(child.stderr.take().unwrap());
        let (tell, connected) = oneshot::channel();
        std::thread::spawn(move || {
            let mut tell = Some(tell);
            for line in errors.lines().map_while(Result::ok) {
                let seconds = line
                    .split_once("connected after ")
                    .and_then(|(_, rest)| rest.trim_end_matches(" s").parse::<f64>().ok());
                match seconds {
                    Some(seconds) => drop(tell.take().map(|tell| tell.send(seconds))),
                    None => println!("  muster-swarm: {line}"),
                }
            }
        });
        Swarm { child, connected: Some(connected) }
    }
}

/// A swarm that runs.
pub(crate) struct Swarm {
    child: Child,
    connected: Option<oneshot::Receiver<f64>>,
}

impl Swarm {
    /// Waits until all its machines are connected; says after how many seconds they were.
    pub(crate) async fn connected(&mut self) -> f64 {
        self.connected.take().unwrap().await.expect("all machines connect")
    }

    /// Ends it, and says what its machines did.
    pub(crate) async fn stop(mut self) -> Value {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap());
        kill(pid, Signal::SIGTERM).unwrap();
        let mut output = self.child.stdout.take().unwrap();
        let read = move || {
            let mut text = String::new();
            output.read_to_string(&mut text).unwrap();
            serde_json::from_str(&text).expect("a summary")
        };
        tokio::task::spawn_blocking(read).await.unwrap()
    }

    /// Kills it, without a goodbye of its own.
    pub(crate) fn kill(mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Swarm {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
