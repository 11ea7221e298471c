//! Stream: a TCP connection that may turn into TLS in the middle.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

pub(crate) enum Stream {
    Plain(TcpStream),
    Server(Box<tokio_rustls::server::TlsStream<TcpStream>>),
    Client(Box<tokio_rustls::client::TlsStream<TcpStream>>),
}

impl Stream {
    /// The bare connection, to start TLS on; an error if it is already in TLS.
    pub(crate) fn into_plain(self) -> io::Result<TcpStream> {
        match self {
            Stream::Plain(socket) => Ok(socket),
            _ => Err(io::Error::other("the connection is already in TLS")),
        }
    }

    /// `(version, cipher)` once in TLS.
    pub(crate) fn tls(&self) -> Option<(String, String)> {
        let session: &rustls::CommonState = match self {
            Stream::Plain(_) => return None,
            Stream::Server(tls) => tls.get_ref().1,
            Stream::Client(tls) => tls.get_ref().1,
        };
        let version =
            session.protocol_version().and_then(|version| version.as_str().map(str::to_owned)).unwrap_or_default();
        let cipher = session.negotiated_cipher_suite().map(|suite| format!("{:?}", suite.suite())).unwrap_or_default();
        Some((version, cipher))
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(socket) => Pin::new(socket).poll_read(cx, buf),
            Stream::Server(tls) => Pin::new(tls).poll_read(cx, buf),
            Stream::Client(tls) => Pin::new(tls).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Stream::Plain(socket) => Pin::new(socket).poll_write(cx, buf),
            Stream::Server(tls) => Pin::new(tls).poll_write(cx, buf),
            Stream::Client(tls) => Pin::new(tls).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(socket) => Pin::new(socket).poll_flush(cx),
            Stream::Server(tls) => Pin::new(tls).poll_flush(cx),
            Stream::Client(tls) => Pin::new(tls).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(socket) => Pin::new(socket).poll_shutdown(cx),
            Stream::Server(tls) => Pin::new(tls).poll_shutdown(cx),
            Stream::Client(tls) => Pin::new(tls).poll_shutdown(cx),
        }
    }
}
