//! The client's side of an SMTP conversation (RFC 5321), as a machine for one connection and many messages.
//!
//! The driver's loop: write and clear `output`, read, `receive`, take `next` events until `None`. After [`Event::Ready`] it may
//! `send` a message; the message ends with [`Event::Final`], [`Event::Refused`] or [`Event::NoRecipients`] and the next one may
//! follow (a RSET is said first where one is due), or with [`Event::Failed`], which ends the connection as well.
//! Every line is recorded with its time; passwords are not, content is only counted.

use crate::outgoing::{Outgoing, Way};
use crate::replies::Replies;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use mail::{
    Address, Body, Culprit, Failure, Recipient, Reply, Ret, ReversePath, Said, Speaker, Stage, Status, Time, status,
};
use std::collections::VecDeque;
use std::fmt;

/// Lines of a transcript; what follows is not kept. A message to 100 recipients takes about 210.
const TRANSCRIPT_MAX: usize = 1000;
/// Octets kept in all: a transcript is stored with each attempt, and a peer must not decide how much that is.
const TRANSCRIPT_OCTETS_MAX: usize = 64 << 10;
/// Characters of one line kept.
const SAID_MAX: usize = 1000;

/// How to greet and what to insist on.
#[derive(Clone, Debug)]
pub struct Options {
    /// Name said in EHLO.
    pub ehlo: String,
    /// The peer's name, as failures give it.
    pub peer: String,
    pub tls: Tls,
    /// Say AUTH before the first message. If the peer does not offer it, or only without TLS though TLS was wanted, the
    /// connection fails: a password is sent in the clear only with [`Tls::Off`].
    pub credentials: Option<Credentials>,
}

/// Whether to say STARTTLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tls {
    Off,
    /// If the peer offers it.
    Offer,
    /// Or fail: 451 4.7.6.
    Require,
}

/// For AUTH.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    pub user: String,
    pub password: String,
}

/// Without the password.
impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("user", &self.user).finish_non_exhaustive()
    }
}

/// One connection.
#[derive(Debug)]
pub struct Client {
    options: Options,
    capabilities: Capabilities,
    replies: Replies,
    output: Vec<u8>,
    events: VecDeque<Event>,
    transcript: Vec<Said>,
    transcript_octets: usize,
    transcript_full: bool,
    /// Replies that are awaited, in their order.
    awaited: VecDeque<Await>,
    phase: Phase,
    message: Option<Message>,
    /// The last message left something at the peer: RSET before the next one.
    dirty: bool,
    /// When something was last said or heard.
    since: Time,
    last_words: Option<String>,
    heard: Heard,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Up to and including AUTH.
    Greeting,
    /// The octets are the handshake's.
    Handshake,
    Ready,
    Over,
}

/// What a reply will answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Await {
    Banner,
    Ehlo,
    Helo,
    StartTls,
    AuthPlain,
    AuthLogin,
    AuthUser,
    AuthPassword,
    Reset,
    Mail,
    Rcpt(usize),
    Data,
    Chunk,
    /// After the dot, or the last chunk.
    Final,
    /// After the dot of a message that nobody gets.
    LoneDot,
    Quit,
}

impl Await {
    fn stage(self) -> Stage {
        match self {
            Await::Banner => Stage::Banner,
            Await::Ehlo | Await::Helo => Stage::Ehlo,
            Await::StartTls => Stage::StartTls,
            Await::AuthPlain | Await::AuthLogin | Await::AuthUser | Await::AuthPassword => Stage::Auth,
            Await::Reset | Await::Mail | Await::Quit => Stage::Mail,
            Await::Rcpt(_) => Stage::Rcpt,
            Await::Data => Stage::Data,
            Await::Chunk => Stage::Body,
            Await::Final | Await::LoneDot => Stage::FinalReply,
        }
    }

    /// What gets no response, in the words of statuses.
    fn name(self) -> &'static str {
        match self {
            Await::Ehlo | Await::Helo => "HELO/EHLO",
            Await::Reset => "RSET",
            Await::Quit => "QUIT",
            Await::Chunk | Await::Final | Await::LoneDot => "BODY",
            other => other.stage().name(),
        }
    }
}

/// A message under way.
#[derive(Debug)]
struct Message {
    plan: MessagePlan,
    way: Way,
    outgoing: Outgoing,
    /// Why the peer takes nothing of it: MAIL, DATA or a chunk was refused.
    refused: Option<Failure>,
    /// As an early chunk's refusal, which is a reply to the content.
    chunk_refused: Option<Reply>,
    answered: usize,
    accepted: usize,
    content: Content,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Content {
    /// GoAhead was not given.
    Waiting,
    /// GoAhead was given.
    Flowing,
    /// All of it was said.
    Said,
}

/// What to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessagePlan {
    pub sender: ReversePath,
    pub recipients: Vec<Recipient>,
    /// What the content really is.
    pub body: Body,
    /// Addresses or header fields need SMTPUTF8.
    pub smtputf8: bool,
    /// Octets of content, as stored.
    pub size: u64,
    pub ret: Option<Ret>,
    /// In xtext.
    pub envid: Option<String>,
    /// The content is at hand: GoAhead may come at once, so that with PIPELINING and CHUNKING the whole message leaves in one
    /// write. For content up to 64 KiB.
    pub small: bool,
}

