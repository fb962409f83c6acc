//! Secrets in what is sent: found by rules and taken out.
//!
//! The rules are made to hit little else than secrets: a model that is not told half of the text
//! can't explain it. What they can't know, such as a password in the midst of prose, is sent.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use regex::{Captures, Regex};

/// A text without the secrets that were found in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redacted {
    /// What is left.
    pub text: String,
    /// What was taken out: how many of which kind.
    pub found: BTreeMap<&'static str, usize>,
}

struct Rule {
    kind: &'static str,
    pattern: Regex,
    plausible: Plausible,
}

/// A value in quotes, or up to the next blank or sign that ends a word.
const VALUE: &str = r#"("[^"\n]+"|'[^'\n]+'|[^\s"',;&|)}<>]+)"#;

/// Whether what a pattern found may be a secret.
type Plausible = fn(&str) -> bool;

/// Kind, pattern and what is plausible. What the first group holds is the secret, or all of it where there
/// is none; `{value}` is a [`VALUE`].
const RULES: &[(&str, &str, Plausible)] = &[
    (
        "private key",
        r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----[\s\S]*?(?:-----END [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----|\z)",
        always,
    ),
    ("token", r"\beyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*", always),
    // Muster's own.
    ("token", r"\b(?:sk|et|ag|rt|tk)_[A-Za-z0-9_-]{43}", always),
    ("token", r"\bsk-[A-Za-z0-9_-]{20,}", has_digit),
    ("token", r"\b(?:gh[pousr]_[A-Za-z0-9]{36,}|github_pat_[A-Za-z0-9_]{22,})", always),
    ("token", r"\b(?:glpat-[A-Za-z0-9_-]{20,}|xox[abeoprs]-[A-Za-z0-9-]{10,})", has_digit),
    ("token", r"\b(?:npm_[A-Za-z0-9]{36}|pypi-[A-Za-z0-9_-]{50,}|hf_[A-Za-z0-9]{30,})", always),
    ("token", r"\b(?:AIza[A-Za-z0-9_-]{35}|ya29\.[A-Za-z0-9_-]{20,})", always),
    (
        "token",
        r"\b(?:(?:sk|rk|pk)_(?:live|test)_[A-Za-z0-9]{16,}|whsec_[A-Za-z0-9+/=]{16,})",
        always,
    ),
    (
        "token",
        r"\b(?:hvs\.[A-Za-z0-9_-]{24,}|dop_v1_[a-f0-9]{64}|AGE-SECRET-KEY-1[0-9A-Z]{58})",
        always,
    ),
    ("token", r"\bSG\.[A-Za-z0-9_-]{22}\.[A-Za-z0-9_-]{43}", always),
    ("AWS key", r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b", always),
    (
        "AWS key",
        r#"(?i)aws_?(?:secret_?access_?key|session_?token)["']?\s*[:=]\s*["']?([A-Za-z0-9/+=]{40,})"#,
        always,
    ),
    ("password", r"(?i)\b[a-z][a-z0-9+.-]*://[^\s/:@'\x22]*:([^\s/@'\x22]+)@", is_value),
    (
        "authorization",
        r#"(?i)\b(?:authorization|x-api-key|x-ai-key|x-auth-token|api-key)["']?\s*[:=]\s*["']?(?:(?:bearer|basic|token|digest)\s+)?([^\s"',;]{8,})"#,
        is_value,
    ),
    ("authorization", r"(?i)\bbearer\s+([A-Za-z0-9._~+/=-]{16,})", has_digit),
    ("connection string", r"\b(?:AccountKey|SharedAccessKey|sig)=([A-Za-z0-9%+/=]{20,})", always),
    (
        "password",
        r#"(?i)(?:password|passwd|passphrase|pwd|secret|token|api[_-]?key|access[_-]?key|private[_-]?key|account[_-]?key|credentials?)["']?\s*=\s*{value}"#,
        is_value,
    ),
    (
        "password",
        r#"(?i)(?:password|passwd|passphrase|secret|token|api[_-]?key|access[_-]?key|private[_-]?key)["']?\s*:\s*{value}"#,
        is_named_value,
    ),
    (
        "password",
        r"(?i)(?:^|\s)--?(?:password|passwd|pass|passphrase|token|secret|api-?key|client-secret|secret-key|access-token)(?:\s+|[=:]){value}",
        is_value,
    ),
    (
        "password",
        r"\b(?:mysql|mysqldump|mysqladmin|mariadb|mariadb-dump)\b[^\n|;&]*?\s-p{value}",
        is_value,
    ),
    ("password", r"\bsshpass\s+-p\s*{value}", is_value),
    ("password", r"\b(?:docker|podman|helm registry)\s+login\b[^\n|;&]*?\s-p\s*{value}", is_value),
    (
        "password",
        r"\b(?:redis-cli\b[^\n|;&]*?\s-a|(?:plink|pscp)(?:\.exe)?\b[^\n|;&]*?\s-pw)\s+{value}",
        is_value,
    ),
    ("password", r#"\bcurl\b[^\n|;&]*?\s(?:-u|--user)[\s=]*["']?[^\s:"']+:([^\s"']+)"#, is_value),
    ("password", r"(?i)\bnet1?\s+user\s+[^\s/]+\s+{value}", is_value),
    ("password", r"(?i)\bConvertTo-SecureString\s+(?:-String\s+)?{value}", is_value),
    ("password", r"(?i)\blogin\s+\S+\s+password\s+(\S+)", is_value),
    ("password hash", r"\$(?:1|2[aby]|5|6|y|argon2(?:id?|d))\$[^\s:]{20,}", always),
];

static COMPILED: LazyLock<Vec<Rule>> = LazyLock::new(|| {
    RULES
        .iter()
        .filter_map(|(kind, pattern, plausible)| {
            // A test holds that none is left out.
            let pattern = Regex::new(&pattern.replace("{value}", VALUE)).ok()?;
            Some(Rule { kind, pattern, plausible: *plausible })
        })
        .collect()
});

const fn always(_: &str) -> bool {
    true
}

fn has_digit(found: &str) -> bool {
    found.chars().any(|c| c.is_ascii_digit())
}

/// Whether it is a value, and not what stands for one: a variable, a placeholder, a path, a flag.
fn is_value(found: &str) -> bool {
    let inner = found.trim_matches(['"', '\'']);
    let stands_for_one = inner.starts_with(['$', '%', '<', '(', '[', '{', '*', '/', '-', '@', '='])
        || inner.starts_with("!!")
        || inner.starts_with("\\$");
    let words = ["", "true", "false", "null", "none", "nil", "yes", "no", "required", "prompt"];
    !stands_for_one && !words.contains(&inner.to_ascii_lowercase().as_str())
}

/// The same behind a colon, where prose has words: one in quotes, or one that no word looks like.
fn is_named_value(found: &str) -> bool {
    let quoted = found.starts_with(['"', '\'']) && !found.contains(' ');
    let odd = found.len() >= 6 && has_digit(found) && found.chars().any(char::is_alphabetic);
    is_value(found) && (quoted || odd)
}

/// Takes the secrets out of a text.
pub fn redact(text: &str) -> Redacted {
    let mut redacted = Redacted { text: text.to_owned(), found: BTreeMap::new() };
    for rule in &*COMPILED {
        if rule.pattern.is_match(&redacted.text) {
            redacted = rule.apply(redacted);
        }
    }
    redacted
}

impl Rule {
    fn apply(&self, redacted: Redacted) -> Redacted {
        let Redacted { text, mut found } = redacted;
        let replaced = self.pattern.replace_all(&text, |captures: &Captures<'_>| {
            let whole = captures.get(0).map_or("", |it| it.as_str());
            let secret = captures.get(1).or_else(|| captures.get(0)).map_or("", |it| it.as_str());
            if !(self.plausible)(secret) || secret.contains("[redacted ") {
                return whole.to_owned();
            }
            *found.entry(self.kind).or_default() += 1;
            let quote = secret.chars().next().filter(|c| ['"', '\''].contains(c));
            let quote = quote.map(String::from).unwrap_or_default();
            let put = format!("{quote}[redacted {}]{quote}", self.kind);
            // The secret ends what was found, or nearly: what follows it there stays.
            match whole.rfind(secret) {
                Some(at) => {
                    let (before, rest) = whole.split_at(at);
                    let after = rest.strip_prefix(secret).unwrap_or_default();
                    format!("{before}{put}{after}")
                }
                None => put,
            }
        });
        Redacted { text: replaced.into_owned(), found }
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use muster_kernel::testing::SeededEntropy;
    use muster_kernel::{Secret, TokenKind};
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_rule_is_in_force() {
        assert_eq!(COMPILED.len(), RULES.len());
    }

    /// One text a line: what has to go stands between `«` and `»`.
    #[test]
    fn secrets_go_and_what_only_looks_like_them_stays() {
        let (mut wrong, mut seen) = (String::new(), 0);
        for line in include_str!("../tests/secrets.txt").lines() {
            if line.is_empty() || line.starts_with("# ") {
                continue;
            }
            seen += 1;
            let text = line.replace(['«', '»'], "").replace("\\n", "\n");
            let redacted = redact(&text).text;
            let secrets: Vec<_> = line
                .split('«')
                .skip(1)
                .map(|rest| rest.split('»').next().unwrap().replace("\\n", "\n"))
                .collect();
            let kept = secrets.iter().any(|secret| redacted.contains(secret.as_str()));
            // What stands outside of the marks stays, to the letter.
            let mut rest = redacted.as_str();
            let outside = line.replace("\\n", "\n");
            let whole = outside.split('«').enumerate().all(|(index, part)| {
                let part = if index == 0 { part } else { part.split_once('»').unwrap().1 };
                let behind = if part.is_empty() { Some(("", rest)) } else { rest.split_once(part) };
                rest = behind.map_or("", |(_, behind)| behind);
                behind.is_some()
            });
            if kept || !whole || (secrets.is_empty() && redacted != text) {
                let _ = writeln!(wrong, "{line}\n  {redacted}");
            }
        }
        assert!(wrong.is_empty(), "\n{wrong}");
        assert!(seen >= 70, "{seen}");
    }

    #[test]
    fn tokens_of_muster_go_wherever_they_stand() {
        let kinds = [
            TokenKind::Refresh,
            TokenKind::Enrollment,
            TokenKind::Agent,
            TokenKind::ApiKey,
            TokenKind::Ticket,
        ];
        for (seed, kind) in (0..).zip(kinds.into_iter().cycle().take(100)) {
            let token = Secret::draw(kind, &SeededEntropy::new(seed));
            let text = format!("muster-agent run --enrollment-token {}; x", token.expose());
            let redacted = redact(&text);
            let random: String = token.expose().chars().skip(3).take(17).collect();
            assert!(!redacted.text.contains(&random), "{redacted:?}");
            assert!(redacted.text.ends_with("; x"), "{redacted:?}");
        }
    }

    #[test]
    fn it_is_told_what_was_taken_out() {
        let redacted = redact("password=hunter2 and AKIAABCDEFGHIJKLMNOP and password=hunter3");
        assert_eq!(redacted.found, BTreeMap::from([("AWS key", 1), ("password", 2)]));
    }

    proptest! {
        #[test]
        fn what_was_redacted_once_stays_as_it_is(text in r#"[ -~\n]{0,60}(password=|token: "|-p |Bearer )[ -~]{0,40}"#) {
            let once = redact(&text);
            let twice = redact(&once.text);
            prop_assert_eq!(&once.text, &twice.text);
            prop_assert!(twice.found.is_empty(), "{:?}", twice);
        }

        #[test]
        fn a_password_goes_whatever_is_around_it(
            before in "[a-z \n]{0,30}", secret in "[A-Za-z0-9]{8,20}", after in "[a-z \n]{0,30}",
        ) {
            prop_assume!(is_value(&secret));
            let text = format!("{before} password={secret} {after}");
            let redacted = redact(&text).text;
            prop_assert!(!redacted.contains(&secret));
        }

        #[test]
        fn words_without_signs_stay_as_they_are(text in "[a-z ,.\n]{0,200}") {
            prop_assert_eq!(redact(&text).text, text);
        }
    }
}
