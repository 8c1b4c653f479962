//! What runs on a cache host: a small HTTP server that answers with the host's name.
//!
//! `/drip` is a download that lasts until the test ends it, so that no test needs to guess how long is long. What is sent to `/echo` comes
//! back.

use std::{
    io,
    net::{Ipv6Addr, SocketAddr},
    sync::mpsc,
    thread::JoinHandle,
    time::Duration,
};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::watch,
};
use tokio_util::sync::CancellationToken;

use crate::namespace::Namespace;

/// Longest head of a request.
const MAX_HEAD: usize = 4096;

/// A running server. Dropping it closes its sockets, as killing a process would.
#[derive(Debug)]
pub(crate) struct Server {
    stop: CancellationToken,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Listens on `ports`, over both families. Downloads end when `finish` says so.
    pub(crate) fn start(
        namespace: &Namespace,
        name: &'static str,
        ports: &'static [u16],
        finish: watch::Receiver<bool>,
    ) -> Self {
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let (ready, is_ready) = mpsc::channel();
        let thread = namespace.spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                for port in ports {
                    let listener = listen(*port).expect("the port is free");
                    tokio::spawn(accept(listener, name, finish.clone()));
                }
                ready.send(()).expect("somebody waits");
                stopped.cancelled().await;
            });
        });
        is_ready.recv().expect("the server listens");
        Self { stop, thread: Some(thread) }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.cancel();
        if let Some(thread) = self.thread.take() {
            // What it has to say was said by its panic.
            let _ = thread.join();
        }
    }
}

fn listen(port: u16) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::IPV6, Type::STREAM, Some(Protocol::TCP))?;
    socket.set_only_v6(false)?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)).into())?;
    socket.listen(1024)?;
    TcpListener::from_std(socket.into())
}

async fn accept(listener: TcpListener, name: &'static str, finish: watch::Receiver<bool>) {
    loop {
        let (stream, _) = listener.accept().await.expect("connections come in");
        let finish = finish.clone();
        tokio::spawn(async move {
            // A client that goes away is the client's business.
            let _ = serve(stream, name, finish).await;
        });
    }
}

async fn serve(mut stream: TcpStream, name: &str, mut finish: watch::Receiver<bool>) -> io::Result<()> {
    let mut read = Vec::new();
    loop {
        let head = loop {
            if let Some(end) = read.windows(4).position(|four| four == b"\r\n\r\n") {
                let rest = read.split_off(end + 4);
                break String::from_utf8_lossy(&std::mem::replace(&mut read, rest)).into_owned();
            }
            if read.len() > MAX_HEAD || stream.read_buf(&mut read).await? == 0 {
                return Ok(());
            }
        };
        if head.starts_with("GET /drip ") {
            stream.write_all(format!("HTTP/1.1 200 OK\r\nX-Host: {name}\r\n\r\n").as_bytes()).await?;
            while !*finish.borrow_and_update() {
                stream.write_all(&[b'.'; 1024]).await?;
                // Ended early: a change is a reason to look again.
                let _ = tokio::time::timeout(Duration::from_millis(10), finish.changed()).await;
            }
            stream.write_all(b"end").await?;
            return stream.shutdown().await;
        }
        if head.starts_with("POST /echo ") {
            let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")?.parse().ok());
            let length: usize = length.ok_or(io::ErrorKind::InvalidData)?;
            while read.len() < length {
                if stream.read_buf(&mut read).await? == 0 {
                    return Ok(());
                }
            }
            stream.write_all(format!("HTTP/1.1 200 OK\r\nX-Host: {name}\r\n\r\n").as_bytes()).await?;
            stream.write_all(&read).await?;
            return stream.shutdown().await;
        }
        let close = head.contains("Connection: close");
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{name}", name.len());
        stream.write_all(answer.as_bytes()).await?;
        if close {
            return stream.shutdown().await;
        }
    }
}
