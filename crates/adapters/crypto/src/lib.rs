//! Keys, passwords, tokens, randomness and time behind their ports.
//!
//! Everything that is derived follows from one [`MasterKey`], under a label of its own for each
//! use: whoever learns one derived key learns nothing of another.

mod access_tokens;
mod codes;
mod keys;
mod passwords;
mod system;
mod vault;

pub use access_tokens::JwtTokens;
pub use codes::Totps;
pub use keys::{InstructionKey, Keys, MasterKey, WeakKey};
pub use passwords::BcryptHasher;
pub use system::{OsEntropy, SystemClock};
pub use vault::SealedVault;
