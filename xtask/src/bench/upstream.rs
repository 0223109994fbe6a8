//! The upstream of the benchmark: answers every call at once with the same valid answer.
//!
//! One blocking thread a connection: on one core that costs least, so that the proxy in front is
//! what limits. It parses no more of a request than where it ends.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use super::time::pause;
use super::wire::{self, EVENTS, StreamAnswer};

/// How long lies between two events of a stream.
pub(super) const EVENT_PAUSE: Duration = Duration::from_millis(1);

const REQUEST_BYTES_MAX: usize = 64 * 1024;

struct Answers {
    whole: Vec<u8>,
    stream: StreamAnswer,
}

/// Starts it in the background for the rest of the process; returns its address.
pub(super) fn start() -> io::Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let addr = listener.local_addr()?;
    let answers = Arc::new(Answers {
        whole: wire::whole_answer(),
        stream: wire::stream_answer(),
    });
    thread::spawn(move || {
        for connection in listener.incoming().flatten() {
            let answers = Arc::clone(&answers);
            // A proxy that closes its connections ends their threads.
            thread::spawn(move || serve(connection, &answers));
        }
    });
    Ok(addr)
}

fn serve(mut connection: TcpStream, answers: &Answers) -> io::Result<()> {
    connection.set_nodelay(true)?;
    let mut buffer = vec![0; REQUEST_BYTES_MAX];
    loop {
        let mut filled = 0;
        let request = loop {
            if let Some(request) = whole_request(&buffer[..filled]) {
                break request;
            }
            match connection.read(&mut buffer[filled..])? {
                0 => return Ok(()),
                read => filled += read,
            }
        };
        let streams = find(request, br#""stream":true"#).is_some();
        if streams {
            let with_usage = find(request, br#""include_usage":true"#).is_some();
            stream(&mut connection, &answers.stream, with_usage)?;
        } else {
            connection.write_all(&answers.whole)?;
        }
    }
}

fn stream(connection: &mut TcpStream, answer: &StreamAnswer, usage: bool) -> io::Result<()> {
    connection.write_all(&answer.first)?;
    for _ in 0..EVENTS {
        pause(EVENT_PAUSE);
        connection.write_all(&answer.event)?;
    }
    pause(EVENT_PAUSE);
    connection.write_all(if usage {
        &answer.last
    } else {
        &answer.last_without_usage
    })
}

/// Returns the request's body once all of it is there.
fn whole_request(bytes: &[u8]) -> Option<&[u8]> {
    let head = find(bytes, b"\r\n\r\n")? + 4;
    let length: usize = super::load::header(&bytes[..head], "content-length")?
        .parse()
        .ok()?;
    let body = &bytes[head..];
    (body.len() == length).then_some(body)
}

fn find(bytes: &[u8], needle: &[u8]) -> Option<usize> {
    bytes
        .windows(needle.len())
        .position(|window| window == needle)
}
