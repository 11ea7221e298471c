//! Receive: one client's connection, from banner to close; and the way of its messages into the store.
//!
//! The conversation is smtp::server's, the verdicts are decide's, the promise is the store's: this file only carries
//! values between them and the socket.

use crate::clock::now;
use crate::core::{Core, InForce};
use crate::listen::{Census, Seat};
use crate::lists;
use crate::loops::Round;
use crate::metrics::{ByCode, ByListener};
use crate::proxy;
use crate::scan;
use crate::spf::{self, Claim, Evaluation};
use crate::stream::Stream;
use crate::verify;
use crate::visit::{self, ANSWERS_MAX, Diary};
use decide::accept::{self, RcptVerdict};
use decide::greylist;
use decide::loops::Deed;
use decide::settings::{Door, Mode, Settings, Spf, Tls};
use decide::spf::is_forged;
use decide::validate::{self, Judged};
use decide::{rewrite, route};
use mail::{
    AuditId, Body, End, Envelope, Headers, Known, ListWord, Listener, Origin, Recipient, Reply, Scan, ScanWord,
    Speaker, SpfCheck, SpfResult, Stage, Storage, TlsUse, dns, header_end, status,
};
use serde_json::json;
use smtp::server::{Event, MailParams, Options, Refusal, Server, Violation};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};
use store::{Draft, NewDelivery, Refused};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// RFC 5321 4.5.3.2.7: a server waits at least 5 minutes for the next command.
const IDLE_MAX: Duration = Duration::from_secs(300);
/// RFC 5321 3.1 lets a client that was turned away say QUIT; it has this long.
const UNWELCOME_MAX: Duration = Duration::from_secs(5);
/// A client that does not take our replies for so long is gone.
const WRITE_MAX: Duration = Duration::from_secs(60);
/// A handshake is machines talking.
const HANDSHAKE_MAX: Duration = Duration::from_secs(30);
/// A balancer sends its header with the first packet; its specification (2.2) asks for 3 seconds or more, so that one
/// packet may be lost.
const PROXY_MAX: Duration = Duration::from_secs(5);
/// Octets read of what comes before the greeting.
const EARLY_MAX: usize = 256;
/// Who was turned away for talking may still be sending: closing at once would reset the connection and our words with
/// it. So long, and so much, is thrown away first.
const LINGER_MAX: Duration = Duration::from_secs(1);
const LINGER_OCTETS_MAX: usize = 65_536;
/// Read buffer between commands and while content flows.
const BUFFER_COMMAND: usize = 2048;
const BUFFER_CONTENT: usize = 32_768;
/// Rounds of questions that a check puts to DNS (names, then their addresses).
const DNS_ROUNDS_MAX: usize = 4;
/// A header longer than this is passed on without being looked at further.
const HEADER_MAX: usize = 1 << 20;

/// Argon2 takes 19 MiB each time: strangers must not be able to ask for more at once.
static HASHING: tokio::sync::Semaphore = tokio::sync::Semaphore::const_new(2);

/// What lives as long as the connection.
struct Session {
    core: Arc<Core>,
    role: Listener,
    id: AuditId,
    client: IpAddr,
    helo: String,
    extended: bool,
    server: Server,
    stream: Option<Stream>,
    buffer: Vec<u8>,
    transaction: Option<Box<Transaction>>,
    diary: Diary,
    /// Turned away at the door; nobody waits long for its QUIT.
    unwelcome: bool,
    /// Turned away for what it said out of turn: see `LINGER_MAX`.
    lingers: bool,
    _seat: Seat,
}

/// What lives as long as one message.
struct Transaction {
    id: AuditId,
    in_force: Arc<InForce>,
    /// Came in by the outbound or submission listener.
    leaves: bool,
    params: MailParams,
    recipients: Vec<Recipient>,
    /// Of each of them, by which of `given` it was asked for; by none: our own postmaster.
    asked: Vec<Vec<usize>>,
    /// As given at RCPT, before aliases.
    given: Vec<mail::Address>,
    /// Our Received field, written when the header shows whether the message was here before.
    trace_line: String,
    /// Of clients that are judged by SPF; and what stands in the header about it.
    spf: Option<Evaluation>,
    spf_fields: String,
    returns: Vec<mail::Return>,
    /// Which pass of the message this is.
    pass: u8,
    /// The host that stands in its Received fields again and again.
    repeats: Option<(String, usize)>,
    role: Listener,
    client: IpAddr,
    core: Arc<Core>,
    draft: Option<Draft>,
    /// The header while it is not complete.
    header: Option<Vec<u8>>,
    subject: String,
    message_id: String,
    in_reply_to: String,
    auto_submitted: bool,
    hops: usize,
    utf8_header: bool,
    /// Octets above 127 in the content, declared or not.
    eight_bit: bool,
    /// The first thing that went wrong with storing; told at the end of the content.
    trouble: Option<Reply>,
    refused: Option<Refused>,
}

enum Next {
    Go,
    Close(End),
}

/// What of the client's was refused, besides a whole stage.
enum Offer {
    Nothing,
    Command(String),
    Recipient(String),
}

