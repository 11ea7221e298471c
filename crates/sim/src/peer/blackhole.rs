//! An address whose connections get no answer at all, made without firewall rights.
//!
//! A listening socket with backlog 0 holds one connection that nobody accepts; Linux drops every further SYN.

use std::{io, net::SocketAddr, time::Duration};

use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use tokio::{net::TcpStream, time::timeout};

/// Connections that fill the backlog: one is enough (tried on Linux 6.18), the rest is for other kernels.
const FILLERS_MAX: usize = 4;
/// A connection over loopback that takes longer than this has got no answer.
const UNANSWERED: Duration = Duration::from_millis(300);

/// Holds the address black until it is dropped.
#[derive(Debug)]
pub(super) struct BlackHole {
    _listener: Socket,
    _fillers: Vec<TcpStream>,
}

impl BlackHole {
    /// Listens without accepting, and fills the backlog until connections hang.
    pub(super) async fn open(address: SocketAddr) -> io::Result<(Self, SocketAddr)> {
        let listener = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        listener.set_reuse_address(true)?;
        listener.bind(&SockAddr::from(address))?;
        listener.listen(0)?;
        let address = listener.local_addr()?.as_socket().ok_or(io::ErrorKind::AddrNotAvailable)?;
        let mut fillers = Vec::new();
        while let Ok(stream) = timeout(UNANSWERED, TcpStream::connect(address)).await {
            fillers.push(stream?);
            if fillers.len() > FILLERS_MAX {
                return Err(io::Error::other("the backlog does not fill: this system makes no black holes"));
            }
        }
        Ok((Self { _listener: listener, _fillers: fillers }, address))
    }
}
