//! `idle`: a connection is kept open and watched (`PyBal`'s `IdleConnection`). A process that dies takes its connections with it, so
//! its death is seen at once, without a packet in between.

use std::{net::SocketAddr, time::Duration};

use tokio::{io::AsyncReadExt, net::TcpStream};

use super::{
    ProbeError, Stage,
    deadline::Deadline,
    probe::{Held, Loss},
    production::Marked,
    tcp,
};

/// A server that talks on the connection (a banner, a stream) is read no faster than one buffer in this time, so that it cannot
/// keep us busy; the rest waits in its own send queue.
const READ_PAUSE: Duration = Duration::from_millis(100);

/// Opens the connection.
pub(super) async fn open(
    to: SocketAddr,
    deadline: Deadline,
    marked: Option<Marked<'_>>,
) -> Result<Held, ProbeError> {
    let stream = tcp::connect(to, deadline, tcp::KeepAlive::Idle, marked).await?;
    Ok(Box::pin(watch(stream)))
}

async fn watch(mut stream: TcpStream) -> Loss {
    let mut ignored = [0; 512];
    loop {
        match stream.read(&mut ignored).await {
            Ok(0) => return Loss::Closed,
            Ok(_) => tokio::time::sleep(READ_PAUSE).await,
            Err(error) => return Loss::Failed(ProbeError::from_io(Stage::Idle, &error)),
        }
    }
}
