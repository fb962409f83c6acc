//! What runs again and again, or once at a time.
//!
//! A [`Schedule`] says when ([`Timing`], [`MaintenanceWindows`]), what and where
//! ([`Template`](crate::runs::Template)), and what becomes of runs that are late or meet the last
//! one. Its [`Course`] says how far it is: up to which instant everything that came due is decided.
//!
//! [`decide`] alone says what is to be done now; it knows no storage and no clock. The
//! [`Scheduler`] does it: it leases the schedule, so that of several nodes one is at it, starts the
//! run, and writes history and course at once. A node that dies on the way leaves a lease that
//! runs out, and the next one starts the same run again, which the [`RunLauncher`] recognises.
//! [`Schedules`] is what people do.

mod check;
mod cron;
mod plan;
mod ports;
mod retention;
mod schedule;
mod scheduler;
mod timing;
mod usecase;
mod windows;

pub use cron::CronExpression;
pub use muster_kernel::Zone;
pub use muster_kernel::windows::{MaintenanceWindow, WindowWish};
pub use plan::{Decision, Slot, decide, next_runs};
pub use ports::{
    AgentZones, LaunchError, RunLauncher, ScheduleCourses, ScheduleFilter, ScheduleRepository,
    TemplateKeeper,
};
pub use retention::HistoryRetention;
pub use schedule::{
    Course, Firing, FiringOutcome, Lease, Maker, MissedPolicy, OverlapPolicy, Schedule,
    ScheduleChange, Settlement,
};
pub use scheduler::{Scheduler, SchedulerPorts};
pub use timing::{ScheduleZone, Timing};
pub use usecase::{NewSchedule, Planned, ScheduleUpdate, Schedules, SchedulesError, TimingWish};
pub use windows::MaintenanceWindows;
