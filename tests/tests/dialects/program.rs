//! The older products' own clients, as they are: see `tests/dialects`.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use muster_tests::PASSWORD;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;

use crate::world::World;

/// How long a test waits for a program's next step.
const PATIENCE: Duration = Duration::from_mins(1);

/// A program that runs; it ends with the test.
pub(crate) struct Program {
    name: &'static str,
    child: Child,
    told: Lines<BufReader<ChildStdout>>,
}

impl Program {
    /// Starts one that shows the key of the world's customer.
    pub(crate) fn start(world: &World, name: &'static str, arguments: &[&str]) -> Self {
        Self::showing(world, &world.key, name, arguments)
    }

    /// Starts one that shows this credential, or none where it is empty.
    pub(crate) fn showing(
        world: &World,
        credential: &str,
        name: &'static str,
        arguments: &[&str],
    ) -> Self {
        let url = world.server.url();
        let who =
            if credential.is_empty() { String::new() } else { format!("agent:{credential}@") };
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("dialects");
        let python = std::env::var("MUSTER_TEST_PYTHON");
        let mut child = Command::new(python.as_deref().unwrap_or("/usr/bin/python3"))
            .arg("-B")
            .arg(folder.join(name))
            .args(arguments)
            .env("MUSTER_WEBSOCKET", url.replacen("http://", &format!("ws://{who}"), 1))
            .env("MUSTER_URL", url)
            .env("MUSTER_CREDENTIAL", credential)
            .env("MUSTER_ADMIN_PASSWORD", PASSWORD)
            .env("NO_PROXY", "*")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("there is a Python: MUSTER_TEST_PYTHON names another");
        let told = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { name, child, told }
    }

    async fn next(&mut self) -> Option<Value> {
        let line = timeout(PATIENCE, self.told.next_line()).await;
        let line = line.unwrap_or_else(|_| panic!("{} tells nothing", self.name)).unwrap()?;
        Some(serde_json::from_str(&line).unwrap())
    }

    /// What it tells of its next step of that name; others before it are left out.
    pub(crate) async fn did(&mut self, step: &str) -> Value {
        loop {
            let told = self.next().await;
            let told = told.unwrap_or_else(|| panic!("{} ended without \"{step}\"", self.name));
            if told["did"] == step {
                return told;
            }
        }
    }

    /// Waits until it has ended, and well: every answer was as its product prints it.
    pub(crate) async fn ended(mut self) {
        while self.next().await.is_some() {}
        let status = timeout(PATIENCE, self.child.wait()).await.expect("it ends").unwrap();
        assert!(status.success(), "{}: {status}", self.name);
    }
}
