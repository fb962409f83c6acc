//! A shell that runs nothing, and a trail that remembers.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use muster_kernel::{Author, Deed, StorageError, Timestamp};
use parking_lot::Mutex;

use crate::local::{LocalReport, LocalShell, LocalTrail};
use crate::{Failure, Outcome, ShellType, Spec};

/// A shell that runs nothing: `false` fails, everything else completes.
#[derive(Debug, Default)]
pub struct FakeShell(Mutex<Ran>);

#[derive(Debug, Default)]
struct Ran {
    commands: Vec<String>,
    now: usize,
    most: usize,
}

impl FakeShell {
    /// What was to run.
    pub fn ran(&self) -> Vec<String> {
        self.0.lock().commands.clone()
    }

    /// How many ran at the same time at most.
    pub fn most_at_once(&self) -> usize {
        self.0.lock().most
    }
}

#[async_trait]
impl LocalShell for FakeShell {
    fn default_shell(&self) -> ShellType {
        ShellType::Sh
    }

    async fn run(&self, spec: &Spec) -> LocalReport {
        {
            let mut ran = self.0.lock();
            ran.commands.push(spec.command.clone());
            ran.now += 1;
            ran.most = ran.most.max(ran.now);
        }
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
        self.0.lock().now -= 1;
        let failed = spec.command == "false";
        let failure = Failure { code: "EXIT_CODE".to_owned(), detail: None };
        LocalReport {
            outcome: if failed { Outcome::Failed(failure) } else { Outcome::Completed },
            exit_code: Some(i32::from(failed)),
            stdout: Bytes::new(),
            stderr: Bytes::new(),
            truncated: false,
            execution_time: Duration::from_millis(1),
        }
    }
}

/// An audit log in memory.
#[derive(Debug, Default)]
pub struct FakeTrail {
    entered: Mutex<Vec<Deed>>,
    fails: Mutex<bool>,
}

impl FakeTrail {
    /// What was entered.
    pub fn entered(&self) -> Vec<Deed> {
        self.entered.lock().clone()
    }

    /// From now on it fails.
    pub fn fail(&self) {
        *self.fails.lock() = true;
    }
}

#[async_trait]
impl LocalTrail for FakeTrail {
    async fn enter(&self, _: &Author, _: Timestamp, deed: Deed) -> Result<(), StorageError> {
        if *self.fails.lock() {
            return Err(StorageError::new(std::io::Error::other("the disk is full")));
        }
        self.entered.lock().push(deed);
        Ok(())
    }
}
