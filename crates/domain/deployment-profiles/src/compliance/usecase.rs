//! What people do with checks, and what time does.

use std::sync::Arc;

use muster_agents::{Target, TargetError};
use muster_commands::runs::Absentees;
use muster_commands::schedules::{CronExpression, Zone};
use muster_commands::{InvalidSpec, Once};
use muster_kernel::{
    Author, Clock, ComplianceCheckId, CustomerId, Denied, Entropy, Page, PageRequest, Permit,
    ProfileId, RolloutId, StorageError, TenantScope, Timestamp, act,
};

use super::{ComplianceCheck, ComplianceRepository, Standing, StandingCounts, StandingFilter};
use crate::catalog::{Catalog, CatalogError, MAX_NAME};
use crate::invalid::line;
use crate::rollouts::{Application, Rollout, Rollouts, RolloutsError, Submission};
use crate::{Invalid, ProfileBody};

/// How many checks one tick is about.
const AT_ONCE: u64 = 100;

/// Why something could not be done.
#[derive(Debug, thiserror::Error)]
pub enum ComplianceError {
    /// There is no such thing, or it is not the asker's.
    #[error("there is no such {0}, or it is not yours")]
    NotFound(&'static str),
    /// It is of whoever works for all customers, and whoever asks works for some only.
    #[error("it is of those who work for every customer: only they may change it")]
    Shared,
    /// The asker may not.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// A field breaks a rule.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// It could not be begun.
    #[error(transparent)]
    Rollout(RolloutsError),
    /// The storage failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl From<InvalidSpec> for ComplianceError {
    fn from(error: InvalidSpec) -> Self {
        Invalid::from(error).into()
    }
}

impl From<RolloutsError> for ComplianceError {
    fn from(error: RolloutsError) -> Self {
        match error {
            RolloutsError::Storage(error) => Self::Storage(error),
            other => Self::Rollout(other),
        }
    }
}

/// A check in the words of whoever asks.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "the fields are those of ComplianceCheck")]
pub struct CheckWish {
    pub name: String,
    pub customer_id: Option<CustomerId>,
    pub profile_id: ProfileId,
    pub target: Target,
    pub cron: String,
    pub time_zone: Option<String>,
    pub enabled: bool,
}

/// A change to a check; what is `None` stays.
#[derive(Debug, Clone, Default)]
#[expect(missing_docs, reason = "the fields are those of ComplianceCheck")]
pub struct CheckChange {
    pub name: Option<String>,
    pub profile_id: Option<ProfileId>,
    pub target: Option<Target>,
    pub cron: Option<String>,
    pub time_zone: Option<String>,
    pub enabled: Option<bool>,
}

/// The ports of [`Compliance`].
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "the names are those of the ports")]
pub struct CompliancePorts {
    pub repository: Arc<dyn ComplianceRepository>,
    pub profiles: Catalog<ProfileBody>,
    pub rollouts: Rollouts,
    pub absentees: Arc<dyn Absentees>,
    pub clock: Arc<dyn Clock>,
    pub entropy: Arc<dyn Entropy>,
}

/// What people do with checks, and what time does; cheap to clone.
#[derive(Debug, Clone)]
pub struct Compliance(CompliancePorts);

impl Compliance {
    /// Made of its ports.
    pub const fn new(ports: CompliancePorts) -> Self {
        Self(ports)
    }

    /// Makes a check.
    ///
    /// # Errors
    /// [`ComplianceError::Invalid`]; [`ComplianceError::NotFound`] without such a profile.
    pub async fn create(
        &self,
        permit: &Permit<act::ManageComplianceChecks>,
        wish: CheckWish,
    ) -> Result<ComplianceCheck, ComplianceError> {
        let now = self.0.clock.now();
        let check = ComplianceCheck {
            id: ComplianceCheckId::new(&*self.0.clock, &*self.0.entropy),
            customer_id: owner(permit, wish.customer_id)?,
            name: line("/name", &wish.name, MAX_NAME)?,
            profile_id: self.profile(permit.scope(), wish.profile_id).await?,
            target: self.checked(permit.scope(), wish.target).await?,
            cron: CronExpression::parse(&wish.cron)?,
            zone: zone(wish.time_zone.as_deref().unwrap_or("UTC"))?,
            enabled: wish.enabled,
            made_by: Submission::of(permit.actor()).ok_or(Denied::Forbidden)?,
            created_at: now,
            next_at: None,
            last_rollout_id: None,
            last_error: None,
        };
        let check = check.planned(now);
        if !self.0.repository.create(check.clone(), permit.author()).await? {
            return Err(ComplianceError::NotFound("customer"));
        }
        Ok(check)
    }

