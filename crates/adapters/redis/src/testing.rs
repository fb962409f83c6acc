//! A Redis of its own for every test, which can be killed and started again.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use muster_kernel::NodeId;
use muster_kernel::testing::{FakeClock, SeededEntropy};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::{Redis, RedisUrl};

/// A Redis that runs beside a test.
pub(crate) struct RedisServer {
    folder: TempDir,
    port: u16,
    process: Option<Child>,
}

impl RedisServer {
    pub(crate) fn start() -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut server = Self { folder: TempDir::new().unwrap(), port, process: None };
        server.restart();
        server
    }

    pub(crate) fn restart(&mut self) {
        let process = Command::new("redis-server")
            .args(["--port", &self.port.to_string(), "--bind", "127.0.0.1", "--save", ""])
            .current_dir(self.folder.path())
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server is installed");
        self.process = Some(process);
    }

    pub(crate) fn kill(&mut self) {
        let mut process = self.process.take().unwrap();
        process.kill().unwrap();
        process.wait().unwrap();
    }

    /// A node's link; its parts have to be made before it is joined.
    pub(crate) fn node(&self, seed: u64) -> Redis {
        let url: RedisUrl = format!("redis://127.0.0.1:{}", self.port).parse().unwrap();
        let node = NodeId::new(&FakeClock::default(), &SeededEntropy::new(seed));
        Redis::new(&url, "test", node).unwrap()
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        if self.process.is_some() {
            self.kill();
        }
    }
}

/// Keeps a node's link for as long as the test goes on, and waits until it is there.
pub(crate) async fn join(redis: &Redis) -> Joined {
    let stop = CancellationToken::new();
    let task = tokio::spawn(redis.clone().run(stop.clone()));
    up(redis, true).await;
    Joined { stop, task }
}

/// Waits until Redis is there, or lost.
pub(crate) async fn up(redis: &Redis, expected: bool) {
    eventually(|| redis.is_up() == expected).await;
}

/// Waits for something.
pub(crate) async fn eventually(condition: impl Fn() -> bool) {
    for _ in 0..2000 {
        if condition() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("it does not come about");
}

pub(crate) struct Joined {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Joined {
    /// Ends gently.
    pub(crate) async fn leave(self) {
        self.stop.cancel();
        self.task.await.unwrap();
    }

    /// Ends as if the node was killed.
    pub(crate) fn kill(self) {
        self.task.abort();
    }
}
