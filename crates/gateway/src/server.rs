//! The server: listens, serves connections with limits on headers and time, and drains.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use crate::proxy;
use crate::state::State;

/// How long a client may take to send its request's headers.
const HEADER_READ_MAX: Duration = Duration::from_secs(10);

/// How many headers one request may have.
const HEADERS_MAX: usize = 100;

/// The most bytes of request line and headers.
const HEADER_BYTES_MAX: usize = 64 * 1024;

/// How long to pause when the system has no more file descriptors for new connections.
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);

/// What serves connections.
type Builder = auto::Builder<TokioExecutor>;

/// A listening gateway. Its connections end with it.
#[derive(Debug)]
pub(crate) struct Server {
    addr: SocketAddr,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
    ended: bool,
}

// === impl Server ===

impl Server {
    /// Starts serving on a bound listener.
    pub(crate) fn start(listener: TcpListener, state: Arc<State>) -> io::Result<Server> {
        let addr = listener.local_addr()?;
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(accept(listener, state, stopped));
        Ok(Server {
            addr,
            stop,
            task,
            ended: false,
        })
    }

    /// Returns the address it listens on.
    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Stops accepting; connections end with the request that they serve.
    pub(crate) fn stop_accepting(&self) {
        self.stop.send_replace(true);
    }

    /// Waits until all connections have ended, once no more are accepted.
    pub(crate) async fn ended(&mut self) {
        if !self.ended {
            // Whether it panicked or was aborted: no connection is left.
            let _ = (&mut self.task).await;
            self.ended = true;
        }
    }

    /// Drops all connections with the requests that they serve.
    pub(crate) async fn abort(&mut self) {
        self.task.abort();
        self.ended().await;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, state: Arc<State>, mut stopped: watch::Receiver<bool>) {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    // Not `pipeline_flush`: with it, what a client does not read is buffered without an end.
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_READ_MAX)
        .max_headers(HEADERS_MAX)
        .max_buf_size(HEADER_BYTES_MAX);
    let builder = Arc::new(builder.http1_only());
    let graceful = GracefulShutdown::new();
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next() => continue,
            _ = stopped.changed() => break,
        };
        match accepted {
            Ok((stream, _)) => {
                connections.spawn(serve(stream, &state, &builder, &graceful));
            }
            Err(error) => {
                tracing::warn!(%error, "a connection was not accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    graceful.shutdown().await;
    while connections.join_next().await.is_some() {}
}

fn serve(
    stream: TcpStream,
    state: &Arc<State>,
    builder: &Arc<Builder>,
    graceful: &GracefulShutdown,
) -> impl Future<Output = ()> + Send + use<> {
    // Latency of small events matters more than packets.
    let _ = stream.set_nodelay(true);
    let state = Arc::clone(state);
    let service = service_fn(move |request| proxy::serve(Arc::clone(&state), request));
    let connection = builder
        .serve_connection(TokioIo::new(stream), service)
        .into_owned();
    let watched = graceful.watch(connection);
    async move {
        if let Err(error) = watched.await {
            tracing::debug!(%error, "a connection ended early");
        }
    }
}