    /// That what a target names is there; that it means nobody by now is no mistake.
    async fn checked(
        &self,
        scope: &TenantScope,
        target: Target,
    ) -> Result<Target, ComplianceError> {
        match self.0.rollouts.meant(scope, &target).await {
            Ok(()) | Err(RolloutsError::Target(TargetError::Nobody)) => Ok(target),
            Err(error) => Err(error.into()),
        }
    }

    async fn profile(
        &self,
        scope: &TenantScope,
        id: ProfileId,
    ) -> Result<ProfileId, ComplianceError> {
        match self.0.profiles.find(scope, id).await {
            Ok(profile) => Ok(profile.id),
            Err(CatalogError::Storage(error)) => Err(error.into()),
            Err(_) => Err(ComplianceError::NotFound("profile")),
        }
    }

    /// One check.
    ///
    /// # Errors
    /// [`ComplianceError::NotFound`] when it does not lie in the asker's scope.
    pub async fn get(
        &self,
        permit: &Permit<act::ReadComplianceChecks>,
        id: ComplianceCheckId,
    ) -> Result<ComplianceCheck, ComplianceError> {
        self.find(permit.scope(), id).await
    }

    async fn find(
        &self,
        scope: &TenantScope,
        id: ComplianceCheckId,
    ) -> Result<ComplianceCheck, ComplianceError> {
        let check = self.0.repository.find(scope, id).await?;
        check.ok_or(ComplianceError::NotFound("compliance check"))
    }

    /// A page of checks, in the order of their creation.
    ///
    /// # Errors
    /// [`ComplianceError::Storage`].
    pub async fn list(
        &self,
        permit: &Permit<act::ReadComplianceChecks>,
        page: &PageRequest,
    ) -> Result<Page<ComplianceCheck>, ComplianceError> {
        Ok(self.0.repository.list(permit.scope(), page).await?)
    }

    /// Changes a check, which is done on behalf of whoever does that from then on.
    ///
    /// # Errors
    /// Those of [`Compliance::create`].
    pub async fn change(
        &self,
        permit: &Permit<act::ManageComplianceChecks>,
        id: ComplianceCheckId,
        change: CheckChange,
    ) -> Result<ComplianceCheck, ComplianceError> {
        let mut check = self.changeable(permit, id).await?;
        let now = self.0.clock.now();
        if let Some(name) = change.name {
            check.name = line("/name", &name, MAX_NAME)?;
        }
        if let Some(profile) = change.profile_id {
            check.profile_id = self.profile(permit.scope(), profile).await?;
        }
        if let Some(target) = change.target {
            check.target = self.checked(permit.scope(), target).await?;
        }
        if let Some(cron) = change.cron {
            check.cron = CronExpression::parse(&cron)?;
        }
        if let Some(name) = change.time_zone {
            check.zone = zone(&name)?;
        }
        check.enabled = change.enabled.unwrap_or(check.enabled);
        check.made_by = Submission::of(permit.actor()).ok_or(Denied::Forbidden)?;
        let check = check.planned(now);
        if !self.0.repository.replace(check.clone(), permit.author(), now).await? {
            return Err(ComplianceError::NotFound("compliance check"));
        }
        Ok(check)
    }

    async fn changeable(
        &self,
        permit: &Permit<act::ManageComplianceChecks>,
        id: ComplianceCheckId,
    ) -> Result<ComplianceCheck, ComplianceError> {
        let check = self.find(permit.scope(), id).await?;
        if check.customer_id.is_none() && *permit.scope() != TenantScope::All {
            return Err(ComplianceError::Shared);
        }
        Ok(check)
    }

    /// Removes a check. What it found stays.
    ///
    /// # Errors
    /// [`ComplianceError::NotFound`].
    pub async fn delete(
        &self,
        permit: &Permit<act::ManageComplianceChecks>,
        id: ComplianceCheckId,
    ) -> Result<(), ComplianceError> {
        self.changeable(permit, id).await?;
        let now = self.0.clock.now();
        let gone = self.0.repository.delete(permit.scope(), id, permit.author(), now).await?;
        if gone { Ok(()) } else { Err(ComplianceError::NotFound("compliance check")) }
    }

