//! `http` against real servers, good and bad.

use std::{sync::Arc, time::Duration};

use tokio::{io::AsyncWriteExt, net::TcpStream, sync::Notify, task::JoinHandle};

use super::{
    super::{Pass, ProbeError, Stage},
    check, http_check, read_request, reset, serve,
};
use crate::model::{
    CheckKind,
    check::{HttpCheck, HttpMethod},
};

/// A server that reads a request, writes `answer` and closes.
async fn answering(answer: impl Into<Vec<u8>>) -> u16 {
    let answer: Arc<[u8]> = answer.into().into();
    serve(move |mut stream: TcpStream| {
        let answer = answer.clone();
        async move {
            read_request(&mut stream).await;
            // The check may have seen enough and be gone.
            let _ = stream.write_all(&answer).await;
            let _ = stream.shutdown().await;
        }
    })
    .await
}

async fn judged(check_: HttpCheck, answer: impl Into<Vec<u8>>) -> Result<Pass, ProbeError> {
    check(CheckKind::Http(check_), answering(answer).await).await
}

fn wanting(text: &str) -> HttpCheck {
    HttpCheck { body_contains: Some(text.to_owned()), ..http_check() }
}

fn text(result: Result<Pass, ProbeError>) -> String {
    match result {
        Ok(pass) => pass.to_string(),
        Err(error) => error.to_string(),
    }
}

#[tokio::test]
async fn the_status_decides() {
    let ok = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    let unavailable = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n";
    let moved =
        "HTTP/1.1 301 Moved Permanently\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n";
    let moving = HttpCheck { status: vec![(301, 301)], ..http_check() };
    assert_eq!(text(judged(http_check(), ok).await), "200 OK");
    assert_eq!(text(judged(http_check(), unavailable).await), "503 Service Unavailable, wanted 200-299");
    assert_eq!(text(judged(moving.clone(), moved).await), "301 Moved Permanently");
    assert_eq!(text(judged(moving, ok).await), "200 OK, wanted 301");
}

#[tokio::test]
async fn the_request_is_what_a_browser_might_send() {
    let (requests, mut received) = tokio::sync::mpsc::channel(1);
    let port = serve(move |mut stream| {
        let requests = requests.clone();
        async move {
            let request = read_request(&mut stream).await;
            requests.send(request).await.unwrap();
            stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
        }
    })
    .await;
    let check_ = HttpCheck {
        method: HttpMethod::Head,
        path: "/check?q=1".into(),
        headers: vec![("X-Probe".into(), "yes".into())],
        ..http_check()
    };
    let result = check(CheckKind::Http(check_), port).await;
    assert_eq!(text(result), "204 No Content");
    let request = received.recv().await.unwrap().to_ascii_lowercase();
    let mut lines: Vec<&str> = request.trim_end().split("\r\n").collect();
    assert_eq!(lines.remove(0), "head /check?q=1 http/1.1");
    lines.sort_unstable();
    let agent = concat!("user-agent: lbd/", env!("CARGO_PKG_VERSION"));
    assert_eq!(lines, ["connection: close", "host: www.example.org", agent, "x-probe: yes"]);
}

#[tokio::test]
async fn the_body_is_searched_across_chunks() {
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
                   5\r\nall s\r\n8\r\nystems g\r\n1\r\no\r\n0\r\n\r\n";
    assert_eq!(text(judged(wanting("all systems go"), chunked).await), "200 OK");
    let error = "`all systems stop` not found in 14 bytes of body";
    assert_eq!(text(judged(wanting("all systems stop"), chunked).await), error);
}

#[tokio::test]
async fn only_the_first_64_kib_of_a_body_are_searched() {
    let mut body = vec![b'.'; 70_000];
    body.extend_from_slice(b"ok");
    let mut answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()).into_bytes();
    answer.extend_from_slice(&body);
    assert_eq!(text(judged(wanting("ok"), answer).await), "`ok` not found in 65536 bytes of body");
}

#[tokio::test]
async fn an_endless_body_ends_the_check_not_the_memory() {
    let port = serve(|mut stream| async move {
        read_request(&mut stream).await;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await;
        while stream.write_all(&[b'.'; 4096]).await.is_ok() {}
    })
    .await;
    let result = check(CheckKind::Http(wanting("ok")), port).await;
    assert_eq!(text(result), "`ok` not found in 65536 bytes of body");
}

#[tokio::test]
async fn a_text_found_early_needs_no_end_of_the_body() {
    let cut = "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nok";
    assert_eq!(text(judged(wanting("ok"), cut).await), "200 OK");
    let result = judged(wanting("never"), cut).await;
    assert_eq!(result, Err(ProbeError::Closed(Stage::Body)));
}

#[tokio::test]
async fn http_1_0_answers_are_understood() {
    let answer = "HTTP/1.0 200 OK\r\nServer: old\r\n\r\nall is well";
    assert_eq!(text(judged(wanting("is well"), answer).await), "200 OK");
}

#[tokio::test]
async fn what_is_not_http_is_told_so() {
    for garbage in ["SSH-2.0-OpenSSH_9.2\r\n", "\0\u{1}\u{2}\u{3}\r\n\r\n", "HTTP/1.1 abc\r\n\r\n"] {
        let result = judged(http_check(), garbage).await;
        assert!(matches!(result, Err(ProbeError::NotHttp(_))), "{garbage:?}: {result:?}");
    }
}

#[tokio::test]
async fn endless_headers_end_the_check() {
    let port = serve(|mut stream| async move {
        read_request(&mut stream).await;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n").await;
        while stream.write_all(b"X-More: and more\r\n").await.is_ok() {}
    })
    .await;
    let result = check(CheckKind::Http(http_check()), port).await;
    assert!(matches!(result, Err(ProbeError::NotHttp(_))), "{result:?}");
}

#[tokio::test]
async fn closing_and_resetting_instead_of_answering_fail() {
    assert_eq!(judged(http_check(), "").await, Err(ProbeError::Closed(Stage::Answer)));
    let port = serve(|mut stream| async move {
        read_request(&mut stream).await;
        reset(stream);
    })
    .await;
    let result = check(CheckKind::Http(http_check()), port).await;
    assert_eq!(result, Err(ProbeError::Reset(Stage::Answer)));
}

/// A check against a server that, having read the request, sends `head`, then a letter a second for ever. The clock is paused from
/// the moment the head is out, so only our timers pass; the client reads it in the first of the seconds that go by.
async fn against_a_dribble(head: &'static [u8]) -> ProbeError {
    let ready = Arc::new(Notify::new());
    let signal = ready.clone();
    let port = serve(move |mut stream| {
        let signal = signal.clone();
        async move {
            read_request(&mut stream).await;
            stream.write_all(head).await.unwrap();
            signal.notify_one();
            loop {
                tokio::time::sleep(Duration::from_secs(1)).await;
                if !head.is_empty() && stream.write_all(b".").await.is_err() {
                    return;
                }
            }
        }
    })
    .await;
    let result: JoinHandle<_> = tokio::spawn(check(CheckKind::Http(wanting("ok")), port));
    ready.notified().await;
    tokio::time::pause();
    result.await.unwrap().unwrap_err()
}

#[tokio::test]
async fn silence_is_a_timeout() {
    let error = against_a_dribble(b"").await;
    assert_eq!(error.to_string(), "timed out after 5s while waiting for the answer");
}

#[tokio::test]
async fn a_body_that_dribbles_on_is_a_timeout_of_the_whole_check() {
    let error = against_a_dribble(b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n.").await;
    assert_eq!(error.to_string(), "timed out after 5s while reading the body");
}
