//! What the port says about each way in which the protocol can fail.

use std::error::Error;

use muster_identity::SignOnError;
use openidconnect::core::{CoreErrorResponseType, CoreRequestTokenError};
use openidconnect::{ConfigurationError, DiscoveryError, RequestTokenError, UserInfoError};

use crate::http::HttpError;

pub(crate) fn refused(why: impl Into<String>) -> SignOnError {
    SignOnError::Refused(why.into())
}

/// The whole chain of causes: the port's errors have nothing but a text.
pub(crate) fn chain(error: &(dyn Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |error| (*error).source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

pub(crate) fn unreachable(error: &(dyn Error + 'static)) -> SignOnError {
    SignOnError::Unreachable(chain(error))
}

/// Of the provider's description of itself.
pub(crate) fn of_discovery(error: &DiscoveryError<HttpError>) -> SignOnError {
    unreachable(error)
}

/// Of a description in which an endpoint is missing.
pub(crate) fn of_configuration(error: &ConfigurationError) -> SignOnError {
    unreachable(error)
}

/// Of the exchange of a code for a token.
pub(crate) fn of_exchange(error: &CoreRequestTokenError<HttpError>) -> SignOnError {
    match error {
        RequestTokenError::Request(why) => unreachable(why),
        RequestTokenError::ServerResponse(answer) => match answer.error() {
            // Both are about what the browser brought.
            CoreErrorResponseType::InvalidGrant | CoreErrorResponseType::InvalidRequest => {
                refused(answer.to_string())
            }
            // The rest is about us: nobody can sign on until somebody changes the settings.
            _ => SignOnError::Unreachable(answer.to_string()),
        },
        // The cause would quote from the token.
        RequestTokenError::Parse(..) => refused("the provider's token can't be read"),
        RequestTokenError::Other(why) => refused(why.clone()),
    }
}

/// Of the question for what the token left out.
pub(crate) fn of_user_info(error: &UserInfoError<HttpError>) -> SignOnError {
    match error {
        UserInfoError::ClaimsVerification(why) => refused(chain(why)),
        other => unreachable(other),
    }
}
