//! The tables `customers` and `enrollment_tokens`.

use ipnet::IpNet;
use muster_customers::{ApiKey, Customer, EnrollmentToken, Name};
use muster_kernel::{
    ApiKeyId, CustomerId, DangerPolicy, DialectPolicy, EnrollmentTokenId, KeyScope, Plan,
    TokenHash, UserId,
};
use sea_orm::entity::prelude::*;

use crate::DatabaseError;
use crate::columns::{from_json, json, maybe_timestamp, micros, timestamp};

#[derive(Debug, Clone, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "customers")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub name: String,
    pub canonical_name: String,
    pub address: Option<String>,
    pub plan: String,
    pub dangerous_commands: String,
    pub allowed_dialects: String,
    pub legacy_networks: String,
    pub created_at: i64,
    pub updated_at: i64,
    pub deleted_at: Option<i64>,
}

#[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// The form of a name under which two names are the same.
pub(crate) fn canonical(name: &str) -> String {
    name.to_lowercase()
}

fn networks(networks: &[IpNet]) -> String {
    json(&networks.iter().map(ToString::to_string).collect::<Vec<_>>())
}

fn read_networks(text: &str, column: &'static str) -> Result<Vec<IpNet>, DatabaseError> {
    let networks: Vec<String> = from_json(text, column)?;
    let networks = networks.iter().map(|network| network.parse());
    networks.collect::<Result<_, _>>().map_err(|_| DatabaseError::bad_row(column))
}

impl From<&Customer> for Model {
    fn from(customer: &Customer) -> Self {
        Self {
            id: customer.id.as_uuid(),
            name: customer.name.as_str().to_owned(),
            canonical_name: canonical(customer.name.as_str()),
            address: customer.address.clone(),
            plan: customer.plan.as_str().to_owned(),
            dangerous_commands: customer.dangerous_commands.as_str().to_owned(),
            allowed_dialects: json(&customer.dialects.allowed),
            legacy_networks: networks(&customer.dialects.without_credentials),
            created_at: micros(customer.created_at),
            updated_at: micros(customer.updated_at),
            deleted_at: None,
        }
    }
}

impl TryFrom<Model> for Customer {
    type Error = DatabaseError;

    fn try_from(row: Model) -> Result<Self, DatabaseError> {
        Ok(Self {
            id: CustomerId::from_uuid(row.id),
            name: Name::parse(&row.name).map_err(|_| DatabaseError::bad_row("customers.name"))?,
            address: row.address,
            dangerous_commands: DangerPolicy::parse(&row.dangerous_commands)
                .ok_or_else(|| DatabaseError::bad_row("customers.dangerous_commands"))?,
            dialects: DialectPolicy {
                allowed: from_json(&row.allowed_dialects, "customers.allowed_dialects")?,
                without_credentials: read_networks(
                    &row.legacy_networks,
                    "customers.legacy_networks",
                )?,
            },
            plan: Plan::parse(&row.plan).ok_or_else(|| DatabaseError::bad_row("customers.plan"))?,
            created_at: timestamp(row.created_at, "customers.created_at")?,
            updated_at: timestamp(row.updated_at, "customers.updated_at")?,
        })
    }
}

/// The table `enrollment_tokens`.
pub(crate) mod token {
    use sea_orm::entity::prelude::*;

    #[derive(Debug, Clone, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "enrollment_tokens")]
    pub(crate) struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: Uuid,
        pub customer_id: Uuid,
        pub name: String,
        pub token_hash: Vec<u8>,
        pub created_by: Uuid,
        pub created_at: i64,
        pub expires_at: Option<i64>,
        pub max_uses: Option<i64>,
        pub uses: i64,
        pub tags: String,
        pub group_ids: String,
        pub revoked_at: Option<i64>,
    }

    #[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
    pub(crate) enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

impl From<&EnrollmentToken> for token::Model {
    fn from(token: &EnrollmentToken) -> Self {
        Self {
            id: token.id.as_uuid(),
            customer_id: token.customer_id.as_uuid(),
            name: token.name.as_str().to_owned(),
            token_hash: token.hash.as_bytes().to_vec(),
            created_by: token.created_by.as_uuid(),
            created_at: micros(token.created_at),
            expires_at: token.expires_at.map(micros),
            max_uses: token.max_uses.map(i64::from),
            uses: i64::from(token.uses),
            tags: json(&token.tags),
            group_ids: json(&token.group_ids),
            revoked_at: token.revoked_at.map(micros),
        }
    }
}

