//! A netlink socket that loses nothing silently.
//!
//! The kernel's receive buffer is the only queue. When it is full the kernel drops notifications and the next read fails with
//! ENOBUFS; the reader then starts over from a dump. A message we cannot decode is handed on as such instead of ending the
//! connection.

use std::io;

use nix::sys::socket::{setsockopt, sockopt};
use rtnetlink::{
    MulticastGroup,
    packet_core::{NetlinkBuffer, NetlinkMessage},
    packet_route::RouteNetlinkMessage,
    sys::{AsyncSocket, AsyncSocketExt, SocketAddr, TokioSocket, protocols::NETLINK_ROUTE},
};

/// Longest datagram the kernel builds is 32 KiB; a notification can be larger on a host with many virtual functions.
const DATAGRAM: usize = 128 * 1024;
/// Room for some thousand notifications.
const KERNEL_BUFFER: usize = 4 << 20;

/// One message of a datagram.
#[derive(Debug)]
pub(super) enum Received {
    Message(NetlinkMessage<RouteNetlinkMessage>),
    /// A kind or an attribute our decoder does not know, and why.
    Unreadable(String),
}

/// An open netlink socket in the network namespace of the thread that opened it.
pub(super) struct NetlinkSocket {
    socket: TokioSocket,
    buffer: Vec<u8>,
    port: u32,
    sequence: u32,
}

impl NetlinkSocket {
    /// Opens a socket subscribed to these groups.
    pub(super) fn open(groups: &[MulticastGroup]) -> io::Result<Self> {
        let mut socket = TokioSocket::new(NETLINK_ROUTE)?;
        // Beyond net.core.rmem_max needs CAP_NET_ADMIN, which lbd has; without it a smaller buffer only overflows sooner.
        if setsockopt(socket.socket_ref(), sockopt::RcvBufForce, &KERNEL_BUFFER).is_err() {
            setsockopt(socket.socket_ref(), sockopt::RcvBuf, &KERNEL_BUFFER)?;
        }
        let port = socket.socket_mut().bind_auto()?.port_number();
        for group in groups {
            socket.socket_mut().add_membership(*group as u32)?;
        }
        Ok(Self { socket, buffer: Vec::with_capacity(DATAGRAM), port, sequence: 0 })
    }

    /// Sends a request; its answers carry the returned number.
    pub(super) async fn send(&mut self, mut message: NetlinkMessage<RouteNetlinkMessage>) -> io::Result<u32> {
        self.sequence = self.sequence.wrapping_add(1);
        message.header.sequence_number = self.sequence;
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        self.socket.send_to(&bytes, &SocketAddr::new(0, 0)).await?;
        Ok(self.sequence)
    }

    /// Whether a message answers one of our requests. Notifications carry the numbers of whoever caused them.
    pub(super) fn is_answer(&self, message: &NetlinkMessage<RouteNetlinkMessage>) -> bool {
        message.header.port_number == self.port && message.header.sequence_number != 0
    }

    /// The messages of the next datagram. Nothing is lost when the future is dropped.
    pub(super) async fn receive(&mut self) -> io::Result<Vec<Received>> {
        self.buffer.clear();
        self.buffer.reserve(DATAGRAM);
        self.socket.recv(&mut self.buffer).await?;
        Ok(split(&self.buffer))
    }
}

fn split(mut datagram: &[u8]) -> Vec<Received> {
    let mut messages = Vec::new();
    while !datagram.is_empty() {
        let length = match NetlinkBuffer::new_checked(datagram) {
            Ok(buffer) => buffer.length() as usize,
            Err(error) => {
                messages.push(Received::Unreadable(error.to_string()));
                break;
            }
        };
        messages.push(match NetlinkMessage::deserialize(&datagram[..length]) {
            Ok(message) => Received::Message(message),
            Err(error) => Received::Unreadable(error.to_string()),
        });
        datagram = datagram.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    messages
}