/// Why the connection is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Closed {
    /// The peer closed.
    Eof,
    /// The driver's patience ended.
    Timeout { waited_ms: u64 },
    /// Reading failed, such as by a reset.
    Error(String),
    /// Writing failed.
    SendFailed(String),
    /// The handshake after `Event::StartTls` failed.
    TlsFailed(String),
    /// The handshake succeeded, but the settings ask for a better certificate.
    Unverified(String),
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The greeting, good or bad (a bad one is followed by Failed).
    Banner(Reply),
    /// EHLO, STARTTLS and AUTH are done: send.
    Ready(Capabilities),
    /// Shake hands now (nothing is left to write), then `tls_started` or `closed(TlsFailed)`.
    StartTls,
    /// The answer to the RCPT of this index in the plan.
    Recipient(usize, Reply),
    /// Give the content, then `content_end`.
    GoAhead,
    /// The message's end: the peer's answer to the content, good or bad, for every accepted recipient.
    Final(Reply),
    /// The message's end: refused as a whole, by the peer at MAIL or DATA, or by us because the peer cannot take it.
    Refused(Failure),
    /// The message's end: each recipient was refused with its own reply.
    NoRecipients,
    /// The connection is over, and with it the message under way, of which recipients that had a refusal keep it. Write what
    /// lies in `output` (QUIT, if the peer is worth it) and close.
    Failed(Failure),
    /// Close: QUIT was answered, or what was said of a message cannot be taken back but by closing.
    Quit,
}

/// What the peer offers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// EHLO was accepted, not only HELO.
    pub extended: bool,
    pub pipelining: bool,
    /// SIZE, if it names a limit.
    pub size_max: Option<u64>,
    /// SIZE is offered, with a limit or without.
    pub size: bool,
    pub eight_bit_mime: bool,
    pub binary_mime: bool,
    pub chunking: bool,
    pub smtputf8: bool,
    pub dsn: bool,
    pub enhanced_status_codes: bool,
    pub starttls: bool,
    /// Mechanisms, in capitals.
    pub auth: Vec<String>,
    /// RFC 9422.
    pub mail_max: Option<u32>,
    pub rcpt_max: Option<usize>,
    /// TLS is on.
    pub tls: bool,
    /// EHLO's lines, without the first, as they were said.
    pub lines: Vec<String>,
}

impl Capabilities {
    /// From EHLO's reply (RFC 5321 4.1.1.1): each line behind the first is a keyword with its parameters.
    fn parse(reply: &Reply, tls: bool) -> Capabilities {
        let mut it = Capabilities { extended: true, tls, ..Capabilities::default() };
        for line in reply.lines.iter().skip(1) {
            it.lines.push(line.clone());
            // `AUTH=LOGIN` was said before RFC 2554 and still is.
            let line = line.to_ascii_uppercase().replacen("AUTH=", "AUTH ", 1);
            let mut words = line.split_ascii_whitespace();
            match words.next().unwrap_or_default() {
                "PIPELINING" => it.pipelining = true,
                "SIZE" => {
                    it.size = true;
                    it.size_max = words.next().and_then(|size| size.parse().ok()).filter(|&size| size != 0);
                }
                "8BITMIME" => it.eight_bit_mime = true,
                "BINARYMIME" => it.binary_mime = true,
                "CHUNKING" => it.chunking = true,
                "SMTPUTF8" => it.smtputf8 = true,
                "DSN" => it.dsn = true,
                "ENHANCEDSTATUSCODES" => it.enhanced_status_codes = true,
                "STARTTLS" => it.starttls = true,
                "AUTH" => it.auth.extend(words.map(str::to_owned)),
                "LIMITS" => {
                    for (name, value) in words.filter_map(|word| word.split_once('=')) {
                        match name {
                            "MAILMAX" => it.mail_max = value.parse().ok().filter(|&max| max != 0),
                            "RCPTMAX" => it.rcpt_max = value.parse().ok().filter(|&max| max != 0),
                            _ => {}
                        }
                    }
                }
                _ => {}
            }
        }
        it
    }
}

