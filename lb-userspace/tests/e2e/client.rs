//! What asks: single requests, connections that stay open, downloads, and a load of which every request is accounted for.

use std::{
    collections::BTreeMap,
    io::{self, Read as _, Write as _},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use socket2::{Domain, Protocol, Socket, Type};

use crate::{namespace::Namespace, until::until};

/// A request that takes longer has failed.
const TIMEOUT: Duration = Duration::from_secs(3);

/// Clients at work at once under load.
const WORKERS: usize = 4;

/// Between two requests of one worker: some hundreds of requests a second in all, which leaves the machine time for the daemon.
const PAUSE: Duration = Duration::from_millis(4);

/// One request on a connection of its own: the name of the host that answered.
pub(crate) fn request(to: SocketAddr) -> io::Result<String> {
    request_from(0, to)
}

/// The same from a port of choice.
pub(crate) fn request_from(port: u16, to: SocketAddr) -> io::Result<String> {
    let mut stream = connect(port, to)?;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: e2e\r\nConnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    body(&String::from_utf8_lossy(&answer))
}

fn connect(port: u16, to: SocketAddr) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, Some(Protocol::TCP))?;
    if port != 0 {
        let any: IpAddr =
            if to.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        socket.set_reuse_address(true)?;
        socket.bind(&SocketAddr::from((any, port)).into())?;
    }
    socket.connect_timeout(&to.into(), TIMEOUT)?;
    socket.set_read_timeout(Some(TIMEOUT))?;
    socket.set_write_timeout(Some(TIMEOUT))?;
    Ok(socket.into())
}

fn body(answer: &str) -> io::Result<String> {
    answer
        .split_once("\r\n\r\n")
        .filter(|(head, body)| head.starts_with("HTTP/1.1 200 ") && !body.is_empty())
        .map(|(_, body)| body.to_owned())
        .ok_or_else(|| io::Error::other(format!("a broken answer: {answer:?}")))
}

/// Sends `body` and reads the answer, which must be the same.
pub(crate) fn echo(to: SocketAddr, body: &[u8]) -> io::Result<()> {
    let mut stream = connect(0, to)?;
    let head = format!("POST /echo HTTP/1.1\r\nHost: e2e\r\nContent-Length: {}\r\n\r\n", body.len());
    stream.write_all(head.as_bytes())?;
    stream.write_all(body)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n");
    let end = end.ok_or_else(|| io::Error::other("an answer without an end of its head"))? + 4;
    if &answer[end..] != body {
        return Err(io::Error::other(format!("{} bytes came back changed or cut", answer.len() - end)));
    }
    Ok(())
}

/// A connection that stays open between requests.
#[derive(Debug)]
pub(crate) struct Conversation(TcpStream);

impl Conversation {
    /// Opens one with the host `wanted`, however many connections that takes.
    pub(crate) fn with(client: &Namespace, to: SocketAddr, wanted: &str) -> Self {
        until(&format!("a connection to {to} is answered by {wanted}"), || {
            let mut one = Self(client.run(|| connect(0, to)).ok()?);
            (one.ask().ok()? == wanted).then_some(one)
        })
    }

    /// Who answers now.
    pub(crate) fn ask(&mut self) -> io::Result<String> {
        self.0.write_all(b"GET / HTTP/1.1\r\nHost: e2e\r\n\r\n")?;
        let mut answer = Vec::new();
        loop {
            let mut piece = [0; 1024];
            let n = self.0.read(&mut piece)?;
            answer.extend_from_slice(&piece[..n]);
            let text = String::from_utf8_lossy(&answer);
            if n == 0 || body(&text).is_ok() {
                return body(&text);
            }
        }
    }
}

/// A download under way.
#[derive(Debug)]
pub(crate) struct Download {
    thread: JoinHandle<io::Result<u64>>,
    bytes: Arc<Mutex<u64>>,
}

