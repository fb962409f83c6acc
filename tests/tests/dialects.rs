//! Agents of older products: they connect as they are, and what Muster promises holds for them as far
//! as they can keep it.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test ends where it fails"
)]

#[path = "dialects/access.rs"]
mod access;
#[path = "dialects/clients.rs"]
mod clients;
#[path = "dialects/delivery.rs"]
mod delivery;
#[path = "dialects/messages.rs"]
mod messages;
#[path = "dialects/program.rs"]
mod program;
#[path = "dialects/speaker.rs"]
mod speaker;
#[path = "dialects/world.rs"]
mod world;
