//! JSON over the unix socket.
