//! The smallest HTTP: a server that answers with its host's name, and a client that counts who answered.

use std::{
    collections::BTreeMap,
    env,
    io::{Read as _, Write as _},
    net::{IpAddr, SocketAddr, TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};

use super::net::{CLIENT, VIPS};

/// Longest head of a request.
const MAX_HEAD: usize = 4096;
/// Emulated machines are slow, and a lost SYN comes again after a second.
const PATIENCE: Duration = Duration::from_secs(10);

/// Who answered over which family (`b1 v4`), and how often.
pub(super) type Answers = BTreeMap<String, u32>;

/// Starts a server for `name` in the namespace of that name.
pub(super) fn start(name: &str) -> Result<Child> {
    Command::new("ip")
        .args(["netns", "exec", name])
        .arg(env::current_exe()?)
        .args(["vm-guest", "serve", name])
        .stdin(Stdio::null())
        .spawn()
        .with_context(|| format!("starting the server of {name}"))
}

/// Answers on port 80 of all addresses for ever, a thread for each connection.
pub(super) fn serve(name: &str) -> Result<()> {
    let listener = TcpListener::bind("[::]:80").context("listening on port 80")?;
    for stream in listener.incoming() {
        let (stream, name) = (stream?, name.to_owned());
        // A client that goes away is the client's business.
        thread::spawn(move || answer(stream, &name));
    }
    Ok(())
}

fn answer(mut stream: TcpStream, name: &str) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.windows(4).any(|four| four == b"\r\n\r\n") {
        let mut piece = [0; 512];
        let n = stream.read(&mut piece)?;
        if n == 0 || head.len() > MAX_HEAD {
            return Ok(());
        }
        head.extend_from_slice(&piece[..n]);
    }
    let length = name.len();
    write!(stream, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{name}")
}

/// Sends `number` requests from the client's namespace to each VIP; an error if one fails, or if one of `hosts` got none of a family.
pub(super) fn ask(number: u32, hosts: &[&str]) -> Result<Answers> {
    let answers = begin_asking(number)?.finish()?;
    let wanted = hosts.iter().flat_map(|host| ["v4", "v6"].map(|family| format!("{host} {family}")));
    let silent: Vec<String> = wanted.filter(|one| !answers.contains_key(one)).collect();
    if !silent.is_empty() {
        bail!("no answer from {}; only {answers:?}", silent.join(", "));
    }
    Ok(answers)
}

/// Requests under way in a process of their own.
#[derive(Debug)]
pub(super) struct Asking(Child);

/// Starts sending without waiting.
pub(super) fn begin_asking(number: u32) -> Result<Asking> {
    let child = Command::new("ip")
        .args(["netns", "exec", CLIENT])
        .arg(env::current_exe()?)
        .args(["vm-guest", "ask", &number.to_string()])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("starting the client")?;
    Ok(Asking(child))
}

impl Asking {
    /// Whether it still goes on.
    pub(super) fn is_under_way(&mut self) -> Result<bool> {
        Ok(self.0.try_wait()?.is_none())
    }

    /// Waits for its end.
    pub(super) fn finish(self) -> Result<Answers> {
        let output = self.0.wait_with_output()?;
        let text = String::from_utf8_lossy(&output.stdout);
        if !output.status.success() {
            bail!("the client: {}", text.trim_end());
        }
        serde_json::from_str(&text).with_context(|| format!("the client said: {text}"))
    }
}

/// What the client's process does: prints who answered, as JSON; an error names the first request that failed.
pub(super) fn ask_here(number: u32) -> Result<()> {
    let mut answers = Answers::new();
    for count in 0..number {
        for vip in VIPS {
            let address: IpAddr = vip.parse()?;
            let host = request((address, 80).into()).with_context(|| format!("request {count} to {vip}"))?;
            let family = if address.is_ipv4() { "v4" } else { "v6" };
            *answers.entry(format!("{host} {family}")).or_default() += 1;
        }
    }
    println!("{}", serde_json::to_string(&answers)?);
    Ok(())
}

fn request(to: SocketAddr) -> Result<String> {
    let mut stream = TcpStream::connect_timeout(&to, PATIENCE).context("connecting")?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: guest\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).context("reading the answer")?;
    match answer.split_once("\r\n\r\n") {
        Some((head, body)) if head.starts_with("HTTP/1.1 200 ") && !body.is_empty() => Ok(body.to_owned()),
        _ => bail!("a broken answer: {answer:?}"),
    }
}
