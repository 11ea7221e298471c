//! Hello: a TLS ClientHello as the first octets, and whether a ServerHello answers it.

use mail::TlsHello;
use rustls::pki_types::ServerName;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

/// For the answer's first octets.
const ANSWER_MAX: Duration = Duration::from_secs(4);
/// A record's header and the longest ServerHello worth reading.
const OCTETS_MAX: usize = 4096;
/// Octets kept of what is no TLS.
const NOT_TLS_MAX: usize = 32;

/// What came back; the handshake goes no further.
pub(super) async fn say(config: Arc<rustls::ClientConfig>, host: &str, mut socket: TcpStream) -> io::Result<TlsHello> {
    let name = ServerName::try_from(host.to_owned()).or_else(|_| {
        let address = socket.peer_addr()?.ip();
        Ok::<_, io::Error>(ServerName::IpAddress(address.into()))
    })?;
    let mut client = rustls::ClientConnection::new(config, name).map_err(io::Error::other)?;
    let mut octets = Vec::new();
    client.write_tls(&mut octets)?;
    socket.write_all(&octets).await?;
    let until = Instant::now() + ANSWER_MAX;
    let mut answer = Vec::new();
    let mut piece = [0; 1024];
    while answer.len() < OCTETS_MAX && !is_whole(&answer) {
        match timeout_at(until, socket.read(&mut piece)).await {
            Ok(Ok(length @ 1..)) => answer.extend_from_slice(&piece[..length]),
            _ => break,
        }
    }
    Ok(read(&answer))
}

/// Whether the first record is there, or it is no TLS record.
fn is_whole(answer: &[u8]) -> bool {
    match answer {
        [0x15 | 0x16, 3, _, high, low, rest @ ..] => rest.len() >= usize::from(u16::from_be_bytes([*high, *low])),
        [0x15 | 0x16, 3, ..] | [0x15 | 0x16] | [] => false,
        _ => true,
    }
}

/// RFC 8446 4.1.3 and 5.1, RFC 5246 7.2: a ServerHello, an alert, or neither.
fn read(answer: &[u8]) -> TlsHello {
    let mut hello = TlsHello::default();
    match answer {
        [0x16, 3, _, _, _, 2, _, _, _, body @ ..] => {
            (hello.version, hello.suite) = server_hello(body).unwrap_or_default();
        }
        [0x15, 3, _, _, _, level, description, ..] => hello.alert = Some((*level, *description)),
        _ => hello.not_tls = answer[..answer.len().min(NOT_TLS_MAX)].to_vec(),
    }
    hello
}

/// Version, 32 octets of chance, session id, suite, compression, extensions: 43 is supported_versions.
fn server_hello(body: &[u8]) -> Option<(Option<u16>, Option<u16>)> {
    let number = |at: usize| Some(u16::from_be_bytes([*body.get(at)?, *body.get(at + 1)?]));
    let mut version = number(0)?;
    let at = 35 + usize::from(*body.get(34)?);
    let suite = number(at)?;
    let mut extension = at + 5;
    while let (Some(kind), Some(length)) = (number(extension), number(extension + 2)) {
        if kind == 43 {
            version = number(extension + 4).unwrap_or(version);
        }
        extension += 4 + usize::from(length);
    }
    Some((Some(version), Some(suite)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_tls_is_kept_and_alerts_are_read() {
        assert_eq!(read(b"220 mx.dest.test ESMTP\r\n").not_tls, b"220 mx.dest.test ESMTP\r\n");
        assert_eq!(read(b"220 ".repeat(20).as_slice()).not_tls.len(), NOT_TLS_MAX);
        assert_eq!(read(&[0x15, 3, 1, 0, 2, 2, 70]).alert, Some((2, 70)));
        assert_eq!(
            read(&[0x16, 3, 3, 0, 2, 2]),
            TlsHello { not_tls: vec![0x16, 3, 3, 0, 2, 2], ..TlsHello::default() }
        );
        assert!(is_whole(b"220") && !is_whole(&[0x16, 3, 3, 0, 9, 2]) && is_whole(&[0x15, 3, 1, 0, 2, 2, 70]));
    }

    #[test]
    fn the_version_of_a_server_hello_is_that_of_its_extension() {
        let mut body = vec![3, 3];
        body.extend([7; 32]);
        body.extend([0, 0x13, 0x01, 0, 0, 6, 0, 43, 0, 2, 3, 4]);
        let mut record = vec![0x16, 3, 3, 0, 0, 2, 0, 0, 0];
        record.extend(&body);
        let hello = read(&record);
        assert_eq!((hello.version, hello.suite), (Some(0x0304), Some(0x1301)));
        record.truncate(40);
        assert_eq!(read(&record).version, None, "cut short");
    }
}