impl Download {
    /// Starts one from the host `wanted`.
    pub(crate) fn from(client: &Namespace, to: SocketAddr, wanted: &str) -> Self {
        let (mut stream, read) = until(&format!("a download from {to} comes from {wanted}"), || {
            let mut stream = client.run(|| connect(0, to)).ok()?;
            stream.write_all(b"GET /drip HTTP/1.1\r\nHost: e2e\r\n\r\n").ok()?;
            let mut read = Vec::new();
            while !read.windows(4).any(|four| four == b"\r\n\r\n") {
                let mut piece = [0; 512];
                let n = stream.read(&mut piece).ok().filter(|n| *n > 0)?;
                read.extend_from_slice(&piece[..n]);
            }
            String::from_utf8_lossy(&read)
                .contains(&format!("X-Host: {wanted}\r\n"))
                .then_some((stream, read))
        });
        let bytes = Arc::new(Mutex::new(read.len() as u64));
        let counted = bytes.clone();
        let thread = thread::spawn(move || {
            let mut last = Vec::new();
            loop {
                let mut piece = [0; 4096];
                let n = stream.read(&mut piece)?;
                if n == 0 {
                    break;
                }
                *counted.lock().unwrap() += n as u64;
                last.extend_from_slice(&piece[..n]);
                last.drain(..last.len().saturating_sub(3));
            }
            let bytes = *counted.lock().unwrap();
            if last == b"end" { Ok(bytes) } else { Err(io::Error::other(format!("cut after {bytes} bytes"))) }
        });
        Self { thread, bytes }
    }

    /// Waits until more of it has arrived.
    pub(crate) fn goes_on(&self) {
        let before = *self.bytes.lock().unwrap();
        until("a download goes on", || (*self.bytes.lock().unwrap() > before + 8192).then_some(()));
    }

    /// Waits for its end, which the site announces to the servers.
    pub(crate) fn end(self) {
        let bytes = self.thread.join().unwrap().expect("the download is whole");
        assert!(bytes > 0);
    }
}

/// A request under load.
#[derive(Debug)]
struct Asked {
    at: Instant,
    answer: Result<String, String>,
}

/// Requests one after the other from several clients, until it is stopped.
#[derive(Debug)]
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    asked: Arc<Mutex<Vec<Asked>>>,
    workers: Vec<JoinHandle<()>>,
}

impl Load {
    /// Starts it; each request goes to the next of `targets`.
    pub(crate) fn start(client: &Namespace, targets: &[SocketAddr]) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let asked = Arc::new(Mutex::new(Vec::new()));
        let begin = Instant::now();
        let workers = (0..WORKERS)
            .map(|first| {
                let (stop, asked, targets) = (stop.clone(), asked.clone(), targets.to_vec());
                client.spawn(move || {
                    for target in targets.iter().cycle().skip(first) {
                        if stop.load(Ordering::Relaxed) {
                            return;
                        }
                        let at = Instant::now();
                        let answer = request(*target).map_err(|e| {
                            format!(
                                "{target} at {:?} after {} ms: {e}",
                                at.duration_since(begin),
                                at.elapsed().as_millis()
                            )
                        });
                        asked.lock().unwrap().push(Asked { at, answer });
                        thread::sleep(PAUSE);
                    }
                })
            })
            .collect();
        Self { stop, asked, workers }
    }

    /// Waits for so many requests that begin after now.
    pub(crate) fn more(&self, n: usize) {
        let now = Instant::now();
        until(&format!("{n} more requests are done"), || (self.begun_since(now) >= n).then_some(()));
    }

    fn begun_since(&self, begin: Instant) -> usize {
        self.asked.lock().unwrap().iter().filter(|asked| asked.at >= begin).count()
    }

    /// Answers to requests that began since then, by host. Failed ones are under `failed`.
    pub(crate) fn since(&self, begin: Instant) -> BTreeMap<String, usize> {
        let mut hosts = BTreeMap::new();
        for asked in self.asked.lock().unwrap().iter().filter(|asked| asked.at >= begin) {
            let host = asked.answer.clone().unwrap_or_else(|_| "failed".to_owned());
            *hosts.entry(host).or_default() += 1;
        }
        hosts
    }

    /// When the last request that failed had begun.
    pub(crate) fn last_failure(&self) -> Option<Instant> {
        self.asked.lock().unwrap().iter().filter(|asked| asked.answer.is_err()).map(|asked| asked.at).max()
    }

    /// Ends it; every request must have been answered.
    pub(crate) fn end_without_failure(mut self) {
        self.finish();
        let asked = self.asked.lock().unwrap();
        let failed: Vec<_> = asked.iter().filter_map(|asked| asked.answer.as_ref().err()).collect();
        assert!(failed.is_empty(), "{} of {} requests failed: {failed:#?}", failed.len(), asked.len());
        assert!(asked.len() > WORKERS, "the load was no load");
    }

    fn finish(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for worker in self.workers.drain(..) {
            // A worker's panic was printed; the test fails by its count.
            let _ = worker.join();
        }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.finish();
    }
}
