//! The tables `users`, `sessions`, `refresh_tokens`, `second_factors` and `sign_ons`.

use muster_identity::{Email, SecondFactor, Session, User, UserStatus, Username};
use muster_kernel::{Role, Sealed, SessionId, TokenHash, UserId};
use sea_orm::entity::prelude::*;

use crate::DatabaseError;
use crate::columns::{count, from_count, from_json, json, maybe_timestamp, micros, timestamp};

#[derive(Debug, Clone, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "users")]
pub(super) struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub username: String,
    pub email: Option<String>,
    pub full_name: Option<String>,
    pub role: String,
    pub status: String,
    pub customer_ids: String,
    pub password_hash: Option<String>,
    pub created_at: i64,
}

#[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
pub(super) enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

impl From<&User> for Model {
    fn from(user: &User) -> Self {
        Self {
            id: user.id.as_uuid(),
            username: user.username.as_str().to_owned(),
            email: user.email.as_ref().map(|email| email.as_str().to_owned()),
            full_name: user.full_name.clone(),
            role: user.role.as_str().to_owned(),
            status: user.status.as_str().to_owned(),
            customer_ids: json(&user.customers),
            password_hash: user.password_hash.clone(),
            created_at: micros(user.created_at),
        }
    }
}

impl Model {
    /// The user, who has a second factor or not.
    pub(super) fn read(self, has_second_factor: bool) -> Result<User, DatabaseError> {
        let row = self;
        let bad = DatabaseError::bad_row;
        let email = row.email.as_deref().map(Email::parse).transpose();
        Ok(User {
            id: UserId::from_uuid(row.id),
            username: Username::parse(&row.username).map_err(|_| bad("users.username"))?,
            email: email.map_err(|_| bad("users.email"))?,
            full_name: row.full_name,
            role: Role::parse(&row.role).ok_or_else(|| bad("users.role"))?,
            status: UserStatus::parse(&row.status).ok_or_else(|| bad("users.status"))?,
            customers: from_json(&row.customer_ids, "users.customer_ids")?,
            password_hash: row.password_hash,
            has_second_factor,
            created_at: timestamp(row.created_at, "users.created_at")?,
        })
    }
}

/// The table `sessions`.
pub(crate) mod session {
    use sea_orm::entity::prelude::*;

    #[derive(Debug, Clone, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "sessions")]
    pub(crate) struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: Uuid,
        pub user_id: Uuid,
        pub created_at: i64,
        pub renewed_at: i64,
        pub expires_at: i64,
        pub ended_at: Option<i64>,
        pub confirmed_at: i64,
        pub address: Option<String>,
        pub user_agent: Option<String>,
        pub refresh_token_hash: Vec<u8>,
    }

    #[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
    pub(crate) enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// The table `refresh_tokens`.
pub(crate) mod refresh_token {
    use sea_orm::entity::prelude::*;

    #[derive(Debug, Clone, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "refresh_tokens")]
    pub(crate) struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub token_hash: Vec<u8>,
        pub session_id: Uuid,
    }

    #[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
    pub(crate) enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

impl From<&Session> for session::Model {
    fn from(session: &Session) -> Self {
        Self {
            id: session.id.as_uuid(),
            user_id: session.user_id.as_uuid(),
            created_at: micros(session.created_at),
            renewed_at: micros(session.renewed_at),
            expires_at: micros(session.expires_at),
            ended_at: session.ended_at.map(micros),
            confirmed_at: micros(session.confirmed_at),
            address: session.address.clone(),
            user_agent: session.user_agent.clone(),
            refresh_token_hash: session.refresh_token.as_bytes().to_vec(),
        }
    }
}

impl TryFrom<session::Model> for Session {
    type Error = DatabaseError;

    fn try_from(row: session::Model) -> Result<Self, DatabaseError> {
        Ok(Self {
            id: SessionId::from_uuid(row.id),
            user_id: UserId::from_uuid(row.user_id),
            created_at: timestamp(row.created_at, "sessions.created_at")?,
            renewed_at: timestamp(row.renewed_at, "sessions.renewed_at")?,
            expires_at: timestamp(row.expires_at, "sessions.expires_at")?,
            ended_at: maybe_timestamp(row.ended_at, "sessions.ended_at")?,
            confirmed_at: timestamp(row.confirmed_at, "sessions.confirmed_at")?,
            address: row.address,
            user_agent: row.user_agent,
            refresh_token: TokenHash::from_slice(&row.refresh_token_hash)
                .ok_or_else(|| DatabaseError::bad_row("sessions.refresh_token_hash"))?,
        })
    }
}

/// The table `second_factors`.
pub(crate) mod second_factor {
    use sea_orm::entity::prelude::*;

    #[derive(Debug, Clone, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "second_factors")]
    pub(crate) struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub user_id: Uuid,
        pub secret: Vec<u8>,
        pub confirmed_at: Option<i64>,
        pub last_step: i64,
        pub recovery_codes: String,
    }

    #[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
    pub(crate) enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// The table `sign_ons`.
pub(crate) mod sign_on {
    use sea_orm::entity::prelude::*;

    #[derive(Debug, Clone, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "sign_ons")]
    pub(crate) struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub issuer: String,
        #[sea_orm(primary_key, auto_increment = false)]
        pub subject: String,
        pub user_id: Uuid,
        pub created_at: i64,
    }

    #[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
    pub(crate) enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

impl From<&SecondFactor> for second_factor::Model {
    fn from(factor: &SecondFactor) -> Self {
        let codes: Vec<_> = factor.recovery_codes.iter().map(TokenHash::as_bytes).collect();
        Self {
            user_id: factor.user_id.as_uuid(),
            secret: factor.secret.0.clone(),
            confirmed_at: factor.confirmed_at.map(micros),
            last_step: count(factor.last_step),
            recovery_codes: json(&codes),
        }
    }
}

impl TryFrom<second_factor::Model> for SecondFactor {
    type Error = DatabaseError;

    fn try_from(row: second_factor::Model) -> Result<Self, DatabaseError> {
        let place = "second_factors.recovery_codes";
        let codes: Vec<Vec<u8>> = from_json(&row.recovery_codes, place)?;
        let codes = codes.iter().map(|code| TokenHash::from_slice(code));
        Ok(Self {
            user_id: UserId::from_uuid(row.user_id),
            secret: Sealed(row.secret),
            confirmed_at: maybe_timestamp(row.confirmed_at, "second_factors.confirmed_at")?,
            last_step: from_count(row.last_step, "second_factors.last_step")?,
            recovery_codes: codes
                .collect::<Option<_>>()
                .ok_or_else(|| DatabaseError::bad_row(place))?,
        })
    }
}