/// What the peer answered at each stage: of the connection, and of the message under way or just ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Heard {
    /// The greeting, and when it came.
    pub banner: Option<Reply>,
    pub banner_at: Option<Time>,
    /// The first answer to EHLO.
    pub greeted: Option<Reply>,
    /// EHLO was refused and HELO accepted.
    pub helo_only: bool,
    /// The last answer to STARTTLS.
    pub starttls: Option<Reply>,
    pub mail: Option<Reply>,
    /// By index in the plan, in the order of answers.
    pub recipients: Vec<(usize, Reply)>,
    /// To DATA.
    pub data: Option<Reply>,
    /// To the final dot or the last chunk.
    pub content: Option<Reply>,
}

impl Client {
    /// A connection that came about at `now`; the greeting is awaited.
    pub fn new(options: Options, now: Time) -> Client {
        Client {
            options,
            capabilities: Capabilities::default(),
            replies: Replies::default(),
            output: Vec::new(),
            events: VecDeque::new(),
            transcript: Vec::new(),
            transcript_octets: 0,
            transcript_full: false,
            awaited: VecDeque::from([Await::Banner]),
            phase: Phase::Greeting,
            message: None,
            dirty: false,
            since: now,
            last_words: None,
            heard: Heard::default(),
        }
    }

    /// Octets of the peer.
    pub fn receive(&mut self, octets: &[u8], now: Time) {
        if matches!(self.phase, Phase::Handshake | Phase::Over) {
            return;
        }
        self.replies.push(octets);
        while !matches!(self.phase, Phase::Handshake | Phase::Over) {
            match self.replies.next() {
                None => return,
                Some(Ok((reply, lines))) => {
                    self.since = now;
                    lines.iter().for_each(|line| self.record(Speaker::Server, line, now));
                    self.last_words = Some(reply.to_string());
                    self.hear(reply, now);
                }
                Some(Err(what)) => {
                    self.record(Speaker::Note, &format!("not an SMTP reply: {what}"), now);
                    self.fail(Culprit::Them, status::BAD_REPLY.with(what));
                }
            }
        }
    }

