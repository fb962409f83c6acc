//! What one may do, and who may: the table.

use super::{KeyScope, Role};

/// An action as a type: a use case that takes a [`Permit`](super::Permit) of it can't be reached
/// with a permission for something else.
pub trait Act: Clone + Copy + std::fmt::Debug + Send + Sync + 'static {
    /// Which action.
    const ACTION: Action;
}

/// Who may do something.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rule {
    /// The least role that may; nobody with a role when `None`.
    pub(super) least: Option<Role>,
    /// Each of these scopes lets a customer's key do it.
    pub(super) scopes: &'static [KeyScope],
    /// Whether the person has to have shown a password or second factor lately.
    pub(super) confirmed: bool,
}

macro_rules! actions {
    ($($(#[$doc:meta])* $name:ident: $least:expr, [$($scope:ident),*], $confirmed:literal;)+) => {
        /// Something one may do. A route without an action has no way to its use case.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Action { $($(#[$doc])* $name),+ }

        impl Action {
            /// Every action, for tests that go through all of them.
            pub const ALL: &[Self] = &[$(Self::$name),+];

            /// The name, as the type has it.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => stringify!($name)),+ }
            }

            /// The table.
            pub(super) const fn rule(self) -> Rule {
                match self {
                    $(Self::$name => Rule {
                        least: $least,
                        scopes: &[$(KeyScope::$scope),*],
                        confirmed: $confirmed,
                    }),+
                }
            }
        }

        /// The actions as types.
        pub mod act {
            $($(#[$doc])* #[derive(Debug, Clone, Copy)] pub struct $name;
            impl super::Act for $name {
                const ACTION: super::Action = super::Action::$name;
            })+
        }
    };
}

const VIEWER: Option<Role> = Some(Role::Viewer);
const RUNNER: Option<Role> = Some(Role::Runner);
const OPERATOR: Option<Role> = Some(Role::Operator);
const ADMIN: Option<Role> = Some(Role::Admin);

// What, by which least role, by a key of which scopes, and whether only soon after showing a
// password or second factor.
actions! {
    /// See and end one's own sessions, see and change oneself.
    UseOwnAccount: VIEWER, [], false;
    /// Change one's own password or second factor.
    SecureOwnAccount: VIEWER, [], false;
    /// See users.
    ReadUsers: ADMIN, [], false;
    /// Approve, change and remove users.
    ManageUsers: ADMIN, [], true;
    /// See customers.
    ReadCustomers: VIEWER, [], false;
    /// See the customer that one's own key is of.
    ReadOwnCustomer:
        None,
        [
            AgentsRead, AgentsWrite, AgentsEnrol, CommandsRun, CommandsRunSaved, ScriptsRead,
            ScriptsWrite, ProfilesApply
        ],
        false;
    /// Create, change and remove customers.
    ManageCustomers: ADMIN, [], false;
    /// See which keys customers have (never the keys themselves).
    ReadApiKeys: ADMIN, [], false;
    /// Create and revoke customers' keys.
    ManageApiKeys: ADMIN, [], true;
    /// See enrollment tokens (never their secrets).
    ReadEnrollmentTokens: OPERATOR, [], false;
    /// Create and revoke enrollment tokens.
    ManageEnrollmentTokens: OPERATOR, [], false;
    /// See agents.
    ReadAgents: VIEWER, [AgentsRead, AgentsWrite], false;
    /// Change agents, ask them for fresh information.
    ManageAgents: OPERATOR, [AgentsWrite], false;
    /// Decide what a machine becomes that shows the identity of another.
    ResolveClones: OPERATOR, [], false;
    /// Remove agents for ever.
    DeleteAgents: OPERATOR, [AgentsWrite], false;
    /// Remove many agents at once.
    DeleteManyAgents: ADMIN, [], true;
    /// See groups of agents.
    ReadGroups: VIEWER, [AgentsRead, AgentsWrite], false;
    /// Create, change and remove groups of agents, and say who is in them.
    ManageGroups: OPERATOR, [], false;
    /// Let machines in.
    EnrolAgents: None, [AgentsWrite, AgentsEnrol], false;
    /// See commands and their output.
    ReadCommands: VIEWER, [AgentsRead, CommandsRun, CommandsRunSaved], false;
    /// Run commands of one's own wording.
    RunCommands: OPERATOR, [CommandsRun], false;
    /// Run what is in the library.
    RunSaved: RUNNER, [CommandsRun, CommandsRunSaved], false;
    /// End commands and runs before their time.
    CancelCommands: RUNNER, [CommandsRun, CommandsRunSaved], false;
    /// See which requests wait for a second person.
    ReadApprovals: VIEWER, [CommandsRun, CommandsRunSaved], false;
    /// Approve and reject what others asked for.
    DecideApprovals: OPERATOR, [], true;
    /// Run commands on the server itself.
    RunLocally: ADMIN, [], true;
    /// See scripts and saved commands.
    ReadScripts: VIEWER, [ScriptsRead, ScriptsWrite, CommandsRun, CommandsRunSaved], false;
    /// Create, change and remove scripts and saved commands.
    ManageScripts: OPERATOR, [ScriptsWrite], false;
    /// See schedules.
    ReadSchedules: VIEWER, [AgentsRead, CommandsRun, CommandsRunSaved], false;
    /// Create, change and remove schedules.
    ManageSchedules: OPERATOR, [CommandsRun], false;
    /// See profiles, software and OS images.
    ReadProfiles: VIEWER, [ProfilesApply, ScriptsRead, ScriptsWrite], false;
    /// Create, change and remove profiles, software and OS images.
    ManageProfiles: OPERATOR, [ScriptsWrite], false;
    /// Bring profiles to machines.
    ApplyProfiles: RUNNER, [ProfilesApply, CommandsRun], false;
    /// End rollouts before their time.
    CancelRollouts: RUNNER, [ProfilesApply, CommandsRun], false;
    /// See rollouts, and how machines differ from their profiles.
    ReadRollouts: VIEWER, [AgentsRead, ProfilesApply, CommandsRun], false;
    /// See which profiles machines are compared with.
    ReadComplianceChecks: VIEWER, [AgentsRead, ProfilesApply, CommandsRun], false;
    /// Say which profiles machines are compared with.
    ManageComplianceChecks: OPERATOR, [ProfilesApply], false;
    /// See alerts, their rules and maintenance windows.
    ReadAlerts: VIEWER, [AgentsRead, CommandsRun, CommandsRunSaved], false;
    /// Acknowledge and resolve alerts.
    HandleAlerts: OPERATOR, [], false;
    /// Create, change and remove rules and maintenance windows.
    ManageAlertRules: OPERATOR, [], false;
    /// See where alerts are sent to (never the secrets).
    ReadAlertChannels: OPERATOR, [], false;
    /// Create, change, test and remove the channels that alerts are sent to.
    ManageAlertChannels: OPERATOR, [], true;
    /// Ask the assistant, which proposes and explains, and runs nothing.
    UseAssistant: VIEWER, [AgentsRead, CommandsRun, CommandsRunSaved], false;
    /// See assistants, projects, conversations and what assistants propose.
    ReadAssistants: VIEWER, [AgentsRead, CommandsRun, CommandsRunSaved], false;
    /// Create, change and remove assistants and projects.
    ManageAssistants: OPERATOR, [], false;
    /// Approve and reject what assistants propose.
    DecideProposals: OPERATOR, [], false;
    /// See settings, the secret ones masked.
    ReadSettings: ADMIN, [], false;
    /// Change settings.
    ManageSettings: ADMIN, [], true;
    /// See, verify and export the audit log.
    ReadAudit: ADMIN, [], false;
    /// See how this installation is.
    ReadSystem: VIEWER, [], false;
    /// See the figures of the server's process, in which are those of all tenants together.
    ReadFigures: ADMIN, [], false;
    /// Report one's own state and results, as an agent.
    ReportAsAgent: None, [], false;
}
