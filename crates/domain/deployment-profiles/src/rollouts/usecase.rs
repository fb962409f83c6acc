//! What people do with rollouts.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use muster_agents::{
    AgentRepository, Aim, ConnectionLog, SelectedAgent, Target, TargetError, Targets,
};
use muster_commands::approvals::{Clearance, Desk};
use muster_commands::runs::{StopReason, Strategy};
use muster_commands::{
    AgentChannel, Assessment, CommandArchive, CommandFeed, Courier, DEFAULT_EXPIRES_IN, Once,
    expiry,
};
use muster_kernel::events::{Channel, EventBus, From as Since, Listener};
use muster_kernel::{
    AgentId, Clock, ComplianceCheckId, Denied, Entropy, Page, PageRequest, Permit, Principal,
    ProfileId, RolloutId, StorageError, TenantScope, act,
};
use tokio::sync::Notify;

use super::device::{Device, Follows, Happening};
use super::error::RolloutsError;
use super::freeze::{Freezer, Frozen};
use super::ports::{
    Advance, DeviceFilter, RolloutBegun, RolloutChange, RolloutFilter, RolloutRepository,
};
use super::rollout::{Rollout, RolloutStatus, RolloutTally, Submission};
use crate::catalog::Catalog;
use crate::{Invalid, Profile, ProfileBody};

/// On more machines than this nobody begins a rollout without having shown their password or second
/// factor lately.
const MASS: usize = 100;

/// A wish to bring a profile to machines.
#[derive(Debug, Clone, Default)]
pub struct Application {
    /// To which.
    pub target: Target,
    /// How carefully.
    pub strategy: Strategy,
    /// Whether it is only looked at what there is to do.
    pub dry_run: bool,
    /// How long a machine that is out of reach may come back.
    pub expires_in: Option<Duration>,
    /// Whether whoever asks knows that it may be dangerous.
    pub confirm: bool,
    /// Whether machines that are named and not there are left out in silence.
    pub gone_are_left_out: bool,
    /// The check that asks.
    pub compliance_check_id: Option<ComplianceCheckId>,
    /// Names the request.
    pub once: Option<Once>,
}

/// The ports of [`Rollouts`].
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "the names are those of the ports")]
pub struct RolloutsPorts {
    pub repository: Arc<dyn RolloutRepository>,
    pub profiles: Catalog<ProfileBody>,
    pub freezer: Freezer,
    pub targets: Targets,
    pub agents: Arc<dyn AgentRepository>,
    pub connections: Arc<dyn ConnectionLog>,
    pub archive: Arc<dyn CommandArchive>,
    pub feed: Arc<dyn CommandFeed>,
    pub channel: AgentChannel,
    pub courier: Arc<dyn Courier>,
    pub desk: Desk,
    pub bus: Arc<dyn EventBus>,
    pub clock: Arc<dyn Clock>,
    pub entropy: Arc<dyn Entropy>,
}

/// What people do with rollouts; cheap to clone.
#[derive(Debug, Clone)]
pub struct Rollouts {
    pub(super) ports: RolloutsPorts,
    /// Told when a rollout may have something to do.
    pub(super) poked: Arc<Notify>,
}

impl Rollouts {
    /// Made of its ports.
    pub fn new(ports: RolloutsPorts) -> Self {
        Self { ports, poked: Arc::default() }
    }

    /// Brings a profile to machines: once this answers it is durable.
    ///
    /// # Errors
    /// [`RolloutsError`] says what is wrong with the wish.
    pub async fn apply(
        &self,
        permit: &Permit<act::ApplyProfiles>,
        id: ProfileId,
        wish: Application,
    ) -> Result<Rollout, RolloutsError> {
        let requested_by = Submission::of(permit.actor()).ok_or(Denied::Forbidden)?;
        wish.strategy.check().map_err(Invalid::from)?;
        let profile = self.ports.profiles.find(permit.scope(), id).await?;
        applicable(&profile)?;
        let machines = self.machines(permit.scope(), &profile, &wish).await?;
        check_mass(permit.principal(), &machines)?;
        let families: BTreeSet<_> = machines.iter().map(|machine| machine.os_type).collect();
        let frozen = self.ports.freezer.freeze(&profile, &families).await?;
        let runs = if wish.dry_run { &frozen.looks } else { &frozen.assessment };
        self.clear(runs, &machines, wish.confirm).await?;
        let once = wish.once.clone();
        let rollout = self.compose(requested_by, &profile, wish, &machines, frozen).await?;
        let queued = |it: &SelectedAgent| Device::queued(it.id, it.customer_id, it.os_type);
        let devices = machines.iter().map(queued).collect();
        let begun =
            self.ports.repository.begin(rollout.clone(), devices, once, permit.author()).await?;
        match begun {
            RolloutBegun::New => {
                self.poked.notify_one();
                Ok(rollout)
            }
            RolloutBegun::Known(known) => self.find(permit.scope(), known).await,
            RolloutBegun::Conflict => Err(RolloutsError::KeyReused),
        }
    }

