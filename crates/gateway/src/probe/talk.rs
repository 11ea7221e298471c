//! Talk: the start of an SMTP conversation, never as far as DATA, and what came of it as a record.

use crate::clock::now;
use crate::core::{Core, InForce};
use crate::deliver;
use mail::{Connect, Culprit, End, Failure, HostTry, RcptSaid, Reply, Said, Speaker, Stage, TlsUse, status};
use rustls::pki_types::ServerName;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};

/// One connection, from the first packet to QUIT.
const TALK_MAX: Duration = Duration::from_secs(8);
/// A peer that does not answer QUIT keeps nobody waiting.
const QUIT_MAX: Duration = Duration::from_secs(1);
/// Octets heard in one conversation.
const HEARD_MAX: usize = 65_536;

/// What to say.
pub(super) struct Plan<'a> {
    pub(super) address: SocketAddr,
    pub(super) host: &'a str,
    pub(super) source: Option<IpAddr>,
    pub(super) ehlo: Option<&'a str>,
    pub(super) tls: bool,
    pub(super) sender: Option<&'a str>,
    pub(super) recipient: Option<&'a str>,
}

trait Duplex: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Duplex for T {}

struct Talk {
    stream: Box<dyn Duplex>,
    tried: HostTry,
    /// Octets not yet read as lines.
    buffer: Vec<u8>,
    heard: usize,
    until: Instant,
}

/// Connects, for at most the time of a talk; the record says how that went.
pub(super) async fn connect(
    in_force: &InForce,
    address: SocketAddr,
    host: &str,
    from: Option<IpAddr>,
) -> (HostTry, Option<TcpStream>) {
    let mut tried = HostTry::new(host, address.ip(), address.port(), now());
    let (source, ehlo) = deliver::source(in_force, address);
    tried.ehlo = ehlo;
    tried.source = from.or(source);
    let limit = in_force.settings.delivery.timeouts.connect.min(TALK_MAX);
    match deliver::dial(address, tried.source, limit).await {
        Ok(socket) => {
            let ms = u32::try_from(now().since(tried.started).as_millis()).unwrap_or(u32::MAX);
            tried.connect = Connect::Made { ms };
            crate::heard::tell("connect", host, || format!("connected to {address} in {ms} ms"));
            tried.source = socket.local_addr().ok().map(|local| local.ip());
            (tried, Some(socket))
        }
        Err((connect, failure)) => {
            crate::heard::tell("connect", host, || format!("{address}: {}", failure.status));
            tried.connect = connect;
            tried.failure = Some(failure);
            (tried, None)
        }
    }
}

/// Greets the peer and says what the plan has, as far as the peer goes along.
pub(super) async fn greet(core: &Core, in_force: &InForce, plan: &Plan<'_>) -> HostTry {
    let until = Instant::now() + TALK_MAX;
    let (mut tried, socket) = connect(in_force, plan.address, plan.host, plan.source).await;
    let Some(socket) = socket else { return tried };
    if let Some(name) = plan.ehlo {
        name.clone_into(&mut tried.ehlo);
    }
    let mut talk = Talk { stream: Box::new(socket), tried, buffer: Vec::new(), heard: 0, until };
    // The record has it already.
    let _ = talk.all(core, plan).await;
    talk.quit().await;
    talk.tried
}

impl Talk {
    /// `None`: the peer did not go along, which the record says.
    async fn all(&mut self, core: &Core, plan: &Plan<'_>) -> Option<()> {
        let connected = Instant::now();
        let banner = self.hear(Stage::Banner).await?;
        self.tried.banner_ms = u64::try_from(connected.elapsed().as_millis()).ok();
        self.tried.banner = Some(banner.clone());
        if !banner.is_positive() {
            return None;
        }
        let offers = self.ehlo().await?;
        let can = |word: &str| offers.lines.iter().skip(1).any(|line| line.trim().eq_ignore_ascii_case(word));
        if plan.tls && can("STARTTLS") && self.say("STARTTLS", Stage::StartTls).await?.is_positive() {
            self.start_tls(core, plan.host).await?;
            self.ehlo().await?;
        }
        let sender = plan.sender?;
        let reply = self.say(&format!("MAIL FROM:<{sender}>"), Stage::Mail).await?;
        self.tried.mail_reply = Some(reply.clone());
        if let (true, Some(recipient)) = (reply.is_positive(), plan.recipient) {
            let reply = self.say(&format!("RCPT TO:<{recipient}>"), Stage::Rcpt).await?;
            self.tried.rcpt.push(RcptSaid { recipient: recipient.to_owned(), reply });
        }
        self.say("RSET", Stage::Mail).await.map(drop)
    }

    /// EHLO, or HELO where that is not understood.
    async fn ehlo(&mut self) -> Option<Reply> {
        let name = self.tried.ehlo.clone();
        let reply = self.say(&format!("EHLO {name}"), Stage::Ehlo).await?;
        self.tried.greeted.get_or_insert_with(|| reply.clone());
        if reply.is_positive() {
            self.tried.capabilities = reply.lines.iter().skip(1).cloned().collect();
            return Some(reply);
        }
        let reply = self.say(&format!("HELO {name}"), Stage::Ehlo).await?;
        self.tried.helo_only = reply.is_positive();
        reply.is_positive().then_some(reply)
    }

