//! PROXY protocol, versions 1 and 2: the true client's address from a load balancer in front
//! (haproxy.org/download/2.9/doc/proxy-protocol.txt).

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use tokio::io::{AsyncRead, AsyncReadExt};

/// Section 2.1: the longest line of version 1, CRLF included.
const V1_MAX: usize = 107;
const V2_SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// Section 2.2 allows 65,535; what we need fits into far less, the rest are TLVs.
const V2_BODY_MAX: usize = 4096;

/// Reads the header that must stand before everything else; `seen` are its first octets, whatever they are. `None`: the
/// balancer speaks for itself (health check), keep the peer's own address. An error means that the peer is no balancer,
/// and the connection must not be served.
pub(crate) async fn header(
    socket: &mut (impl AsyncRead + Unpin),
    seen: &mut Vec<u8>,
) -> io::Result<Option<SocketAddr>> {
    while seen.len() < V2_SIGNATURE.len() {
        let mut more = [0; V2_SIGNATURE.len()];
        let room = V2_SIGNATURE.len() - seen.len();
        match socket.read(&mut more[..room]).await? {
            0 => return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "closed without a PROXY header")),
            length => seen.extend_from_slice(&more[..length]),
        }
        // Who begins otherwise is not kept waiting for its twelfth octet.
        let is_begun = |signature: &[u8]| signature.iter().zip(seen.iter()).all(|(wanted, octet)| wanted == octet);
        if !is_begun(V2_SIGNATURE) && !is_begun(b"PROXY ") {
            return Err(wrong("it began with something else"));
        }
    }
    if seen.as_slice() == V2_SIGNATURE { version_2(socket).await } else { version_1(socket, seen.clone()).await }
}

async fn version_1(socket: &mut (impl AsyncRead + Unpin), mut line: Vec<u8>) -> io::Result<Option<SocketAddr>> {
    while !line.ends_with(b"\r\n") {
        if line.len() >= V1_MAX {
            return Err(wrong("the PROXY line is longer than 107 octets"));
        }
        line.push(socket.read_u8().await?);
    }
    let line = std::str::from_utf8(&line).map_err(|_| wrong("the PROXY line is not ASCII"))?;
    let words: Vec<&str> = line.trim_end().split(' ').collect();
    match words.as_slice() {
        ["PROXY", "UNKNOWN", ..] => Ok(None),
        ["PROXY", "TCP4" | "TCP6", source, _, port, _] => {
            let address: IpAddr = source.parse().map_err(|_| wrong("the PROXY line's source is no address"))?;
            let port = port.parse().map_err(|_| wrong("the PROXY line's source port is no number"))?;
            Ok(Some(SocketAddr::new(address, port)))
        }
        _ => Err(wrong("the PROXY line has another form than version 1's")),
    }
}

async fn version_2(socket: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<SocketAddr>> {
    let version_command = socket.read_u8().await?;
    let family = socket.read_u8().await?;
    let length = usize::from(socket.read_u16().await?);
    if version_command >> 4 != 2 || length > V2_BODY_MAX {
        return Err(wrong("the PROXY header is not of version 2, or too long"));
    }
    let mut body = vec![0; length];
    socket.read_exact(&mut body).await?;
    match (version_command & 15, family >> 4, body.as_slice()) {
        (0, ..) => Ok(None),
        (1, 1, [a, b, c, d, _, _, _, _, high, low, ..]) => {
            Ok(Some(SocketAddr::new(Ipv4Addr::new(*a, *b, *c, *d).into(), u16::from_be_bytes([*high, *low]))))
        }
        (1, 2, body) if body.len() >= 36 => {
            let mut source = [0u8; 16];
            source.copy_from_slice(&body[..16]);
            Ok(Some(SocketAddr::new(Ipv6Addr::from(source).into(), u16::from_be_bytes([body[32], body[33]]))))
        }
        _ => Err(wrong("the PROXY header names no TCP client")),
    }
}

fn wrong(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}
