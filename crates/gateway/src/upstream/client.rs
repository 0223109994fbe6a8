//! The HTTP client to upstreams: HTTP/1.1 with pooled connections, TLS by rustls.
//!
//! HTTP/1.1 because the pool keeps a single HTTP/2 connection per host, whose limit on streams
//! would become ours. The pool sends a request again by itself only when a kept connection was
//! found closed before one byte of the request was written to it.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::crypto::aws_lc_rs;

/// Below what providers keep idle connections for, so that we rarely write to a closed one.
const POOL_IDLE_TIMEOUT: Duration = Duration::from_secs(20);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// The client to all upstreams.
pub(crate) type Client = legacy::Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

/// Builds the client. It names its own crypto provider, so nothing process-wide is installed
/// and no other crate's choice can clash with it.
pub(crate) fn client() -> Client {
    legacy::Client::builder(TokioExecutor::new())
        .pool_idle_timeout(POOL_IDLE_TIMEOUT)
        .pool_timer(TokioTimer::new())
        .build(connector(HttpConnector::new()))
}

/// Puts TLS around what connects, whoever looks up its names.
pub(crate) fn connector<R>(mut tcp: HttpConnector<R>) -> HttpsConnector<HttpConnector<R>> {
    tcp.set_nodelay(true);
    tcp.enforce_http(false);
    tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
    HttpsConnectorBuilder::new()
        .with_provider_and_webpki_roots(aws_lc_rs::default_provider())
        .expect("the provider supports the default protocol versions")
        .https_or_http()
        .enable_http1()
        .wrap_connector(tcp)
}
