//! Hello: a TLS ClientHello as the first octets, and whether a ServerHello answers it.

use mail::TlsHello;
use mail::hello::{Side, overhear};
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

/// What came back; the handshake goes no further.
pub(super) async fn say(config: Arc<rustls::ClientConfig>, host: &str, mut socket: TcpStream) -> io::Result<TlsHello> {
    let name = ServerName::try_from(host.to_owned()).or_else(|_| {
        let address = socket.peer_addr()?.ip();
        Ok::<_, io::Error>(ServerName::IpAddress(address.into()))
    })?;
    let mut client = rustls::ClientConnection::new(config, name).map_err(io::Error::other)?;
    let mut said = Vec::new();
    client.write_tls(&mut said)?;
    socket.write_all(&said).await?;
    let until = Instant::now() + ANSWER_MAX;
    let mut heard = Vec::new();
    let mut piece = [0; 1024];
    let mut overheard = overhear(Side::Client, &said, &heard);
    while heard.len() < OCTETS_MAX && !overheard.complete && overheard.hello.version.is_none() {
        match timeout_at(until, socket.read(&mut piece)).await {
            Ok(Ok(length @ 1..)) => heard.extend_from_slice(&piece[..length]),
            _ => break,
        }
        overheard = overhear(Side::Client, &said, &heard);
    }
    Ok(overheard.hello)
}