    async fn start_tls(&mut self, core: &Core, host: &str) -> Option<()> {
        let name = ServerName::try_from(host.to_owned()).unwrap_or(ServerName::IpAddress(self.tried.address.into()));
        let plain = std::mem::replace(&mut self.stream, Box::new(tokio::io::empty()));
        let connector = tokio_rustls::TlsConnector::from(core.client_tls.clone());
        let shaken = timeout_at(self.until, connector.connect(name, plain))
            .await
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        match shaken {
            Ok(stream) => {
                let session = stream.get_ref().1;
                let version = session.protocol_version().and_then(|version| version.as_str()).unwrap_or_default();
                let cipher = session.negotiated_cipher_suite().map(|suite| format!("{:?}", suite.suite()));
                self.tried.tls = Some(TlsUse {
                    version: version.to_owned(),
                    cipher: cipher.unwrap_or_default(),
                    unverified: Some("a test connection: the certificate was not verified".to_owned()),
                });
                self.stream = Box::new(stream);
                self.record(Speaker::Note, "TLS started");
                Some(())
            }
            Err(error) => {
                self.record(Speaker::Note, &format!("TLS failed: {error}"));
                self.tried.end = End::Broken(error.to_string());
                let why = status::TLS_FAILED.with(error.to_string());
                self.tried.failure = Some(Failure::new(Stage::StartTls, Culprit::Path, why));
                None
            }
        }
    }

    async fn say(&mut self, line: &str, stage: Stage) -> Option<Reply> {
        // An address or a name of a rule's making must not become two commands.
        let line: String = line.chars().filter(|c| !c.is_control()).collect();
        self.record(Speaker::Client, &line);
        let written = async {
            self.stream.write_all(format!("{line}\r\n").as_bytes()).await?;
            self.stream.flush().await
        };
        match timeout_at(self.until, written).await {
            Ok(Ok(())) => self.hear(stage).await,
            Ok(Err(error)) => self.over(stage, End::Broken(error.to_string())),
            Err(_) => self.over(stage, End::TimedOut { waited_ms: millis(TALK_MAX) }),
        }
    }

    /// The next reply.
    async fn hear(&mut self, stage: Stage) -> Option<Reply> {
        let since = Instant::now();
        let mut lines: Vec<String> = Vec::new();
        loop {
            while let Some(end) = self.buffer.iter().position(|&octet| octet == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                let line: String = String::from_utf8_lossy(line.trim_ascii_end())
                    .chars()
                    .map(|c| if c.is_control() { '?' } else { c })
                    .collect();
                self.record(Speaker::Server, &line);
                let last = line.as_bytes().get(3) != Some(&b'-');
                lines.push(line);
                if last {
                    let texts: Vec<&str> = lines.iter().map(String::as_str).collect();
                    let Ok(reply) = Reply::parse(&texts) else {
                        let why = status::BAD_REPLY.with(format!("{:?}", lines.join(" ")));
                        self.tried.failure = Some(Failure::new(stage, Culprit::Them, why));
                        return None;
                    };
                    if !reply.is_positive() {
                        self.tried.failure = Some(Failure::remote(stage, &self.tried.host, &reply));
                    }
                    return Some(reply);
                }
            }
            let mut octets = [0; 4096];
            match timeout_at(self.until, self.stream.read(&mut octets)).await {
                Ok(Ok(0)) => return self.over(stage, End::Closed),
                Ok(Ok(length)) => {
                    self.heard += length;
                    if self.heard > HEARD_MAX {
                        return self.over(stage, End::Ours);
                    }
                    self.buffer.extend_from_slice(&octets[..length]);
                }
                Ok(Err(error)) => return self.over(stage, End::Broken(error.to_string())),
                Err(_) => return self.over(stage, End::TimedOut { waited_ms: millis(since.elapsed()) }),
            }
        }
    }

    /// The conversation ends here, and why.
    fn over(&mut self, stage: Stage, end: End) -> Option<Reply> {
        let host = &self.tried.host;
        let how = match &end {
            End::Closed => format!("closed by {host}"),
            End::TimedOut { waited_ms } => format!("timed out after {} s", waited_ms / 1000),
            End::Broken(why) => why.clone(),
            _ => "too many words".to_owned(),
        };
        self.record(Speaker::Note, &how);
        let kind = if stage == Stage::Banner { &status::NO_BANNER } else { &status::NO_RESPONSE };
        let culprit = if end == End::Closed { Culprit::Them } else { Culprit::Path };
        self.tried.failure = Some(Failure::new(stage, culprit, kind.with(how)));
        self.tried.end = end;
        None
    }

    async fn quit(&mut self) {
        if self.tried.end != End::Open {
            return;
        }
        self.record(Speaker::Client, "QUIT");
        self.tried.end = End::Ours;
        let goodbye = async {
            self.stream.write_all(b"QUIT\r\n").await?;
            self.stream.flush().await?;
            let mut answer = [0; 512];
            self.stream.read(&mut answer).await
        };
        if let Ok(Ok(1..)) = timeout(QUIT_MAX, goodbye).await {
            self.tried.end = End::Quit;
        }
    }

    fn record(&mut self, speaker: Speaker, text: &str) {
        let stage = match speaker {
            Speaker::Client => "said",
            Speaker::Server => "heard",
            Speaker::Note => "note",
        };
        crate::heard::tell(stage, &self.tried.host, || text.to_owned());
        self.tried.transcript.push(Said { at: now(), speaker, text: text.to_owned() });
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
