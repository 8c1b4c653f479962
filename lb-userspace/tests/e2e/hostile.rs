//! Bytes that nobody should send, to the HTTP port and to the socket: each gets an answer or a closed connection, and the daemon lives.

use std::{io::Write as _, net::TcpStream, os::unix::net::UnixStream, time::Duration};

use crate::{daemon::exchange, site::Site};

#[test]
fn malformed_requests_hurt_nobody() {
    let Some(site) = Site::new() else { return };
    let mut lbd = site.start();
    let long_path = format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "a".repeat(100_000));
    let long_header = format!("GET /metrics HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "b".repeat(200_000));
    let many_headers = format!("GET /metrics HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(5000));
    let big_body = format!(
        "POST /api/v1/command HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 1000000\r\n\r\n{}",
        "x".repeat(1_000_000)
    );
    let json = |body: &str| {
        format!(
            "POST /api/v1/command HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    let requests: Vec<Vec<u8>> = vec![
        b"\r\n\r\n\r\n\r\n".to_vec(),
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(),
        vec![0; 10_000],
        vec![0xff; 10_000],
        b"GET / HTTP/9.9\r\n\r\n".to_vec(),
        b"GET \x00 HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(),
        b"GET /pools/%ff%00/../../etc HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".to_vec(),
        b"POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n\r\n".to_vec(),
        b"POST /api/v1/command HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n".to_vec(),
        b"DELETE /pools HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".to_vec(),
        long_path.into_bytes(),
        long_header.into_bytes(),
        many_headers.into_bytes(),
        big_body.into_bytes(),
        json("{").into_bytes(),
        json("null").into_bytes(),
        json(&"[".repeat(50_000)).into_bytes(),
        json(r#"{"selector":{"backend":"h1","pool":null},"change":{"weight":{"weight":4294967296}}}"#)
            .into_bytes(),
    ];
    for request in &requests {
        let shown = String::from_utf8_lossy(&request[..request.len().min(60)]).into_owned();
        // Whoever sends half a request says so by ending: the daemon's own patience is not what is tested here.
        let over_tcp = site.balancer.run(|| {
            let mut stream = TcpStream::connect("127.0.0.1:9090").expect("the port is open");
            send(&mut stream, request, |s| s.shutdown(std::net::Shutdown::Write))
        });
        let mut stream = UnixStream::connect(site.dir.path().join("lbd.sock")).expect("the socket is open");
        let over_socket = send(&mut stream, request, |s| s.shutdown(std::net::Shutdown::Write));
        for answer in [over_tcp, over_socket].into_iter().flatten() {
            assert!(!answer.starts_with("HTTP/1.1 2"), "{shown}: {answer}");
            assert!(!answer.contains("panick"), "{shown}: {answer}");
        }
        assert!(lbd.runs(), "{shown}");
    }
    // Many who say nothing do not keep others out.
    let silent: Vec<TcpStream> = site
        .balancer
        .run(|| (0..100).map(|_| TcpStream::connect("127.0.0.1:9090").expect("the port is open")).collect());
    assert_eq!(site.http("/livez").0, 200);
    drop(silent);
    assert_eq!(site.http("/readyz").0, 200);
    site.ctl(&["status"]);
    assert_eq!(site.member("h1")["weight"], 10);
    assert_eq!(site.requests(20).len(), 3);
    assert!(!site.log().contains("panicked"), "{}", site.log());
}

fn send<S: std::io::Read + std::io::Write>(
    stream: &mut S,
    request: &[u8],
    end: impl FnOnce(&S) -> std::io::Result<()>,
) -> Option<String> {
    // A server may refuse before it has read everything.
    let _ = stream.write_all(request);
    let _ = end(stream);
    exchange(stream, &[])
}

#[test]
fn a_daemon_that_is_asked_while_it_ends_answers_or_says_that_it_is_gone() {
    let Some(site) = Site::new() else { return };
    let lbd = site.start();
    let mut half = UnixStream::connect(site.dir.path().join("lbd.sock")).expect("the socket is open");
    half.set_read_timeout(Some(Duration::from_secs(15))).expect("a timeout");
    half.write_all(b"POST /api/v1/command HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n{")
        .expect("the socket takes it");
    let begin = std::time::Instant::now();
    lbd.terminate();
    assert!(begin.elapsed() < Duration::from_secs(5), "half a request held it up for {:?}", begin.elapsed());
    assert_eq!(site.lbctl(&["status"]).code, 3);
}
