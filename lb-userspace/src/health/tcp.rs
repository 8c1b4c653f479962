//! `tcp`: a connection can be opened. The other kinds begin with it.

use std::{io, net::SocketAddr, time::Duration};

use socket2::{Domain, Protocol, Socket, TcpKeepalive, Type};
use tokio::net::TcpStream;

use super::{ProbeError, Stage, deadline::Deadline};

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
) -> Result<TcpStream, ProbeError> {
    let opened = async {
        establish(to, keep_alive).await.map_err(|error| ProbeError::from_io(Stage::Connecting, &error))
    };
    let stream = deadline.within(Stage::Connecting, opened).await?;
    // A connect to a closed port of this very host, in the range of ephemeral ports, can meet itself (simultaneous open).
    match (stream.local_addr(), stream.peer_addr()) {
        (Ok(local), Ok(peer)) if local == peer => Err(ProbeError::Refused),
        _ => Ok(stream),
    }
}

async fn establish(to: SocketAddr, keep_alive: KeepAlive) -> io::Result<TcpStream> {
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
