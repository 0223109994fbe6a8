//! To which addresses alerts may go: those of the public internet, unless the owner says otherwise.
//!
//! A name is looked up by the connector itself, and what does not pass is left out there: the
//! address that was checked is the one that is connected to, whatever the name means a moment
//! later.

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper_util::client::legacy::connect::dns::Name;
use tower_service::Service;

/// Where a cloud's machines find their own secrets, at an address that looks public.
const AZURE_WIRE_SERVER: Ipv4Addr = Ipv4Addr::new(168, 63, 129, 16);

/// Looks names up, and leaves out what may not be connected to.
#[derive(Debug, Clone)]
pub(super) struct Resolver {
    pub(super) allow_private: bool,
}

/// Says that a name means only addresses that may not be connected to.
#[derive(Debug)]
pub(super) struct Refused;

// === impl Resolver ===

impl Service<Name> for Resolver {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, io::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), io::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let allow_private = self.allow_private;
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let may = |address: &SocketAddr| allow_private || is_public(address.ip());
            let left: Vec<_> = found.filter(may).collect();
            if left.is_empty() {
                return Err(io::Error::new(io::ErrorKind::PermissionDenied, Refused));
            }
            Ok(left.into_iter())
        })
    }
}

// === impl Refused ===

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name means no address of the public internet")
    }
}

impl Error for Refused {}

/// Returns the address that a URL's host is, if it is one.
pub(super) fn literal(host: &str) -> Option<IpAddr> {
    let bare = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    bare.unwrap_or(host).parse().ok()
}

/// Says whether an address is of the public internet: not of this machine, this network, or
/// something that stands for them.
pub(super) fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => is_public_v4(ip),
        IpAddr::V6(ip) => is_public_v6(ip),
    }
}

fn is_public_v4(ip: Ipv4Addr) -> bool {
    let [a, b, c, _] = ip.octets();
    let reserved = match a {
        0 | 10 | 127 | 224..=255 => true,
        100 => (64..128).contains(&b),
        169 => b == 254,
        172 => (16..32).contains(&b),
        192 => b == 168 || (b == 0 && (c == 0 || c == 2)) || (b == 88 && c == 99),
        198 => b == 18 || b == 19 || (b == 51 && c == 100),
        203 => b == 0 && c == 113,
        _ => false,
    };
    !reserved && ip != AZURE_WIRE_SERVER
}

fn is_public_v6(ip: Ipv6Addr) -> bool {
    if let Some(ip) = ip.to_ipv4_mapped() {
        return is_public_v4(ip);
    }
    match ip.segments() {
        // A translator's prefix: what counts is whom it stands for.
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
            is_public_v4(Ipv4Addr::from((u32::from(high) << 16) | u32::from(low)))
        }
        // Tunnels, whose other end is in the address; documentation; protocols' own.
        [0x2002, ..] | [0x2001, 0xdb8 | 0..0x200, ..] => false,
        [first, ..] => first & 0xe000 == 0x2000,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_public_internet_is_public() {
        for (text, public) in [
            ("93.184.215.14", true),
            ("8.8.8.8", true),
            ("0.0.0.0", false),
            ("10.1.2.3", false),
            ("100.64.0.1", false),
            ("100.100.100.200", false),
            ("100.128.0.1", true),
            ("127.0.0.1", false),
            ("127.255.255.254", false),
            ("168.63.129.16", false),
            ("169.254.169.254", false),
            ("172.15.0.1", true),
            ("172.16.0.1", false),
            ("172.31.255.255", false),
            ("172.32.0.1", true),
            ("192.0.0.192", false),
            ("192.168.1.1", false),
            ("198.18.0.1", false),
            ("224.0.0.1", false),
            ("255.255.255.255", false),
            ("2606:2800:21f:cb07::1", true),
            ("::", false),
            ("::1", false),
            ("::ffff:127.0.0.1", false),
            ("::ffff:169.254.169.254", false),
            ("::ffff:8.8.8.8", true),
            ("::127.0.0.1", false),
            ("64:ff9b::a00:1", false),
            ("64:ff9b::808:808", true),
            ("2002:7f00:1::", false),
            ("2001::1", false),
            ("2001:db8::1", false),
            ("fc00::1", false),
            ("fd00:ec2::254", false),
            ("fe80::1", false),
            ("fec0::1", false),
            ("ff02::1", false),
        ] {
            let ip = text.parse().expect("an address");
            assert_eq!(is_public(ip), public, "{text}");
        }
    }

    #[tokio::test]
    async fn a_name_of_this_machine_is_refused_where_it_is_looked_up() {
        let look = async |name: &str, allow_private| {
            let mut resolver = Resolver { allow_private };
            resolver.call(name.parse().expect("a name")).await
        };
        // The last ones are ways to write 127.0.0.1 that no parser of addresses takes.
        for name in ["localhost", "127.1", "2130706433", "0x7f.0.0.1"] {
            let refused = look(name, false).await.err();
            let refused = refused.unwrap_or_else(|| panic!("{name} was accepted"));
            let by_us = refused
                .get_ref()
                .is_some_and(<dyn Error + Send + Sync>::is::<Refused>);
            assert!(by_us || name != "localhost", "{name}: {refused}");
        }
        let mut found = look("localhost", true).await.expect("it is known");
        assert!(found.all(|address| address.ip().is_loopback()));
    }
}
