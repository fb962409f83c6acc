//! What has to do with running things.

use std::sync::Arc;

use muster_agent_socket::Connections;
use muster_agents::{Heartbeats, Presence, Targets};
use muster_commands::approvals::{ApprovalRepository, Approvals, ApprovalsPorts, Desk};
use muster_commands::library::{ItemId, Library, LibraryPorts, SavedCommands, Scripts};
use muster_commands::local::{LocalExecution, LocalPorts, LocalShell};
use muster_commands::runs::{Runs, RunsPorts, Workshop};
use muster_commands::{
    AgentChannel, CommandFeed, Commands, CommandsPorts, Compression, Courier, Leases, Limits,
    Lookout, Payloads, Retention, ScriptTexts, Sweep,
};
use muster_kernel::Clock;
use muster_kernel::events::EventBus;
use muster_local_shell::Shells;
use muster_sea_orm::{
    SeaAgents, SeaApprovals, SeaCommands, SeaCustomers, SeaGroups, SeaLibrary, SeaRuns,
};

use super::Base;
use super::sharing::{Reach, Sharing};
use crate::absentees::KnownAbsentees;
use crate::orphans::Orphans;

/// The use cases that have to do with running things, and what they share with others.
pub(super) struct Work {
    pub(super) scripts: Arc<Scripts>,
    pub(super) saved_commands: Arc<SavedCommands>,
    pub(super) agents: Arc<SeaAgents>,
    pub(super) groups: Arc<SeaGroups>,
    pub(super) targets: Targets,
    pub(super) customers: Arc<SeaCustomers>,
    pub(super) commands: Commands,
    pub(super) runs: Runs,
    pub(super) workshop: Workshop,
    pub(super) desk: Desk,
    pub(super) archive: Arc<SeaCommands>,
    pub(super) feed: Arc<dyn CommandFeed>,
    pub(super) courier: Arc<dyn Courier>,
    approvals: Arc<dyn ApprovalRepository>,
    texts: Arc<dyn ScriptTexts>,
    pub(super) bus: Arc<dyn EventBus>,
    pub(super) heartbeats: Heartbeats,
    pub(super) connections: Connections,
    pub(super) presence: Arc<dyn Presence>,
    pub(super) channel: AgentChannel,
    pub(super) payloads: Payloads,
    pub(super) lookout: Lookout,
    pub(super) sweep: Sweep,
    pub(super) retention: Retention,
    pub(super) compression: Compression,
    pub(super) leases: Leases,
    pub(super) local: LocalExecution,
}

impl Work {
    pub(super) fn new(
        base: &Base,
        sharing: &Sharing,
        limits: Limits,
        output_limit: usize,
        local: bool,
    ) -> Self {
        let Base { database, vault, clock, entropy, .. } = base;
        let customers = Arc::new(SeaCustomers::new(database.clone()));
        let agents = Arc::new(SeaAgents::new(database.clone()));
        let shelf = Arc::new(SeaLibrary::new(database.clone()));
        let ledger = Arc::new(SeaCommands::new(database.clone()));
        let bus = sharing.bus.clone();
        let boards = Arc::new(sharing.boards());
        let feed: Arc<dyn CommandFeed> = boards.clone();
        let heartbeats = Heartbeats::default();
        let Reach { connections, presence, courier } = sharing.reach(base, &heartbeats);
        let channel =
            AgentChannel::new(ledger.clone(), ledger.clone(), feed.clone(), clock.clone());
        let approvals = Arc::new(SeaApprovals::new(database.clone()));
        let desk = Desk::new(approvals.clone(), customers.clone(), clock.clone(), entropy.clone());
        let commands = Commands::new(
            CommandsPorts {
                ledger: ledger.clone(),
                archive: ledger.clone(),
                agents: agents.clone(),
                courier: courier.clone(),
                feed: feed.clone(),
                desk: desk.clone(),
                clock: clock.clone(),
                entropy: entropy.clone(),
            },
            limits,
        );
        let scripts = Arc::new(library(&shelf, base));
        let saved_commands = Arc::new(library(&shelf, base));
        let workshop =
            Workshop::new(scripts.clone(), saved_commands.clone(), vault.clone(), limits);
        let groups = Arc::new(SeaGroups::new(database.clone()));
        let targets = Targets::new(agents.clone(), groups.clone(), clock.clone());
        let runs = Runs::new(
            RunsPorts {
                repository: Arc::new(SeaRuns::new(database.clone())),
                agents: agents.clone(),
                targets: targets.clone(),
                courier: courier.clone(),
                desk: desk.clone(),
                bus: bus.clone(),
                clock: clock.clone(),
                entropy: entropy.clone(),
            },
            boards,
            channel.clone(),
            workshop.clone(),
        );
        let local = local.then(|| shells(output_limit));
        let payloads = Payloads::new(shelf.clone(), vault.clone());
        Self {
            scripts,
            saved_commands,
            agents,
            groups,
            targets,
            customers,
            commands,
            runs,
            workshop,
            desk,
            archive: ledger.clone(),
            feed,
            courier,
            approvals,
            texts: shelf,
            bus,
            heartbeats,
            lookout: Lookout::new(ledger.clone(), Arc::new(connections.clone()), clock.clone()),
            connections,
            presence,
            leases: Leases::new(
                channel.clone(),
                ledger.clone(),
                payloads.clone(),
                clock.clone(),
                output_limit,
            ),
            local: local_execution(base, ledger.clone(), limits, local),
            payloads,
            sweep: Sweep::new(channel.clone(), ledger.clone(), clock.clone()),
            retention: Retention::new(ledger.clone(), clock.clone()),
            compression: Compression::new(ledger, clock.clone()),
            channel,
        }
    }

    /// What looks after agents whose node is gone.
    pub(super) fn orphans(&self, clock: Arc<dyn Clock>) -> Orphans {
        let (agents, connections) = (self.agents.clone(), self.connections.clone());
        Orphans { agents, connections, presence: self.presence.clone(), clock }
    }

    /// What people do about requests that wait; who asked is looked up by `absentees`.
    pub(super) fn approvals(
        &self,
        absentees: Arc<KnownAbsentees>,
        clock: Arc<dyn Clock>,
    ) -> Approvals {
        let (repository, texts) = (self.approvals.clone(), self.texts.clone());
        let ports = ApprovalsPorts { repository, absentees, texts, clock };
        Approvals::new(ports, self.runs.clone())
    }
}

fn shells(output_limit: usize) -> Arc<dyn LocalShell> {
    tracing::warn!("local execution is on: admins can run commands on this machine");
    Arc::new(Shells::new(output_limit))
}

fn local_execution(
    base: &Base,
    trail: Arc<SeaCommands>,
    limits: Limits,
    shell: Option<Arc<dyn LocalShell>>,
) -> LocalExecution {
    let (clock, entropy) = (base.clock.clone(), base.entropy.clone());
    LocalExecution::new(LocalPorts { shell, trail, clock, entropy }, limits)
}

fn library<I: ItemId>(shelf: &Arc<SeaLibrary>, base: &Base) -> Library<I> {
    Library::new(LibraryPorts {
        items: shelf.clone(),
        texts: shelf.clone(),
        clock: base.clock.clone(),
        entropy: base.entropy.clone(),
    })
}
