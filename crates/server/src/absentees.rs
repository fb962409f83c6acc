//! Who asked for what schedules do, and may do what by now.

use std::sync::Arc;

use async_trait::async_trait;
use muster_commands::Requester;
use muster_commands::runs::Absentees;
use muster_customers::ApiKeys;
use muster_identity::Identity;
use muster_kernel::{Principal, StorageError};

/// People and keys, as schedules ask for them.
#[derive(Debug)]
pub(crate) struct KnownAbsentees {
    identity: Arc<Identity>,
    api_keys: Arc<ApiKeys>,
}

impl KnownAbsentees {
    pub(crate) const fn new(identity: Arc<Identity>, api_keys: Arc<ApiKeys>) -> Self {
        Self { identity, api_keys }
    }
}

#[async_trait]
impl Absentees for KnownAbsentees {
    async fn find(&self, requester: Requester) -> Result<Option<Principal>, StorageError> {
        match requester {
            Requester::User(id) => self.identity.absent(id).await,
            Requester::ApiKey(id) => self.api_keys.absent(id).await,
        }
    }
}
