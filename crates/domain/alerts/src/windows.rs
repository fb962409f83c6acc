//! What people do with maintenance windows.

use std::sync::Arc;

use muster_kernel::{Clock, Entropy, MaintenanceWindowId, Page, PageRequest, Permit, act};

use crate::rules::owner;
use crate::{AlertsError, MaintenanceWindow, WindowRepository, WindowWish};

/// What people do with maintenance windows.
#[derive(Debug, Clone)]
pub struct Windows {
    repository: Arc<dyn WindowRepository>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
}

impl Windows {
    /// Made of its ports.
    pub fn new(
        repository: Arc<dyn WindowRepository>,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Self {
        Self { repository, clock, entropy }
    }

    /// Makes a window.
    ///
    /// # Errors
    /// [`AlertsError::Invalid`], [`AlertsError::NotFound`] without such a customer.
    pub async fn create(
        &self,
        permit: &Permit<act::ManageAlertRules>,
        wish: WindowWish,
    ) -> Result<MaintenanceWindow, AlertsError> {
        let customer_id = owner(permit.scope(), wish.customer_id)?;
        let id = MaintenanceWindowId::new(&*self.clock, &*self.entropy);
        let window = wish.into_window(id, customer_id, self.clock.now())?;
        if !self.repository.create(window.clone(), permit.author()).await? {
            return Err(AlertsError::NotFound("customer"));
        }
        Ok(window)
    }

    /// The windows that the asker may see, in the order of their creation.
    pub async fn list(
        &self,
        permit: &Permit<act::ReadAlerts>,
        page: &PageRequest,
    ) -> Result<Page<MaintenanceWindow>, AlertsError> {
        Ok(self.repository.list(permit.scope(), page).await?)
    }

    /// Removes a window. If it was going on, it is over.
    ///
    /// # Errors
    /// [`AlertsError::NotFound`] when it does not lie in the asker's scope.
    pub async fn delete(
        &self,
        permit: &Permit<act::ManageAlertRules>,
        id: MaintenanceWindowId,
    ) -> Result<(), AlertsError> {
        let now = self.clock.now();
        let gone = self.repository.delete(permit.scope(), id, permit.author(), now).await?;
        if gone { Ok(()) } else { Err(AlertsError::NotFound("maintenance window")) }
    }
}
