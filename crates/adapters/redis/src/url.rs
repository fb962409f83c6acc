//! Where Redis is.

use std::str::FromStr;

use redis::IntoConnectionInfo;

/// Where Redis is: `redis://…`, or `rediss://…` for TLS.
#[derive(Clone, PartialEq, Eq)]
pub struct RedisUrl(String);

/// The text is no address of a Redis.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("redis://HOST or rediss://USER:PASSWORD@HOST:PORT is expected")]
pub struct InvalidRedisUrl;

impl FromStr for RedisUrl {
    type Err = InvalidRedisUrl;

    fn from_str(text: &str) -> Result<Self, InvalidRedisUrl> {
        let scheme = text.starts_with("redis://") || text.starts_with("rediss://");
        // The reason may hold the password.
        let read = text.into_connection_info().map_err(|_| InvalidRedisUrl)?;
        drop(read);
        scheme.then(|| Self(text.to_owned())).ok_or(InvalidRedisUrl)
    }
}

impl RedisUrl {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// The password in a URL is nobody's business.
impl std::fmt::Debug for RedisUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("redis://…")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_of_something_else_is_refused_and_a_password_never_shown() {
        for text in ["", "localhost:6379", "http://localhost", "redis://", "redis+unix:///tmp/x"] {
            assert_eq!(text.parse::<RedisUrl>(), Err(InvalidRedisUrl), "{text}");
        }
        for text in ["redis://u:secret@h:1/2", "rediss://:secret@h"] {
            let url: RedisUrl = text.parse().unwrap();
            assert!(!format!("{url:?}").contains("secret"));
        }
    }
}
