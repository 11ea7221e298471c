//! A scripted SMTP client: it speaks from any loopback address, says lines and expects codes.

use std::{
    fmt, io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use rustls::{
    ClientConfig, DigitallySignedStruct, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use tokio::{net::TcpSocket, time::timeout};
use tokio_rustls::TlsConnector;

use crate::wire::Wire;

/// How long the client waits for a connection or for one reply.
const PATIENCE: Duration = Duration::from_secs(30);

/// A connection to an SMTP server.
#[derive(Debug)]
pub struct Client {
    wire: Wire,
    /// The banner that the server greeted with.
    pub banner: Reply,
}

/// A reply of the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    pub code: u16,
    /// The texts after the code, one for each line.
    pub lines: Vec<String>,
}

impl Client {
    /// Connects, from `source` if it is given, and reads the banner.
    pub async fn connect(source: Option<IpAddr>, target: SocketAddr) -> io::Result<Self> {
        let mut client = Self::dial(source, target).await?;
        client.banner = client.reply().await?;
        Ok(client)
    }

    /// Connects without waiting for the banner: to speak first, or to say nothing.
    pub async fn dial(source: Option<IpAddr>, target: SocketAddr) -> io::Result<Self> {
        let socket = if target.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        if let Some(source) = source {
            socket.bind(SocketAddr::new(source, 0))?;
        }
        let stream = in_time("connecting", socket.connect(target)).await?;
        Ok(Self { wire: Wire::plain(stream), banner: Reply { code: 0, lines: Vec::new() } })
    }

    /// Ends the connection without a word; with RST, if `reset`.
    pub async fn vanish(self, reset: bool) {
        if reset { self.wire.reset() } else { self.wire.close().await }
    }

    /// Says one line and reads the reply to it.
    pub async fn say(&mut self, line: &str) -> io::Result<Reply> {
        self.write(format!("{line}\r\n").as_bytes()).await?;
        self.reply().await
    }

    /// Says one line; anything but a reply that begins with `expected` (`250`, `4`, `550 5.1.1`) is an error.
    pub async fn expect(&mut self, line: &str, expected: &str) -> io::Result<Reply> {
        let reply = self.say(line).await?;
        if reply.is(expected) {
            return Ok(reply);
        }
        Err(io::Error::other(format!("after \"{line}\" expected {expected}, got: {reply}")))
    }

    /// Writes bytes as they are.
    pub async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        in_time("writing", self.wire.write(bytes)).await
    }

    /// Reads one reply.
    pub async fn reply(&mut self) -> io::Result<Reply> {
        reply(&mut self.wire).await
    }

    /// Waits for the server to close; false if it said something instead or did not close within this time.
    pub async fn closed(&mut self, within: Duration) -> bool {
        // A reset is as good an end as any.
        matches!(timeout(within, self.wire.line()).await, Ok(Ok(None) | Err(_)))
    }

    /// Changes to TLS and accepts any certificate. The EHLO must be said again.
    pub async fn start_tls(mut self, name: &str) -> io::Result<Self> {
        self.expect("STARTTLS", "220").await?;
        let stream = self.wire.into_plain().ok_or(io::ErrorKind::AlreadyExists)?;
        let name = ServerName::try_from(name.to_owned()).map_err(io::Error::other)?;
        let secure = in_time("TLS", connector()?.connect(name, stream)).await?;
        Ok(Self { wire: Wire::secure(secure.into()), banner: self.banner })
    }

    /// Sends one message and gives the reply to each step: EHLO, MAIL, each RCPT, DATA, final dot.
    ///
    /// It stops at the first step that is refused; for RCPT only if all are. The session stays open.
    /// Line ends of the content become CRLF, dots at the start of a line are doubled.
    pub async fn send(&mut self, helo: &str, from: &str, to: &[&str], content: &[u8]) -> io::Result<Vec<Reply>> {
        let mut replies = vec![self.say(&format!("EHLO {helo}")).await?];
        if replies[0].is("2") {
            replies.extend(self.transaction(from, to, content).await?);
        }
        Ok(replies)
    }

    /// One more message in a session that has said EHLO: the replies from MAIL on.
    pub async fn transaction(&mut self, from: &str, to: &[&str], content: &[u8]) -> io::Result<Vec<Reply>> {
        self.transaction_as(from, "", to, content, false).await
    }

    /// The same with parameters of MAIL; `raw` content goes as it is, without doubled dots or mended line ends.
    pub async fn transaction_as(
        &mut self,
        from: &str,
        parameters: &str,
        to: &[&str],
        content: &[u8],
        raw: bool,
    ) -> io::Result<Vec<Reply>> {
        let mail = format!("MAIL FROM:<{from}> {parameters}");
        let mut replies = vec![self.say(mail.trim_end()).await?];
        if !replies[0].is("2") {
            return Ok(replies);
        }
        for recipient in to {
            replies.push(self.say(&format!("RCPT TO:<{recipient}>")).await?);
        }
        if !replies[1..].iter().any(|reply| reply.is("2")) {
            return Ok(replies);
        }
        replies.push(self.say("DATA").await?);
        if replies.last().is_some_and(|reply| reply.is("354")) {
            let bytes = if raw { [content, b"\r\n.\r\n"].concat() } else { stuffed(content) };
            self.write(&bytes).await?;
            replies.push(self.reply().await?);
        }
        Ok(replies)
    }

    /// QUIT, and the end of the connection.
    pub async fn quit(mut self) -> io::Result<()> {
        self.say("QUIT").await?;
        self.wire.close().await;
        Ok(())
    }
}

