//! Where the database is.

use std::path::Path;
use std::str::FromStr;

use sqlx::postgres::{PgConnectOptions, PgSslMode};

/// What a URL of a PostgreSQL database may say behind its question mark. Anything else is a
/// mistake, and could be a password whose name was spelt wrong.
const PARAMETERS: [&str; 12] = [
    "application_name",
    "dbname",
    "host",
    "hostaddr",
    "options",
    "password",
    "port",
    "sslcert",
    "sslkey",
    "sslmode",
    "sslrootcert",
    "user",
];

/// Where the database is.
#[derive(Clone, PartialEq, Eq)]
pub enum DatabaseUrl {
    /// A file: `sqlite://PATH`.
    Sqlite(String),
    /// A server: `postgres://…`.
    Postgres(String),
}

impl DatabaseUrl {
    /// The file that the database is in, where it is in one.
    pub fn file(&self) -> Option<&Path> {
        match self {
            Self::Sqlite(url) => {
                let rest = url.strip_prefix("sqlite://")?;
                rest.split('?').next().map(Path::new)
            }
            Self::Postgres(_) => None,
        }
    }

    /// Whether it is the address of a server, which many processes may share.
    pub const fn is_postgres(&self) -> bool {
        matches!(self, Self::Postgres(_))
    }
}

/// The text is no address of a database that Muster works with. What the text says is not told:
/// it may hold a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidDatabaseUrl {
    /// It begins like no address that is known.
    #[error("sqlite://PATH or postgres://USER@HOST/NAME is expected")]
    Scheme,
    /// A parameter of no meaning.
    #[error("a parameter that is not known; known are {}", PARAMETERS.join(", "))]
    Parameter,
    /// `sslmode` says nothing that is known.
    #[error("sslmode takes disable, prefer, require, verify-ca or verify-full")]
    SslMode,
    /// The rest makes no sense.
    #[error(
        "postgres://USER:PASSWORD@HOST:PORT/NAME is expected, with characters of the password that \
         mean something in a URL written as %40 for @, %2F for /"
    )]
    Postgres,
}

impl FromStr for DatabaseUrl {
    type Err = InvalidDatabaseUrl;

    fn from_str(text: &str) -> Result<Self, InvalidDatabaseUrl> {
        match text.split_once("://") {
            Some(("sqlite", path)) if !path.is_empty() => Ok(Self::Sqlite(text.to_owned())),
            Some(("postgres" | "postgresql", rest)) => {
                check_parameters(rest)?;
                let known = text.parse::<PgConnectOptions>();
                known.map_err(|_| InvalidDatabaseUrl::Postgres)?;
                Ok(Self::Postgres(text.to_owned()))
            }
            _ => Err(InvalidDatabaseUrl::Scheme),
        }
    }
}

fn check_parameters(rest: &str) -> Result<(), InvalidDatabaseUrl> {
    let (_, parameters) = rest.split_once('?').unwrap_or_default();
    for parameter in parameters.split('&').filter(|parameter| !parameter.is_empty()) {
        let (name, value) = parameter.split_once('=').unwrap_or_default();
        // libpq's `allow` is not among them: it would be silently taken for `disable`.
        let is_mode = || value != "allow" && value.parse::<PgSslMode>().is_ok();
        if !PARAMETERS.contains(&name) {
            return Err(InvalidDatabaseUrl::Parameter);
        } else if name == "sslmode" && !is_mode() {
            return Err(InvalidDatabaseUrl::SslMode);
        }
    }
    Ok(())
}

/// The password in a URL is nobody's business.
impl std::fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Sqlite(url) => url,
            Self::Postgres(_) => "postgres://…",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_of_another_kind_of_database_is_refused() {
        for text in ["mysql://x", "muster.db", "sqlite://", ""] {
            assert_eq!(text.parse::<DatabaseUrl>(), Err(InvalidDatabaseUrl::Scheme), "{text}");
        }
    }

    #[test]
    fn addresses_of_postgresql_are_taken_as_its_own_programs_take_them() {
        for text in [
            "postgres://muster:secret@db.example.org:5433/muster?sslmode=verify-full",
            "postgresql://muster@db.example.org/muster",
            "postgres:///muster?host=/run/postgresql&user=muster",
        ] {
            assert!(text.parse::<DatabaseUrl>().unwrap().is_postgres());
        }
    }

    #[test]
    fn a_mistake_is_told_without_the_password() {
        let cases = [
            ("postgres://u:secret@h/d?sslmod=require", InvalidDatabaseUrl::Parameter),
            ("postgres://h/d?pasword=secret", InvalidDatabaseUrl::Parameter),
            ("postgres://u:secret@h/d?sslmode=on", InvalidDatabaseUrl::SslMode),
            ("postgres://u:secret@h/d?sslmode=allow", InvalidDatabaseUrl::SslMode),
            ("postgres://u:secret/1@h/d", InvalidDatabaseUrl::Postgres),
        ];
        for (text, expected) in cases {
            let error = text.parse::<DatabaseUrl>().unwrap_err();
            assert_eq!(error, expected, "{text}");
            assert!(!format!("{error} {error:?}").contains("secret"));
        }
        let good: DatabaseUrl = "postgres://u:secret@h/d".parse().unwrap();
        assert!(!format!("{good:?}").contains("secret"));
    }
}
