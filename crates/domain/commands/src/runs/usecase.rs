//! What people do with runs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use muster_agents::{AgentRepository, AgentSelection, OsType, SelectedAgent, TargetError, Targets};
use muster_kernel::events::{Channel, EventBus, From as Since, Listener};
use muster_kernel::{
    AgentId, Author, Clock, CommandId, CustomerId, Denied, Entropy, GroupId, Page, PageRequest,
    Permit, Principal, RunId, ScheduleId, StorageError, TenantScope, act,
};

use super::board::Boards;
use super::compose::Plan;
use super::ports::{RunChange, RunFilter, RunRepository};
use super::run::{Run, StopReason};
use super::wish::{Template, Work};
use super::workshop::{Prepared, Specs, Workshop};
use crate::approvals::{Approval, Desk};
use crate::library::InvalidParameter;
use crate::ports::Courier;
use crate::safety::Assessment;
use crate::spec::InvalidSpec;
use crate::through::through;
use crate::{AgentChannel, Once, Requester, Status};

/// On more machines than this nobody begins a run without having shown their password or second
/// factor lately.
const MASS: usize = 100;

/// Why something could not be done with a run.
#[derive(Debug, thiserror::Error)]
pub enum RunsError {
    /// There is no such run, or it is not the asker's.
    #[error("there is no such run, or it is not yours")]
    NotFound,
    /// A machine that was named is not there.
    #[error("there is no agent {0}, or it is not yours")]
    UnknownAgent(AgentId),
    /// A customer that was named is not there.
    #[error("there is no customer {0}, or it is not yours")]
    UnknownCustomer(CustomerId),
    /// A group that was named is not there.
    #[error("there is no group {0}, or it is not yours: it was deleted, or never was")]
    UnknownGroup(GroupId),
    /// What was to run is not there.
    #[error("there is no such script or saved command, or it is not yours")]
    NothingToRun,
    /// The script or saved command is made for another system than a machine has.
    #[error("it is made for {wanted}, and a machine that is meant has {other}", wanted = wanted.as_str(), other = other.as_str())]
    OtherSystem {
        /// What it is made for.
        wanted: OsType,
        /// What a machine has.
        other: OsType,
    },
    /// Values that its parameters do not take.
    #[error("parameters: {}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    InvalidParameters(Vec<InvalidParameter>),
    /// No machine is meant.
    #[error("no machine is meant: nothing that you may use passes all that the target asks for")]
    NobodyMeant,
    /// The asker may not.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// The wish breaks a rule.
    #[error(transparent)]
    Invalid(#[from] InvalidSpec),
    /// The idempotency key came before with another request.
    #[error("this idempotency key was used for another request; take a new one")]
    KeyReused,
    /// It is dangerous, and nobody said that they know.
    #[error("this is dangerous: it {}; send confirm: true if you mean it", .0.join(", and "))]
    Dangerous(Vec<&'static str>),
    /// It is dangerous, a second person has to approve it, and nobody waits for that.
    #[error("it is dangerous, and a second person would have to approve it each time")]
    NeedsApproval,
    /// The run has ended.
    #[error("the run has ended")]
    Ended,
    /// It is not in a state in which this can be done.
    #[error("{0}")]
    WrongState(&'static str),
    /// The storage failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl From<TargetError> for RunsError {
    fn from(error: TargetError) -> Self {
        match error {
            TargetError::Invalid(error) => Self::Invalid(error.into()),
            TargetError::UnknownAgent(id) => Self::UnknownAgent(id),
            TargetError::UnknownCustomer(id) => Self::UnknownCustomer(id),
            TargetError::UnknownGroup(id) => Self::UnknownGroup(id),
            TargetError::Nobody => Self::NobodyMeant,
            TargetError::Storage(error) => Self::Storage(error),
        }
    }
}

/// A wish to run something on many machines.
#[derive(Debug, Clone)]
pub struct Wish {
    /// What is asked for.
    pub template: Template,
    /// Whether whoever asks knows that it may be dangerous.
    pub confirm: bool,
    /// Names the request.
    pub once: Option<Once>,
    /// The schedule that asks.
    pub schedule_id: Option<ScheduleId>,
    /// Whether machines that are named and not there are left out in silence.
    pub gone_are_left_out: bool,
    /// Only machines whose clocks show one of these zones.
    pub time_zones: Option<BTreeSet<String>>,
}

/// What came of a wish.
#[derive(Debug, Clone)]
pub enum Started {
    /// It runs.
    Run(Box<Run>),
    /// It waits for a second person; nothing runs.
    Waits(Box<Approval>),
}

impl Wish {
    /// For what is asked for, with nothing said beside it.
    pub const fn new(template: Template) -> Self {
        Self {
            template,
            confirm: false,
            once: None,
            schedule_id: None,
            gone_are_left_out: false,
            time_zones: None,
        }
    }
}

/// Whether words of one's own may be run as well: what is in the library needs less.
pub type OwnWords<'a> = Option<&'a Permit<act::RunCommands>>;

/// Who is answered for a run.
pub(super) struct Asker<'a> {
    pub(super) scope: &'a TenantScope,
    pub(super) author: &'a Author,
    pub(super) requested_by: Requester,
}

/// The ports of [`Runs`].
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "the names are those of the ports")]
pub struct RunsPorts {
    pub repository: Arc<dyn RunRepository>,
    pub agents: Arc<dyn AgentRepository>,
    pub targets: Targets,
    pub courier: Arc<dyn Courier>,
    pub desk: Desk,
    pub bus: Arc<dyn EventBus>,
    pub clock: Arc<dyn Clock>,
    pub entropy: Arc<dyn Entropy>,
}

