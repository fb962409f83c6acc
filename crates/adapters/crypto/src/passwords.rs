//! bcrypt, a few at a time.

use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use muster_identity::PasswordHasher;
use muster_kernel::Secret;
use tokio::sync::Semaphore;

/// What a hash costs: about a quarter second.
const COST: u32 = 12;

/// bcrypt on threads of its own, as many at a time as there are processors: a flood of sign-ins
/// takes longer, and nothing else does.
#[derive(Debug, Clone)]
pub struct BcryptHasher {
    cost: u32,
    slots: Arc<Semaphore>,
    /// A hash that no password has, for names that do not exist.
    nobody: Arc<OnceLock<String>>,
}

impl Default for BcryptHasher {
    fn default() -> Self {
        Self::with_cost(COST)
    }
}

impl BcryptHasher {
    fn with_cost(cost: u32) -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Self { cost, slots: Arc::new(Semaphore::new(processors)), nobody: Arc::default() }
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Option<T> + Send + 'static,
    ) -> Option<T> {
        let slot = Arc::clone(&self.slots).acquire_owned().await.ok()?;
        let work = move || {
            let done = work();
            drop(slot);
            done
        };
        tokio::task::spawn_blocking(work).await.ok().flatten()
    }
}

/// A password of which bcrypt reads every byte. It would silently cut a longer one, which must
/// not happen, whoever calls.
fn within_reach(password: &Secret) -> Option<&str> {
    Some(password.expose()).filter(|password| password.len() <= 72)
}

#[async_trait]
impl PasswordHasher for BcryptHasher {
    async fn hash(&self, password: Secret) -> String {
        let cost = self.cost;
        let hash = self.run(move || {
            let password = within_reach(&password)?;
            bcrypt::hash(password, cost).ok()
        });
        // A password that bcrypt does not take gets a hash that no password has.
        hash.await.unwrap_or_default()
    }

    async fn verify(&self, password: Secret, hash: Option<String>) -> bool {
        let (cost, nobody) = (self.cost, Arc::clone(&self.nobody));
        let verified = self.run(move || {
            let known = hash.is_some();
            let hash = hash.unwrap_or_else(|| {
                nobody.get_or_init(|| bcrypt::hash("nobody", cost).unwrap_or_default()).clone()
            });
            let reached = within_reach(&password);
            let right = bcrypt::verify(reached.unwrap_or_default(), &hash).unwrap_or(false);
            Some(known && reached.is_some() && right)
        });
        verified.await.unwrap_or(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_the_password_itself_is_verified() {
        let hasher = BcryptHasher::with_cost(4);
        let long = "x".repeat(72);
        for password in ["correct horse", &long] {
            let hash = hasher.hash(Secret::from_text(password)).await;
            let verify =
                async |text: &str| hasher.verify(Secret::from_text(text), Some(hash.clone())).await;
            assert!(verify(password).await);
            assert!(!verify("wrong").await);
            assert!(!verify(&format!("{password}y")).await, "nothing is cut off");
        }
    }

    #[tokio::test]
    async fn nobody_has_no_password() {
        let hasher = BcryptHasher::with_cost(4);
        for password in ["nobody", "", "x"] {
            assert!(!hasher.verify(Secret::from_text(password), None).await);
        }
    }
}
