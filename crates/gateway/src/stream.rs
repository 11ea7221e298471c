//! Stream: a TCP connection that may turn into TLS in the middle.

use mail::hello::{Overheard, Side, overhear};
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

pub(crate) enum Stream {
    Plain(TcpStream),
    Server(Box<tokio_rustls::server::TlsStream<Tapped>>),
    Client(Box<tokio_rustls::client::TlsStream<Tapped>>),
}

impl Stream {
    /// The bare connection, to start TLS on; an error if it is already in TLS.
    pub(crate) fn into_plain(self) -> io::Result<TcpStream> {
        match self {
            Stream::Plain(socket) => Ok(socket),
            _ => Err(io::Error::other("the connection is already in TLS")),
        }
    }

    /// The TCP connection below.
    pub(crate) fn socket(&self) -> &TcpStream {
        match self {
            Stream::Plain(socket) => socket,
            Stream::Server(tls) => &tls.get_ref().0.socket,
            Stream::Client(tls) => &tls.get_ref().0.socket,
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

/// Octets kept of each direction of a handshake: what is in the clear comes first.
const TAP_MAX: usize = 16_384;

/// What went over a socket during a handshake.
#[derive(Debug, Default)]
struct Heard {
    sent: Vec<u8>,
    received: Vec<u8>,
}

/// Holds what a handshake said; the socket fills it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tap(Arc<Mutex<Heard>>);

impl Tap {
    /// What the handshake has said in the clear so far.
    pub(crate) fn overheard(&self, we: Side) -> Overheard {
        let heard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        overhear(we, &heard.sent, &heard.received)
    }

    fn keep(&self, part: impl FnOnce(&mut Heard) -> &mut Vec<u8>, octets: &[u8]) {
        let mut heard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = part(&mut heard);
        kept.extend_from_slice(&octets[..octets.len().min(TAP_MAX - kept.len())]);
    }
}

/// A socket below TLS. Its first octets in both directions are kept until the handshake is over.
#[derive(Debug)]
pub(crate) struct Tapped {
    socket: TcpStream,
    tap: Option<Tap>,
}

impl Tapped {
    pub(crate) fn new(socket: TcpStream, tap: Tap) -> Tapped {
        Tapped { socket, tap: Some(tap) }
    }

    /// The handshake is over: keep no more.
    pub(crate) fn untap(&mut self) {
        self.tap = None;
    }
}

impl AsyncRead for Tapped {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let it = self.get_mut();
        let before = buf.filled().len();
        let polled = Pin::new(&mut it.socket).poll_read(cx, buf);
        if let Some(tap) = &it.tap {
            tap.keep(|heard| &mut heard.received, &buf.filled()[before..]);
        }
        polled
    }
}

impl AsyncWrite for Tapped {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let it = self.get_mut();
        let polled = Pin::new(&mut it.socket).poll_write(cx, buf);
        if let (Some(tap), Poll::Ready(Ok(written))) = (&it.tap, &polled) {
            tap.keep(|heard| &mut heard.sent, &buf[..*written]);
        }
        polled
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.tap.is_none() {
            return Pin::new(&mut self.get_mut().socket).poll_write_vectored(cx, bufs);
        }
        let first = bufs.iter().find(|buf| !buf.is_empty()).map_or(&[][..], |buf| buf);
        self.poll_write(cx, first)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_shutdown(cx)
    }
}
