//! What an import is about to write, found out before anything is.

use std::collections::HashSet;

use muster_agents::{AgentFilter, AgentOrder};
use muster_customers::{Customer, Name};
use muster_identity::{Email, Username};
use muster_kernel::page::MAX_LIMIT;
use muster_kernel::{
    CustomerId, DangerPolicy, Dialect, DialectPolicy, PageRequest, StorageError, TenantScope,
};
use muster_sea_orm::{DexAgent, DexAgentsData, DexUser, Unreadable};

use super::checks::{self, NewAgent, NewUser};
use super::shown;
use crate::wiring::ImportTarget;

/// What is about to be written.
#[derive(Debug)]
pub(super) struct Intake {
    /// Whose it becomes.
    pub(super) customer: Customer,
    /// Whether the customer has to be made.
    pub(super) is_new: bool,
    pub(super) agents: Vec<NewAgent>,
    pub(super) users: Vec<NewUser>,
    /// How many agents are there already, and stay as they are.
    pub(super) known: usize,
    /// What is not written, and why.
    pub(super) skipped: Vec<String>,
}

/// The agents that the customer has.
#[derive(Debug, Default)]
struct Registered {
    /// What `DexAgents`' agents are known by.
    machine_ids: HashSet<Option<String>>,
    /// The hosts of Muster's own agents.
    own_hosts: HashSet<String>,
}

impl Intake {
    /// Compares what was read with what is there.
    pub(super) async fn of(
        data: DexAgentsData,
        name: Name,
        target: &ImportTarget,
    ) -> Result<Self, StorageError> {
        let found = find_customer(&name, target).await?;
        let is_new = found.is_none();
        let customer = found.unwrap_or_else(|| new_customer(name, target));
        let registered =
            if is_new { Registered::default() } else { registered(customer.id, target).await? };
        let (agents, users, skipped) = (Vec::new(), Vec::new(), Vec::new());
        let mut intake = Self { customer, is_new, agents, users, known: 0, skipped };
        intake.take_agents(data.agents, registered);
        intake.take_users(data.users, target).await?;
        Ok(intake)
    }

    /// Whether there is nothing to write.
    pub(super) const fn is_empty(&self) -> bool {
        self.agents.is_empty() && self.users.is_empty()
    }

    fn take_agents(&mut self, rows: Vec<Result<DexAgent, Unreadable>>, mut registered: Registered) {
        for row in rows {
            let Some(row) = self.readable(row) else { continue };
            let name = format!("agent {}", shown(&row.id));
            match checks::agent(row) {
                Err(why) => self.skip(&name, &why),
                Ok(agent) if registered.machine_ids.contains(&agent.registration.machine_id) => {
                    self.known += 1;
                }
                Ok(agent) if registered.own_hosts.contains(&agent.registration.hostname) => {
                    let host = shown(&agent.registration.hostname);
                    self.skip(&name, &format!("Muster's own agent is on {host} already"));
                }
                Ok(agent) => {
                    registered.machine_ids.insert(agent.registration.machine_id.clone());
                    self.agents.push(agent);
                }
            }
        }
    }

    async fn take_users(
        &mut self,
        rows: Vec<Result<DexUser, Unreadable>>,
        target: &ImportTarget,
    ) -> Result<(), StorageError> {
        let mut usernames: HashSet<Username> = HashSet::new();
        let mut emails: HashSet<Email> = HashSet::new();
        for row in rows {
            let Some(row) = self.readable(row) else { continue };
            let name = format!("user {}", shown(&row.username));
            let user = match checks::user(row) {
                Ok(user) => user,
                Err(why) => {
                    self.skip(&name, &why);
                    continue;
                }
            };
            let mut has_name = usernames.contains(&user.username);
            has_name |= target.users.find_by_username(&user.username).await?.is_some();
            let mut has_email = false;
            if let Some(email) = &user.email {
                has_email = emails.contains(email);
                has_email |= target.users.find_by_email(email).await?.is_some();
            }
            if has_name {
                self.skip(&name, "somebody has that user name already");
            } else if has_email {
                self.skip(&name, "somebody has that e-mail address already");
            } else {
                usernames.insert(user.username.clone());
                emails.extend(user.email.clone());
                self.users.push(user);
            }
        }
        Ok(())
    }

    fn readable<T>(&mut self, row: Result<T, Unreadable>) -> Option<T> {
        row.map_err(|unreadable| self.skipped.push(unreadable.to_string())).ok()
    }

    /// Notes that something is not written, and why.
    pub(super) fn skip(&mut self, name: &str, why: &str) {
        self.skipped.push(format!("{name}: {why}"));
    }
}

fn new_customer(name: Name, target: &ImportTarget) -> Customer {
    let now = target.clock.now();
    Customer {
        id: CustomerId::new(&*target.clock, &*target.entropy),
        name,
        address: None,
        plan: target.plan,
        dangerous_commands: DangerPolicy::default(),
        dialects: DialectPolicy::default(),
        created_at: now,
        updated_at: now,
    }
}

/// The customer of that name, upper and lower case alike.
async fn find_customer(
    name: &Name,
    target: &ImportTarget,
) -> Result<Option<Customer>, StorageError> {
    let canonical = |name: &Name| name.as_str().to_lowercase();
    let mut page = PageRequest::new(MAX_LIMIT, None);
    loop {
        let customers = &target.customers;
        let found = customers.list(&TenantScope::All, Some(name.as_str()), &page).await?;
        let mut found_here = found.items.into_iter();
        if let Some(customer) = found_here.find(|it| canonical(&it.name) == canonical(name)) {
            return Ok(Some(customer));
        }
        let Some(next) = found.next_cursor else { return Ok(None) };
        page.cursor = Some(next);
    }
}

async fn registered(
    customer: CustomerId,
    target: &ImportTarget,
) -> Result<Registered, StorageError> {
    let filter = AgentFilter { customer_id: Some(customer), ..AgentFilter::default() };
    let (order, now) = (AgentOrder::default(), target.clock.now());
    let mut page = PageRequest::new(MAX_LIMIT, None);
    let mut registered = Registered::default();
    loop {
        let agents = &target.agents;
        let found = agents.list(&TenantScope::All, &filter, order, &page, now).await?.page;
        for agent in found.items {
            match agent.dialect {
                None => {
                    registered.own_hosts.insert(agent.hostname);
                }
                Some(Dialect::DexAgents) => {
                    registered.machine_ids.insert(agent.machine_id);
                }
                Some(Dialect::RemoteAgentManager | Dialect::DeployFlow) => {}
            }
        }
        let Some(next) = found.next_cursor else { return Ok(registered) };
        page.cursor = Some(next);
    }
}