    /// That a target can be applied to.
    pub(crate) async fn meant(
        &self,
        scope: &TenantScope,
        target: &Target,
    ) -> Result<(), RolloutsError> {
        self.ports.targets.machines(scope, target, &Aim::default()).await?;
        Ok(())
    }

    async fn machines(
        &self,
        scope: &TenantScope,
        profile: &Profile,
        wish: &Application,
    ) -> Result<Vec<SelectedAgent>, RolloutsError> {
        let aim = Aim { gone_are_left_out: wish.gone_are_left_out, ..Aim::default() };
        let mut machines = self.ports.targets.machines(scope, &wish.target, &aim).await?;
        // What a customer keeps for its machines is not for those of another.
        if let Some(owner) = profile.customer_id {
            machines.retain(|machine| machine.customer_id == owner);
            if machines.is_empty() {
                return Err(RolloutsError::Target(TargetError::Nobody));
            }
        }
        if let Some(wanted) = profile.body.target_os_type
            && let Some(machine) = machines.iter().find(|machine| machine.os_type != wanted)
        {
            let (other, agent) = (machine.os_type, machine.id);
            return Err(RolloutsError::OtherSystem { wanted, other, agent });
        }
        Ok(machines)
    }

    async fn clear(
        &self,
        assessment: &Assessment,
        machines: &[SelectedAgent],
        confirmed: bool,
    ) -> Result<(), RolloutsError> {
        let customers: BTreeSet<_> = machines.iter().map(|it| it.customer_id).collect();
        let reasons = || assessment.reasons.clone();
        match self.ports.desk.clearance(assessment.level, customers, confirmed).await? {
            Clearance::Given => Ok(()),
            Clearance::Confirm => Err(RolloutsError::Dangerous(reasons())),
            Clearance::Approve => Err(RolloutsError::NeedsApproval(reasons())),
        }
    }

    async fn compose(
        &self,
        requested_by: Submission,
        profile: &Profile,
        wish: Application,
        machines: &[SelectedAgent],
        frozen: Frozen,
    ) -> Result<Rollout, RolloutsError> {
        let now = self.ports.clock.now();
        let expires_at = expiry(wish.expires_in, now).map_err(Invalid::from)?;
        let id = RolloutId::new(&*self.ports.clock, &*self.ports.entropy);
        let place = Rollout::secrets_place(id);
        let secrets = self.ports.freezer.workshop.seal(&place, &frozen.secrets).await?;
        let customers: BTreeSet<_> = machines.iter().map(|it| it.customer_id).collect();
        let queued = u32::try_from(machines.len()).unwrap_or(u32::MAX);
        Ok(Rollout {
            id,
            profile_id: profile.id,
            profile_version: profile.version,
            name: profile.name.clone(),
            tasks: frozen.tasks,
            secrets,
            target: wish.target,
            strategy: wish.strategy,
            dry_run: wish.dry_run,
            compliance_check_id: wish.compliance_check_id,
            requested_by,
            safety_level: if wish.dry_run { frozen.looks.level } else { frozen.assessment.level },
            customer_id: customers.first().copied().filter(|_| customers.len() == 1),
            created_at: now,
            expires_at,
            expires_in: wish.expires_in.unwrap_or(DEFAULT_EXPIRES_IN),
            status: RolloutStatus::Running,
            stop: None,
            finished_at: None,
            tally: RolloutTally { queued, ..RolloutTally::default() },
            revision: 0,
        })
    }