/// Serves a connection to its end.
pub(crate) async fn connection(
    core: Arc<Core>,
    role: Listener,
    mut socket: TcpStream,
    peer: SocketAddr,
    census: Arc<Census>,
) {
    let _ = socket.set_nodelay(true);
    let in_force = core.in_force();
    let (Some(listener), Ok(local)) = (in_force.settings.door(role), socket.local_addr()) else { return };
    let id = core.ids.next();
    let mut client = peer.ip().to_canonical();
    let mut diary = Diary::new(role, local, client);
    if listener.proxy_protocol_from.iter().any(|network| network.contains(&client)) {
        diary.visit.proxy_awaited = true;
        match proxied(&mut socket, &mut diary).await {
            Ok(source) => client = source.unwrap_or(client),
            Err(reply) => {
                core.record(id, "refused", refusal(&diary, id, &reply, Stage::Connect));
                diary.refused(id, Stage::Connect, &reply, None, None, String::new());
                return visit::over(&core, &in_force, id, diary).await;
            }
        }
        diary.visit.proxy = (client != diary.visit.client).then_some(diary.visit.client);
        diary.visit.client = client;
    }
    let (seat, counts) = census.enter(client);
    let label = ByListener { listener: role.name() };
    core.metrics.connections.get_or_create(&label).inc();
    let mut verdict = admission(&core, &in_force, role, client, counts);
    let mut why = None;
    if verdict.is_ok()
        && let Err((kind, reply)) =
            judge(&core, &in_force, &mut diary, |known| validate::connect(&in_force.settings, role, client, known))
                .await
    {
        why = Some(kind.id);
        verdict = Err(reply);
    }
    if verdict.is_ok() && !listener.dnsbl.is_empty() && !in_force.settings.is_internal(client) {
        diary.visit.lists = lists::ask(&core, &in_force, &listener.dnsbl, client).await;
        let listed = diary.visit.lists.iter().find(|listing| listing.word == ListWord::Listed);
        if let Some(listing) = listed {
            let codes: Vec<String> = listing.codes.iter().map(ToString::to_string).collect();
            let what = format!("{client} is on {} ({})", listing.zone, codes.join(", "));
            verdict = Err(status::BLOCK_LISTED.reply(what));
        }
    }
    let early = if verdict.is_ok() { said_early(&socket, listener.greeting_delay).await } else { Early::Nothing };
    let mut session = Session {
        role,
        id,
        client,
        helo: String::new(),
        extended: false,
        server: Server::new(options(&core, &in_force, listener, role, client)),
        stream: Some(Stream::Plain(socket)),
        buffer: Vec::with_capacity(BUFFER_COMMAND),
        transaction: None,
        diary,
        unwelcome: verdict.is_err(),
        lingers: false,
        _seat: seat,
        core: core.clone(),
    };
    match (verdict, early) {
        (Err(reply), _) => {
            session.refused(&reply, Stage::Connect, why, Offer::Nothing);
            session.answer_refused(reply);
        }
        (Ok(()), Early::Gone) => session.stream = None,
        // The machine answers 554 and closes: who does not wait for the greeting is no mail server (RFC 5321 4.3.1).
        (Ok(()), Early::Said(octets)) => {
            session.diary.early(&octets);
            session.server.receive(&octets);
        }
        (Ok(()), Early::Nothing) => {
            let greeting = format!("{} ESMTP Gatepost {}", in_force.hostname, core.loops.token());
            session.server.greet(&greeting);
            session.diary.greeting = greeting;
            session.diary.visit.greeted = Some(now());
        }
    }
    drop(in_force);
    // An error is the client's going away; what it sent until then was judged, the rest never came.
    let end = match session.run().await {
        Ok(end) => end,
        Err(error) => End::Broken(error.to_string()),
    };
    core.metrics.connections.get_or_create(&label).dec();
    session.over(end).await;
}

/// The true client's address, as the balancer says; `None` if it speaks for itself.
async fn proxied(socket: &mut TcpStream, diary: &mut Diary) -> Result<Option<IpAddr>, Reply> {
    let mut seen = Vec::new();
    let header = timeout(PROXY_MAX, proxy::header(socket, &mut seen)).await;
    diary.first(&seen);
    let why = match header {
        Ok(Ok(source)) => return Ok(source.map(|source| source.ip().to_canonical())),
        Ok(Err(error)) => {
            diary.visit.end = if error.kind() == io::ErrorKind::UnexpectedEof { End::Closed } else { End::Ours };
            error.to_string()
        }
        Err(_) => {
            diary.visit.end = End::TimedOut { waited_ms: PROXY_MAX.as_millis() as u64 };
            format!("none came within {} s", PROXY_MAX.as_secs())
        }
    };
    let reply = status::PROXY_HEADER.reply(why);
    let mut said = Vec::new();
    reply.write(&mut said);
    // For whoever tries it by hand; a balancer does not read it.
    let _ = timeout(WRITE_MAX, socket.write_all(&said)).await;
    diary.said(now(), Speaker::Server, reply.to_string());
    Err(reply)
}

enum Early {
    Nothing,
    Said(Vec<u8>),
    /// It closed without waiting for the greeting.
    Gone,
}