    /// The next event; `None`: read on, or (if `is_idle`) nothing is going on.
    #[expect(clippy::should_implement_trait, reason = "no iterator: None is not the end")]
    pub fn next(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Octets to write. The driver writes and clears it; while content flows, often.
    pub fn output(&mut self) -> &mut Vec<u8> {
        &mut self.output
    }

    /// The handshake is done; what was learned in the clear is forgotten and EHLO said again (RFC 3207 4.2).
    pub fn tls_started(&mut self, now: Time) {
        if self.phase == Phase::Handshake {
            self.record(Speaker::Note, "TLS started", now);
            self.capabilities = Capabilities { tls: true, ..Capabilities::default() };
            self.phase = Phase::Greeting;
            self.say_ehlo(now);
        }
    }

    /// The connection is gone. Gives `Failed`, or `Quit` after QUIT; nothing if it was over already.
    pub fn closed(&mut self, why: Closed, now: Time) {
        if self.phase == Phase::Over {
            return;
        }
        let how = match &why {
            Closed::Eof => {
                format!("closed by {} after {} s", self.options.peer, seconds(now.since(self.since).as_millis()))
            }
            Closed::Timeout { waited_ms } => format!("timed out after {} s", seconds(u128::from(*waited_ms))),
            Closed::Error(error) | Closed::SendFailed(error) | Closed::TlsFailed(error) | Closed::Unverified(error) => {
                error.clone()
            }
        };
        self.record(Speaker::Note, &how, now);
        if self.awaited.back() == Some(&Await::Quit) && self.message.is_none() {
            return self.finish_connection(Event::Quit);
        }
        let last_words =
            self.last_words.as_ref().map_or_else(String::new, |words| format!("; its last words: {words}"));
        let detail = format!("{how}{last_words}");
        let awaited = self.awaited.front().copied();
        let status = match (&why, awaited) {
            (Closed::TlsFailed(_), _) => status::TLS_FAILED.with(how),
            (Closed::Unverified(_), _) => status::CERTIFICATE_NOT_VERIFIED.with(how),
            (Closed::SendFailed(_), _) => {
                let what = if self.stage() == Stage::Ehlo { "HELO/EHLO" } else { self.stage().name() };
                reworded(status::SEND_FAILED.with(&detail), &format!("send {what} failed: {detail}"))
            }
            (_, Some(Await::Banner)) => status::NO_BANNER.with(how),
            (_, None) if self.phase == Phase::Handshake => status::TLS_FAILED.with(how),
            (_, None) => status::CLOSED.with(&detail),
            (_, Some(awaited)) => {
                reworded(status::NO_RESPONSE.with(&detail), &format!("no {} response: {detail}", awaited.name()))
            }
        };
        let culprit = if matches!(why, Closed::Eof | Closed::Unverified(_)) { Culprit::Them } else { Culprit::Path };
        if self.is_maybe_delivered() {
            let mut failure = Failure::new(self.stage(), culprit, status::MAYBE_TWICE.with(&detail));
            failure.maybe_delivered = true;
            return self.finish_connection(Event::Failed(failure));
        }
        self.fail(culprit, status);
    }

    /// Begins a message, if `is_idle`; a message's end can be followed by the connection's. What the peer is known to be unable
    /// to take is refused by us, without a word to it.
    pub fn send(&mut self, plan: MessagePlan, now: Time) {
        if self.events.iter().any(|event| matches!(event, Event::Failed(_))) {
            // That event, which the driver has not taken yet, tells of this message as well.
            return;
        }
        if self.phase != Phase::Ready || self.message.is_some() {
            let status = status::CLOSED.with("this connection cannot take another message");
            return self.events.push_back(Event::Refused(Failure::new(Stage::Mail, Culprit::Us, status)));
        }
        let Heard { banner, banner_at, greeted, helo_only, starttls, .. } = std::mem::take(&mut self.heard);
        self.heard = Heard { banner, banner_at, greeted, helo_only, starttls, ..Heard::default() };
        if plan.recipients.is_empty() {
            return self.events.push_back(Event::NoRecipients);
        }
        if let Some(status) = self.beyond_peer(&plan) {
            return self.events.push_back(Event::Refused(Failure::new(Stage::Mail, Culprit::Them, status)));
        }
        let way = if self.capabilities.chunking { Way::Chunks } else { Way::Dots };
        let outgoing = Outgoing::new(way, plan.body == Body::BinaryMime);
        let recipients = plan.recipients.len();
        let content = Content::Waiting;
        self.message = Some(Message {
            plan,
            way,
            outgoing,
            refused: None,
            chunk_refused: None,
            answered: 0,
            accepted: 0,
            content,
        });
        if std::mem::take(&mut self.dirty) {
            self.say("RSET", Await::Reset, now);
            if !self.capabilities.pipelining {
                return;
            }
        }
        self.say_mail(now);
        // RFC 2920 3.1: MAIL, RCPT and BDAT may go together, and DATA as their last.
        if self.capabilities.pipelining {
            (0..recipients).for_each(|index| self.say_rcpt(index, now));
            match self.message.as_ref().map(|message| (message.way, message.plan.small)) {
                Some((Way::Dots, _)) => self.say("DATA", Await::Data, now),
                Some((Way::Chunks, true)) => self.go_ahead(),
                _ => {}
            }
        }
    }

    /// A piece of content, of any size, as stored: lines with CRLF, no dots added. Ignored if the message has ended meanwhile.
    pub fn content(&mut self, piece: &[u8], now: Time) {
        let Some(message) = self.message.as_mut().filter(|message| message.content == Content::Flowing) else { return };
        if message.chunk_refused.is_some() {
            return;
        }
        self.since = now;
        match message.outgoing.write(piece, &mut self.output) {
            Ok(chunks) => self.awaited.extend(std::iter::repeat_n(Await::Chunk, chunks)),
            Err(what) => self.abort(&what, now),
        }
    }

    /// The content is complete.
    pub fn content_end(&mut self, now: Time) {
        let Some(message) = self.message.as_mut().filter(|message| message.content == Content::Flowing) else { return };
        message.content = Content::Said;
        self.since = now;
        let size = message.outgoing.size();
        if message.chunk_refused.is_some() {
            return self.settle();
        }
        match message.outgoing.end(&mut self.output) {
            Err(what) => self.abort(&what, now),
            Ok(()) => {
                self.record(Speaker::Client, &format!("<{size} bytes of content>"), now);
                self.awaited.push_back(Await::Final);
            }
        }
    }

    /// Says QUIT; not within a message.
    pub fn quit(&mut self, now: Time) {
        if self.phase != Phase::Over && self.message.is_none() {
            self.say("QUIT", Await::Quit, now);
        }
    }

    /// What is being waited for, which tells how long to wait (RFC 5321 4.5.3.2).
    pub fn stage(&self) -> Stage {
        let is_flowing = self.message.as_ref().is_some_and(|message| message.content == Content::Flowing);
        match self.awaited.front() {
            _ if self.phase == Phase::Handshake => Stage::StartTls,
            Some(awaited) => awaited.stage(),
            None if is_flowing => Stage::Body,
            None => Stage::Mail,
        }
    }

    /// No reply is awaited and no message is under way: `send` or `quit`.
    pub fn is_idle(&self) -> bool {
        self.phase == Phase::Ready && self.awaited.is_empty() && self.message.is_none()
    }

    /// What the peer offers, once known.
    pub fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    /// What was answered so far, by stage.
    pub fn heard(&self) -> &Heard {
        &self.heard
    }

    /// What was said since the last call.
    pub fn take_transcript(&mut self) -> Vec<Said> {
        self.transcript_full = false;
        self.transcript_octets = 0;
        std::mem::take(&mut self.transcript)
    }
}

/// Hearing.
impl Client {
    fn hear(&mut self, reply: Reply, now: Time) {
        let awaited = self.awaited.front().copied();
        if awaited == Some(Await::Quit) {
            return self.finish_connection(Event::Quit);
        }
        self.keep(awaited, &reply, now);
        if awaited == Some(Await::Banner) {
            self.events.push_back(Event::Banner(reply.clone()));
        }
        // RFC 5321 3.8: 421 may answer anything, and come unasked.
        if reply.code == 421 {
            return self.fail_remote(&reply);
        }
        // Other unasked words end the conversation too: they answer something that we have not said. While content flows they
        // refuse it; between messages a 5xx is about none of them, and must not return the next one to its sender.
        if awaited.is_none() {
            let is_refusal = reply.is_transient() || reply.is_permanent();
            return match self.message {
                Some(_) if is_refusal => self.fail_remote(&reply),
                None if is_refusal => self.fail(Culprit::Them, status::CLOSED.with(format!("it said {reply}"))),
                _ => self.fail_unexpected(&reply),
            };
        }
        // Beyond 2xx, 4xx and 5xx only DATA (354) and AUTH (334) have an answer.
        let is_intermediate = reply.code / 100 == 3;
        let wants_more = matches!(awaited, Some(Await::Data | Await::AuthLogin | Await::AuthUser));
        if if wants_more { reply.is_positive() } else { is_intermediate } {
            return self.fail_unexpected(&reply);
        }
        match self.awaited.pop_front() {
            None | Some(Await::Quit) => {}
            Some(Await::Banner) if reply.is_positive() => self.say_ehlo(now),
            Some(Await::Ehlo) if reply.is_positive() => {
                self.capabilities = Capabilities::parse(&reply, self.capabilities.tls);
                self.secure(now);
            }
            // RFC 5321 3.2: a server that does not know EHLO; 501 to 504 are seen from old ones as well.
            Some(Await::Ehlo) if (500..=504).contains(&reply.code) => {
                let line = format!("HELO {}", self.options.ehlo);
                self.say(&line, Await::Helo, now);
            }
            Some(Await::Helo) if reply.is_positive() => self.secure(now),
            Some(Await::StartTls) if reply.is_positive() => self.begin_handshake(),
            // RFC 3207 4.1: 454; whether to go on in the clear is up to us.
            Some(Await::StartTls) if self.options.tls == Tls::Offer => self.authenticate(now),
            Some(Await::AuthPlain | Await::AuthPassword) if reply.is_positive() => self.be_ready(),
            Some(Await::AuthLogin) if is_intermediate => self.say_user(now),
            Some(Await::AuthUser) if is_intermediate => self.say_password(now),
            Some(awaited @ (Await::Banner | Await::Ehlo | Await::Helo | Await::StartTls)) => {
                self.awaited.push_front(awaited);
                self.fail_remote(&reply);
                self.farewell(now);
            }
            Some(awaited @ (Await::AuthPlain | Await::AuthLogin | Await::AuthUser | Await::AuthPassword)) => {
                self.awaited.push_front(awaited);
                // Not the peer's 5xx: our password is no reason to return mail.
                self.fail(Culprit::Us, status::AUTH_FAILED.with(format!("{} said {reply}", self.options.peer)));
                self.farewell(now);
            }
            Some(Await::Reset) => self.after_reset(&reply, now),
            Some(Await::Mail) => self.after_mail(&reply, now),
            Some(Await::Rcpt(index)) => self.after_rcpt(index, reply, now),
            Some(Await::Data) => self.after_data(&reply, now),
            Some(Await::Chunk) => self.after_chunk(reply),
            Some(Await::Final) => self.after_final(reply),
            Some(Await::LoneDot) => self.after_lone_dot(),
        }
    }