impl TryFrom<token::Model> for EnrollmentToken {
    type Error = DatabaseError;

    fn try_from(row: token::Model) -> Result<Self, DatabaseError> {
        let bad = DatabaseError::bad_row;
        Ok(Self {
            id: EnrollmentTokenId::from_uuid(row.id),
            customer_id: CustomerId::from_uuid(row.customer_id),
            name: Name::parse(&row.name).map_err(|_| bad("enrollment_tokens.name"))?,
            hash: TokenHash::from_slice(&row.token_hash)
                .ok_or_else(|| bad("enrollment_tokens.token_hash"))?,
            created_by: UserId::from_uuid(row.created_by),
            created_at: timestamp(row.created_at, "enrollment_tokens.created_at")?,
            expires_at: maybe_timestamp(row.expires_at, "enrollment_tokens.expires_at")?,
            max_uses: row
                .max_uses
                .map(u32::try_from)
                .transpose()
                .map_err(|_| bad("enrollment_tokens.max_uses"))?,
            uses: u32::try_from(row.uses).map_err(|_| bad("enrollment_tokens.uses"))?,
            tags: from_json(&row.tags, "enrollment_tokens.tags")?,
            group_ids: from_json(&row.group_ids, "enrollment_tokens.group_ids")?,
            revoked_at: maybe_timestamp(row.revoked_at, "enrollment_tokens.revoked_at")?,
        })
    }
}

/// The table `api_keys`.
pub(crate) mod key {
    use sea_orm::entity::prelude::*;

    #[derive(Debug, Clone, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "api_keys")]
    pub(crate) struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: Uuid,
        pub customer_id: Uuid,
        pub name: String,
        pub key_hash: Vec<u8>,
        pub hint: String,
        pub scopes: String,
        pub allowed_addresses: String,
        pub is_default: bool,
        pub created_by: Uuid,
        pub created_at: i64,
        pub expires_at: Option<i64>,
        pub last_used_at: Option<i64>,
        pub revoked_at: Option<i64>,
    }

    #[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
    pub(crate) enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

impl From<&ApiKey> for key::Model {
    fn from(key: &ApiKey) -> Self {
        let scopes: Vec<_> = key.scopes.iter().map(|scope| scope.as_str()).collect();
        Self {
            id: key.id.as_uuid(),
            customer_id: key.customer_id.as_uuid(),
            name: key.name.as_str().to_owned(),
            key_hash: key.hash.as_bytes().to_vec(),
            hint: key.hint.clone(),
            scopes: json(&scopes),
            allowed_addresses: networks(&key.allowed),
            is_default: key.is_default,
            created_by: key.created_by.as_uuid(),
            created_at: micros(key.created_at),
            expires_at: key.expires_at.map(micros),
            last_used_at: key.last_used_at.map(micros),
            revoked_at: key.revoked_at.map(micros),
        }
    }
}

impl TryFrom<key::Model> for ApiKey {
    type Error = DatabaseError;

    fn try_from(row: key::Model) -> Result<Self, DatabaseError> {
        let bad = DatabaseError::bad_row;
        let scopes: Vec<String> = from_json(&row.scopes, "api_keys.scopes")?;
        let scopes = scopes.iter().map(|text| KeyScope::parse(text));
        Ok(Self {
            id: ApiKeyId::from_uuid(row.id),
            customer_id: CustomerId::from_uuid(row.customer_id),
            name: Name::parse(&row.name).map_err(|_| bad("api_keys.name"))?,
            hash: TokenHash::from_slice(&row.key_hash).ok_or_else(|| bad("api_keys.key_hash"))?,
            hint: row.hint,
            scopes: scopes.collect::<Option<_>>().ok_or_else(|| bad("api_keys.scopes"))?,
            allowed: read_networks(&row.allowed_addresses, "api_keys.allowed_addresses")?,
            is_default: row.is_default,
            created_by: UserId::from_uuid(row.created_by),
            created_at: timestamp(row.created_at, "api_keys.created_at")?,
            expires_at: maybe_timestamp(row.expires_at, "api_keys.expires_at")?,
            last_used_at: maybe_timestamp(row.last_used_at, "api_keys.last_used_at")?,
            revoked_at: maybe_timestamp(row.revoked_at, "api_keys.revoked_at")?,
        })
    }
}
