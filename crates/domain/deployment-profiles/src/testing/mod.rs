//! What tests of profiles need: tasks, fakes of the ports, and the contracts of those.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test ends where it fails")]

mod catalog;
mod compliance;
mod imaged;
mod rollouts;

use std::collections::BTreeMap;
use std::time::Duration;

use muster_agents::OsType;
use muster_commands::runs::Wording;
use muster_commands::{ShellType, Spec};
use muster_kernel::{Cursor, Page, PageRequest, TaskId};
use uuid::Uuid;

use crate::rollouts::{FrozenTask, Parts, Shape};
use crate::{Action, Task};

pub use catalog::{
    FakeCatalog, catalog_contract, entry, os_image_bodies, profile_bodies, software_bodies,
};
pub use compliance::{FakeCompliance, check, compliance_contract};
pub use imaged::{ImagedSubject, imaged_contract};
pub use rollouts::{FakeRollouts, RolloutsSubject, rollout, rollouts_contract};

/// The task of this number, which runs `true`.
pub fn task(number: u32) -> Task {
    Task {
        id: TaskId::from_uuid(Uuid::from_u128(u128::from(number))),
        name: format!("task {number}"),
        description: None,
        order_index: i32::try_from(number).unwrap_or(i32::MAX),
        action: Action::Command(Wording { command: "true".into(), ..Wording::default() }),
        check: None,
        continue_on_error: false,
        timeout: None,
    }
}

/// What runs `command`.
pub fn spec(command: &str) -> Spec {
    Spec {
        command: command.to_owned(),
        script: None,
        args: Vec::new(),
        shell_type: ShellType::Sh,
        timeout: Duration::from_secs(30),
        working_directory: None,
        environment: BTreeMap::new(),
        secrets: None,
    }
}

/// A task of this shape, as Linux machines get it.
pub fn frozen(number: usize, shape: Shape, checks: bool) -> FrozenTask {
    let check = checks.then(|| spec("test -e done"));
    let parts = Parts { check, inverted: false, exact: false, work: spec("touch done") };
    FrozenTask {
        id: TaskId::from_uuid(Uuid::from_u128(u128::try_from(number).unwrap_or_default() + 1)),
        name: format!("task {number}"),
        action_type: "command".to_owned(),
        shape,
        continue_on_error: false,
        parts: [(OsType::Linux, parts)].into(),
    }
}

/// The page of these rows, in their order, that is asked for.
fn page_of<T: Clone>(rows: &[T], page: &PageRequest, cursor: impl Fn(&T) -> Cursor) -> Page<T> {
    let total = u64::try_from(rows.len()).unwrap();
    let seen = page.cursor.as_ref().and_then(|at| rows.iter().position(|row| cursor(row) == *at));
    let rest = rows.iter().skip(seen.map_or(0, |at| at + 1));
    let items = rest.take(usize::from(page.limit()) + 1).cloned().collect();
    Page::from_rows(items, page, total, cursor)
}
