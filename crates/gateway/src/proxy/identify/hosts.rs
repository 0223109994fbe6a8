//! Which names of this gateway a request may use, so that no web page reaches it.
//!
//! A page can make a browser send requests to loopback, and can make its own name resolve to
//! loopback (DNS rebinding). The first shows as an `Origin`, the second as a foreign `Host`.

use hyper::header::{HOST, ORIGIN};
use hyper::{HeaderMap, Uri};

use super::IdentifyError;

const LOOPBACK: [&str; 3] = ["127.0.0.1", "localhost", "[::1]"];

/// The names of this gateway.
#[derive(Debug, Clone)]
pub(crate) struct Hosts {
    port: u16,
    names: Vec<String>,
}

impl Hosts {
    /// Makes the list from the bound port and configured names. A name with a port is compared
    /// as a whole; one without goes with any port, because what protects is the name.
    pub(crate) fn new(port: u16, names: impl IntoIterator<Item = String>) -> Hosts {
        let names = names
            .into_iter()
            .map(|name| name.to_ascii_lowercase())
            .collect();
        Hosts { port, names }
    }

    /// Refuses what a browser or a rebound name sends, and whole URLs in the request line.
    pub(crate) fn check(&self, uri: &Uri, headers: &HeaderMap) -> Result<(), IdentifyError> {
        if uri.scheme().is_some() || uri.authority().is_some() {
            return Err(IdentifyError::AbsoluteForm);
        }
        if headers.contains_key(ORIGIN) {
            return Err(IdentifyError::Origin);
        }
        let mut hosts = headers.get_all(HOST).iter();
        let host = hosts.next().and_then(|host| host.to_str().ok());
        match host {
            Some(host) if hosts.next().is_none() && self.is_ours(host) => Ok(()),
            _ => Err(IdentifyError::ForeignHost),
        }
    }

    fn is_ours(&self, host: &str) -> bool {
        let host = host.to_ascii_lowercase();
        let (name, port) = split_port(&host);
        if LOOPBACK.contains(&name) && port.is_none_or(|port| port == self.port.to_string()) {
            return true;
        }
        self.names.iter().any(|ours| *ours == host || *ours == name)
    }
}

/// Splits `name:port`, `[address]:port` or either without a port.
fn split_port(host: &str) -> (&str, Option<&str>) {
    match host.rsplit_once(':') {
        Some((name, port)) if !name.contains(':') || name.ends_with(']') => (name, Some(port)),
        _ => (host, None),
    }
}