    /// Compares now, on behalf of whoever asks.
    ///
    /// # Errors
    /// Those of [`Rollouts::apply`].
    pub async fn run(
        &self,
        permit: &Permit<act::ApplyProfiles>,
        id: ComplianceCheckId,
    ) -> Result<Rollout, ComplianceError> {
        let check = self.find(permit.scope(), id).await?;
        let rollout = self.begin(permit, &check, None).await?;
        self.0.repository.began(id, rollout.id).await?;
        Ok(rollout)
    }

    async fn begin(
        &self,
        permit: &Permit<act::ApplyProfiles>,
        check: &ComplianceCheck,
        due: Option<Timestamp>,
    ) -> Result<Rollout, RolloutsError> {
        let mut target = check.target.clone();
        if target.customer_id.is_none() {
            target.customer_id = check.customer_id;
        }
        let wish = Application {
            target,
            dry_run: true,
            expires_in: Some(check.patience(self.0.clock.now())),
            gone_are_left_out: true,
            compliance_check_id: Some(check.id),
            once: due.map(|due| Once {
                scope: format!("compliance-checks/{}", check.id),
                key: due.timestamp_micros().to_string(),
                fingerprint: [0; 32],
            }),
            ..Application::default()
        };
        self.0.rollouts.apply(permit, check.profile_id, wish).await
    }

    /// How machines stand to a profile.
    ///
    /// # Errors
    /// [`ComplianceError::NotFound`] without such a profile.
    pub async fn standings(
        &self,
        permit: &Permit<act::ReadRollouts>,
        profile: ProfileId,
        filter: &StandingFilter,
        page: &PageRequest,
    ) -> Result<(Page<Standing>, StandingCounts), ComplianceError> {
        let scope = permit.scope();
        let profile = self.profile(scope, profile).await?;
        Ok(self.0.repository.standings(scope, profile, filter, page).await?)
    }

    /// Does what is due. Of several processes one has to; that two do is harmless.
    ///
    /// # Errors
    /// When the storage fails; what was not done is done by the next tick.
    pub async fn tick(&self) -> Result<(), StorageError> {
        let now = self.0.clock.now();
        let mut done = Ok(());
        for check in self.0.repository.due(now, AT_ONCE).await? {
            let Some(due) = check.next_at else { continue };
            let began = match self.launch(&check, due).await {
                Ok(rollout) => Ok(rollout),
                // The others come all the same, and this one again.
                Err(ComplianceError::Storage(error)) => {
                    done = Err(error);
                    continue;
                }
                Err(refused) => Err(refused.to_string()),
            };
            let id = check.id;
            let next_at = check.planned(now).next_at;
            self.0.repository.settle(id, due, next_at, began).await?;
        }
        done
    }

    async fn launch(
        &self,
        check: &ComplianceCheck,
        due: Timestamp,
    ) -> Result<RolloutId, ComplianceError> {
        let maker = self.0.absentees.find(check.made_by.requester).await?;
        let maker = maker.ok_or(ComplianceError::Denied(Denied::Forbidden))?;
        let permit = Permit::<act::ApplyProfiles>::ask(maker, &Author::system())?;
        Ok(self.begin(&permit, check, Some(due)).await?.id)
    }
}

fn zone(name: &str) -> Result<Zone, Invalid> {
    let rule = "the name of a time zone is expected, such as Europe/Berlin or UTC";
    Zone::parse(name).ok_or_else(|| Invalid::new("/time_zone", rule))
}

/// Whose a new check is.
fn owner(
    permit: &Permit<act::ManageComplianceChecks>,
    customer: Option<CustomerId>,
) -> Result<Option<CustomerId>, ComplianceError> {
    if let Some(customer) = customer {
        permit.of(customer)?;
        return Ok(Some(customer));
    }
    let TenantScope::Customers(customers) = permit.scope() else { return Ok(None) };
    let mut customers = customers.iter();
    match (customers.next(), customers.next()) {
        (Some(only), None) => Ok(Some(*only)),
        _ => Err(Invalid::new("/customer_id", "say which of your customers' it is").into()),
    }
}