    /// Keeps the answer with its stage. Unasked words while content flows are an answer to the content.
    fn keep(&mut self, awaited: Option<Await>, reply: &Reply, now: Time) {
        let heard = &mut self.heard;
        match awaited {
            Some(Await::Banner) => {
                heard.banner = Some(reply.clone());
                heard.banner_at = Some(now);
            }
            Some(Await::Ehlo) => drop(heard.greeted.get_or_insert_with(|| reply.clone())),
            Some(Await::Helo) => heard.helo_only |= reply.is_positive(),
            Some(Await::StartTls) => heard.starttls = Some(reply.clone()),
            Some(Await::Mail) => heard.mail = Some(reply.clone()),
            Some(Await::Rcpt(index)) => heard.recipients.push((index, reply.clone())),
            Some(Await::Data) => heard.data = Some(reply.clone()),
            Some(Await::Final) => heard.content = Some(reply.clone()),
            Some(Await::Chunk) if !reply.is_positive() => drop(heard.content.get_or_insert_with(|| reply.clone())),
            None if self.message.is_some() => heard.content = Some(reply.clone()),
            _ => {}
        }
    }

    /// EHLO is done: STARTTLS next, if it is wanted and offered.
    fn secure(&mut self, now: Time) {
        if self.capabilities.tls || self.options.tls == Tls::Off {
            return self.authenticate(now);
        }
        if self.capabilities.starttls {
            return self.say("STARTTLS", Await::StartTls, now);
        }
        if self.options.tls == Tls::Offer {
            return self.authenticate(now);
        }
        self.fail_at(Stage::StartTls, Culprit::Them, status::TLS_NOT_OFFERED.with(""));
        self.farewell(now);
    }

