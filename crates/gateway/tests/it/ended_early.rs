//! Streams that are ended at an awkward place: in the middle of a call of a tool, so that the
//! client must get no arguments that it could act upon, and in the middle of an event. Every place
//! to cut is tried where endings are written, in `fisc-llm`; here it is seen that a gateway's
//! clients get them.

use std::time::Duration;

use fisc::{Durability, Outcome};
use fisc_gateway::{Credential, Policy};
use fisc_rehearsal::Wire;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

use crate::harness::{Books, House, Plan};
use crate::over_max::check_ending;
use crate::raw::{self, Ask, Beside};

/// How long a call may take.
const CALL_TIME: Duration = Duration::from_millis(600);
/// What is sent of arguments before the provider falls silent.
const SENT: [&[&str]; 3] = [
    &[""],
    &["", "{\"path\": ", "\"/\""],
    &["", "{\"path\"", ":1}"],
];

#[tokio::test]
async fn a_call_of_a_tool_is_not_taken_for_whole_when_its_stream_is_ended() {
    for wire in [Wire::OpenAi, Wire::Anthropic] {
        for pieces in SENT {
            let sent = pieces.concat();
            let events = calling(wire, pieces);
            let body = play(wire, &events).await;
            let arguments = arguments(wire, &body);
            assert!(arguments.starts_with(&sent), "{arguments} {sent}");
            let read = serde_json::from_str::<Value>(&arguments);
            let whole = sent.ends_with('}');
            assert_eq!(read.is_ok(), whole, "{arguments:?} of {sent:?}");
            // No arguments at all are taken for none that are needed.
            assert!(!arguments.trim().is_empty(), "{wire:?}");
        }
    }
}

#[tokio::test]
async fn no_part_of_an_event_is_relayed_that_comes_in_many_pieces() {
    for wire in [Wire::OpenAi, Wire::Anthropic] {
        let mut pieces = calling(wire, &["", "{\"path\": \"/\""]);
        let last = pieces.pop().expect("an event");
        let whole = pieces.concat();
        for (start, end) in [(0, 9), (9, 30), (30, 31), (31, last.len() - 1)] {
            pieces.push(last[start..end].to_owned());
        }
        let body = play(wire, &pieces).await;
        let body = String::from_utf8(body).expect("UTF-8");
        let ending = body.strip_prefix(&whole).expect("whole events are relayed");
        assert!(!ending.contains("path"), "{ending}");
    }
}

/// Returns what the client gets of a stream that falls silent after these pieces.
async fn play(wire: Wire, pieces: &[String]) -> Vec<u8> {
    let house = House::start(Plan {
        books: Books::File(Durability::Process),
        ..Plan::default()
    })
    .await;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("it is bound"));
    let mut beside = Beside::new(&house, &url, &Credential::Nothing);
    beside.policy = Policy {
        call_time: CALL_TIME,
        ..Policy::default()
    };
    let gateway = beside.start(&house).await;
    let ask = Ask::new(wire, true, "wipes", "");
    let mut client = raw::send(gateway.addr(), &ask.request(&house)).await;
    let (mut provider, _) = listener.accept().await.expect("the call is made");
    raw::whole_request(&mut provider).await;
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\
                transfer-encoding: chunked\r\n\r\n";
    provider.write_all(head.as_bytes()).await.expect("it reads");
    for piece in pieces {
        let chunk = format!("{:x}\r\n{piece}\r\n", piece.len());
        let written = provider.write_all(chunk.as_bytes()).await;
        written.expect("it reads");
        // Each is to be read alone.
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let seen = raw::answer(&mut client).await;
    check_ending(wire, &seen);
    let end = raw::ended(&house)
        .await
        .remove("wipes")
        .expect("it was made");
    let facts = end[0].facts.as_ref().expect("it was charged");
    assert!(facts.estimated && facts.outcome == Outcome::TimedOut);
    gateway.shutdown(Duration::from_secs(1)).await;
    house.stop().await;
    seen.body
}

/// Returns the beginning of a stream, up to some pieces of a call's arguments.
fn calling(wire: Wire, pieces: &[&str]) -> Vec<String> {
    match wire {
        Wire::OpenAi => {
            let chunk = |call: Value| {
                let choice = json!({ "index": 0, "delta": { "tool_calls": [call] } });
                let chunk = json!({ "id": "x", "object": "chat.completion.chunk",
                    "model": "m", "created": 1, "choices": [choice] });
                format!("data: {chunk}\n\n")
            };
            let function = json!({ "name": "wipe", "arguments": "" });
            let head = json!({ "index": 0, "id": "c", "type": "function", "function": function });
            let rest = pieces
                .iter()
                .map(|piece| json!({ "index": 0, "function": { "arguments": piece } }));
            std::iter::once(head).chain(rest).map(chunk).collect()
        }
        Wire::Anthropic => {
            let message = json!({ "id": "m", "type": "message", "role": "assistant",
                "model": "m", "content": [], "stop_reason": null,
                "usage": { "input_tokens": 9, "output_tokens": 1 } });
            let block = json!({ "type": "tool_use", "id": "t", "name": "wipe", "input": {} });
            let start =
                json!({ "type": "content_block_start", "index": 0, "content_block": block });
            let begin = [
                json!({ "type": "message_start", "message": message }),
                start,
            ];
            let rest = pieces.iter().map(|piece| {
                let delta = json!({ "type": "input_json_delta", "partial_json": piece });
                json!({ "type": "content_block_delta", "index": 0, "delta": delta })
            });
            let event = |data: Value| {
                let kind = data["type"].as_str().expect("a type");
                format!("event: {kind}\ndata: {data}\n\n")
            };
            begin.into_iter().chain(rest).map(event).collect()
        }
    }
}

/// Returns the arguments of the call as a client puts them together.
fn arguments(wire: Wire, body: &[u8]) -> String {
    let events = raw::events(body).into_iter();
    let pieces = events.map(|event| {
        let piece = match wire {
            Wire::OpenAi => &event["choices"][0]["delta"]["tool_calls"][0]["function"]["arguments"],
            Wire::Anthropic => &event["delta"]["partial_json"],
        };
        piece.as_str().unwrap_or_default().to_owned()
    });
    pieces.collect()
}
