//! What people have to know, and how they are told.
//!
//! - A [`Rule`] says what is watched for ([`Condition`]), on which machines ([`Selector`]), and by
//!   which [`Channel`]s people are told.
//! - An [`Alert`] is what a rule found about one [`Subject`]: of a rule and a subject there is one
//!   open alert at most. [`Step`]s lead it from firing to resolved; each is kept in its history.
//! - [`MaintenanceWindow`]s keep alerts silent for a while.
//! - A [`Delivery`] is a message on its way through a channel; the [`Dispatcher`] tries until it
//!   has arrived, or a day has passed.
//!
//! The [`Watcher`] finds things out. What it decides follows from pure functions ([`absence`],
//! [`level`]), and what it has to remember is in the database: a process that was killed goes on
//! where it was. What failed commands, runs and the audit log tell is read up to a mark that moves
//! only when the alerts are kept, so nothing is lost in between.
//!
//! To watch for something new, add a [`Condition`] and the place where the [`Watcher`] finds it.
#![deny(missing_docs)]

pub mod absence;
mod alert;
mod alerts;
mod announce;
mod channel;
mod channels;
mod delivery;
mod dispatcher;
mod events;
pub mod level;
mod loads;
mod occurrences;
mod ports;
mod retention;
mod rule;
mod rules;
mod selector;
#[cfg(feature = "testing")]
pub mod testing;
mod watcher;
mod window;
mod windows;

pub use alert::{Alert, Change, State, Step, Subject, WrongStep};
pub use alerts::{Alerts, AlertsError};
pub use announce::Announcer;
pub use channel::{Channel, ChannelKind, ChannelWish, ChatFlavour, SmtpTls};
pub use channels::{Channels, OpenedChannel};
pub use delivery::{Attempt, Delivery, DeliveryState, Message};
pub use dispatcher::Dispatcher;
pub use loads::Sample;
pub use occurrences::{Deed, Ended, Machine, Missing, Occurrences, Returned};
pub use ports::{
    AlertFilter, AlertRepository, Cause, ChannelRepository, Connected, DeliveryRepository,
    Deviation, Deviations, Find, Forgotten, Messenger, NotSent, Opened, Replacement,
    RuleRepository, Update, WindowRepository,
};
pub use retention::Retention;
pub use rule::{Condition, ConditionWish, InvalidAlert, Metric, Rule, RuleWish, Severity};
pub use rules::Rules;
pub use selector::Selector;
pub use watcher::{Watcher, WatcherPorts};
pub use window::{MaintenanceWindow, Span, SpanWish, WindowWish};
pub use windows::Windows;
