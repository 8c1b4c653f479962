//! `tcp`: a connection can be opened. The other kinds begin with it.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use socket2::{Domain, Protocol, Socket, TcpKeepalive, Type};
use tokio::net::TcpStream;

use super::{ProbeError, Stage, deadline::Deadline, production::Marked};

/// Whether the kernel watches over a silent connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KeepAlive {
    /// No.
    Off,
    /// `PyBal`'s numbers: first probe after 10 s of silence, then every 30 s, lost after 3 without answer.
    Idle,
}

/// Opens a connection within the deadline.
pub(super) async fn connect(
    to: SocketAddr,
    deadline: Deadline,
    keep_alive: KeepAlive,
    marked: Option<Marked<'_>>,
) -> Result<TcpStream, ProbeError> {
    let failed = |error: io::Error| ProbeError::from_io(Stage::Connecting, &error);
    let socket = socket(to, keep_alive).map_err(failed)?;
    let port = marked.map(|marked| prepare(&socket, to, marked)).transpose().map_err(failed)?;
    let opened = async { establish(socket, to).await.map_err(failed) };
    let opened = deadline.within(Stage::Connecting, opened).await;
    let stream = match marked.zip(port) {
        Some((marked, port)) => marked.judge(port, opened)?,
        None => opened?,
    };
    // A connect to a closed port of this very host, in the range of ephemeral ports, can meet itself (simultaneous open).
    match (stream.local_addr(), stream.peer_addr()) {
        (Ok(local), Ok(peer)) if local == peer => Err(ProbeError::Refused),
        _ => Ok(stream),
    }
}

fn socket(to: SocketAddr, keep_alive: KeepAlive) -> io::Result<Socket> {
    let socket =
        Socket::new(Domain::for_address(to), Type::STREAM.nonblocking().cloexec(), Some(Protocol::TCP))?;
    socket.set_tcp_nodelay(true)?;
    // Closing sends RST: no TIME_WAIT, so thousands of checks a second do not use up the balancer's ports.
    socket.set_linger(Some(Duration::ZERO))?;
    if keep_alive == KeepAlive::Idle {
        let times = TcpKeepalive::new()
            .with_time(Duration::from_secs(10))
            .with_interval(Duration::from_secs(30))
            .with_retries(3);
        socket.set_tcp_keepalive(&times)?;
    }
    Ok(socket)
}

/// Marks the socket, and binds it to a port that no other socket has: answers from one VIP are told apart by it, whichever backend they
/// come from. Returns the port.
fn prepare(socket: &Socket, to: SocketAddr, marked: Marked<'_>) -> io::Result<u16> {
    socket.set_mark(marked.mark)?;
    let any: IpAddr = if to.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    socket.bind(&SocketAddr::new(any, 0).into())?;
    let local = socket.local_addr()?.as_socket();
    let port =
        local.map(|local| local.port()).ok_or_else(|| io::Error::other("a bound socket has no port"))?;
    marked.path.begin(port);
    Ok(port)
}

async fn establish(socket: Socket, to: SocketAddr) -> io::Result<TcpStream> {
    match socket.connect(&to.into()) {
        Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) => return Err(error),
        _ => {}
    }
    let stream = TcpStream::from_std(socket.into())?;
    stream.writable().await?;
    match stream.take_error()? {
        Some(error) => Err(error),
        None => Ok(stream),
    }
}
