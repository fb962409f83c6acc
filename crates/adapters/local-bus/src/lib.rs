//! What the nodes of an installation share, for an installation with one node: news, rate limits
//! and tickets, all in memory. They may be lost in a crash without any harm.

mod events;
mod feed;
mod limits;
mod tickets;

pub use events::LocalEvents;
pub use feed::LocalFeed;
pub use limits::LocalLimiter;
pub use tickets::LocalTickets;