    fn begin_handshake(&mut self) {
        if !self.replies.is_empty() {
            // Words behind the 220 were written in the clear to be believed inside TLS (response injection).
            let status = status::TLS_FAILED.with("the peer said more behind its answer to STARTTLS");
            return self.fail_at(Stage::StartTls, Culprit::Path, status);
        }
        self.phase = Phase::Handshake;
        self.events.push_back(Event::StartTls);
    }

    fn authenticate(&mut self, now: Time) {
        let Some(credentials) = self.options.credentials.clone() else { return self.be_ready() };
        let offers = |name: &str| self.capabilities.auth.iter().any(|offered| offered == name);
        let problem = if !self.capabilities.tls && self.options.tls != Tls::Off {
            Some("no TLS, and a password is not sent in the clear unless tls is off")
        } else if !offers("PLAIN") && !offers("LOGIN") {
            Some("the peer offers neither AUTH PLAIN nor AUTH LOGIN")
        } else {
            None
        };
        if let Some(problem) = problem {
            self.fail_at(Stage::Auth, Culprit::Us, status::AUTH_FAILED.with(problem));
            return self.farewell(now);
        }
        if !offers("PLAIN") {
            return self.say("AUTH LOGIN", Await::AuthLogin, now);
        }
        // RFC 4616 2.
        let secret = BASE64.encode(format!("\0{}\0{}", credentials.user, credentials.password));
        self.write_line(&format!("AUTH PLAIN {secret}"));
        self.record(Speaker::Client, "AUTH PLAIN (redacted)", now);
        self.awaited.push_back(Await::AuthPlain);
    }

    fn say_user(&mut self, now: Time) {
        let user = self.options.credentials.as_ref().map(|credentials| BASE64.encode(&credentials.user));
        self.say_secret(&user.unwrap_or_default(), Await::AuthUser, now);
    }

    fn say_password(&mut self, now: Time) {
        let password = self.options.credentials.as_ref().map(|credentials| BASE64.encode(&credentials.password));
        self.say_secret(&password.unwrap_or_default(), Await::AuthPassword, now);
    }

    fn say_secret(&mut self, secret: &str, awaited: Await, now: Time) {
        self.write_line(secret);
        self.record(Speaker::Client, "(redacted)", now);
        self.awaited.push_back(awaited);
    }

    fn be_ready(&mut self) {
        self.phase = Phase::Ready;
        self.events.push_back(Event::Ready(self.capabilities.clone()));
    }

    /// RSET was answered; a peer that refuses it is in no state to go on.
    fn after_reset(&mut self, reply: &Reply, now: Time) {
        if !reply.is_positive() {
            self.awaited.push_front(Await::Reset);
            return self.fail_remote(reply);
        }
        if !self.capabilities.pipelining {
            self.say_mail(now);
        }
    }

    fn after_mail(&mut self, reply: &Reply, now: Time) {
        let peer = self.options.peer.clone();
        let Some(message) = self.message.as_mut() else { return };
        if !reply.is_positive() {
            message.refused = Some(Failure::remote(Stage::Mail, &peer, reply));
            return self.settle();
        }
        if !self.capabilities.pipelining {
            self.say_rcpt(0, now);
        }
    }

    fn after_rcpt(&mut self, index: usize, reply: Reply, now: Time) {
        let Some(message) = self.message.as_mut() else { return };
        message.answered += 1;
        if message.refused.is_some() {
            return self.settle();
        }
        message.accepted += usize::from(reply.is_positive());
        let (accepted, is_last, way) = (message.accepted, index + 1 == message.plan.recipients.len(), message.way);
        let is_waiting = message.content == Content::Waiting;
        self.events.push_back(Event::Recipient(index, reply));
        match (is_last, self.capabilities.pipelining, way) {
            (false, false, _) => self.say_rcpt(index + 1, now),
            (true, false, Way::Dots) if accepted > 0 => self.say("DATA", Await::Data, now),
            (true, _, Way::Chunks) if accepted > 0 && is_waiting => self.go_ahead(),
            _ => self.settle(),
        }
    }

