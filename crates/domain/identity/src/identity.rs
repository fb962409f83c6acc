//! The use case and what it is made of.

use std::collections::BTreeSet;
use std::sync::Arc;

use chrono::TimeDelta;
use muster_kernel::{
    Author, Clock, Entropy, PageRequest, Principal, Role, Secret, SessionId, StorageError,
    TenantScope, Timestamp, UserId, Vault,
};

use crate::attempts::{self, Attempts};
use crate::looks::Looks;
use crate::ports::{
    AccessTokens, AccountPolicy, Claims, OneTimeCodes, PasswordHasher, SecondFactorRepository,
    SessionRepository, TicketStore, UserFilter, UserRepository,
};
use crate::sign_on::SingleSignOn;
use crate::user::{Password, User, UserStatus, Username};

/// How long an access token is good.
pub const ACCESS_TOKEN_LIFETIME: TimeDelta = TimeDelta::minutes(30);

/// The ports of [`Identity`].
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "the names are those of the ports")]
pub struct IdentityPorts {
    pub users: Arc<dyn UserRepository>,
    pub sessions: Arc<dyn SessionRepository>,
    pub factors: Arc<dyn SecondFactorRepository>,
    pub passwords: Arc<dyn PasswordHasher>,
    pub codes: Arc<dyn OneTimeCodes>,
    pub vault: Arc<dyn Vault>,
    pub access_tokens: Arc<dyn AccessTokens>,
    pub tickets: Arc<dyn TicketStore>,
    pub policy: Arc<dyn AccountPolicy>,
    pub sign_on: Arc<dyn SingleSignOn>,
    pub clock: Arc<dyn Clock>,
    pub entropy: Arc<dyn Entropy>,
}

/// Signs people in and out, and is what people do with accounts.
#[derive(Debug)]
pub struct Identity {
    pub(crate) ports: IdentityPorts,
    /// Failures by account, or by the name that was tried where there is no such account.
    pub(crate) by_account: Attempts,
    pub(crate) by_address: Attempts,
    /// Wrong passwords of people who are signed in, by session: no stranger can lock them out.
    pub(crate) by_session: Attempts,
    /// Wrong codes, by account: a right password forgives none of them.
    pub(crate) by_code: Attempts,
    pub(crate) looks: Looks,
}

impl Identity {
    /// Made of its ports.
    pub fn new(ports: IdentityPorts) -> Self {
        Self {
            ports,
            by_account: Attempts::new(attempts::ACCOUNT),
            by_address: Attempts::new(attempts::ADDRESS),
            by_session: Attempts::new(attempts::ACCOUNT),
            by_code: Attempts::new(attempts::ACCOUNT),
            looks: Looks::default(),
        }
    }

    /// Creates the first user, an admin with the name `admin`, if there is no user at all. The
    /// password is the one given, or drawn and handed back, to be shown once.
    ///
    /// # Errors
    /// When the storage fails.
    pub async fn ensure_first_admin(
        &self,
        given: Option<Password>,
    ) -> Result<Option<Secret>, StorageError> {
        // A look first: to hash a password for nothing would cost every start a quarter second.
        if !self.ports.users.is_empty().await? {
            return Ok(None);
        }
        let drawn = given.is_none().then(|| self.draw_password());
        let password = given.map(|given| given.secret().clone()).or_else(|| drawn.clone());
        let Some(password) = password else { return Ok(None) };
        let Ok(username) = Username::parse("admin") else { return Ok(None) };
        let admin = User {
            role: Role::Admin,
            status: UserStatus::Active,
            password_hash: Some(self.ports.passwords.hash(password).await),
            ..self.new_user(username)
        };
        let created = self.ports.users.create_first(admin, &Author::system()).await?;
        Ok(if created { drawn } else { None })
    }

    /// An admin, for a program that runs on the server's own machine and holds the master key and
    /// the database: nothing is kept from whoever started it. `None` when there is no admin.
    ///
    /// # Errors
    /// When the storage fails.
    pub async fn local_admin(&self) -> Result<Option<Principal>, StorageError> {
        let filter = UserFilter {
            role: Some(Role::Admin),
            status: Some(UserStatus::Active),
            ..UserFilter::default()
        };
        let page = self.ports.users.list(&filter, &PageRequest::default()).await?;
        Ok(page.items.into_iter().next().map(|admin| Principal::User {
            user_id: admin.id,
            name: admin.username.as_str().into(),
            session_id: SessionId::new(&*self.ports.clock, &*self.ports.entropy),
            role: admin.role,
            tenants: TenantScope::All,
            confirmed: true,
            lacks_second_factor: false,
        }))
    }

    /// A user as if they had just signed in, for what they asked to be done in their absence;
    /// `None` when they may do nothing any more.
    ///
    /// # Errors
    /// When the storage fails.
    pub async fn absent(&self, id: UserId) -> Result<Option<Principal>, StorageError> {
        let user = self.ports.users.find(id).await?;
        Ok(user.filter(|user| user.status == UserStatus::Active).map(|user| Principal::User {
            user_id: user.id,
            name: user.username.as_str().into(),
            session_id: SessionId::new(&*self.ports.clock, &*self.ports.entropy),
            role: user.role,
            tenants: user.tenants(),
            confirmed: true,
            lacks_second_factor: false,
        }))
    }

    /// A user with a name and nothing else, who waits to be approved.
    pub(crate) fn new_user(&self, username: Username) -> User {
        User {
            id: UserId::new(&*self.ports.clock, &*self.ports.entropy),
            username,
            email: None,
            full_name: None,
            role: Role::Operator,
            status: UserStatus::Pending,
            customers: BTreeSet::new(),
            password_hash: None,
            has_second_factor: false,
            created_at: self.ports.clock.now(),
        }
    }

    pub(crate) fn issue(&self, user: &User, session_id: SessionId, now: Timestamp) -> Secret {
        let expires_at = now + ACCESS_TOKEN_LIFETIME;
        let (user_id, role) = (user.id, user.role);
        let claims = Claims { user_id, session_id, role, issued_at: now, expires_at };
        self.ports.access_tokens.issue(&claims)
    }

    /// 120 random bits in 24 characters that nobody confuses with each other.
    pub(crate) fn draw_password(&self) -> Secret {
        const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
        let mut bytes = [0_u8; 24];
        self.ports.entropy.fill(&mut bytes);
        let letter = |byte: u8| ALPHABET.get(usize::from(byte % 32)).map(|byte| char::from(*byte));
        Secret::from_text(bytes.into_iter().filter_map(letter).collect::<String>())
    }
}
