//! Send queue: octets given to a socket that the peer's system has not acknowledged, as SIOCOUTQ tells. Read from the
//! kernel's table of connections, since the ioctl would need unsafe code; it is asked only when content has timed out.

use std::net::{IpAddr, SocketAddr};
use tokio::net::TcpStream;

/// `None`: it is not known.
pub(crate) fn unacknowledged(socket: &TcpStream) -> Option<u64> {
    let (local, peer) = (socket.local_addr().ok()?, socket.peer_addr().ok()?);
    let table = if local.is_ipv4() { "/proc/net/tcp" } else { "/proc/net/tcp6" };
    find(&std::fs::read_to_string(table).ok()?, local, peer)
}

/// A row: `sl: LOCAL:PORT REMOTE:PORT STATE TX_QUEUE:RX_QUEUE …`, all in hex (proc_pid_net(5)).
fn find(table: &str, local: SocketAddr, peer: SocketAddr) -> Option<u64> {
    let (local, peer) = (shown(local), shown(peer));
    table.lines().find_map(|line| {
        let mut words = line.split_whitespace().skip(1);
        if words.next()? != local || words.next()? != peer {
            return None;
        }
        let (sent, _) = words.nth(1)?.split_once(':')?;
        u64::from_str_radix(sent, 16).ok()
    })
}

/// An address as the table shows it: words of 32 bits in the machine's order.
fn shown(address: SocketAddr) -> String {
    let words = |octets: &[u8]| -> String {
        octets
            .chunks(4)
            .map(|word| format!("{:08X}", u32::from_ne_bytes([word[0], word[1], word[2], word[3]])))
            .collect()
    };
    let ip = match address.ip() {
        IpAddr::V4(ip) => words(&ip.octets()),
        IpAddr::V6(ip) => words(&ip.octets()),
    };
    format!("{ip}:{:04X}", address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn left(address: &str) {
        let listener = tokio::net::TcpListener::bind(address).await.unwrap();
        let socket = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let _peer = listener.accept().await.unwrap();
        assert_eq!(unacknowledged(&socket), Some(0));
        // The peer reads nothing: sooner or later its window is shut.
        socket.writable().await.unwrap();
        while socket.try_write(&[b'x'; 65_536]).is_ok() {}
        assert!(unacknowledged(&socket).unwrap() > 0);
    }

    #[tokio::test]
    async fn what_a_peer_does_not_take_is_counted() {
        left("127.0.0.1:0").await;
        left("[::1]:0").await;
    }
}
