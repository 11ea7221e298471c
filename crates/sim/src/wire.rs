//! One TCP connection, plain or inside TLS, read by lines.

use std::{io, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::TlsStream;

/// Longer lines end the connection: a limit against runaway memory, far over any that SMTP allows.
const LINE_MAX: usize = 1 << 20;

/// A connection and what of it was received but not yet used.
#[derive(Debug)]
pub(crate) struct Wire {
    stream: Stream,
    input: Vec<u8>,
}

#[derive(Debug)]
enum Stream {
    Plain(TcpStream),
    Secure(Box<TlsStream<TcpStream>>),
}

impl Wire {
    pub(crate) fn plain(stream: TcpStream) -> Self {
        // Scripts are about what is said, not about Nagle's algorithm.
        let _ = stream.set_nodelay(true);
        Self { stream: Stream::Plain(stream), input: Vec::new() }
    }

    /// What was received before TLS is dropped (RFC 3207 4.2).
    pub(crate) fn secure(stream: TlsStream<TcpStream>) -> Self {
        Self { stream: Stream::Secure(Box::new(stream)), input: Vec::new() }
    }

    /// The bare connection, for a handshake; none if it is in TLS already.
    pub(crate) fn into_plain(self) -> Option<TcpStream> {
        match self.stream {
            Stream::Plain(stream) => Some(stream),
            Stream::Secure(_) => None,
        }
    }

    /// The next line without its LF or CRLF; none at the end of the stream.
    pub(crate) async fn line(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut searched = 0;
        loop {
            if let Some(at) = self.input[searched..].iter().position(|b| *b == b'\n') {
                let mut line: Vec<u8> = self.input.drain(..=searched + at).collect();
                line.pop();
                if line.last() == Some(&b'\r') {
                    line.pop();
                }
                return Ok(Some(line));
            }
            searched = self.input.len();
            if searched > LINE_MAX {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "line too long"));
            }
            if self.fill().await? == 0 {
                return Ok(None);
            }
        }
    }

    /// Exactly `size` bytes, or an error at the end of the stream.
    pub(crate) async fn exactly(&mut self, size: usize) -> io::Result<Vec<u8>> {
        while self.input.len() < size {
            if self.fill().await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(self.input.drain(..size).collect())
    }

    /// Waits until some bytes lie ready (or the stream has ended) without using them.
    pub(crate) async fn some(&mut self) -> io::Result<()> {
        if self.input.is_empty() {
            self.fill().await?;
        }
        Ok(())
    }

    /// Reads and forgets until the other side closes.
    pub(crate) async fn swallow(&mut self) -> io::Result<()> {
        loop {
            self.input.clear();
            if self.fill().await? == 0 {
                return Ok(());
            }
        }
    }

    pub(crate) async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.stream {
            Stream::Plain(stream) => stream.write_all(bytes).await,
            Stream::Secure(stream) => {
                stream.write_all(bytes).await?;
                stream.flush().await
            }
        }
    }

    /// Ends our direction only (FIN; in TLS a close_notify first).
    pub(crate) async fn half_close(&mut self) -> io::Result<()> {
        match &mut self.stream {
            Stream::Plain(stream) => stream.shutdown().await,
            Stream::Secure(stream) => stream.shutdown().await,
        }
    }

    /// Ends both directions in good order.
    pub(crate) async fn close(mut self) {
        // What lies unread in the kernel would turn the close into a reset: take a little of it.
        let _ = self.half_close().await;
        let _ = tokio::time::timeout(Duration::from_millis(200), self.swallow()).await;
    }

    /// Ends the connection with RST: SO_LINGER of 0 makes the close an abort.
    pub(crate) fn reset(self) {
        let tcp = match &self.stream {
            Stream::Plain(stream) => stream,
            Stream::Secure(stream) => stream.get_ref().0,
        };
        let _ = socket2::SockRef::from(tcp).set_linger(Some(Duration::ZERO));
    }

    async fn fill(&mut self) -> io::Result<usize> {
        match &mut self.stream {
            Stream::Plain(stream) => stream.read_buf(&mut self.input).await,
            Stream::Secure(stream) => stream.read_buf(&mut self.input).await,
        }
    }
}
