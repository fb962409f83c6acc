//! Several servers that are one: on one PostgreSQL, by one Redis.

use std::process::Command;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use nix::sys::signal::Signal;
use tempfile::TempDir;

use crate::process::{Process, free_port};
use crate::{Api, Server, fresh_postgres};

/// A `redis-server` that can be killed, stopped and started again.
#[derive(Debug)]
pub struct RedisServer {
    folder: TempDir,
    port: u16,
    process: Option<Process>,
}

impl RedisServer {
    /// One of its own, running.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start() -> Self {
        let mut server = Self { folder: TempDir::new().unwrap(), port: free_port(), process: None };
        server.restart();
        server
    }

    /// Starts it, with nothing in it.
    pub fn restart(&mut self) {
        let mut command = Command::new("redis-server");
        command
            .args(["--port", &self.port.to_string(), "--bind", "127.0.0.1", "--save", ""])
            .current_dir(self.folder.path());
        self.process = Some(Process::start(&mut command, &self.folder.path().join("log")));
    }

    /// Kills it with SIGKILL.
    ///
    /// # Panics
    /// When it does not run.
    pub fn kill(&mut self) {
        self.process.take().expect("it runs").signal_and_wait(Signal::SIGKILL);
    }

    /// Lets it hang: it answers nothing, and its connections stay.
    ///
    /// # Panics
    /// When it does not run.
    pub fn freeze(&mut self, frozen: bool) {
        let signal = if frozen { Signal::SIGSTOP } else { Signal::SIGCONT };
        self.process.as_ref().expect("it runs").signal(signal);
    }

    /// Where it listens.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }
}

/// Several servers that are one.
#[derive(Debug)]
pub struct Nodes {
    /// The nodes; the first one leads as long as it runs.
    pub servers: Vec<Server>,
    /// What they share.
    pub redis: RedisServer,
}

impl Nodes {
    /// A fresh installation of so many nodes, running.
    ///
    /// # Panics
    /// When they do not start.
    pub async fn start(number: usize) -> Self {
        let redis = RedisServer::start();
        let (database, redis_url) = (fresh_postgres().await, redis.url());
        let key = STANDARD.encode(rand::random::<[u8; 32]>());
        let settings = [
            ("DATABASE_URL", database.as_str()),
            ("REDIS_URL", redis_url.as_str()),
            ("MUSTER_SECRET_KEY", key.as_str()),
        ];
        let mut servers = Vec::new();
        for _ in 0..number {
            servers.push(Server::start_with(&settings).await);
        }
        Self { servers, redis }
    }

    /// Clients of all nodes, signed in as the admin, with nobody's requests counted.
    ///
    /// # Panics
    /// When that does not work.
    pub async fn admins(&self) -> Vec<Api> {
        let first = self.servers.first().expect("there is one").admin().await;
        first.put("/settings", &serde_json::json!({ "rate_limits": false })).await;
        let mut admins = vec![first];
        for server in self.servers.iter().skip(1) {
            admins.push(server.admin().await);
        }
        admins
    }
}
