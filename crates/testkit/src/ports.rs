//! Loopback ports for servers that must be told where to listen.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};

/// Returns a loopback address where nobody listened a moment ago. Another process may take it
/// first, so a server that can report the port it chose itself is to be preferred.
///
/// # Panics
/// When the machine has no free port left.
pub fn free() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a loopback port is free");
    listener
        .local_addr()
        .expect("a bound socket has an address")
}