/// What the client says before it is greeted, within the greeting's delay.
async fn said_early(socket: &TcpStream, delay: Duration) -> Early {
    let mut octets = vec![0; EARLY_MAX];
    let until = tokio::time::Instant::now() + delay;
    loop {
        match socket.try_read(&mut octets) {
            Ok(0) => return Early::Gone,
            Ok(length) => {
                octets.truncate(length);
                return Early::Said(octets);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => return Early::Gone,
        }
        if delay.is_zero() || tokio::time::timeout_at(until, socket.readable()).await.is_err() {
            return Early::Nothing;
        }
    }
}

/// Whether this client is served now.
fn admission(
    core: &Core,
    in_force: &InForce,
    role: Listener,
    client: IpAddr,
    counts: accept::Counts,
) -> Result<(), Reply> {
    if in_force.settings.mode == Mode::Drain || core.is_stopping() {
        return Err(status::SHUTTING_DOWN.reply(""));
    }
    if crate::loops::is_own_client(core, role, client) {
        // The token tells the other side, which is ourselves, what the matter is.
        let what = format!("{client} is an address of this gateway {}", core.loops.token());
        return Err(status::IP_LOOP.reply(what));
    }
    accept::connect(&in_force.settings, role, client, counts)
}

fn options(core: &Core, in_force: &InForce, listener: &Door, role: Listener, client: IpAddr) -> Options {
    let submission = role == Listener::Submission;
    Options {
        size_max: listener.message_size,
        // What cannot be done is not offered; the start has said why.
        starttls: listener.tls != Tls::Off && core.certificates.server(listener, in_force.hostname.as_str()).is_ok(),
        tls_required: listener.tls == Tls::Require,
        auth: submission,
        // Loopback is as private as TLS.
        auth_without_tls: client.is_loopback(),
        auth_required: submission,
        recipients_max: listener.recipients_per_message as usize,
        messages_max: listener.messages_per_session,
        errors_max: listener.errors_per_session,
        ..Options::new(in_force.hostname.as_str())
    }
}

impl Session {
    /// To the end of the conversation, and how it ended.
    async fn run(&mut self) -> io::Result<End> {
        let mut stopping = self.core.stopping.subscribe();
        loop {
            while let Some(event) = self.server.next() {
                if let Next::Close(end) = self.handle(event).await? {
                    self.close().await?;
                    return Ok(end);
                }
            }
            self.flush().await?;
            if self.server.is_closing() {
                self.close().await?;
                return Ok(End::Ours);
            }
            let Session { stream: Some(stream), buffer, .. } = self else { return Ok(End::Closed) };
            let idle = self.transaction.is_none();
            let patience = if self.unwelcome { UNWELCOME_MAX } else { IDLE_MAX };
            let read = tokio::select! {
                read = timeout(patience, stream.read_buf(buffer)) => read,
                _ = stopping.wait_for(|stop| *stop), if idle => {
                    self.refuse_and_close(status::SHUTTING_DOWN.reply(""));
                    continue;
                }
            };
            match read {
                Ok(Ok(0)) => return Ok(End::Closed),
                Ok(Ok(_)) => {
                    if self.is_before_content() {
                        self.diary.read(&self.buffer);
                    }
                    self.server.receive(&self.buffer);
                    self.buffer.clear();
                }
                Ok(Err(error)) => return Err(error),
                Err(_) => {
                    self.refuse_and_close(
                        status::IDLE.reply(format!("{} closes the connection", self.core.in_force().hostname)),
                    );
                    self.close().await?;
                    return Ok(End::TimedOut { waited_ms: patience.as_millis() as u64 });
                }
            }
        }
    }

    /// Commands in the clear.
    fn is_before_content(&self) -> bool {
        let takes_content = self.transaction.as_ref().is_some_and(|transaction| transaction.draft.is_some());
        !takes_content && matches!(self.stream, Some(Stream::Plain(_)))
    }

    /// The connection is over: what it was goes into its record. Its seat is free before that is explained.
    async fn over(self, end: End) {
        let Session { core, id, mut diary, server, stream, helo, extended, _seat: seat, .. } = self;
        diary.visit.end = end;
        diary.visit.helo = helo;
        diary.visit.extended = extended;
        diary.visit.user = server.user().map(str::to_owned);
        drop((server, stream, seat));
        let in_force = core.in_force();
        visit::over(&core, &in_force, id, diary).await;
    }

    /// Puts on record what was said since the last time.
    fn note(&mut self) {
        let at = now();
        for (speaker, text) in self.server.take_said() {
            self.diary.said(at, speaker, text);
        }
    }

    async fn flush(&mut self) -> io::Result<()> {
        self.note();
        let Some(stream) = &mut self.stream else { return Ok(()) };
        let output = self.server.output();
        if output.is_empty() {
            return Ok(());
        }
        let written = timeout(WRITE_MAX, async {
            stream.write_all(output).await?;
            stream.flush().await
        });
        let written = written.await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        output.clear();
        written
    }

    async fn close(&mut self) -> io::Result<()> {
        self.flush().await?;
        if let Some(mut stream) = self.stream.take() {
            // Closing a plain socket ends it as well; TLS has a farewell of its own.
            if stream.tls().is_some() {
                let _ = timeout(WRITE_MAX, stream.shutdown()).await;
            } else if self.lingers {
                let _ = stream.shutdown().await;
                let _ = timeout(LINGER_MAX, drain(&mut stream)).await;
            }
        }
        Ok(())
    }

    async fn handle(&mut self, event: Event) -> io::Result<Next> {
        match event {
            Event::Hello { name, extended } => self.hello(name, extended).await,
            Event::Mail(params) => self.mail(params).await,
            Event::Rcpt(recipient) => self.rcpt(recipient).await,
            Event::Data => self.data().await,
            Event::Content => {
                let piece = self.server.take_content();
                self.content(&piece);
            }
            Event::ContentEnd { size, eight_bit } => {
                let piece = self.server.take_content();
                self.content(&piece);
                self.content_end(size, eight_bit).await;
            }
            Event::StartTls => self.start_tls().await?,
            Event::Auth { user, password } => self.auth(user, password.0).await,
            Event::Reset => self.transaction = None,
            Event::Refused { stage, command, reply } => {
                self.refused(&reply, stage, None, Offer::Command(command));
                if let (Some(fault), Some(refusal)) = (self.server.take_fault(), self.diary.visit.refusals.last_mut()) {
                    refusal.fault = Some(fault);
                }
            }
            Event::Violation(violation) => self.violated(violation),
            Event::TooManyErrors => return Ok(Next::Close(End::Ours)),
            Event::Quit => return Ok(Next::Close(End::Quit)),
        }
        Ok(Next::Go)
    }

    /// Turns the client's wish down, with a record of it.
    fn refuse(&mut self, reply: Reply, stage: Stage) {
        self.refused(&reply, stage, None, Offer::Nothing);
        self.answer_refused(reply);
    }

    /// With the Audit ID by which the administrator finds what happened.
    fn answer_refused(&mut self, mut reply: Reply) {
        if let Some(last) = reply.lines.last_mut() {
            let id = self.transaction.as_ref().map_or(self.id, |transaction| transaction.id);
            last.push_str(&format!(" ({id})"));
        }
        let refusal = Refusal::new(reply).or_else(|| Refusal::new(status::WRITE_FAILED.reply("")));
        self.server.refuse(refusal.expect("write-failed is a 4xx status"));
    }

    fn refuse_and_close(&mut self, reply: Reply) {
        self.server.close(Refusal::new(reply).expect("made from 421 only"));
    }

    /// Records a refusal; `why` if no kind of status says it.
    fn refused(&mut self, reply: &Reply, stage: Stage, why: Option<&str>, offer: Offer) {
        self.core.metrics.refused.get_or_create(&ByCode { listener: self.role.name(), code: reply.code }).inc();
        let id = self.transaction.as_ref().map_or(self.id, |transaction| transaction.id);
        let mut fields = refusal(&self.diary, self.id, reply, stage);
        fields["helo"] = json!(self.helo);
        if let Some(transaction) = &self.transaction {
            fields["sender"] = json!(transaction.params.sender.to_string());
        }
        let (mut recipient, mut command) = (None, String::new());
        match offer {
            Offer::Nothing => {}
            Offer::Command(said) => {
                fields["command"] = json!(said);
                command = said;
            }
            Offer::Recipient(address) => {
                fields["recipient"] = json!(address);
                recipient = Some(address);
            }
        }
        self.core.record(id, "refused", fields);
        self.diary.refused(id, stage, reply, why, recipient, command);
    }

    /// The protocol was broken. After all but one of these the connection is closed.
    fn violated(&mut self, violation: Violation) {
        let (why, stage) = match violation {
            Violation::EarlyTalker => ("early-talker", Stage::Banner),
            Violation::BareCarriageReturn => ("bare-cr-in-command", Stage::Ehlo),
            Violation::BareLineFeed => ("bare-lf-in-command", Stage::Ehlo),
            Violation::Nul => ("nul-in-command", Stage::Ehlo),
            Violation::PlaintextAfterStartTls(_) => ("plaintext-after-starttls", Stage::StartTls),
            Violation::ImproperPipelining => ("improper-pipelining", Stage::Data),
            Violation::ForeignProtocol => ("foreign-protocol", Stage::Ehlo),
            Violation::LostChunk => ("lost-chunk", Stage::Data),
            Violation::Flood => ("flood", Stage::Ehlo),
        };
        self.lingers = true;
        self.refused(&Reply::new(554, "5.5.0", format!("{violation:?}")), stage, Some(why), Offer::Nothing);
    }

    /// New mail has no place: what an explanation needs.
    fn no_room(&mut self, refused: &Refused, settings: &Settings) {
        let (free, reserve) = match refused {
            Refused::Full { free, reserve } => (*free, *reserve),
            Refused::Failed(_) => (0, settings.queue.disk_reserve),
        };
        let disk = rustix::fs::statvfs(self.core.store.folder()).ok();
        self.diary.visit.storage = Some(Storage {
            folder: self.core.store.folder().display().to_string(),
            disk: disk.as_ref().map(|disk| disk.f_blocks.saturating_mul(disk.f_frsize)),
            // A file system that makes them as needed (btrfs) says 0 of 0.
            files: disk.filter(|disk| disk.f_files > 0).map(|disk| disk.f_favail),
            free,
            reserve,
            message_size: settings.door(self.role).map_or(0, |door| door.message_size),
            error: match refused {
                Refused::Failed(error) => Some(error.to_string()),
                Refused::Full { .. } => None,
            },
        });
    }

    async fn hello(&mut self, name: String, extended: bool) {
        let in_force = self.core.in_force();
        self.helo = name;
        self.extended = extended;
        let check = |known: &[dns::Answer]| validate::helo(&in_force.settings, self.role, &self.helo, known);
        match judge(&self.core, &in_force, &mut self.diary, check).await {
            Ok(()) => self.server.accept(),
            Err((kind, reply)) => self.refuse_for(kind, reply, Stage::Ehlo),
        }
    }

    /// Turns the client's wish down for what DNS says of it. Unlike at the door, a lookup that failed does not end the session.
    fn refuse_for(&mut self, kind: &status::Kind, reply: Reply, stage: Stage) {
        let reply = if reply.code == 421 { Reply { code: 451, ..reply } } else { reply };
        self.refused(&reply, stage, Some(kind.id), Offer::Nothing);
        self.answer_refused(reply);
    }

    async fn mail(&mut self, params: MailParams) {
        let in_force = self.core.in_force();
        let check = |known: &[dns::Answer]| validate::sender(&in_force.settings, self.role, &params.sender, known);
        if let Err((kind, reply)) = judge(&self.core, &in_force, &mut self.diary, check).await {
            self.diary.deal(params.sender.address().map(ToString::to_string).unwrap_or_default());
            return self.refuse_for(kind, reply, Stage::Mail);
        }
        if let Err(refused) = self.core.store.room() {
            self.no_room(&refused, &in_force.settings);
            return self.refuse(status::STORAGE_LOW.reply(refused.to_string()), Stage::Mail);
        }
        let (queued, limit) = (self.core.store.usage().queued, in_force.settings.queue.limit);
        if queued >= limit {
            return self
                .refuse(status::QUEUE_FULL.reply(format!("{queued} deliveries, the limit is {limit}")), Stage::Mail);
        }
        self.diary.deal(params.sender.address().map(ToString::to_string).unwrap_or_default());
        let judged = spf::is_wanted(&in_force.settings, self.role, self.client, self.server.user());
        let spf = judged.then(|| {
            let claim = Claim::new(self.client, &self.helo, &params.sender, &in_force);
            Evaluation::start(&self.core, &in_force, claim)
        });
        self.transaction = Some(Box::new(Transaction {
            id: self.core.ids.next(),
            in_force,
            spf,
            spf_fields: String::new(),
            leaves: self.role != Listener::Inbound,
            params,
            recipients: Vec::new(),
            asked: Vec::new(),
            given: Vec::new(),
            trace_line: String::new(),
            returns: Vec::new(),
            pass: 1,
            repeats: None,
            role: self.role,
            client: self.client,
            core: self.core.clone(),
            draft: None,
            header: Some(Vec::new()),
            subject: String::new(),
            message_id: String::new(),
            in_reply_to: String::new(),
            auto_submitted: false,
            hops: 0,
            utf8_header: false,
            eight_bit: false,
            trouble: None,
            refused: None,
        }));
        self.server.accept();
    }

    async fn rcpt(&mut self, recipient: Recipient) {
        let user = self.server.user().map(str::to_owned);
        let Some(transaction) = &mut self.transaction else {
            return self.refuse(Reply::new(503, "5.5.1", "MAIL first"), Stage::Rcpt);
        };
        let recipient = match own_postmaster(&transaction.in_force, &recipient) {
            // RFC 5321 4.5.1: whoever can reach us can reach our postmaster.
            Some(postmaster) => {
                self.diary.accepted(&postmaster.address);
                transaction.add_recipient(postmaster, None);
                return self.server.accept();
            }
            None => recipient,
        };
        let in_force = transaction.in_force.clone();
        let settings = &in_force.settings;
        let verdict = accept::relay(settings, self.role, self.client, user.as_deref(), &recipient.address);
        if let RcptVerdict::Denied(reply) = verdict {
            return self.refuse_recipient(reply, &recipient);
        }
        if verdict == RcptVerdict::Local && accept::asks_next_hop(settings, &recipient.address) {
            let verified = verify::recipient(&self.core, &in_force, &recipient.address).await;
            let known = verified.known;
            self.diary.verified(verified);
            if known == Known::No {
                return self
                    .refuse_recipient(status::NO_SUCH_RECIPIENT.reply(recipient.address.to_string()), &recipient);
            }
        }
        // Whoever is shut out by mistake must be able to say so (RFC 5321 4.5.1).
        let is_postmaster = recipient.address.local().eq_ignore_ascii_case("postmaster");
        if !is_postmaster && let Err((kind, reply)) = self.judge_sender(settings).await {
            self.refused(&reply, Stage::Rcpt, Some(kind.id), Offer::Recipient(recipient.address.to_string()));
            return self.answer_refused(reply);
        }
        // The null sender may be another server's question about a sender of ours; its mail is known by its content.
        let is_null = self.transaction.as_ref().is_some_and(|transaction| transaction.params.sender.is_null());
        if !is_null
            && !is_postmaster
            && let Err(reply) = self.greylist(settings, &recipient.address).await
        {
            return self.refuse_recipient(reply, &recipient);
        }
        let Some(transaction) = &mut self.transaction else { return };
        self.diary.accepted(&recipient.address);
        let number = transaction.given.len();
        transaction.given.push(recipient.address.clone());
        let added = expand(settings, recipient);
        added.into_iter().for_each(|recipient| transaction.add_recipient(recipient, Some(number)));
        self.server.accept();
    }

    /// Whether the sender's domain permits this client, if the listener insists on it.
    async fn judge_sender(&mut self, settings: &Settings) -> Result<(), (&'static status::Kind, Reply)> {
        // A NAT's address says nothing of whoever stands behind it.
        if settings.door(self.role).is_none_or(|door| door.spf != Spf::Enforce) || self.core.around.is_nat(self.client)
        {
            return Ok(());
        }
        let Some(check) = self.spf().await else { return Ok(()) };
        let explanation = check.explanation.as_ref().map(|text| format!("; {} says: {text}", check.domain));
        let detail = format!("{} as {}: {check}{}", self.client, check.domain, explanation.unwrap_or_default());
        match check.result {
            SpfResult::Fail => Err((&status::SPF_FAILED, status::SPF_FAILED.reply(detail))),
            SpfResult::TempError => Err((&status::SPF_UNKNOWN, status::SPF_UNKNOWN.reply(detail))),
            _ => Ok(()),
        }
    }

    /// Whether the client has to come again with mail for this recipient.
    async fn greylist(&mut self, settings: &Settings, recipient: &mail::Address) -> Result<(), Reply> {
        let rules = settings.door(self.role).map(|door| &door.greylisting).filter(|rules| !rules.delay.is_zero());
        let (Some(rules), None, false) = (rules, self.server.user(), settings.is_internal(self.client)) else {
            return Ok(());
        };
        let check = self.spf().await;
        let Some(transaction) = &self.transaction else { return Ok(()) };
        let (sender, recipient) = (transaction.params.sender.to_string(), recipient.to_string());
        let attempt = greylist::Attempt {
            client: self.client,
            sender: &sender,
            recipient: &recipient,
            spf: check.as_ref(),
            at: now(),
        };
        let judged = self.core.greylist.judge(&self.core, rules, &attempt);
        let wait_s = judged.wait.map(|wait| wait.as_millis().div_ceil(1000) as u64);
        if !judged.addresses.is_empty() {
            self.diary.greylisted(mail::Greylisted {
                recipient,
                origin: judged.origin,
                addresses: judged.addresses,
                wait_s,
            });
        }
        wait_s.map_or(Ok(()), |wait| Err(status::GREYLISTED.reply(format!("in {wait} seconds"))))
    }

    /// What SPF says of the sender; none: it is not asked.
    async fn spf(&mut self) -> Option<SpfCheck> {
        let evaluation = self.transaction.as_mut()?.spf.as_mut()?;
        let (check, answers) = evaluation.result().await;
        self.diary.looked_up(answers);
        if let Some(deal) = self.diary.last() {
            deal.spf = Some(Box::new(check.clone()));
        }
        Some(check)
    }

    fn refuse_recipient(&mut self, reply: Reply, recipient: &Recipient) {
        self.refused(&reply, Stage::Rcpt, None, Offer::Recipient(recipient.address.to_string()));
        self.answer_refused(reply);
    }

    async fn data(&mut self) {
        let origin = self.origin();
        let check = self.spf().await;
        if let Some(transaction) = &self.transaction
            && transaction.params.sender.is_null()
        {
            let (in_force, given) = (transaction.in_force.clone(), transaction.given.clone());
            for recipient in given {
                if let Err(reply) = self.greylist(&in_force.settings, &recipient).await {
                    return self.refuse(reply, Stage::Data);
                }
            }
        }
        if let (Some(check), Some(transaction)) = (&check, &mut self.transaction)
            && transaction.in_force.settings.door(self.role).is_some_and(|door| door.spf != Spf::Off)
        {
            transaction.spf_fields = transaction.spf.as_ref().map(|spf| spf.fields(check)).unwrap_or_default();
        }
        let Some(transaction) = &mut self.transaction else {
            return self.refuse(Reply::new(503, "5.5.1", "MAIL first"), Stage::Data);
        };
        if let Some(deal) = self.diary.last() {
            deal.content = true;
        }
        let draft = self.core.store.draft(transaction.id);
        let only = if let [recipient] = transaction.recipients.as_slice() {
            Some(recipient.address.to_string())
        } else {
            None
        };
        let hop = mail::Hop {
            origin: &origin,
            reverse_name: None,
            by: transaction.in_force.hostname.as_str(),
            id: transaction.id,
            extended: self.extended,
            smtputf8: transaction.params.smtputf8,
            recipient: only.as_deref(),
            at: now(),
        };
        transaction.trace_line = mail::received(&hop);
        transaction.draft = Some(draft);
        self.buffer.reserve(BUFFER_CONTENT);
        self.server.accept();
    }

    fn content(&mut self, piece: &[u8]) {
        let Some(transaction) = &mut self.transaction else { return };
        transaction.add(piece);
    }

    async fn content_end(&mut self, size: u64, eight_bit: bool) {
        self.buffer.shrink_to(BUFFER_COMMAND);
        let ended = Instant::now();
        let origin = self.origin();
        let Some(mut transaction) = self.transaction.take() else {
            return self.answer_refused(status::WRITE_FAILED.reply(""));
        };
        transaction.end_header();
        transaction.eight_bit = eight_bit;
        let recipients: Vec<String> =
            transaction.recipients.iter().map(|recipient| recipient.address.to_string()).collect();
        let rounds = transaction.rounds();
        self.tell_of(&transaction, &rounds);
        let settings = &transaction.in_force.settings;
        // One reply stands for all recipients: only if every one of them is refused can it be a refusal.
        let all_refused = rounds.iter().all(|round| round.deed(settings, "") == Deed::Refuse);
        if let Some(round) = rounds.first().filter(|_| transaction.recipients.is_empty() && all_refused) {
            transaction.trouble = Some(round.status.reply());
        }
        if let Some(deal) = self.diary.last() {
            deal.size = size;
            deal.message_id.clone_from(&transaction.message_id);
        }
        let trouble = transaction.trouble.take();
        let (Some(draft), None) = (transaction.draft.take(), &trouble) else {
            let reply = trouble.unwrap_or_else(|| status::WRITE_FAILED.reply(""));
            let in_force = transaction.in_force.clone();
            if let Some(refused) = transaction.refused.take() {
                self.no_room(&refused, &in_force.settings);
            }
            self.transaction = Some(transaction);
            self.refuse(reply, Stage::Body);
            self.transaction = None;
            return;
        };
        if let Err(reply) = self.scanned(&transaction, &draft).await {
            // Without an answer to give, there is nobody left to take the message from.
            self.transaction = Some(transaction);
            match reply {
                Some(reply) => self.refuse(reply, Stage::Body),
                None => self.stream = None,
            }
            self.transaction = None;
            return;
        }
        let sender = &transaction.params.sender;
        let mut events = vec![self.accepted(&transaction, recipients, &origin, size)];
        let sent = transaction.sent(self.client, size);
        let mut deliveries = deliveries(&transaction.in_force, std::mem::take(&mut transaction.recipients));
        if decide::loops::is_filter(&transaction.in_force.settings, self.client) {
            let names = self.core.loops.names_of(self.client);
            for new in &mut deliveries {
                let domain = new.recipients.first().map(|recipient| recipient.address.domain());
                let onward = domain.and_then(|domain| {
                    decide::loops::behind_filter(&transaction.in_force.settings, domain, self.client, &names)
                });
                new.lane = onward.unwrap_or(std::mem::take(&mut new.lane));
            }
        }
        let finding = match rounds.is_empty() {
            true => None,
            false => crate::diagnose::of_return(&self.core, &transaction.in_force, &self.diary.visit),
        };
        for round in rounds {
            deliveries.extend(round.deliveries(&transaction.in_force, finding.clone()));
        }
        events.extend(deliveries.iter().filter_map(|new| {
            let status = new.held.as_ref()?;
            let fields = crate::outcome::held_fields(sender, &new.recipients, status);
            Some(store::Event { id: transaction.id, at: now(), kind: "held".to_owned(), fields })
        }));
        let reserved = self.core.queue.reserve(&self.core, transaction.id, &deliveries);
        match draft.commit(transaction.envelope(origin), deliveries, now(), events.clone()).await {
            Ok(committed) => {
                events.iter().for_each(|event| self.core.log.write(event));
                self.core.metrics.accepted.get_or_create(&ByListener { listener: self.role.name() }).inc();
                self.server.accept_content(&committed);
                self.core.around.message(sent);
                self.diary.visit.taken += 1;
                if let Some(deal) = self.diary.last() {
                    deal.taken = true;
                    deal.answer_ms = ended.elapsed().as_millis() as u64;
                }
                self.core.queue.enqueue(&self.core, reserved, committed.into_deliveries());
            }
            Err(refused) => {
                let in_force = transaction.in_force.clone();
                self.no_room(&refused, &in_force.settings);
                self.transaction = Some(transaction);
                self.refuse(status::WRITE_FAILED.reply(refused.to_string()), Stage::Body);
                self.transaction = None;
            }
        }
    }

    /// Hands the content to the scanner, if there is one. Err: the refusal, or none because the client has gone meanwhile: it
    /// will send the message again, and what it was not answered must not be taken.
    async fn scanned(&mut self, transaction: &Transaction, draft: &Draft) -> Result<(), Option<Reply>> {
        let scanner = &transaction.in_force.settings.scanner;
        let Some(place) = &scanner.address else { return Ok(()) };
        let started = Instant::now();
        let scan = tokio::select! {
            scan = scan::scan(scanner, place, draft) => scan,
            () = gone(self.stream.as_ref()) => {
                let ms = started.elapsed().as_millis() as u64;
                let address = format!("{}:{}", place.host, place.port.unwrap_or_default());
                if let Some(deal) = self.diary.last() {
                    deal.unanswered = true;
                    deal.answer_ms = ms;
                }
                self.diary.concerns(transaction.id);
                self.diary.visit.scan = Some(Scan { address, ms, gone_ms: Some(ms), ..Scan::default() });
                return Err(None);
            }
        };
        let verdict = match scan.word {
            ScanWord::Clean => Ok(()),
            ScanWord::Found => Err(Some(status::CONTENT_REFUSED.reply(&scan.detail))),
            ScanWord::Failed if scanner.accept_unscanned => Ok(()),
            ScanWord::Failed => Err(Some(status::SCANNER_FAILED.reply(""))),
        };
        let fails = scan.word == ScanWord::Failed;
        let mut since = self.core.scanner_fails.lock().unwrap_or_else(PoisonError::into_inner);
        *since = fails.then(|| since.unwrap_or_else(now));
        if scan.word != ScanWord::Clean {
            self.diary.concerns(transaction.id);
        }
        self.diary.visit.scan = Some(Scan { since: *since, unscanned: fails && verdict.is_ok(), ..scan });
        verdict
    }

    /// Puts on record, and before the administrator, for whom the message goes round.
    fn tell_of(&mut self, transaction: &Transaction, rounds: &[Round]) {
        for round in rounds {
            let deed = round.deed(&transaction.in_force.settings, "");
            let recipients: Vec<String> =
                round.recipients.iter().map(|recipient| recipient.address.to_string()).collect();
            let fields = json!({
                "sender": transaction.params.sender.to_string(),
                "recipients": recipients,
                "client": self.client,
                "status": round.status.to_string(),
                "answer": deed.name(),
                "returns": transaction.returns,
            });
            self.core.record(transaction.id, "loop", fields);
            let finding = None;
            self.core.loops.alert(&self.core, transaction.id, &round.status.text, &round.setting, &deed, finding);
        }
        if !transaction.returns.is_empty() {
            self.diary.concerns(transaction.id);
            self.diary.visit.returns.extend(transaction.returns.iter().cloned());
        }
    }

    fn accepted(&self, transaction: &Transaction, recipients: Vec<String>, origin: &Origin, size: u64) -> store::Event {
        let mut fields = json!({
            "sender": transaction.params.sender.to_string(),
            "recipients": recipients,
            "client": self.client,
            "helo": self.helo,
            "listener": self.role.name(),
            "user": origin.user,
            "tls": origin.tls,
            "size": size,
            "subject": transaction.subject,
            "message_id": transaction.message_id,
            "connection": self.id,
            "status": "accepted",
        });
        if let Some(check) = self.diary.visit.deals.last().and_then(|deal| deal.spf.as_ref()) {
            fields["spf"] = json!(check.to_string());
        }
        store::Event { id: transaction.id, at: now(), kind: "accepted".to_owned(), fields }
    }

    fn origin(&self) -> Origin {
        let tls = self.stream.as_ref().and_then(Stream::tls).map(|(version, cipher)| format!("{version} {cipher}"));
        let user = self.server.user().map(str::to_owned);
        Origin {
            listener: self.role,
            connection: Some(self.id),
            client: Some(self.client),
            helo: self.helo.clone(),
            user,
            tls,
        }
    }

    async fn start_tls(&mut self) -> io::Result<()> {
        self.flush().await?;
        let in_force = self.core.in_force();
        let Some(listener) = in_force.settings.door(self.role) else { return Ok(()) };
        let config = self.core.certificates.server(listener, in_force.hostname.as_str()).map_err(|error| {
            self.core.record(
                self.id,
                "alert",
                json!({ "what": format!("STARTTLS is offered and cannot be: {error}") }),
            );
            io::Error::other(error)
        })?;
        let Some(stream) = self.stream.take() else { return Ok(()) };
        let tls = match crate::tls::accept(config, stream.into_plain()?, HANDSHAKE_MAX).await {
            Ok(tls) => tls,
            Err(unshaken) => {
                let reply = status::TLS_FAILED.reply(unshaken.error.to_string());
                self.refused(&reply, Stage::StartTls, None, Offer::Nothing);
                let own_key = self.core.certificates.key(listener, in_force.hostname.as_str());
                self.diary.visit.tls_hello = Some(mail::TlsHello { own_key, ..unshaken.overheard.hello });
                return Err(unshaken.error);
            }
        };
        let stream = Stream::Server(Box::new(tls));
        if let Some((version, cipher)) = stream.tls() {
            self.diary.said(now(), Speaker::Note, format!("TLS started: {version} {cipher}"));
            self.diary.visit.tls = Some(TlsUse { version, cipher, unverified: None });
        }
        self.stream = Some(stream);
        self.transaction = None;
        self.server.tls_started();
        Ok(())
    }

    /// Argon2 takes tens of milliseconds on purpose: it runs beside the event loop.
    async fn auth(&mut self, user: String, password: String) {
        let in_force = self.core.in_force();
        let Ok(_turn) = HASHING.acquire().await else { return };
        let known =
            tokio::task::spawn_blocking(move || crate::password::is_right(&in_force.settings, &user, &password));
        if known.await.unwrap_or(false) {
            self.server.accept();
        } else {
            self.refuse(status::BAD_CREDENTIALS.reply(""), Stage::Auth);
        }
    }
}

/// Asks a check, and DNS what the check wants to know, until it decides. The answers go on record.
async fn judge(
    core: &Core,
    in_force: &InForce,
    diary: &mut Diary,
    check: impl Fn(&[dns::Answer]) -> Judged,
) -> Result<(), (&'static status::Kind, Reply)> {
    for _ in 0..DNS_ROUNDS_MAX {
        match check(&diary.visit.dns) {
            Judged::Pass => return Ok(()),
            Judged::Refuse(kind, reply) => return Err((kind, reply)),
            Judged::Ask(questions) => {
                let asks = questions.into_iter().map(|question| core.resolver.ask(&in_force.dns, question));
                let answers = crate::deliver::join_all(asks).await;
                // A client that says many names is known by its last ones.
                let over = (diary.visit.dns.len() + answers.len()).saturating_sub(ANSWERS_MAX);
                diary.visit.dns.drain(..over.min(diary.visit.dns.len()));
                diary.visit.dns.extend(answers);
            }
        }
    }
    Err((&status::DNS_UNAVAILABLE, status::DNS_UNAVAILABLE.reply("")))
}

/// What stands in the audit trail for each refusal.
fn refusal(diary: &Diary, connection: AuditId, reply: &Reply, stage: Stage) -> serde_json::Value {
    json!({
        "client": diary.visit.client,
        "listener": diary.visit.listener.name(),
        "stage": stage.name(),
        "status": reply.to_string(),
        "connection": connection,
    })
}

/// Waits until the client has closed its connection; forever, if it has said something before that.
async fn gone(stream: Option<&Stream>) {
    let socket = stream.map(Stream::socket);
    if let Some(socket) = socket
        && matches!(socket.peek(&mut [0]).await, Ok(0) | Err(_))
    {
        return;
    }
    std::future::pending().await
}

/// Throws away what still comes, up to a limit.
async fn drain(stream: &mut Stream) {
    let mut octets = [0; 4096];
    let mut left = LINGER_OCTETS_MAX;
    while let Ok(length @ 1..) = stream.read(&mut octets).await {
        left = left.saturating_sub(length);
        if left == 0 {
            return;
        }
    }
}

/// `<postmaster>`, or postmaster at our own name: the address that the settings name for it.
fn own_postmaster(in_force: &InForce, recipient: &Recipient) -> Option<Recipient> {
    let address = &recipient.address;
    let is_own = address.local().eq_ignore_ascii_case("postmaster") && *address.domain() == in_force.hostname;
    let postmaster = in_force.settings.postmaster.clone().filter(|postmaster| is_own && postmaster != address)?;
    Some(Recipient { address: postmaster, ..recipient.clone() })
}

/// Aliases; what the client asked for a recipient holds for those it becomes.
fn expand(settings: &decide::settings::Settings, recipient: Recipient) -> Vec<Recipient> {
    let to = rewrite::aliases(settings, &recipient.address);
    if let [only] = to.as_slice()
        && *only == recipient.address
    {
        return vec![recipient];
    }
    let given = || {
        (!recipient.address.is_international())
            .then(|| format!("rfc822;{}", mail::report::xtext(&recipient.address.to_string())))
    };
    let orcpt = recipient.orcpt.clone().or_else(given);
    to.into_iter().map(|address| Recipient { address, notify: recipient.notify, orcpt: orcpt.clone() }).collect()
}

impl Transaction {
    /// Each recipient once, however often an alias or the client names it. `asked`: by which of `given`.
    fn add_recipient(&mut self, recipient: Recipient, asked: Option<usize>) {
        let known = self.recipients.iter().position(|known| known.address.key() == recipient.address.key());
        match (known, asked) {
            (Some(at), Some(asked)) => self.asked[at].push(asked),
            (Some(at), None) => self.asked[at].clear(),
            (None, asked) => {
                self.recipients.push(recipient);
                self.asked.push(asked.into_iter().collect());
            }
        }
    }

    /// Takes out the recipients for whom the message goes round. One that was asked for in two ways stays if only one of them
    /// leads round.
    fn rounds(&mut self) -> Vec<Round> {
        let settings = &self.in_force.settings;
        let came_back: Vec<Option<usize>> = self
            .given
            .iter()
            .map(|given| {
                let given = given.to_string();
                self.returns.iter().position(|back| back.recipient == given)
            })
            .collect();
        let mut taken: Vec<Vec<Recipient>> = vec![Vec::new(); self.returns.len()];
        let mut left = Vec::new();
        for (recipient, asked) in std::mem::take(&mut self.recipients).into_iter().zip(std::mem::take(&mut self.asked))
        {
            let back = asked.first().and_then(|first| came_back[*first]);
            match back.filter(|_| asked.iter().all(|given| came_back[*given].is_some())) {
                Some(back) => taken[back].push(recipient),
                None => left.push(recipient),
            }
        }
        let mut rounds: Vec<Round> = self
            .returns
            .iter()
            .zip(taken)
            .filter(|(_, recipients)| !recipients.is_empty())
            .map(|(back, recipients)| Round::back(settings, back, self.client, recipients))
            .collect();
        match accept::hops(self.hops, settings.loop_guard.hop_limit, self.repeats.as_ref()) {
            Err(status) if !left.is_empty() => rounds.push(Round::hops(status, self.pass, left)),
            _ => self.recipients = left,
        }
        rounds
    }

    /// Takes a piece of content: into the header until that is complete, then to the draft.
    fn add(&mut self, piece: &[u8]) {
        let Some(header) = &mut self.header else { return self.store(piece) };
        header.extend_from_slice(piece);
        let complete = header.len() > HEADER_MAX
            || header.starts_with(b"\r\n")
            || header.windows(4).any(|window| window == b"\r\n\r\n");
        if complete {
            self.end_header();
        }
    }

    /// Reads the header, masquerades it, and hands it to the draft.
    fn end_header(&mut self) {
        let Some(collected) = self.header.take() else { return };
        for field in Headers::of(&collected) {
            if field.is("Received") {
                self.hops += 1;
            } else if field.is("Subject") {
                self.subject = field.text().chars().take(200).collect();
            } else if field.is("Message-ID") {
                self.message_id = field.text().chars().take(300).collect();
            } else if field.is("In-Reply-To") {
                self.in_reply_to = field.text().chars().take(300).collect();
            } else if field.is("Auto-Submitted") {
                self.auto_submitted = !field.text().eq_ignore_ascii_case("no");
            }
        }
        let mut collected = collected;
        let end = header_end(&collected);
        self.mark(&collected[..end]);
        let end = self.drop_forged(&mut collected, end);
        self.utf8_header = !collected[..end].is_ascii();
        // Masquerading is for mail that leaves.
        let rewritten = match self.leaves {
            true => rewrite::masquerade_header(&self.in_force.settings, &collected[..end]),
            false => None,
        };
        match rewritten {
            Some(rewritten) => {
                self.store(&rewritten);
                self.store(&collected[end..]);
            }
            None => self.store(&collected),
        }
    }

    /// Takes out results that a stranger claims in our name; the header's new end.
    fn drop_forged(&self, content: &mut Vec<u8>, end: usize) -> usize {
        let ours = self.in_force.hostname.as_str();
        let is_stranger = self.role == Listener::Inbound && !self.in_force.settings.is_internal(self.client);
        if !is_stranger || !Headers::of(&content[..end]).any(|field| is_forged(&field, ours)) {
            return end;
        }
        let fields: usize = Headers::of(&content[..end]).map(|field| field.raw.len()).sum();
        let kept = Headers::of(&content[..end]).filter(|field| !is_forged(field, ours));
        let header: Vec<u8> = kept.flat_map(|field| field.raw.iter().copied()).collect();
        let dropped = fields - header.len();
        content.splice(..fields, header);
        end - dropped
    }

    /// The message in short, for what is told of several.
    fn sent(&self, client: IpAddr, size: u64) -> decide::diagnose::Sent {
        decide::diagnose::Sent {
            at: now(),
            peer: client,
            incoming: true,
            message_id: self.message_id.clone(),
            in_reply_to: self.in_reply_to.clone(),
            sender: self.params.sender.address().map(ToString::to_string).unwrap_or_default(),
            recipients: self.given.iter().take(5).map(ToString::to_string).collect(),
            auto_submitted: self.auto_submitted,
            size,
        }
    }

    /// Puts our Received field and the trace on top; a message that was here before is refused instead.
    fn mark(&mut self, header: &[u8]) {
        let guard = &self.core.loops;
        let arrival = decide::loops::Arrival {
            listener: self.role,
            recipients: &self.given,
            header,
            from_filter: decide::loops::is_filter(&self.in_force.settings, self.client),
            at: now(),
        };
        self.returns = guard.returns(&arrival, self.client);
        self.pass = guard.pass(header);
        if self.hops > self.in_force.settings.loop_guard.hop_limit as usize {
            self.repeats = decide::loops::repeats(header);
        }
        let marks = guard.key().marks(self.id, self.role, self.pass, &self.given);
        let line = std::mem::take(&mut self.trace_line);
        let line = match line.rsplit_once(';') {
            Some((line, date)) => format!("{line}\r\n\t(trace {});{date}", marks.comment),
            None => line,
        };
        let spf_fields = std::mem::take(&mut self.spf_fields);
        self.store(spf_fields.as_bytes());
        self.store(marks.field.as_bytes());
        self.store(line.as_bytes());
    }

    fn store(&mut self, bytes: &[u8]) {
        if self.trouble.is_some() {
            return;
        }
        let Some(draft) = &mut self.draft else { return };
        if let Err(refused) = draft.write(bytes) {
            self.trouble = Some(status::WRITE_FAILED.reply(refused.to_string()));
            self.refused = Some(refused);
        }
    }

    fn envelope(&self, origin: Origin) -> Envelope {
        // What the content is, not what was declared of it: a next hop without 8BITMIME takes 7-bit mail all the same.
        let body = match (self.params.body, self.eight_bit) {
            (Body::BinaryMime, _) => Body::BinaryMime,
            (_, true) => Body::EightBitMime,
            (_, false) => Body::SevenBit,
        };
        Envelope {
            sender: match self.leaves {
                true => rewrite::masquerade_sender(&self.in_force.settings, &self.params.sender),
                false => self.params.sender.clone(),
            },
            body,
            smtputf8: self.params.smtputf8 && self.needs_smtputf8(),
            ret: self.params.ret,
            envid: self.params.envid.clone(),
            origin,
        }
    }

    /// RFC 6531 3.6: only if an address or the header goes beyond ASCII.
    fn needs_smtputf8(&self) -> bool {
        let sender = self.params.sender.address().is_some_and(mail::Address::is_international);
        sender || self.utf8_header || self.recipients.iter().any(|recipient| recipient.address.is_international())
    }
}

/// Recipients by lane, in groups of at most `delivery.recipients_per_message`.
pub(crate) fn deliveries(in_force: &InForce, recipients: Vec<Recipient>) -> Vec<NewDelivery> {
    let group_max = in_force.settings.delivery.recipients_per_message.max(1) as usize;
    let mut groups: Vec<NewDelivery> = Vec::new();
    let mut open: std::collections::HashMap<String, usize> = std::collections::HashMap::new();
    for recipient in recipients {
        let lane = route::lane(recipient.address.domain());
        match open.get(&lane).filter(|&&at| groups[at].recipients.len() < group_max) {
            Some(&at) => groups[at].recipients.push(recipient),
            None => {
                open.insert(lane.clone(), groups.len());
                groups.push(NewDelivery { lane, recipients: vec![recipient], ..NewDelivery::default() });
            }
        }
    }
    groups
}