impl Reply {
    /// Does the reply begin with this: a class `2`, a code `250`, a code and more `554 5.4.6`?
    pub fn is(&self, expected: &str) -> bool {
        self.to_string().starts_with(expected)
    }
}

/// All lines in one: `250 ok`, `550 5.7.1 one / 5.7.1 two`.
impl fmt::Display for Reply {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} {}", self.code, self.lines.join(" / "))
    }
}

async fn in_time<T>(doing: &str, work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    timeout(PATIENCE, work)
        .await
        .map_err(|_| io::Error::new(io::ErrorKind::TimedOut, format!("{doing} took over {PATIENCE:?}")))?
}

async fn reply(wire: &mut Wire) -> io::Result<Reply> {
    let mut lines = Vec::new();
    loop {
        let line = in_time("waiting for a reply", wire.line()).await?;
        let line =
            line.ok_or_else(|| io::Error::new(io::ErrorKind::UnexpectedEof, "the server closed the connection"))?;
        let line = String::from_utf8_lossy(&line).into_owned();
        let code = line.get(..3).and_then(|code| code.parse().ok());
        let Some(code) = code else {
            return Err(io::Error::new(io::ErrorKind::InvalidData, format!("no reply: \"{line}\"")));
        };
        lines.push(line.get(4..).unwrap_or_default().to_owned());
        if line.as_bytes().get(3) != Some(&b'-') {
            return Ok(Reply { code, lines });
        }
    }
}

/// RFC 5321 4.5.2, with the final dot.
fn stuffed(content: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(content.len() + 64);
    for line in content.strip_suffix(b"\n").unwrap_or(content).split(|byte| *byte == b'\n') {
        if line.starts_with(b".") {
            out.push(b'.');
        }
        out.extend_from_slice(line.strip_suffix(b"\r").unwrap_or(line));
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b".\r\n");
    out
}

fn connector() -> io::Result<TlsConnector> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

/// A test client talks to whoever answers; the signatures of the handshake are checked all the same.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(
            message,
            certificate,
            signature,
            &self.0.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(
            message,
            certificate,
            signature,
            &self.0.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::stuffed;

    #[test]
    fn dots_are_doubled_and_lines_end_with_crlf() {
        assert_eq!(stuffed(b"a\n.b\r\n..\n"), b"a\r\n..b\r\n...\r\n.\r\n");
        assert_eq!(stuffed(b"a"), b"a\r\n.\r\n");
    }
}
