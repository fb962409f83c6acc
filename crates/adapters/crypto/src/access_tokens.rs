//! JSON Web Tokens, HS256 and nothing else.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, TimeDelta};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use muster_identity::{AccessTokens, Claims};
use muster_kernel::{Role, Secret, SessionId, Timestamp, UserId};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::MasterKey;

/// Who issues the tokens, and for whom.
const MUSTER: &str = "muster";
/// How far the clocks of two of our processes may be apart.
const SKEW: TimeDelta = TimeDelta::seconds(30);

/// Signs access tokens with a key that follows from the master key.
#[derive(Clone)]
pub struct JwtTokens {
    encoding: EncodingKey,
    decoding: DecodingKey,
    validation: Validation,
    /// The name of the key: a token that names another is not ours.
    kid: String,
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
        // Both are held against the clock port, below.
        validation.validate_exp = false;
        validation.validate_nbf = false;
        let kid = master.derive("access-tokens/kid", &[]);
        Self {
            encoding: EncodingKey::from_secret(&key),
            decoding: DecodingKey::from_secret(&key),
            validation,
            kid: URL_SAFE_NO_PAD.encode(kid.first_chunk::<12>().unwrap_or(&[0; 12])),
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
        let header = Header { kid: Some(self.kid.clone()), ..Header::new(Algorithm::HS256) };
        let token = jsonwebtoken::encode(&header, &payload, &self.encoding);
        // Neither the payload nor the key can make this fail; an empty token opens nothing.
        Secret::from_text(token.unwrap_or_default())
    }

    fn verify(&self, token: &Secret, now: Timestamp) -> Option<Claims> {
        let decoded =
            jsonwebtoken::decode::<Payload>(token.expose(), &self.decoding, &self.validation);
        let decoded = decoded.ok()?;
        if decoded.header.kid.as_ref() != Some(&self.kid) {
            return None;
        }
        let payload = decoded.claims;
        let claims = Claims {
            user_id: UserId::from_uuid(payload.sub),
            session_id: SessionId::from_uuid(payload.sid),
            role: Role::parse(&payload.role)?,
            issued_at: DateTime::from_timestamp(payload.iat, 0)?,
            expires_at: DateTime::from_timestamp(payload.exp, 0)?,
        };
        let begun = claims.issued_at <= now + SKEW;
        (begun && now < claims.expires_at).then_some(claims)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::OsEntropy;
    use muster_kernel::Clock;
    use muster_kernel::testing::{FakeClock, SeededEntropy};
    use serde_json::{Value, json};

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

    fn tokens() -> JwtTokens {
        JwtTokens::new(&MasterKey::draw(&OsEntropy))
    }

    /// The header and the payload of a token.
    fn opened(token: &Secret) -> [Value; 2] {
        let mut parts = token.expose().split('.').map(|part| URL_SAFE_NO_PAD.decode(part).unwrap());
        [(); 2].map(|()| serde_json::from_slice(&parts.next().unwrap()).unwrap())
    }

    /// A token with this header and payload, signed with our own key as `algorithm` would.
    fn signed(tokens: &JwtTokens, header: &Value, payload: &Value) -> Secret {
        let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let text = format!("{}.{}", encode(header), encode(payload));
        let algorithm: Algorithm =
            serde_json::from_value(header["alg"].clone()).unwrap_or(Algorithm::HS256);
        let signature =
            jsonwebtoken::crypto::sign(text.as_bytes(), &tokens.encoding, algorithm).unwrap();
        Secret::from_text(format!("{text}.{signature}"))
    }

    #[test]
    fn a_token_says_what_was_put_in_while_it_is_good() {
        let tokens = tokens();
        let token = tokens.issue(&claims());
        let begun = claims().issued_at;
        assert_eq!(tokens.verify(&token, begun), Some(claims()));
        assert_eq!(tokens.verify(&token, claims().expires_at), None, "expired");
        assert_eq!(tokens.verify(&token, begun - SKEW), Some(claims()), "another process's clock");
        assert_eq!(tokens.verify(&token, begun - SKEW * 2), None, "not yet valid");
    }

    #[test]
    fn a_token_that_is_not_ours_word_for_word_is_not_taken() {
        let tokens = tokens();
        let now = claims().issued_at;
        let [header, payload] = opened(&tokens.issue(&claims()));
        assert!(tokens.verify(&signed(&tokens, &header, &payload), now).is_some());
        for (part, name, value) in [
            (0, "kid", json!("another")),
            (0, "kid", json!(null)),
            (0, "alg", json!("HS384")),
            (0, "alg", json!("HS512")),
            (1, "aud", json!("another")),
            (1, "iss", json!("another")),
            (1, "aud", json!(null)),
            (1, "role", json!("root")),
            (1, "sub", json!("admin")),
        ] {
            let mut parts = [header.clone(), payload.clone()];
            parts[part][name] = value.clone();
            let forged = signed(&tokens, &parts[0], &parts[1]);
            assert_eq!(tokens.verify(&forged, now), None, "{name} = {value}");
        }
    }

    #[test]
    fn no_algorithm_but_ours_proves_a_token() {
        let tokens = tokens();
        let good = tokens.issue(&claims());
        let [header, payload] = opened(&good);
        let signature = good.expose().split('.').nth(2).unwrap();
        let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        for algorithm in ["none", "None", "nOnE", "", "RS256", "ES256", "PS256", "EdDSA"] {
            let mut header = header.clone();
            header["alg"] = json!(algorithm);
            for signature in ["", signature] {
                let forged = format!("{}.{}.{signature}", encode(&header), encode(&payload));
                let forged = Secret::from_text(forged);
                assert_eq!(tokens.verify(&forged, claims().issued_at), None, "{algorithm}");
            }
        }
    }

    #[test]
    fn a_changed_payload_or_another_key_is_not_taken() {
        let tokens = tokens();
        let good = tokens.issue(&claims());
        let parts: Vec<_> = good.expose().split('.').collect();
        let payload = URL_SAFE_NO_PAD.decode(parts[1]).unwrap();
        let raised = String::from_utf8(payload).unwrap().replace("operator", "admin");
        let forged = format!("{}.{}.{}", parts[0], URL_SAFE_NO_PAD.encode(raised), parts[2]);
        let now = claims().issued_at;
        assert_eq!(tokens.verify(&Secret::from_text(forged), now), None);
        let mut theirs = self::tokens();
        theirs.kid.clone_from(&tokens.kid);
        assert_eq!(tokens.verify(&theirs.issue(&claims()), now), None);
    }
}
