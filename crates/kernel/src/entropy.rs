//! Randomness as the domain sees it.

/// Yields bytes that nobody can guess.
pub trait Entropy: Send + Sync + std::fmt::Debug {
    /// Fills `bytes` from a cryptographically secure source.
    fn fill(&self, bytes: &mut [u8]);
}
