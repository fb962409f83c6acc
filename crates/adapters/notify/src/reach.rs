//! Which addresses may be reached.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use crate::AllowPrivate;

/// Which addresses may be reached: public ones, and private ones where that is allowed. Those that
/// lead to no one machine, or to the services of a cloud (link-local), never.
#[derive(Clone)]
pub struct Reach {
    allow_private: AllowPrivate,
}

impl fmt::Debug for Reach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reach").field("allow_private", &(self.allow_private)()).finish()
    }
}

/// What an address leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Public,
    /// This machine, or its network.
    Private,
    Forbidden,
}

/// There is no address that may be reached.
#[derive(Debug, thiserror::Error)]
#[error("{0} leads to no address that may be reached: see the setting alerts_private_addresses")]
struct OutOfReach(String);

impl Reach {
    /// `allow_private` says whether private addresses may be reached.
    pub fn new(allow_private: AllowPrivate) -> Self {
        Self { allow_private }
    }

    /// Whether an address may be reached.
    pub fn allows(&self, address: IpAddr) -> bool {
        match kind(address) {
            Kind::Public => true,
            Kind::Private => self.allows_private(),
            Kind::Forbidden => false,
        }
    }

    /// Whether private addresses may be reached.
    pub fn allows_private(&self) -> bool {
        (self.allow_private)()
    }

    /// The addresses of `host` that may be reached.
    pub(crate) async fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let all = tokio::net::lookup_host((host, port)).await?;
        let reachable: Vec<_> = all.filter(|address| self.allows(address.ip())).collect();
        if reachable.is_empty() {
            let refused = OutOfReach(host.to_owned());
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, refused));
        }
        Ok(reachable)
    }
}

/// What is resolved here is what is connected to: a name that means another address a moment later
/// gains nothing by it.
impl Resolve for Reach {
    fn resolve(&self, name: Name) -> Resolving {
        let reach = self.clone();
        Box::pin(async move {
            let addresses = Self::resolve(&reach, name.as_str(), 0).await?;
            let addresses: Addrs = Box::new(addresses.into_iter());
            Ok(addresses)
        })
    }
}

fn kind(address: IpAddr) -> Kind {
    match address {
        IpAddr::V4(address) => kind_v4(address),
        IpAddr::V6(address) => embedded(address).map_or_else(|| kind_v6(address), kind_v4),
    }
}

fn kind_v4(address: Ipv4Addr) -> Kind {
    let [a, b, c, _] = address.octets();
    // 192.0.0.0/24 is for protocols, 198.18.0.0/15 for measurements, 240.0.0.0/4 for nobody.
    let special = (a, b, c) == (192, 0, 0) || (a == 198 && (b & 0xfe) == 18) || a >= 240;
    let never = address.is_unspecified()
        || a == 0
        || address.is_link_local()
        || address.is_multicast()
        || address.is_broadcast()
        || address.is_documentation()
        || special
        // The services of some clouds are in the middle of other ranges.
        || address == Ipv4Addr::new(100, 100, 100, 200)
        || address == Ipv4Addr::new(168, 63, 129, 16);
    let shared = a == 100 && (b & 0xc0) == 64;
    if never {
        Kind::Forbidden
    } else if address.is_loopback() || address.is_private() || shared {
        Kind::Private
    } else {
        Kind::Public
    }
}

fn kind_v6(address: Ipv6Addr) -> Kind {
    let [first, second, ..] = address.segments();
    let documentation = (first, second) == (0x2001, 0x0db8) || first & 0xfff0 == 0x3ff0;
    // fd00:ec2::254 is where a cloud keeps the secrets of its machines.
    let metadata = address == Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);
    let link_local = first & 0xffc0 == 0xfe80;
    if address.is_unspecified() || address.is_multicast() || documentation || metadata || link_local
    {
        Kind::Forbidden
    } else if address.is_loopback() || first & 0xfe00 == 0xfc00 || first & 0xffc0 == 0xfec0 {
        Kind::Private
    } else if first & 0xe000 == 0x2000 {
        Kind::Public
    } else {
        Kind::Forbidden
    }
}

/// The IPv4 address that an IPv6 address stands for: mapped, translated (NAT64) or tunnelled (6to4).
fn embedded(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let v4 = |high: u16, low: u16| Ipv4Addr::from_bits((u32::from(high) << 16) | u32::from(low));
    match address.segments() {
        [0, 0, 0, 0, 0, 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
            Some(v4(high, low))
        }
        [0x2002, high, low, ..] => Some(v4(high, low)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn kind_of(text: &str) -> Kind {
        kind(text.parse().unwrap())
    }

    #[test]
    fn only_public_addresses_are_public() {
        for public in ["1.1.1.1", "93.184.216.34", "2606:4700::1111", "64:ff9b::0101:0101"] {
            assert_eq!(kind_of(public), Kind::Public, "{public}");
        }
        let private = [
            "127.0.0.1",
            "127.9.9.9",
            "10.0.0.1",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "100.64.0.1",
            "::1",
            "fc00::1",
            "fd12::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "2002:7f00:0001::",
            "64:ff9b::7f00:1",
        ];
        for private in private {
            assert_eq!(kind_of(private), Kind::Private, "{private}");
        }
        let forbidden = [
            "0.0.0.0",
            "0.1.2.3",
            "169.254.169.254",
            "169.254.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "192.0.0.192",
            "198.18.0.1",
            "100.100.100.200",
            "168.63.129.16",
            "240.0.0.1",
            "::",
            "fe80::1",
            "ff02::1",
            "fd00:ec2::254",
            "::ffff:169.254.169.254",
            "::7f00:1",
            "64:ff9b::a9fe:a9fe",
            "2002:a9fe:a9fe::",
        ];
        for forbidden in forbidden {
            assert_eq!(kind_of(forbidden), Kind::Forbidden, "{forbidden}");
        }
    }

    #[test]
    fn what_is_allowed_opens_private_addresses_and_no_others() {
        let open = Reach::new(Arc::new(|| true));
        assert!(open.allows("127.0.0.1".parse().unwrap()));
        assert!(!open.allows("169.254.169.254".parse().unwrap()));
        let closed = Reach::new(Arc::new(|| false));
        assert!(!closed.allows("127.0.0.1".parse().unwrap()));
        assert!(closed.allows("1.1.1.1".parse().unwrap()));
    }

    #[tokio::test]
    async fn a_name_that_leads_inside_leads_nowhere() {
        let closed = Reach::new(Arc::new(|| false));
        for host in ["localhost", "127.0.0.1", "[::1]", "0x7f.1", "2130706433"] {
            assert!(Reach::resolve(&closed, host, 80).await.is_err(), "{host}");
        }
    }
}
