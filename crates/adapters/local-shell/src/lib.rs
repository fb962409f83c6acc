//! Shells of the machine that the server runs on.
//!
//! The rules are those of the agent's executor (`crates/agent/src/executor.rs`), which knows the
//! wire and its own journal and can't be shared: argument vectors and no shell but the chosen one,
//! nothing to read from, a group of processes that ends as a whole, and output that is read to its
//! end and kept up to a limit. What a command can reach is what the server's user can reach.

mod arguments;
mod output;
mod platform;
mod shell;

pub use shell::Shells;