/// What people do with runs; cheap to clone.
#[derive(Debug, Clone)]
pub struct Runs {
    pub(super) ports: RunsPorts,
    pub(super) boards: Arc<Boards>,
    pub(super) channel: AgentChannel,
    pub(super) workshop: Workshop,
}

impl Runs {
    /// Made of its ports. News of commands have to go through `boards`, and `channel` has to tell
    /// them there.
    pub const fn new(
        ports: RunsPorts,
        boards: Arc<Boards>,
        channel: AgentChannel,
        workshop: Workshop,
    ) -> Self {
        Self { ports, boards, channel, workshop }
    }

    /// Who would be meant and what would run, without running it.
    ///
    /// # Errors
    /// Those of [`Runs::start`].
    pub async fn preview(
        &self,
        permit: &Permit<act::RunSaved>,
        wording: OwnWords<'_>,
        wish: &Wish,
    ) -> Result<Plan, RunsError> {
        check_wording(&wish.template.work, wording)?;
        self.plan(permit.scope(), wish).await
    }

    /// Begins a run: once this answers it is durable with all its commands. What is dangerous where
    /// a second person has to approve is kept for that instead, and runs nothing.
    ///
    /// # Errors
    /// [`RunsError`] says what is wrong with the wish.
    pub async fn start(
        &self,
        permit: &Permit<act::RunSaved>,
        wording: OwnWords<'_>,
        wish: Wish,
    ) -> Result<Started, RunsError> {
        check_wording(&wish.template.work, wording)?;
        let requested_by = Requester::of(permit.actor()).ok_or(Denied::Forbidden)?;
        let plan = self.plan(permit.scope(), &wish).await?;
        check_mass(permit.principal(), &plan)?;
        let asker = Asker { scope: permit.scope(), author: permit.author(), requested_by };
        self.begin_or_wait(&asker, wish, &plan, None).await
    }

    /// Tries the machines of a run that failed, or did not come back in time, again, as a run of
    /// its own: with the same text as then.
    ///
    /// # Errors
    /// [`RunsError::WrongState`] when the run goes on or nothing of it failed.
    pub async fn retry(
        &self,
        permit: &Permit<act::RunSaved>,
        wording: OwnWords<'_>,
        id: RunId,
        confirm: bool,
        once: Option<Once>,
    ) -> Result<Started, RunsError> {
        let run = self.find(permit.scope(), id).await?;
        check_wording(&run.template.work, wording)?;
        let requested_by = Requester::of(permit.actor()).ok_or(Denied::Forbidden)?;
        if wording.is_none() {
            // What left their library, and what others typed in confidence, is not theirs to run.
            if run.template.secrets.is_some() && run.requested_by != requested_by {
                return Err(Denied::Forbidden.into());
            }
            self.workshop.check_there(permit.scope(), &run.template.work).await?;
        }
        if !run.status.is_end() {
            return Err(RunsError::WrongState("the run goes on; cancel it, or wait for its end"));
        }
        let failed = self.ports.repository.ended(id, &[Status::Failed, Status::Expired]).await?;
        let specs: BTreeMap<_, _> = failed.into_iter().map(|it| (it.agent_id, it.spec)).collect();
        let still = AgentSelection {
            ids: Some(specs.keys().copied().collect()),
            ..AgentSelection::default()
        };
        let now = self.ports.clock.now();
        let machines = self.ports.agents.select(permit.scope(), &still, now).await?;
        if machines.is_empty() {
            return Err(RunsError::WrongState("no machine of this run failed that is still there"));
        }
        let of_family =
            |machine: &SelectedAgent| Some((machine.os_type, specs.get(&machine.id)?.clone()));
        let specs: Specs = machines.iter().filter_map(of_family).collect();
        let mut assessment = Assessment { level: run.safety_level, reasons: Vec::new() };
        if let Work::Command(_) = &run.template.work {
            for spec in specs.values() {
                assessment.add(spec.assess());
            }
        }
        let place = Run::secrets_place(id);
        let secrets = self.workshop.open(&place, run.template.secrets.as_ref()).await?;
        let work = run.template.work.clone();
        let prepared = Prepared { specs, assessment, work, secrets };
        let plan = self.plan_of(machines, prepared).await?;
        check_mass(permit.principal(), &plan)?;
        let wish = Wish { confirm, once, ..Wish::new(run.template) };
        let asker = Asker { scope: permit.scope(), author: permit.author(), requested_by };
        self.begin_or_wait(&asker, wish, &plan, Some(id)).await
    }

