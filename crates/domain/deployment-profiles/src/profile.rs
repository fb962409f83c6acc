//! What is to be done to a machine.

use muster_agents::OsType;
use muster_kernel::{ProfileId, TaskId};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::catalog::{Body, Entry, Kind};
use crate::{Invalid, Task};

/// How many tasks a profile has at most.
pub(crate) const MAX_TASKS: usize = 200;
/// The room that is left between tasks, for others to be put there.
pub(crate) const STRIDE: i32 = 10;

/// What a profile says.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ProfileBody {
    /// The systems that it is made for; any when `None`.
    pub target_os_type: Option<OsType>,
    /// Whether it is only there to be copied.
    pub is_template: bool,
    /// What is done, in its order.
    pub tasks: Vec<Task>,
}

/// What is to be done to a machine.
pub type Profile = Entry<ProfileBody>;

impl ProfileBody {
    /// The task of this id.
    pub fn task(&self, id: TaskId) -> Option<&Task> {
        self.tasks.iter().find(|task| task.id == id)
    }

    /// Where a task stands that is put behind all others.
    pub(crate) fn behind_all(&self) -> i32 {
        self.tasks.last().map_or(STRIDE, |last| last.order_index.saturating_add(STRIDE))
    }

    /// Puts a task where it belongs, instead of the one with its id if there is one.
    pub(crate) fn put(&mut self, task: Task) -> Result<(), Invalid> {
        self.tasks.retain(|known| known.id != task.id);
        if self.tasks.len() >= MAX_TASKS {
            return Err(Invalid::new("", format!("a profile has at most {MAX_TASKS} tasks")));
        }
        self.tasks.push(task);
        self.tasks.sort_by_key(|task| (task.order_index, task.id));
        Ok(())
    }

    /// Takes a task away; says whether it was there.
    pub(crate) fn take(&mut self, id: TaskId) -> bool {
        let before = self.tasks.len();
        self.tasks.retain(|task| task.id != id);
        self.tasks.len() != before
    }

    /// Puts all tasks into this order.
    pub(crate) fn reorder(&mut self, ids: &[TaskId]) -> Result<(), Invalid> {
        let mut ordered = Vec::with_capacity(self.tasks.len());
        for (number, id) in ids.iter().enumerate() {
            let found = self.tasks.iter().position(|task| task.id == *id);
            let place = || format!("/task_ids/{number}");
            let rule = "an id of a task of this profile is expected, each once";
            ordered.push(self.tasks.remove(found.ok_or_else(|| Invalid::new(place(), rule))?));
        }
        if !self.tasks.is_empty() {
            return Err(Invalid::new("/task_ids", "the ids of all tasks are expected"));
        }
        let mut index = 0;
        for task in &mut ordered {
            index += STRIDE;
            task.order_index = index;
        }
        self.tasks = ordered;
        Ok(())
    }
}

impl Body for ProfileBody {
    const KIND: Kind = Kind::Profile;
    type Id = ProfileId;

    fn os_type(&self) -> Option<OsType> {
        self.target_os_type
    }

    fn is_template(&self) -> bool {
        self.is_template
    }

    fn facts(&self) -> Value {
        json!({
            "target_os_type": self.target_os_type.map(OsType::as_str),
            "is_template": self.is_template,
            "tasks": self.tasks.iter().map(Task::facts).collect::<Vec<_>>(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::task;

    fn names(body: &ProfileBody) -> Vec<&str> {
        body.tasks.iter().map(|task| task.name.as_str()).collect()
    }

    #[test]
    fn tasks_stand_in_their_order_whenever_they_came() {
        let mut body = ProfileBody::default();
        for (number, index) in [(1, 30), (2, 10), (3, 20), (4, 10)] {
            body.put(Task { order_index: index, ..task(number) }).unwrap();
        }
        assert_eq!(names(&body), ["task 2", "task 4", "task 3", "task 1"]);
        assert_eq!(body.behind_all(), 40);
        body.put(Task { order_index: 5, ..task(1) }).unwrap();
        assert_eq!(names(&body), ["task 1", "task 2", "task 4", "task 3"]);
        assert!(body.take(task(2).id) && !body.take(task(2).id));
    }

    #[test]
    fn an_order_names_every_task_once() {
        let mut body = ProfileBody::default();
        for number in 1..=3 {
            body.put(task(number)).unwrap();
        }
        let [one, two, three] = [1, 2, 3].map(|number| task(number).id);
        for wrong in [vec![one, two], vec![one, two, two], vec![one, two, three, one]] {
            assert!(body.clone().reorder(&wrong).is_err());
        }
        body.reorder(&[three, one, two]).unwrap();
        assert_eq!(names(&body), ["task 3", "task 1", "task 2"]);
        assert_eq!(
            body.tasks.iter().map(|task| task.order_index).collect::<Vec<_>>(),
            [10, 20, 30]
        );
    }
}
