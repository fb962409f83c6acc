//! Users, their second factors and their sessions.

mod entity;
mod factors;
mod sessions;
mod users;

use crate::Database;
pub(crate) use entity::second_factor;
pub(crate) use users::has_users;

/// The users, in the tables `users`, `sign_ons`, `second_factors`, `sessions` and
/// `refresh_tokens`.
#[derive(Debug, Clone)]
pub struct SeaIdentity {
    database: Database,
}

impl SeaIdentity {
    /// In this database.
    pub const fn new(database: Database) -> Self {
        Self { database }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::on_each_database;

    on_each_database!(users_and_sessions_keep_the_contract);

    async fn users_and_sessions_keep_the_contract(database: Database) {
        muster_identity::testing::contract(&SeaIdentity::new(database)).await;
    }
}
