//! JSON Web Tokens, HS256 and nothing else.

use std::fmt;

use chrono::DateTime;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use muster_identity::{AccessTokens, Claims};
use muster_kernel::{Role, Secret, SessionId, Timestamp, UserId};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::MasterKey;

/// Who issues the tokens, and for whom.
const MUSTER: &str = "muster";

/// Signs access tokens with a key that follows from the master key.
#[derive(Clone)]
pub struct JwtTokens {
    encoding: EncodingKey,
    decoding: DecodingKey,
    validation: Validation,
}

impl fmt::Debug for JwtTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JwtTokens(…)")
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct Payload {
    sub: Uuid,
    jti: Uuid,
    sid: Uuid,
    role: String,
    iat: i64,
    exp: i64,
    iss: String,
    aud: String,
}

impl JwtTokens {
    /// Of the installation with this master key.
    pub fn new(master: &MasterKey) -> Self {
        let key = master.derive("access-tokens", &[]);
        let mut validation = Validation::new(Algorithm::HS256);
        validation.set_issuer(&[MUSTER]);
        validation.set_audience(&[MUSTER]);
        // The expiry is held against the clock port, below.
        validation.validate_exp = false;
        Self {
            encoding: EncodingKey::from_secret(&key),
            decoding: DecodingKey::from_secret(&key),
            validation,
        }
    }
}

impl AccessTokens for JwtTokens {
    fn issue(&self, claims: &Claims) -> Secret {
        let mut jti = [0_u8; 16];
        muster_kernel::Entropy::fill(&crate::OsEntropy, &mut jti);
        let payload = Payload {
            sub: claims.user_id.as_uuid(),
            jti: uuid::Builder::from_random_bytes(jti).into_uuid(),
            sid: claims.session_id.as_uuid(),
            role: claims.role.as_str().to_owned(),
            iat: claims.issued_at.timestamp(),
            exp: claims.expires_at.timestamp(),
            iss: MUSTER.to_owned(),
            aud: MUSTER.to_owned(),
        };
        let token = jsonwebtoken::encode(&Header::new(Algorithm::HS256), &payload, &self.encoding);
        // Neither the payload nor the key can make this fail; an empty token opens nothing.
        Secret::from_text(token.unwrap_or_default())
    }

    fn verify(&self, token: &Secret, now: Timestamp) -> Option<Claims> {
        let decoded =
            jsonwebtoken::decode::<Payload>(token.expose(), &self.decoding, &self.validation);
        let payload = decoded.ok()?.claims;
        let claims = Claims {
            user_id: UserId::from_uuid(payload.sub),
            session_id: SessionId::from_uuid(payload.sid),
            role: Role::parse(&payload.role)?,
            issued_at: DateTime::from_timestamp(payload.iat, 0)?,
            expires_at: DateTime::from_timestamp(payload.exp, 0)?,
        };
        (now < claims.expires_at).then_some(claims)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::OsEntropy;
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use chrono::TimeDelta;
    use muster_kernel::Clock;
    use muster_kernel::testing::{FakeClock, SeededEntropy};

    fn claims() -> Claims {
        let (clock, entropy) = (FakeClock::default(), SeededEntropy::new(4));
        Claims {
            user_id: UserId::new(&clock, &entropy),
            session_id: SessionId::new(&clock, &entropy),
            role: Role::Operator,
            issued_at: clock.now(),
            expires_at: clock.now() + TimeDelta::minutes(30),
        }
    }

    #[test]
    fn a_token_says_what_was_put_in_until_it_expires() {
        let tokens = JwtTokens::new(&MasterKey::draw(&OsEntropy));
        let token = tokens.issue(&claims());
        assert_eq!(tokens.verify(&token, claims().issued_at), Some(claims()));
        assert_eq!(tokens.verify(&token, claims().expires_at), None);
    }

    #[test]
    fn a_token_of_another_key_or_algorithm_is_not_taken() {
        let (ours, theirs) =
            (MasterKey::draw(&OsEntropy), JwtTokens::new(&MasterKey::draw(&OsEntropy)));
        let tokens = JwtTokens::new(&ours);
        let now = claims().issued_at;
        assert_eq!(tokens.verify(&theirs.issue(&claims()), now), None);
        let good = tokens.issue(&claims());
        let payload = good.expose().split('.').nth(1).unwrap();
        for header in [r#"{"alg":"none","typ":"JWT"}"#, r#"{"alg":"HS512","typ":"JWT"}"#] {
            let header = URL_SAFE_NO_PAD.encode(header);
            for signature in ["", good.expose().split('.').nth(2).unwrap()] {
                let forged = Secret::from_text(format!("{header}.{payload}.{signature}"));
                assert_eq!(tokens.verify(&forged, now), None);
            }
        }
    }

    #[test]
    fn a_changed_payload_is_not_taken() {
        let tokens = JwtTokens::new(&MasterKey::draw(&OsEntropy));
        let good = tokens.issue(&claims());
        let parts: Vec<_> = good.expose().split('.').collect();
        let payload = URL_SAFE_NO_PAD.decode(parts[1]).unwrap();
        let raised = String::from_utf8(payload).unwrap().replace("operator", "admin");
        let forged = format!("{}.{}.{}", parts[0], URL_SAFE_NO_PAD.encode(raised), parts[2]);
        assert_eq!(tokens.verify(&Secret::from_text(forged), claims().issued_at), None);
    }
}
