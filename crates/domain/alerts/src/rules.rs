//! What people do with rules.

use std::collections::BTreeSet;
use std::sync::Arc;

use muster_kernel::{
    AlertChannelId, AlertRuleId, Clock, CustomerId, Entropy, Page, PageRequest, Permit,
    TenantScope, act,
};

use crate::{AlertsError, ChannelRepository, InvalidAlert, Rule, RuleRepository, RuleWish, Update};

/// What people do with rules.
#[derive(Debug, Clone)]
pub struct Rules {
    repository: Arc<dyn RuleRepository>,
    channels: Arc<dyn ChannelRepository>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
}

/// Whose something new is: of one's only customer when nobody says; for all customers only by
/// whoever may see all.
pub(crate) fn owner(
    scope: &TenantScope,
    wished: Option<CustomerId>,
) -> Result<Option<CustomerId>, AlertsError> {
    match (wished, scope) {
        (Some(id), scope) if scope.contains(id) => Ok(Some(id)),
        (Some(_), _) => Err(AlertsError::NotFound("customer")),
        (None, TenantScope::All) => Ok(None),
        (None, TenantScope::Customers(own)) => {
            let only = own.first().copied().filter(|_| own.len() == 1);
            let missing = || InvalidAlert::new("customer_id", "one of your customers is expected");
            Ok(Some(only.ok_or_else(missing)?))
        }
    }
}

impl Rules {
    /// Made of its ports.
    pub fn new(
        repository: Arc<dyn RuleRepository>,
        channels: Arc<dyn ChannelRepository>,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Self {
        Self { repository, channels, clock, entropy }
    }

    /// Makes a rule.
    ///
    /// # Errors
    /// [`AlertsError::Invalid`], [`AlertsError::NotFound`] without such a customer.
    pub async fn create(
        &self,
        permit: &Permit<act::ManageAlertRules>,
        customer_id: Option<CustomerId>,
        wish: RuleWish,
    ) -> Result<Rule, AlertsError> {
        let customer_id = owner(permit.scope(), customer_id)?;
        let id = AlertRuleId::new(&*self.clock, &*self.entropy);
        let rule = wish.into_rule(id, customer_id, self.clock.now())?;
        self.check_channels(permit, &rule, &BTreeSet::new()).await?;
        if !self.repository.create(rule.clone(), permit.author()).await? {
            return Err(AlertsError::NotFound("customer"));
        }
        Ok(rule)
    }

    /// That a rule tells nobody whom its alerts are none of the business of: channels of its
    /// customer, and those of nobody in particular that the asker sees or that it tells already.
    async fn check_channels(
        &self,
        permit: &Permit<act::ManageAlertRules>,
        rule: &Rule,
        told: &BTreeSet<AlertChannelId>,
    ) -> Result<(), AlertsError> {
        for id in &rule.channel_ids {
            let channel = self.channels.find(&TenantScope::All, *id).await?;
            let fits = channel.is_some_and(|channel| match channel.customer_id {
                None => *permit.scope() == TenantScope::All || told.contains(id),
                theirs => theirs == rule.customer_id,
            });
            if !fits {
                let rule = format!("{id}: a channel of the rule's customer is expected");
                return Err(InvalidAlert::new("channel_ids", rule).into());
            }
        }
        Ok(())
    }

    /// One rule.
    ///
    /// # Errors
    /// [`AlertsError::NotFound`] when it does not lie in the asker's scope.
    pub async fn get(
        &self,
        permit: &Permit<act::ReadAlerts>,
        id: AlertRuleId,
    ) -> Result<Rule, AlertsError> {
        self.find(permit.scope(), id).await
    }

    async fn find(&self, scope: &TenantScope, id: AlertRuleId) -> Result<Rule, AlertsError> {
        self.repository.find(scope, id).await?.ok_or(AlertsError::NotFound("rule"))
    }

    /// The rules that the asker may see, in the order of their creation.
    pub async fn list(
        &self,
        permit: &Permit<act::ReadAlerts>,
        page: &PageRequest,
    ) -> Result<Page<Rule>, AlertsError> {
        Ok(self.repository.list(permit.scope(), page).await?)
    }

    /// Puts what is wished for in the place of a rule, if it is at the `expected` version. Whose it
    /// is stays.
    ///
    /// # Errors
    /// [`AlertsError::NotFound`], [`AlertsError::Invalid`], [`AlertsError::Stale`].
    pub async fn replace(
        &self,
        permit: &Permit<act::ManageAlertRules>,
        id: AlertRuleId,
        expected: Option<u32>,
        wish: RuleWish,
    ) -> Result<Rule, AlertsError> {
        let before = self.find(permit.scope(), id).await?;
        if expected.is_some_and(|expected| expected != before.version) {
            return Err(AlertsError::Stale);
        }
        let now = self.clock.now();
        let rule = wish.into_rule(id, before.customer_id, now)?;
        let version = before.version.saturating_add(1);
        let rule = Rule { version, created_at: before.created_at, ..rule };
        self.check_channels(permit, &rule, &before.channel_ids).await?;
        done(self.repository.update(rule, permit.author()).await?, "rule")
    }

    /// Removes a rule. Its open alerts are resolved.
    ///
    /// # Errors
    /// [`AlertsError::NotFound`] when it does not lie in the asker's scope.
    pub async fn delete(
        &self,
        permit: &Permit<act::ManageAlertRules>,
        id: AlertRuleId,
    ) -> Result<(), AlertsError> {
        let now = self.clock.now();
        let gone = self.repository.delete(permit.scope(), id, permit.author(), now).await?;
        if gone { Ok(()) } else { Err(AlertsError::NotFound("rule")) }
    }
}

/// What an update made, or why it made nothing.
pub(crate) fn done<T>(update: Update<T>, what: &'static str) -> Result<T, AlertsError> {
    match update {
        Update::Done(thing) => Ok(thing),
        Update::NotFound => Err(AlertsError::NotFound(what)),
        Update::Stale => Err(AlertsError::Stale),
    }
}
