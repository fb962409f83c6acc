//! What a schedule may hold.

use std::time::Duration;

use crate::runs::{Template, Work};
use crate::spec::timeout;
use crate::usecase::MAX_EXPIRES_IN;
use crate::{InvalidSpec, Limits, ShellType, Spec};

/// The longest description, in characters.
const MAX_DESCRIPTION: usize = 4000;
/// The longest random delay.
const MAX_JITTER: Duration = Duration::from_hours(24);
/// How many parameters work has.
const MAX_PARAMETERS: usize = 256;

fn invalid(field: &'static str, rule: &str) -> InvalidSpec {
    InvalidSpec { field, rule: rule.to_owned() }
}

/// A name without the space around it.
pub(super) fn name(text: &str) -> Result<String, InvalidSpec> {
    let text = text.trim();
    if !(1..=200).contains(&text.chars().count()) || text.chars().any(char::is_control) {
        return Err(invalid("name", "1 to 200 printable characters are expected"));
    }
    Ok(text.to_owned())
}

/// A description.
pub(super) fn description(text: Option<String>) -> Result<Option<String>, InvalidSpec> {
    if text.as_ref().is_some_and(|text| text.chars().count() > MAX_DESCRIPTION) {
        return Err(invalid("description", "at most 4000 characters are expected"));
    }
    Ok(text)
}

/// A random delay, in whole seconds.
pub(super) fn jitter(jitter: Duration) -> Result<Duration, InvalidSpec> {
    if jitter > MAX_JITTER {
        return Err(invalid("jitter", "at most 86400 seconds are expected"));
    }
    Ok(Duration::from_secs(jitter.as_secs()))
}

/// What can be said about a template before it runs.
pub(super) fn template(template: &Template, limits: Limits) -> Result<(), InvalidSpec> {
    template.target.check().map_err(InvalidSpec::from)?;
    work(&template.work, limits)?;
    template.strategy.check()?;
    let is_short = |time: Duration| !time.is_zero() && time <= MAX_EXPIRES_IN;
    if !template.expires_in.is_none_or(is_short) {
        let rule = "more than 0 and at most 31622400 seconds (366 days)";
        return Err(invalid("expires_in", rule));
    }
    Ok(())
}

fn work(work: &Work, limits: Limits) -> Result<(), InvalidSpec> {
    match work {
        Work::Command(wording) => {
            Spec::parse(wording.clone().into(), ShellType::Sh, limits).map(|_| ())
        }
        Work::Script { parameters, timeout: seconds, .. }
        | Work::SavedCommand { parameters, timeout: seconds, .. } => {
            if parameters.len() > MAX_PARAMETERS {
                return Err(invalid("parameters", "at most 256 parameters"));
            }
            timeout(*seconds, limits).map(|_| ())
        }
    }
}
