//! Making a run and its commands durable.

use std::sync::Arc;

use muster_kernel::{Author, CommandId, RunId, StorageError, Timestamp};

use super::compose::Plan;
use super::ports::{Begun, Member};
use super::progress::{Step, next_step};
use super::run::{Run, RunStatus, Tally, summary};
use super::usecase::{Asker, Runs, RunsError, Wish};
use super::wish::Template;
use crate::spec::Spec;
use crate::through::through;
use crate::usecase::expiry;
use crate::{Command, Once, OutputBytes, State};

impl Runs {
    /// Makes the run and its commands durable, and sets it going.
    pub(super) async fn begin(
        &self,
        asker: &Asker<'_>,
        wish: Wish,
        plan: &Plan,
        retry_of: Option<RunId>,
    ) -> Result<Run, RunsError> {
        let now = self.ports.clock.now();
        let once = wish.once.clone();
        let (mut run, mut commands) = self.compose(asker, wish, plan, retry_of, now)?;
        self.seal(&mut run, &mut commands, plan).await?;
        let (id, runs, author) = (run.id, self.clone(), asker.author.clone());
        let going = through(async move { runs.set_going(run, commands, once, author).await });
        match going.await?? {
            Begun::New => self.find(asker.scope, id).await,
            Begun::Known(known) => {
                // What the key made may be an approval, of a time when the policy was another.
                let known = self.ports.repository.find(asker.scope, known).await?;
                Ok(self.as_it_is(known.ok_or(RunsError::KeyReused)?).await?)
            }
            Begun::Conflict => Err(RunsError::KeyReused),
        }
    }

    async fn set_going(
        &self,
        run: Run,
        commands: Vec<Command>,
        once: Option<Once>,
        author: Author,
    ) -> Result<Begun, StorageError> {
        let id = run.id;
        // Before anybody can report: what is heard of its commands from now on is taken in.
        let members = || commands.iter().map(member).collect();
        let board = self.boards.are_held().then(|| self.boards.put(run.clone(), members()));
        let begun = self.ports.repository.begin(run, commands.clone(), once, author).await;
        if let Ok(Begun::New) = begun {
            if let Some(board) = board {
                board.lock().begun = true;
            }
            for command in commands.into_iter().filter(|command| !command.held) {
                self.ports.courier.deliver(Arc::new(command));
            }
            self.boards.turned(id);
        } else {
            self.boards.remove(id);
        }
        begun
    }

    /// Seals secret parameters for the run and for each of its commands.
    async fn seal(
        &self,
        run: &mut Run,
        commands: &mut [Command],
        plan: &Plan,
    ) -> Result<(), StorageError> {
        let secrets = &plan.prepared.secrets;
        run.template.secrets = self.workshop.seal(&Run::secrets_place(run.id), secrets).await?;
        for command in commands.iter_mut().filter(|_| !secrets.is_empty()) {
            let place = Spec::secrets_place(command.id);
            command.spec.secrets = self.workshop.seal(&place, secrets).await?;
        }
        Ok(())
    }

    fn compose(
        &self,
        asker: &Asker<'_>,
        wish: Wish,
        plan: &Plan,
        retry_of: Option<RunId>,
        now: Timestamp,
    ) -> Result<(Run, Vec<Command>), RunsError> {
        let expires_at = expiry(wish.template.expires_in, now)?;
        let id = RunId::new(&*self.ports.clock, &*self.ports.entropy);
        let total = u32::try_from(plan.machines.len()).unwrap_or(u32::MAX);
        let held = Tally { held: total, ..Tally::default() };
        let first = match next_step(&wish.template.strategy, &held, None, false) {
            Step::Release(room) if room >= total => plan.machines.len(),
            Step::Release(room) => usize::try_from(room).unwrap_or(0).min(plan.connected),
            Step::Wait | Step::Stop(_) | Step::End(_) => 0,
        };
        let mut commands = Vec::with_capacity(plan.machines.len());
        for (number, machine) in plan.machines.iter().enumerate() {
            let spec =
                plan.prepared.specs.get(&machine.os_type).ok_or(RunsError::NothingToRun)?.clone();
            let held = number >= first;
            let leaves = !held && self.ports.courier.has_room(machine.id);
            commands.push(Command {
                id: CommandId::new(&*self.ports.clock, &*self.ports.entropy),
                agent_id: machine.id,
                customer_id: machine.customer_id,
                spec,
                run_id: Some(id),
                rollout_id: None,
                held,
                requested_by: asker.requested_by,
                safety_level: plan.assessment().level,
                created_at: now,
                expires_at,
                dispatched_at: leaves.then_some(now),
                cancel_requested_at: None,
                state: State::Pending { accepted_at: None },
                output: OutputBytes::default(),
            });
        }
        let customers = plan.customers();
        let only = customers.first().copied().filter(|_| customers.len() == 1);
        let text = commands.first().map(|command| summary(&command.spec.command));
        let run = Run {
            id,
            template: Template { work: plan.prepared.work.clone(), secrets: None, ..wish.template },
            summary: text.unwrap_or_default(),
            requested_by: asker.requested_by,
            safety_level: plan.assessment().level,
            retry_of,
            schedule_id: wish.schedule_id,
            created_at: now,
            expires_at,
            status: RunStatus::Running,
            stop: None,
            finished_at: None,
            tally: held,
            customer_id: only,
        };
        Ok((run, commands))
    }
}

fn member(command: &Command) -> Member {
    Member {
        command_id: command.id,
        agent_id: command.agent_id,
        customer_id: command.customer_id,
        status: command.status(),
        held: command.held,
    }
}
