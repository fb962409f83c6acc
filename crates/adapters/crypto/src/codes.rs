//! One-time codes by RFC 6238, in the one form that every authenticator knows: SHA-1, six digits,
//! half a minute.

use muster_identity::OneTimeCodes;
use muster_kernel::{Entropy, Secret, Timestamp};
use totp_rs::{Builder, Totp};

use crate::OsEntropy;

/// What authenticators list Muster under.
const ISSUER: &str = "Muster";

/// Draws secrets and checks the codes that devices show.
#[derive(Debug, Clone, Copy, Default)]
pub struct Totps;

fn totp(secret: &Secret, account: &str) -> Option<Totp> {
    let secret = totp_rs::Secret::try_from_base32(secret.expose()).ok()?;
    // Half a minute to either side, for clocks that are not quite right.
    let builder = Builder::new().with_secret(secret).with_skew(1);
    builder.with_issuer(Some(ISSUER)).with_account_name(account).build().ok()
}

impl OneTimeCodes for Totps {
    fn draw(&self) -> Secret {
        let mut bytes = [0; 20];
        OsEntropy.fill(&mut bytes);
        Secret::from_text(totp_rs::Secret::new_stack(bytes).to_base32())
    }

    fn uri(&self, secret: &Secret, account: &str) -> Option<Secret> {
        // The colon parts the issuer from the account.
        totp(secret, &account.replace(':', "_"))?.to_url().ok().map(Secret::from_text)
    }

    fn step_of(&self, secret: &Secret, code: &str, now: Timestamp) -> Option<u64> {
        totp(secret, "")?.check(code, u64::try_from(now.timestamp()).ok()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::DateTime;

    /// RFC 6238, appendix B: the secret and the last six digits of its SHA-1 codes.
    const SECRET: &str = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";

    fn step_of(code: &str, at: i64) -> Option<u64> {
        Totps.step_of(&Secret::from_text(SECRET), code, DateTime::from_timestamp(at, 0).unwrap())
    }

    #[test]
    fn codes_are_those_of_the_standard() {
        for (at, code) in [
            (59, "287082"),
            (1_111_111_109, "081804"),
            (1_111_111_111, "050471"),
            (1_234_567_890, "005924"),
            (2_000_000_000, "279037"),
        ] {
            assert_eq!(step_of(code, at), u64::try_from(at / 30).ok(), "{at}");
        }
    }

    #[test]
    fn a_code_is_good_half_a_minute_early_or_late_and_no_more() {
        for (at, good) in [(29, false), (30, true), (119, true), (120, false)] {
            // The code of the third half minute.
            let code = totp(&Secret::from_text(SECRET), "").unwrap().generate(60 + 30).to_string();
            let at = at + 30;
            assert_eq!(step_of(&code, at).is_some(), good, "{at}");
        }
        for nonsense in ["", "28708", "2870820", "+87082", "２８７０８２"] {
            assert_eq!(step_of(nonsense, 59), None, "{nonsense}");
        }
    }

    #[test]
    fn a_drawn_secret_is_new_each_time_and_a_device_takes_it_in() {
        let (one, other) = (Totps.draw(), Totps.draw());
        assert_ne!(one.expose(), other.expose());
        let uri = Totps.uri(&one, "ada:lovelace").unwrap();
        let expected = "otpauth://totp/Muster:ada_lovelace?";
        assert!(uri.expose().starts_with(expected), "{}", uri.expose());
        assert!(uri.expose().contains(one.expose()) && uri.expose().contains("issuer=Muster"));
    }
}