    fn after_data(&mut self, reply: &Reply, now: Time) {
        let peer = self.options.peer.clone();
        let Some(message) = self.message.as_mut() else { return };
        let is_wanted = message.refused.is_none() && message.accepted > 0;
        match (reply.code / 100 == 3, is_wanted) {
            (true, true) => self.go_ahead(),
            // RFC 2920 3.1: a 354 though nobody was accepted; the lone dot takes it back.
            (true, false) => self.say(".", Await::LoneDot, now),
            (false, _) => {
                if is_wanted {
                    message.refused = Some(Failure::remote(Stage::Data, &peer, reply));
                }
                self.settle();
            }
        }
    }

    fn after_chunk(&mut self, reply: Reply) {
        let Some(message) = self.message.as_mut() else { return };
        if !reply.is_positive() {
            message.chunk_refused.get_or_insert(reply);
        }
        self.settle();
    }

    fn after_final(&mut self, reply: Reply) {
        let Some(message) = self.message.take() else { return };
        let reply = message.chunk_refused.unwrap_or(reply);
        self.dirty = message.refused.is_some() || message.accepted == 0 || !reply.is_positive();
        self.events.push_back(match message.refused {
            Some(failure) => Event::Refused(failure),
            None if message.accepted == 0 => Event::NoRecipients,
            None => Event::Final(reply),
        });
    }

    fn after_lone_dot(&mut self) {
        // Whatever the peer said of an empty message to nobody.
        if let Some(message) = self.message.take() {
            self.dirty = true;
            self.events.push_back(message.refused.map_or(Event::NoRecipients, Event::Refused));
        }
    }

    /// Ends the message if it came to nothing and all that was said of it is answered.
    fn settle(&mut self) {
        let Some(message) = &self.message else { return };
        // With content under way the driver still owes `content_end`, and the peer its reply; a refused chunk alone ends it.
        let is_flowing = message.content == Content::Flowing && message.chunk_refused.is_none();
        let is_over = message.refused.is_some()
            || message.chunk_refused.is_some()
            || (message.accepted == 0 && message.answered == message.plan.recipients.len());
        if !self.awaited.is_empty() || is_flowing || !is_over {
            return;
        }
        if let Some(message) = self.message.take() {
            self.dirty = true;
            self.events.push_back(match (message.refused, message.chunk_refused) {
                (Some(failure), _) => Event::Refused(failure),
                (None, Some(reply)) => Event::Final(reply),
                (None, None) => Event::NoRecipients,
            });
        }
    }
}

/// Saying.
impl Client {
    fn say(&mut self, line: &str, awaited: Await, now: Time) {
        self.write_line(line);
        self.record(Speaker::Client, line, now);
        self.awaited.push_back(awaited);
        self.since = now;
    }

    /// No name or parameter, wherever it came from, may end a line and begin another.
    fn write_line(&mut self, line: &str) {
        self.output.extend(line.bytes().map(|octet| if octet.is_ascii_control() { b'?' } else { octet }));
        self.output.extend_from_slice(b"\r\n");
    }

    fn say_ehlo(&mut self, now: Time) {
        let line = format!("EHLO {}", self.options.ehlo);
        self.say(&line, Await::Ehlo, now);
    }

    fn say_mail(&mut self, now: Time) {
        let Some(plan) = self.message.as_ref().map(|message| &message.plan) else { return };
        let offered = &self.capabilities;
        let mut line = match &plan.sender {
            ReversePath::Null => "MAIL FROM:<>".to_owned(),
            ReversePath::Address(address) => format!("MAIL FROM:<{address}>"),
        };
        if offered.size {
            line += &format!(" SIZE={}", plan.size);
        }
        line += match plan.body {
            Body::SevenBit => "",
            Body::EightBitMime => " BODY=8BITMIME",
            Body::BinaryMime => " BODY=BINARYMIME",
        };
        if needs_smtputf8(plan) {
            line += " SMTPUTF8";
        }
        if offered.dsn {
            line += match plan.ret {
                None => "",
                Some(Ret::Full) => " RET=FULL",
                Some(Ret::Headers) => " RET=HDRS",
            };
            line += &plan.envid.as_ref().map_or_else(String::new, |envid| format!(" ENVID={envid}"));
        }
        self.say(&line, Await::Mail, now);
    }

    fn say_rcpt(&mut self, index: usize, now: Time) {
        let Some(recipient) = self.message.as_ref().and_then(|message| message.plan.recipients.get(index)) else {
            return;
        };
        let mut line = format!("RCPT TO:<{}>", recipient.address);
        if self.capabilities.dsn {
            line += &recipient.notify.map_or_else(String::new, |notify| format!(" NOTIFY={}", notify.keyword()));
            line += &recipient.orcpt.as_ref().map_or_else(String::new, |orcpt| format!(" ORCPT={orcpt}"));
        }
        self.say(&line, Await::Rcpt(index), now);
    }

