//! Which addresses a model may have: any but those that lead to the services of a cloud, whose answers
//! are keys, or to no one machine. A model on this machine or in its network is a good one.

use std::io;
use std::net::IpAddr;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// Resolves names to addresses that may be reached. What is resolved here is what is connected to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reach;

impl Resolve for Reach {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let all = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let reachable: Vec<_> = all.filter(|address| allows(address.ip())).collect();
            if reachable.is_empty() {
                let refused = io::Error::from(io::ErrorKind::PermissionDenied);
                return Err(refused.into());
            }
            let addresses: Addrs = Box::new(reachable.into_iter());
            Ok(addresses)
        })
    }
}

/// Whether an address may be reached.
pub(crate) fn allows(address: IpAddr) -> bool {
    let address = address.to_canonical();
    let nobody = address.is_unspecified() || address.is_multicast();
    match address {
        IpAddr::V4(it) => {
            // The services of some clouds are in the middle of other ranges.
            let service = [[100, 100, 100, 200], [168, 63, 129, 16]].contains(&it.octets());
            !(nobody || it.is_link_local() || it.is_broadcast() || service)
        }
        IpAddr::V6(it) => {
            let [first, second, third, .., last] = it.segments();
            let service = (first, second, last) == (0xfd00, 0xec2, 0x254);
            // Translated and tunnelled, they lead where their last half says.
            let translated = (first, second, third) == (0x64, 0xff9b, 0) || first == 0x2002;
            !(nobody || first & 0xffc0 == 0xfe80 || service || translated)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_may_be_anywhere_but_where_clouds_keep_their_keys() {
        for good in ["127.0.0.1", "10.0.0.1", "192.168.1.1", "1.1.1.1", "::1", "2606:4700::1111"] {
            assert!(allows(good.parse().unwrap()), "{good}");
        }
        let bad = [
            "169.254.169.254",
            "::ffff:169.254.169.254",
            "64:ff9b::a9fe:a9fe",
            "2002:a9fe:a9fe::",
            "fe80::1",
            "fd00:ec2::254",
            "100.100.100.200",
            "168.63.129.16",
            "0.0.0.0",
            "::",
            "224.0.0.1",
            "255.255.255.255",
        ];
        for bad in bad {
            assert!(!allows(bad.parse().unwrap()), "{bad}");
        }
    }
}