    /// One rollout, as far as it is now.
    ///
    /// # Errors
    /// [`RolloutsError::NotFound`] when it does not lie in the asker's scope.
    pub async fn get(
        &self,
        permit: &Permit<act::ReadRollouts>,
        id: RolloutId,
    ) -> Result<Rollout, RolloutsError> {
        self.find(permit.scope(), id).await
    }

    async fn find(&self, scope: &TenantScope, id: RolloutId) -> Result<Rollout, RolloutsError> {
        let rollout = self.ports.repository.find(scope, id).await?;
        let mut rollout = [rollout.ok_or(RolloutsError::NotFound)?];
        self.count(&mut rollout).await?;
        let [rollout] = rollout;
        Ok(rollout)
    }

    /// Those that go on are counted as they are now.
    async fn count(&self, rollouts: &mut [Rollout]) -> Result<(), StorageError> {
        let open: Vec<_> =
            rollouts.iter().filter(|it| !it.status.is_end()).map(|it| it.id).collect();
        let tallies = match open.as_slice() {
            [] => BTreeMap::new(),
            open => self.ports.repository.tallies(open).await?,
        };
        for rollout in rollouts {
            if let Some(tally) = tallies.get(&rollout.id) {
                rollout.tally = *tally;
            }
        }
        Ok(())
    }

    /// A page of rollouts, the newest first.
    ///
    /// # Errors
    /// [`RolloutsError::Storage`].
    pub async fn list(
        &self,
        permit: &Permit<act::ReadRollouts>,
        filter: &RolloutFilter,
        page: &PageRequest,
    ) -> Result<Page<Rollout>, RolloutsError> {
        let mut page = self.ports.repository.list(permit.scope(), filter, page).await?;
        self.count(&mut page.items).await?;
        Ok(page)
    }

    /// A page of a rollout's machines, in the order of their ids, and the rollout.
    ///
    /// # Errors
    /// [`RolloutsError::NotFound`].
    pub async fn devices(
        &self,
        permit: &Permit<act::ReadRollouts>,
        id: RolloutId,
        filter: &DeviceFilter,
        page: &PageRequest,
    ) -> Result<(Rollout, Page<Device>), RolloutsError> {
        let rollout = self.find(permit.scope(), id).await?;
        let page = self.ports.repository.device_page(id, filter, page).await?;
        Ok((rollout, page))
    }

    /// One machine of a rollout, and the rollout.
    ///
    /// # Errors
    /// [`RolloutsError::NotFound`], [`RolloutsError::NoDevice`].
    pub async fn device(
        &self,
        permit: &Permit<act::ReadRollouts>,
        id: RolloutId,
        agent: AgentId,
    ) -> Result<(Rollout, Device), RolloutsError> {
        let rollout = self.find(permit.scope(), id).await?;
        let device = self.ports.repository.device(id, agent).await?;
        Ok((rollout, device.ok_or(RolloutsError::NoDevice)?))
    }

    /// Lets no other machine begin, and has those that work end what they run.
    ///
    /// # Errors
    /// [`RolloutsError::WrongState`] when there is nothing left to cancel.
    pub async fn cancel(
        &self,
        permit: &Permit<act::CancelRollouts>,
        id: RolloutId,
    ) -> Result<Rollout, RolloutsError> {
        self.find(permit.scope(), id).await?;
        let change = RolloutChange::Stopped(StopReason::Cancelled);
        let now = self.ports.clock.now();
        let changed = self.ports.repository.change(id, None, change, permit.author(), now).await?;
        self.poked.notify_one();
        let (rollout, _) = changed.ok_or(RolloutsError::NotFound)?;
        if rollout.status.is_end() {
            return Err(RolloutsError::WrongState("the rollout has ended"));
        }
        self.find(permit.scope(), id).await
    }

