//! Deployment profiles: from the first task that somebody writes to a fleet that is as it says.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test ends where it fails"
)]

#[path = "profiles/asking.rs"]
mod asking;
#[path = "profiles/catalog.rs"]
mod catalog;
#[path = "profiles/compliance.rs"]
mod compliance;
#[path = "profiles/editing.rs"]
mod editing;
#[path = "profiles/exchange.rs"]
mod exchange;
#[path = "profiles/package.rs"]
mod package;
#[path = "profiles/stopping.rs"]
mod stopping;
#[path = "profiles/surviving.rs"]
mod surviving;
#[path = "profiles/ten_tasks.rs"]
mod ten_tasks;
#[path = "profiles/tenants.rs"]
mod tenants;
#[path = "profiles/walkthrough.rs"]
mod walkthrough;
#[path = "profiles/world.rs"]
mod world;