    fn go_ahead(&mut self) {
        if let Some(message) = &mut self.message {
            message.content = Content::Flowing;
            self.events.push_back(Event::GoAhead);
        }
    }

    /// Why this peer cannot take the message. Nothing is converted on the way down: a signature would break, or text be lost.
    fn beyond_peer(&self, plan: &MessagePlan) -> Option<Status> {
        let offered = &self.capabilities;
        let peer = &self.options.peer;
        // RFC 1870 6.1.
        if let Some(size_max) = offered.size_max.filter(|&size_max| plan.size > size_max) {
            return Some(status::PEER_SIZE_LIMIT.with(format!("{} octets, {peer} takes {size_max}", plan.size)));
        }
        if needs_smtputf8(plan) && !offered.smtputf8 {
            return Some(status::NEEDS_SMTPUTF8.with(peer));
        }
        match plan.body {
            // RFC 6152 3.
            Body::EightBitMime if !offered.eight_bit_mime => Some(status::NEEDS_8BITMIME.with(peer)),
            // RFC 3030 3.
            Body::BinaryMime if !(offered.binary_mime && offered.chunking) => Some(status::NEEDS_BINARYMIME.with(peer)),
            _ => None,
        }
    }

    fn record(&mut self, speaker: Speaker, text: &str, now: Time) {
        if self.transcript.len() < TRANSCRIPT_MAX && self.transcript_octets < TRANSCRIPT_OCTETS_MAX {
            let text: String = text.chars().take(SAID_MAX).collect();
            self.transcript_octets += text.len();
            self.transcript.push(Said { at: now, speaker, text });
        } else if !std::mem::replace(&mut self.transcript_full, true) {
            self.transcript.push(Said { at: now, speaker: Speaker::Note, text: "(the rest is not kept)".to_owned() });
        }
    }
}

/// Failing.
impl Client {
    fn fail_remote(&mut self, reply: &Reply) {
        let failure = Failure::remote(self.stage(), &self.options.peer, reply);
        self.finish_connection(Event::Failed(failure));
    }

    fn fail_unexpected(&mut self, reply: &Reply) {
        self.fail(Culprit::Them, status::BAD_REPLY.with(format!("unexpected here: {reply}")));
    }

    fn fail(&mut self, culprit: Culprit, status: Status) {
        self.fail_at(self.stage(), culprit, status);
    }

    fn fail_at(&mut self, stage: Stage, culprit: Culprit, status: Status) {
        let mut failure = Failure::new(stage, culprit, status);
        failure.maybe_delivered = self.is_maybe_delivered();
        self.finish_connection(Event::Failed(failure));
    }

    fn finish_connection(&mut self, event: Event) {
        self.phase = Phase::Over;
        self.awaited.clear();
        self.message = None;
        self.output.clear();
        self.events.push_back(event);
    }

    /// QUIT to a peer that is still there; nobody waits for the answer.
    fn farewell(&mut self, now: Time) {
        self.write_line("QUIT");
        self.record(Speaker::Client, "QUIT", now);
    }

    /// All of the content was said, and no reply yet says that nobody gets it (RFC 5321 4.5.3.2.6, RFC 1047).
    fn is_maybe_delivered(&self) -> bool {
        self.message.as_ref().is_some_and(|message| {
            let may_be_accepted = message.accepted > 0 || message.answered < message.plan.recipients.len();
            message.content == Content::Said
                && message.refused.is_none()
                && message.chunk_refused.is_none()
                && may_be_accepted
        })
    }

    /// The content is not fit to be sent, and what was sent of it must not be completed: only closing takes it back.
    fn abort(&mut self, what: &str, now: Time) {
        self.record(Speaker::Note, &format!("content stopped: {what}"), now);
        self.message = None;
        let failure = Failure::new(Stage::Body, Culprit::Us, status::MALFORMED.with(what));
        self.events.push_back(Event::Refused(failure));
        self.finish_connection(Event::Quit);
    }
}

fn needs_smtputf8(plan: &MessagePlan) -> bool {
    plan.smtputf8
        || plan.sender.address().is_some_and(Address::is_international)
        || plan.recipients.iter().any(|recipient| recipient.address.is_international())
}

/// A status of a kind in the words of the field: `no HELO/EHLO response`, `send RCPT TO failed`.
fn reworded(status: Status, text: &str) -> Status {
    Status { text: text.to_owned(), ..status }
}

/// Seconds with one decimal, if there is any.
fn seconds(ms: u128) -> String {
    if ms.is_multiple_of(1000) { (ms / 1000).to_string() } else { format!("{}.{}", ms / 1000, ms % 1000 / 100) }
}
