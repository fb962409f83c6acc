//! What people do with alerts.

use std::sync::Arc;

use muster_kernel::{Act, AlertId, Clock, Denied, Page, PageRequest, Permit, StorageError, act};

use crate::{
    Alert, AlertFilter, AlertRepository, Announcer, Change, InvalidAlert, Replacement, Step,
    WrongStep,
};

/// Why something could not be done with alerts, rules, channels or windows.
#[derive(Debug, thiserror::Error)]
pub enum AlertsError {
    /// There is no such thing, or it is not the asker's.
    #[error("there is no such {0}, or it is not yours")]
    NotFound(&'static str),
    /// It was changed since it was read.
    #[error("it was changed since you read it; read it again and change that")]
    Stale,
    /// The alert is not in a state in which this can be done.
    #[error(transparent)]
    WrongStep(#[from] WrongStep),
    /// The asker may not.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// A field breaks a rule.
    #[error(transparent)]
    Invalid(#[from] InvalidAlert),
    /// The storage failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// What people do with alerts.
#[derive(Debug, Clone)]
pub struct Alerts {
    repository: Arc<dyn AlertRepository>,
    announcer: Announcer,
    clock: Arc<dyn Clock>,
}

impl Alerts {
    /// Made of its ports.
    pub fn new(
        repository: Arc<dyn AlertRepository>,
        announcer: Announcer,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self { repository, announcer, clock }
    }

    /// The alerts that the asker may see, the newest first.
    pub async fn list(
        &self,
        permit: &Permit<act::ReadAlerts>,
        filter: &AlertFilter,
        page: &PageRequest,
    ) -> Result<Page<Alert>, AlertsError> {
        Ok(self.repository.list(permit.scope(), filter, page).await?)
    }

    /// One alert and what was done to it.
    ///
    /// # Errors
    /// [`AlertsError::NotFound`] when it does not lie in the asker's scope.
    pub async fn get(
        &self,
        permit: &Permit<act::ReadAlerts>,
        id: AlertId,
    ) -> Result<(Alert, Vec<Change>), AlertsError> {
        let alert = self.find(permit, id).await?;
        let history = self.repository.history(id).await?;
        Ok((alert, history))
    }

    /// Takes care of an alert.
    ///
    /// # Errors
    /// [`AlertsError::NotFound`], [`AlertsError::WrongStep`].
    pub async fn acknowledge(
        &self,
        permit: &Permit<act::HandleAlerts>,
        id: AlertId,
    ) -> Result<Alert, AlertsError> {
        self.step(permit, id, Step::Acknowledge).await
    }

    /// Says that an alert is over. What is still true fires again when its rule has cooled down.
    ///
    /// # Errors
    /// [`AlertsError::NotFound`], [`AlertsError::WrongStep`].
    pub async fn resolve(
        &self,
        permit: &Permit<act::HandleAlerts>,
        id: AlertId,
    ) -> Result<Alert, AlertsError> {
        self.step(permit, id, Step::Resolve).await
    }

    async fn find<A: Act>(&self, permit: &Permit<A>, id: AlertId) -> Result<Alert, AlertsError> {
        let found = self.repository.find(permit.scope(), id).await?;
        found.ok_or(AlertsError::NotFound("alert"))
    }

    async fn step(
        &self,
        permit: &Permit<act::HandleAlerts>,
        id: AlertId,
        step: Step,
    ) -> Result<Alert, AlertsError> {
        let now = self.clock.now();
        // Who loses against the watcher or a colleague sees where the alert then is; it only goes
        // on, so this ends.
        loop {
            let alert = self.find(permit, id).await?;
            let after = alert.after(step, now)?;
            let replacement = Replacement {
                before: alert.state,
                change: Change::new(after.state, now, permit.actor()),
                deliveries: self.announcer.changed(alert.state, &after, now).await?,
                after: after.clone(),
                audited: Some((step, permit.author().clone())),
            };
            if self.repository.replace(replacement).await? {
                self.announcer.tell(&after);
                return Ok(after);
            }
        }
    }
}