    /// One run, as far as it is now.
    ///
    /// # Errors
    /// [`RunsError::NotFound`] when it does not lie in the asker's scope.
    pub async fn get(
        &self,
        permit: &Permit<act::ReadCommands>,
        id: RunId,
    ) -> Result<Run, RunsError> {
        self.find(permit.scope(), id).await
    }

    /// A page of runs, the newest first.
    ///
    /// # Errors
    /// [`RunsError::Storage`].
    pub async fn list(
        &self,
        permit: &Permit<act::ReadCommands>,
        filter: &RunFilter,
        page: &PageRequest,
    ) -> Result<Page<Run>, RunsError> {
        let page = self.ports.repository.list(permit.scope(), filter, page).await?;
        let elsewhere: Vec<_> =
            page.items.iter().filter(|run| self.is_elsewhere(run)).map(|run| run.id).collect();
        let tallies = self.count(&elsewhere).await?;
        Ok(page.map(|run| self.with_tally(run, &tallies)))
    }

    /// Lets no other machine begin and ends what runs.
    ///
    /// # Errors
    /// [`RunsError::Ended`] when there is nothing left to cancel.
    pub async fn cancel(
        &self,
        permit: &Permit<act::CancelCommands>,
        id: RunId,
    ) -> Result<Run, RunsError> {
        let change = RunChange::Stopped(StopReason::Cancelled);
        self.change(permit.scope(), permit.author(), id, change).await?;
        let runs = self.clone();
        through(async move { runs.end_open(id).await }).await??;
        self.find(permit.scope(), id).await
    }

    /// Lets no other machine begin for now, or lets them begin again.
    ///
    /// # Errors
    /// [`RunsError::Ended`]; [`RunsError::WrongState`] when it is being stopped.
    pub async fn pause(
        &self,
        permit: &Permit<act::CancelCommands>,
        id: RunId,
        paused: bool,
    ) -> Result<Run, RunsError> {
        let change = if paused { RunChange::Paused } else { RunChange::Resumed };
        let run = self.change(permit.scope(), permit.author(), id, change).await?;
        if paused && run.stop.is_some() {
            return Err(RunsError::WrongState("the run is being stopped already"));
        }
        self.find(permit.scope(), id).await
    }

    /// The command of a run on one machine.
    ///
    /// # Errors
    /// [`RunsError::Storage`]; [`RunsError::NotFound`] when it has none.
    pub async fn first_command(&self, run: &Run) -> Result<CommandId, RunsError> {
        let members = self.ports.repository.members(run.id).await?;
        Ok(members.first().ok_or(RunsError::NotFound)?.command_id)
    }

    /// Listens to a run, from wherever `since` says. The caller has looked the run up within its
    /// scope.
    pub fn listen(&self, run: &Run, since: Since<'_>) -> Box<dyn Listener> {
        let channel = Channel::Run(run.id);
        let listener = self.ports.bus.listen(channel, since);
        if run.status.is_end() {
            self.ports.bus.close(channel);
        }
        listener
    }

    pub(super) async fn find(&self, scope: &TenantScope, id: RunId) -> Result<Run, RunsError> {
        let run = self.ports.repository.find(scope, id).await?.ok_or(RunsError::NotFound)?;
        Ok(self.as_it_is(run).await?)
    }

    async fn change(
        &self,
        scope: &TenantScope,
        author: &Author,
        id: RunId,
        change: RunChange,
    ) -> Result<Run, RunsError> {
        if self.find(scope, id).await?.status.is_end() {
            return Err(RunsError::Ended);
        }
        let (runs, author) = (self.clone(), author.clone());
        let changed = through(async move { runs.make_change(id, change, &author).await });
        let run = changed.await??.ok_or(RunsError::NotFound)?;
        if run.status.is_end() { Err(RunsError::Ended) } else { Ok((*run).clone()) }
    }
}

/// That words of one's own are only run by those who may.
fn check_wording(work: &Work, wording: OwnWords<'_>) -> Result<(), Denied> {
    match (work, wording) {
        (Work::Command(_), None) => Err(Denied::Forbidden),
        (Work::Command(_), Some(_)) | (Work::Script { .. } | Work::SavedCommand { .. }, _) => {
            Ok(())
        }
    }
}

/// That whoever begins something on very many machines sits there.
pub(super) fn check_mass(principal: &Principal, plan: &Plan) -> Result<(), Denied> {
    match principal {
        Principal::User { confirmed: false, .. } if plan.machines.len() > MASS => {
            Err(Denied::Unconfirmed)
        }
        Principal::User { .. } | Principal::ApiKey { .. } | Principal::Agent { .. } => Ok(()),
    }
}

/// How long the driver waits before it looks again by itself.
pub(super) const LOOK_AGAIN: Duration = Duration::from_secs(1);