    /// Has machines go on that failed, were cancelled or left out, each at the task that is not
    /// done: those that are named, or all.
    ///
    /// # Errors
    /// [`RolloutsError::WrongState`] when there is none.
    pub async fn retry(
        &self,
        permit: &Permit<act::ApplyProfiles>,
        id: RolloutId,
        only: &BTreeSet<AgentId>,
        confirm: bool,
    ) -> Result<Rollout, RolloutsError> {
        let rollout = self.find(permit.scope(), id).await?;
        if rollout.stop.is_some() && !rollout.status.is_end() {
            return Err(RolloutsError::WrongState(
                "the rollout is being stopped; wait for its end",
            ));
        }
        let devices = self.ports.repository.devices(id).await?;
        if let Some(strange) = only.iter().find(|it| !devices.iter().any(|d| d.agent_id == **it)) {
            return Err(RolloutsError::Target(TargetError::UnknownAgent(*strange)));
        }
        let now = self.ports.clock.now();
        let again: Vec<_> = devices
            .into_iter()
            .filter(|device| only.is_empty() || only.contains(&device.agent_id))
            .filter_map(|device| {
                retried(&rollout, device, now, &*self.ports.clock, &*self.ports.entropy)
            })
            .collect();
        if again.is_empty() {
            return Err(RolloutsError::WrongState("no device of it failed or was left out"));
        }
        self.clear_retry(permit, &rollout, &again, confirm).await?;
        let expires_at = expiry(Some(rollout.expires_in), now).map_err(Invalid::from)?;
        let (repository, author) = (&self.ports.repository, permit.author());
        let expected = rollout.revision;
        if !repository.retry(id, expected, again, expires_at, author, now).await? {
            let reason = "the rollout was changed just now; look at it, and try again";
            return Err(RolloutsError::WrongState(reason));
        }
        self.poked.notify_one();
        self.find(permit.scope(), id).await
    }

    async fn clear_retry(
        &self,
        permit: &Permit<act::ApplyProfiles>,
        rollout: &Rollout,
        again: &[Advance],
        confirm: bool,
    ) -> Result<(), RolloutsError> {
        if let Principal::User { confirmed: false, .. } = permit.principal()
            && again.len() > MASS
        {
            return Err(Denied::Unconfirmed.into());
        }
        let mut assessment = Assessment { level: rollout.safety_level, reasons: Vec::new() };
        for parts in rollout.tasks.iter().flat_map(|task| task.parts.values()) {
            let work = Some(&parts.work).filter(|work| work.script.is_none() && !rollout.dry_run);
            for spec in parts.check.iter().chain(work) {
                assessment.reasons.extend(spec.assess().reasons);
            }
        }
        assessment.reasons.sort_unstable();
        assessment.reasons.dedup();
        let customers: BTreeSet<_> = again.iter().map(|it| it.device.customer_id).collect();
        match self.ports.desk.clearance(assessment.level, customers, confirm).await? {
            Clearance::Given => Ok(()),
            Clearance::Confirm => Err(RolloutsError::Dangerous(assessment.reasons)),
            Clearance::Approve => Err(RolloutsError::NeedsApproval(assessment.reasons)),
        }
    }

    /// Listens to a rollout, from wherever `since` says. The caller has looked it up within its
    /// scope.
    pub fn listen(&self, rollout: &Rollout, since: Since<'_>) -> Box<dyn Listener> {
        let channel = Channel::Rollout(rollout.id);
        let listener = self.ports.bus.listen(channel, since);
        if rollout.status.is_end() {
            self.ports.bus.close(channel);
        }
        listener
    }
}

/// That a profile can be applied at all.
fn applicable(profile: &Profile) -> Result<(), RolloutsError> {
    if profile.body.is_template {
        let reason = "this is a template: make a profile of it first";
        return Err(RolloutsError::NotApplicable(reason.to_owned()));
    }
    if profile.body.tasks.is_empty() {
        return Err(RolloutsError::NotApplicable("the profile has no tasks".to_owned()));
    }
    Ok(())
}

/// That whoever begins something on very many machines sits there.
fn check_mass(principal: &Principal, machines: &[SelectedAgent]) -> Result<(), Denied> {
    match principal {
        Principal::User { confirmed: false, .. } if machines.len() > MASS => {
            Err(Denied::Unconfirmed)
        }
        Principal::User { .. } | Principal::ApiKey { .. } | Principal::Agent { .. } => Ok(()),
    }
}

/// A machine that goes on where it ended, if it can.
fn retried(
    rollout: &Rollout,
    mut device: Device,
    now: muster_kernel::Timestamp,
    clock: &dyn Clock,
    entropy: &dyn Entropy,
) -> Option<Advance> {
    let (before, unused) = (device.revision, muster_kernel::CommandId::new(clock, entropy));
    let follows = device.take(rollout.course(), &Happening::Retried, now, unused);
    (follows != Follows::Nothing).then_some(Advance {
        device,
        before,
        command: None,
        standing: None,
    })
}
