//! From where a request comes.

use std::net::{IpAddr, SocketAddr};

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpMessage, HttpRequest};
use ipnet::IpNet;
use muster_kernel::{Actor, Author};
use tracing_actix_web::RequestId;

use super::caller::{Extracting, state_of};
use crate::limits::Counter;
use crate::{AppState, Problem};

/// Somebody who has not said who they are.
pub(crate) fn author(request: &HttpRequest, state: &AppState) -> Author {
    let request_id = request.extensions().get::<RequestId>().map(|id| id.to_string().into());
    Author {
        actor: Actor::Anonymous,
        address: client_address(request, &state.web.trusted_proxies),
        request_id,
    }
}

/// The address of whoever asks. What a proxy says of it counts as far as every proxy on the way
/// back to us is trusted: the rest of the header anybody could have written. `None` when a trusted
/// proxy says something that is no address.
pub fn client_address(request: &HttpRequest, trusted: &[IpNet]) -> Option<IpAddr> {
    let peer = request.peer_addr()?.ip().to_canonical();
    let headers = request.headers().get_all("x-forwarded-for");
    let told: Vec<_> =
        headers.map(|header| String::from_utf8_lossy(header.as_bytes()).into_owned()).collect();
    behind_proxies(peer, &told, trusted)
}

/// Reads a network, or an address, which is the network of itself.
pub fn network(text: &str) -> Option<IpNet> {
    let text = text.trim();
    text.parse().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))
}

fn behind_proxies(peer: IpAddr, told: &[String], trusted: &[IpNet]) -> Option<IpAddr> {
    let is_trusted = |address: IpAddr| trusted.iter().any(|network| network.contains(&address));
    let mut address = peer;
    for text in told.iter().rev().flat_map(|header| header.rsplit(',')) {
        if !is_trusted(address) {
            break;
        }
        let text = text.trim();
        if text.is_empty() {
            continue;
        }
        match one_address(text) {
            Some(before) => address = before.to_canonical(),
            // What a proxy of ours says of another is true, whatever stands before it.
            None if address != peer => break,
            None => return None,
        }
    }
    Some(address)
}

/// An address, which some proxies tell with its port.
fn one_address(text: &str) -> Option<IpAddr> {
    let with_port = || text.parse::<SocketAddr>().ok().map(|address| address.ip());
    text.trim_matches(['[', ']']).parse().ok().or_else(with_port)
}

/// Somebody who asks a route that takes a password or a refresh token: such requests are counted
/// by address.
#[derive(Debug, Clone)]
pub(crate) struct Stranger(pub(crate) Author);

impl FromRequest for Stranger {
    type Error = Problem;
    type Future = Extracting<Self>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let request = request.clone();
        Box::pin(async move {
            let state = state_of(&request)?;
            let author = author(&request, &state);
            Counter::new(&request, &state).sign_in(&author).await?;
            Ok(Self(author))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_the_network_of_itself() {
        assert_eq!(network(" 10.0.0.1").unwrap().to_string(), "10.0.0.1/32");
        assert_eq!(network("fd00::/8").unwrap().to_string(), "fd00::/8");
        assert!(network("example.org").is_none() && network("10.0.0.0/33").is_none());
    }

    #[test]
    fn an_address_counts_as_far_as_trusted_proxies_tell_it() {
        let trusted: Vec<IpNet> =
            ["10.0.0.0/8", "fd00::/8"].map(|net| network(net).unwrap()).into();
        let client = |peer: &str, told: &[&str]| {
            let told: Vec<_> = told.iter().map(|text| (*text).to_owned()).collect();
            let address = behind_proxies(peer.parse().unwrap(), &told, &trusted);
            address.map_or_else(|| "nowhere".to_owned(), |address| address.to_string())
        };
        assert_eq!(client("203.0.113.5", &["198.51.100.1"]), "203.0.113.5", "anybody says that");
        assert_eq!(client("10.0.0.1", &["198.51.100.1"]), "198.51.100.1");
        assert_eq!(client("10.0.0.1", &["1.1.1.1, 198.51.100.1, 10.0.0.2"]), "198.51.100.1");
        assert_eq!(client("10.0.0.1", &["1.1.1.1", "198.51.100.1"]), "198.51.100.1");
        assert_eq!(client("fd00::1", &["2001:db8::7"]), "2001:db8::7");
        assert_eq!(client("10.0.0.1", &["::ffff:198.51.100.1"]), "198.51.100.1");
        assert_eq!(client("10.0.0.1", &["198.51.100.1:5678"]), "198.51.100.1");
        assert_eq!(client("10.0.0.1", &["[2001:db8::7]:5678"]), "2001:db8::7");
        assert_eq!(client("10.0.0.1", &["\u{fffd}, 198.51.100.1"]), "198.51.100.1");
        assert_eq!(client("10.0.0.1", &["[2001:db8::7]"]), "2001:db8::7");
        assert_eq!(client("10.0.0.1", &["198.51.100.1, "]), "198.51.100.1");
        assert_eq!(client("10.0.0.1", &[""]), "10.0.0.1");
        assert_eq!(client("10.0.0.1", &["unknown, 10.0.0.3"]), "10.0.0.3");
        assert_eq!(client("10.0.0.1", &["\u{fffd}"]), "nowhere");
        assert_eq!(client("10.0.0.1", &[]), "10.0.0.1");
    }
}
