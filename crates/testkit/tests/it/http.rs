//! The client says what it sent and heard, and can hang up in the middle.

use fisc_testkit::http::Client;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Reads one request and returns it whole, the body by its declared length.
async fn read_request(socket: &mut TcpStream) -> String {
    let mut text = String::new();
    loop {
        let mut bytes = [0; 1024];
        let count = socket.read(&mut bytes).await.unwrap();
        assert!(count > 0, "closed after {text:?}");
        text.push_str(std::str::from_utf8(&bytes[..count]).unwrap());
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "));
        if body.len() >= length.map_or(0, |length| length.parse().unwrap()) {
            return text;
        }
    }
}

#[tokio::test]
async fn a_request_is_sent_as_given_on_a_kept_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = Client::new(listener.local_addr().unwrap()).with_header("x-all", "1");
    let server = tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut requests = Vec::new();
        for _ in 0..2 {
            requests.push(read_request(&mut socket).await);
            let answer = b"HTTP/1.1 402 Payment Required\r\nX-A: b\r\ncontent-length: 2\r\n\r\n{}";
            socket.write_all(answer).await.unwrap();
        }
        requests
    });
    let headers = [("x-one", "2"), ("host", "elsewhere")];
    let answer = client
        .post_json("/a?b", &headers, r#"{"c":1}"#)
        .await
        .unwrap();
    assert_eq!((answer.status, answer.header("x-a")), (402, Some("b")));
    assert_eq!(answer.json(), serde_json::json!({}));
    client.get("/second").await.unwrap();

    let requests = server.await.unwrap();
    assert!(
        requests[0].starts_with("POST /a?b HTTP/1.1\r\n"),
        "{}",
        requests[0]
    );
    for line in [
        "x-all: 1\r\n",
        "x-one: 2\r\n",
        "host: elsewhere\r\n",
        "\r\n\r\n{\"c\":1}",
    ] {
        assert!(requests[0].contains(line), "{line:?} in {}", requests[0]);
    }
    assert_eq!(requests[0].matches("host:").count(), 1, "{}", requests[0]);
    assert!(requests[1].starts_with("GET /second"), "{}", requests[1]);
}

#[tokio::test]
async fn hanging_up_in_a_stream_is_seen_by_the_server() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = Client::new(listener.local_addr().unwrap());
    let server = tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        read_request(&mut socket).await;
        let head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n";
        socket.write_all(head).await.unwrap();
        // The end of file, or a reset.
        socket.read(&mut [0; 16]).await.unwrap_or(0)
    });
    let streaming = client.post_streaming("/", &[], "{}").await.unwrap();
    assert_eq!(streaming.status, 200);
    assert_eq!(&streaming.drop_after(3).await.unwrap()[..], b"hel");
    assert_eq!(server.await.unwrap(), 0);
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_an_error() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = Client::new(listener.local_addr().unwrap());
    tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        read_request(&mut socket).await;
        socket
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf")
            .await
            .unwrap();
    });
    let broken = client.get("/").await.unwrap_err();
    assert!(
        broken.to_string().starts_with("the body failed"),
        "{broken}"
    );
}
