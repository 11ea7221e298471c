//! The server's side of an SMTP conversation (RFC 5321), as a machine: bytes of the client in, events and replies out.
//!
//! The driver's loop: `receive` what was read, take `next` events until `None` and answer those that ask for it, write
//! `output`, close if `is_closing`, read again. What the protocol alone can decide is decided here and shown as
//! [`Event::Refused`]; the rest waits for the driver's answer, and nothing behind it is looked at before.
//!
//! Departures from RFC 5321, each against an attack: a bare CR, LF or NUL in a command line, HTTP, and octets that come before
//! the greeting or behind DATA or AUTH before our answer end the session with a 5xx (3.8 would have us wait for QUIT).

use crate::command::{self, Command};
use crate::content::{Framing, Intake, Limits};
use crate::lines::{Break, Input, Line};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use mail::{AuditId, Body, Fault, Recipient, Reply, Ret, ReversePath, Speaker, Stage, status};
use std::collections::VecDeque;

/// Longest command line, CRLF included. RFC 5321 4.5.3.1.4 asks for 512, its extensions for about 1,500 together.
const LINE_MAX: usize = 2048;
/// RFC 4954 4: AUTH and its responses may have 12,288 octets.
const AUTH_LINE_MAX: usize = 12_288;
/// Content handed out at once, about.
const PIECE: usize = 64 * 1024;
/// With so much unused input a driver reads no more.
const INPUT_ENOUGH: usize = 64 * 1024;
/// With so much the session ends: a driver that reads pieces of up to 192 KiB cannot come here.
const INPUT_MAX: usize = 256 * 1024;
/// Characters of a refused command line kept for the log, and of any line kept for the record of the session.
const QUOTE_MAX: usize = 200;
const SAID_LINE_MAX: usize = 500;
/// Lines kept between two calls of `take_said`: a client that pipelines more is on record with its first ones.
const SAID_MAX: usize = 200;

/// What this server is and offers.
#[derive(Clone, Debug)]
pub struct Options {
    /// Name in the EHLO answer and in closing lines; `<postmaster>` without a domain is of this host (RFC 5321 4.5.1).
    pub hostname: String,
    /// SIZE in octets (RFC 1870); 0: no limit.
    pub size_max: u64,
    /// STARTTLS is offered (RFC 3207).
    pub starttls: bool,
    /// All but EHLO, NOOP, STARTTLS and QUIT get 530 5.7.0 before TLS (RFC 3207 4).
    pub tls_required: bool,
    /// AUTH PLAIN LOGIN is offered within TLS (RFC 4954).
    pub auth: bool,
    /// AUTH is offered without TLS as well; passwords then cross the network in the clear.
    pub auth_without_tls: bool,
    /// MAIL gets 530 5.7.0 before AUTH.
    pub auth_required: bool,
    /// Recipients of one message; more get 452 4.5.3. RFC 5321 4.5.3.1.8 asks for 100 or more. 0: no limit.
    pub recipients_max: usize,
    /// Transactions of one session; 0: no limit. The next MAIL gets 421 4.7.0 and the connection is closed (RFC 5321 3.8):
    /// a client that goes on comes back with a new connection at once, where a 45x would delay its mail.
    pub messages_max: u32,
    /// 5xx replies of one session, then 421 4.7.0; 0: no limit.
    pub errors_max: u32,
    /// Longest content line, CRLF included; 0: no limit. RFC 5321 4.5.3.1.6 has 1,000; senders of HTML often exceed it, and
    /// twice as much harms nobody.
    pub content_line_max: usize,
}

impl Options {
    /// The defaults: 10 MiB, 1,024 recipients, 100 messages, 20 errors, content lines of 2,048 octets, no TLS, no AUTH.
    pub fn new(hostname: impl Into<String>) -> Options {
        Options {
            hostname: hostname.into(),
            size_max: 10_485_760,
            starttls: false,
            tls_required: false,
            auth: false,
            auth_without_tls: false,
            auth_required: false,
            recipients_max: 1024,
            messages_max: 100,
            errors_max: 20,
            content_line_max: 2048,
        }
    }
}

/// One connection.
#[derive(Debug)]
pub struct Server {
    options: Options,
    session: Session,
    transaction: Transaction,
    input: Input,
    output: Vec<u8>,
    content: Vec<u8>,
    reading: Reading,
    owed: Option<Owed>,
    events: VecDeque<Event>,
    /// Of the content that was refused last.
    fault: Option<Fault>,
    said: Vec<(Speaker, String)>,
}

/// What lives as long as the connection.
#[derive(Debug)]
struct Session {
    state: State,
    tls: bool,
    /// AUTH was said: what cannot be read as a command may be a password.
    auth_said: bool,
    user: Option<String>,
    messages: u32,
    errors: u32,
}

/// What lives from MAIL to the end of its content.
#[derive(Debug, Default)]
struct Transaction {
    body: Body,
    smtputf8: bool,
    recipients: usize,
    /// BDAT's content, over all its chunks.
    chunks: Option<Intake>,
}

/// What was said and accepted so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The banner was a 5xx (RFC 5321 3.1).
    Unwelcome,
    /// No HELO or EHLO yet.
    Start,
    Ready,
    /// MAIL.
    Sender,
    /// MAIL and at least one RCPT.
    Recipients,
    /// At least one BDAT.
    Chunks,
}

/// What the next octets are.
#[derive(Debug)]
enum Reading {
    /// None may come before the banner.
    Nothing,
    Commands,
    Content(Intake),
    Chunk {
        left: u64,
        last: bool,
        fate: Fate,
    },
    Response(Sasl),
    /// Of the TLS handshake: not ours.
    Tls,
    Closed,
}

/// What becomes of a chunk.
#[derive(Debug)]
enum Fate {
    Keep,
    /// Its octets are swallowed, then this is said (RFC 3030 2).
    Refuse(Reply),
}

/// Which response of a client AUTH waits for.
#[derive(Debug)]
enum Sasl {
    Plain,
    LoginUser,
    LoginPassword { user: String },
}

/// The answer the driver owes.
#[derive(Debug)]
enum Owed {
    Hello { extended: bool },
    Mail { body: Body, smtputf8: bool },
    Rcpt,
    Data,
    Chunk { size: u64, last: bool },
    Content,
    Auth { user: String },
}

/// Only what a store has made durable may be acknowledged.
pub trait Durable {
    /// The message's Audit ID, told to the client.
    fn audit_id(&self) -> AuditId;
}

/// A 4xx or 5xx reply; no other can be made into one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal(Reply);

impl Refusal {
    /// `None` unless the reply is 4xx or 5xx.
    pub fn new(reply: Reply) -> Option<Refusal> {
        (reply.is_transient() || reply.is_permanent()).then_some(Refusal(reply))
    }

    /// A refusal of the gateway's own making, from the one table of statuses: `Refusal::of(&status::RELAYING_DENIED, "…")`.
    /// A kind that is no refusal (the table has none) becomes 451 4.3.0.
    pub fn of(kind: &status::Kind, detail: impl AsRef<str>) -> Refusal {
        Refusal::new(kind.reply(detail)).unwrap_or_else(|| Refusal(status::WRITE_FAILED.reply("")))
    }

    /// What is said.
    pub fn reply(&self) -> &Reply {
        &self.0
    }
}

/// What the client did. Where an answer is wanted, [`Server::next`] gives nothing until it has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// HELO or EHLO. Answer wanted: accept, answer or refuse.
    Hello { name: String, extended: bool },
    /// Answer wanted: accept, answer or refuse.
    Mail(MailParams),
    /// Answer wanted: accept, answer or refuse.
    Rcpt(Recipient),
    /// DATA or the first BDAT. Answer wanted: accept (go ahead) or refuse (the transaction is over).
    Data,
    /// Some content (64 KiB or more) lies ready for `take_content`. No answer; comes again until it is taken.
    Content,
    /// All content is in; its last piece lies ready. Answer wanted: `accept_content` or refuse.
    ContentEnd { size: u64, eight_bit: bool },
    /// 220 lies in `output`: write it, shake hands, call `tls_started`.
    StartTls,
    /// Answer wanted: accept (235) or refuse (535 5.7.8, 454 4.7.0).
    Auth { user: String, password: Password },
    /// The transaction is over without its content, or with content that the machine refused: drop the draft. No answer.
    Reset,
    /// The machine has given this 4xx or 5xx itself; for the log. Passwords do not appear. No answer.
    Refused { stage: Stage, command: String, reply: Reply },
    /// 221 lies in `output`. Closing.
    Quit,
    /// `errors_max` is exceeded and 421 lies in `output`. Closing.
    TooManyErrors,
    /// The protocol is broken in a way that only attacks and broken software do. Closing, except after `PlaintextAfterStartTls`.
    Violation(Violation),
}

/// A password that does not show when an event is printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(pub String);

impl std::fmt::Debug for Password {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("(password)")
    }
}

/// MAIL FROM with its parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MailParams {
    pub sender: ReversePath,
    /// Declared size in octets (RFC 1870).
    pub size: Option<u64>,
    pub body: Body,
    pub smtputf8: bool,
    pub ret: Option<Ret>,
    /// In xtext, as given (RFC 3461 4.4).
    pub envid: Option<String>,
    /// AUTH=, decoded; `<>` stays (RFC 4954 5).
    pub auth: Option<String>,
}

impl MailParams {
    /// MAIL FROM without parameters.
    pub fn of(sender: ReversePath) -> MailParams {
        MailParams { sender, size: None, body: Body::SevenBit, smtputf8: false, ret: None, envid: None, auth: None }
    }
}

/// How the protocol was broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Violation {
    /// Octets before the greeting.
    EarlyTalker,
    /// In a command line; likewise the next two.
    BareCarriageReturn,
    BareLineFeed,
    Nul,
    /// So many octets in the clear behind STARTTLS were thrown away (CVE-2011-0411); the session goes on.
    PlaintextAfterStartTls(usize),
    /// Octets behind DATA or AUTH before our answer (RFC 2920 3.1): content or secrets that could be taken for commands.
    ImproperPipelining,
    /// HTTP, or a message's header, where a command should be.
    ForeignProtocol,
    /// BDAT without a readable size: its chunk could be taken for commands.
    LostChunk,
    /// The driver went on feeding where `wants_input` says no.
    Flood,
}

impl Server {
    /// A connection in the clear. The driver says `greet` or `refuse` next, after `tls_started` if TLS is there from the start.
    pub fn new(options: Options) -> Server {
        Server {
            options,
            session: Session { state: State::Start, tls: false, auth_said: false, user: None, messages: 0, errors: 0 },
            transaction: Transaction::default(),
            input: Input::default(),
            output: Vec::new(),
            content: Vec::new(),
            reading: Reading::Nothing,
            owed: None,
            events: VecDeque::new(),
            fault: None,
            said: Vec::new(),
        }
    }

    /// Says 220 and `text`, which begins with the host's name (RFC 5321 4.2). A client that has spoken already gets 554.
    pub fn greet(&mut self, text: &str) {
        if matches!(self.reading, Reading::Nothing) && !self.caught_early() {
            self.say(&Reply::plain(220, text));
            self.reading = Reading::Commands;
        }
    }

    /// Octets of the client.
    pub fn receive(&mut self, octets: &[u8]) {
        if matches!(self.reading, Reading::Tls | Reading::Closed) {
            return;
        }
        self.input.push(octets);
        if self.input.len() > INPUT_MAX {
            self.violate(Violation::Flood, Reply::new(554, "5.5.1", "too much at once"));
        }
    }

    /// False while enough lies unused: take events (and give answers) before reading on.
    pub fn wants_input(&self) -> bool {
        self.input.len() < INPUT_ENOUGH && !self.is_closing()
    }

    /// The next event; `None`: an answer is owed, or more octets are needed.
    #[expect(clippy::should_implement_trait, reason = "no iterator: None is not the end")]
    pub fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Some(event);
            }
            if self.owed.is_some() || !self.advance() {
                return None;
            }
        }
    }

    /// Replies to write, those of pipelined commands together. The driver writes and clears it.
    pub fn output(&mut self) -> &mut Vec<u8> {
        &mut self.output
    }

    /// The protocol's own positive answer to the pending event. Content cannot be accepted this way: 451.
    pub fn accept(&mut self) {
        self.answer(Reply::plain(250, ""));
    }

    /// The answer to the pending event in the driver's words; an empty text stands for the protocol's own words. 4xx and 5xx
    /// refuse. Content is acknowledged by [`Server::accept_content`] alone: any other positive answer to it becomes 451.
    pub fn answer(&mut self, reply: Reply) {
        if let Some(refusal) = Refusal::new(reply.clone()) {
            return self.refuse(refusal);
        }
        if self.is_premature() {
            return;
        }
        let text = reply.text();
        let positive = |code, enhanced: &str, own: &str| {
            if text.is_empty() { Reply::new(code, enhanced, own) } else { Reply { code, ..reply.clone() } }
        };
        match self.owed.take() {
            None => {}
            Some(Owed::Hello { extended }) => {
                self.session.state = State::Ready;
                let hello = self.hello(&text, extended);
                self.say(&hello);
            }
            Some(Owed::Mail { body, smtputf8 }) => {
                self.transaction = Transaction { body, smtputf8, ..Transaction::default() };
                self.session.state = State::Sender;
                self.session.messages += 1;
                self.say(&positive(250, "2.1.0", "sender ok"));
            }
            Some(Owed::Rcpt) => {
                self.transaction.recipients += 1;
                self.session.state = State::Recipients;
                self.say(&positive(250, "2.1.5", "recipient ok"));
            }
            Some(Owed::Data) => {
                self.say(&Reply::plain(354, "go ahead, end with <CRLF>.<CRLF>"));
                self.reading = Reading::Content(Intake::new(Framing::Dots, self.limits()));
            }
            Some(Owed::Chunk { size, last }) => {
                let framing = if self.transaction.body == Body::BinaryMime { Framing::Binary } else { Framing::Lines };
                self.transaction.chunks = Some(Intake::new(framing, self.limits()));
                self.session.state = State::Chunks;
                self.reading = Reading::Chunk { left: size, last, fate: Fate::Keep };
            }
            // A driver's mistake must not lose mail: without a proof that it is stored it is not accepted.
            Some(Owed::Content) => {
                self.end_transaction();
                self.say(&status::WRITE_FAILED.reply(""));
            }
            Some(Owed::Auth { user }) => {
                self.session.user = Some(user);
                self.say(&positive(235, "2.7.0", "authenticated"));
            }
        }
    }

    /// The negative answer to whatever is pending: the banner (then only QUIT is served, RFC 5321 3.1), a command, content.
    /// A refused DATA or content ends the transaction. After 421 the connection is closed (RFC 5321 3.8).
    pub fn refuse(&mut self, refusal: Refusal) {
        if self.is_premature() {
            return;
        }
        let reply = refusal.0;
        match self.owed.take() {
            None if matches!(self.reading, Reading::Nothing) => {
                self.session.state = State::Unwelcome;
                self.reading = Reading::Commands;
            }
            None => return,
            Some(Owed::Data | Owed::Content) => self.end_transaction(),
            Some(Owed::Chunk { size, last }) => {
                self.end_transaction();
                self.reading = Reading::Chunk { left: size, last, fate: Fate::Refuse(reply) };
                return;
            }
            Some(Owed::Hello { .. } | Owed::Mail { .. } | Owed::Rcpt | Owed::Auth { .. }) => {}
        }
        self.say(&reply);
    }

    /// The only 2xx after content: `250 2.0.0 accepted as AUDITID`.
    pub fn accept_content(&mut self, committed: &impl Durable) {
        if let Some(Owed::Content) = self.owed {
            self.owed = None;
            self.end_transaction();
            self.say(&Reply::new(250, "2.0.0", format!("accepted as {}", committed.audit_id())));
        }
    }

    /// What was wrong with the content, or the size, that an [`Event::Refused`] tells of, if that was it.
    pub fn take_fault(&mut self) -> Option<Fault> {
        self.fault.take()
    }

    /// Lines of the conversation since the last call, for its record: without credentials, content counted only.
    pub fn take_said(&mut self) -> std::vec::Drain<'_, (Speaker, String)> {
        self.said.drain(..)
    }

    /// Content decoded since the last call: without DATA's added dots, exactly as it is to be stored.
    pub fn take_content(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.content)
    }

    /// TLS is on. Everything the client said in the clear is forgotten, its buffer included (RFC 3207 4.2).
    pub fn tls_started(&mut self) {
        self.session.tls = true;
        self.session.user = None;
        self.input.clear();
        if let Reading::Tls = self.reading {
            self.session.state = State::Start;
            self.reading = Reading::Commands;
        }
    }

    /// Whether TLS is on.
    pub fn is_tls(&self) -> bool {
        self.session.tls
    }

    /// Who has authenticated.
    pub fn user(&self) -> Option<&str> {
        self.session.user.as_deref()
    }

    /// True: write `output`, then close the connection.
    pub fn is_closing(&self) -> bool {
        matches!(self.reading, Reading::Closed)
    }

    /// Whether a transaction is open, so that a timeout or shutdown cuts a message short.
    pub fn is_in_transaction(&self) -> bool {
        matches!(self.session.state, State::Sender | State::Recipients | State::Chunks)
    }

    /// Ends the session from outside (timeout, shutdown): says the refusal, which should be a 421 (RFC 5321 3.8), and closes.
    pub fn close(&mut self, refusal: Refusal) {
        if !self.is_closing() {
            self.say(&refusal.0);
            self.shut();
        }
    }
}

/// The way of the octets.
impl Server {
    /// Uses some input. False: nothing can be done without more.
    fn advance(&mut self) -> bool {
        match &mut self.reading {
            Reading::Nothing => self.caught_early(),
            Reading::Commands => match self.input.line(self.line_max()) {
                Some(line) => self.command_line(line),
                None => false,
            },
            Reading::Response(_) => match self.input.line(AUTH_LINE_MAX) {
                Some(line) => self.response_line(line),
                None => false,
            },
            Reading::Content(_) => self.content(),
            Reading::Chunk { .. } => self.chunk(),
            Reading::Tls | Reading::Closed => false,
        }
    }

    /// AUTH lines may be longer (RFC 4954 4); which one it is shows in its first word.
    fn line_max(&self) -> usize {
        let is_auth = self.input.rest().get(..4).is_some_and(|word| word.eq_ignore_ascii_case(b"AUTH"));
        if is_auth { AUTH_LINE_MAX } else { LINE_MAX }
    }

    fn limits(&self) -> Limits {
        Limits { size_max: self.options.size_max, line_max: self.options.content_line_max }
    }

    fn command_line(&mut self, line: Line) -> bool {
        let Some(line) = self.readable(line) else { return true };
        let (verb, _) = command::verb(&line);
        let shown = self.shown(&verb, &line);
        self.hear(Speaker::Client, &shown);
        self.session.auth_said |= verb.starts_with("AUTH");
        match command::parse(&line, &self.options.hostname) {
            Ok(command) => match self.step(&command) {
                Ok(()) => self.obey(command),
                Err(reply) => match command {
                    // The chunk comes whether we like it or not (RFC 3030 2).
                    Command::Bdat { size, last } => {
                        self.show(Stage::Data, quote(&shown), &reply);
                        self.reading = Reading::Chunk { left: size, last, fate: Fate::Refuse(reply) };
                    }
                    _ => {
                        self.fault = self.declared_too_large(&command);
                        self.reject(command::stage(&verb), quote(&shown), &reply);
                    }
                },
            },
            Err(reply) if verb == "BDAT" => self.violate(Violation::LostChunk, reply),
            Err(_) if command::is_foreign(&line) => {
                self.violate(
                    Violation::ForeignProtocol,
                    Reply::new(500, "5.5.2", "this is an SMTP server; closing connection"),
                );
            }
            Err(reply) => self.reject(command::stage(&verb), quote(&shown), &reply),
        }
        true
    }

    /// The text of a line, unless it broke a rule of lines and was answered here.
    fn readable(&mut self, line: Line) -> Option<String> {
        let octets = match line {
            Line::Whole(octets) => octets,
            Line::TooLong => {
                // RFC 5321 4.5.3.1.10.
                self.hear(Speaker::Client, "(line too long)");
                self.reject(Stage::Ehlo, "(line too long)".to_owned(), &Reply::new(500, "5.5.2", "line too long"));
                return None;
            }
            Line::Broken(broken) => {
                let (violation, name) = match broken {
                    Break::BareCarriageReturn => (Violation::BareCarriageReturn, "bare CR"),
                    Break::BareLineFeed => (Violation::BareLineFeed, "bare LF"),
                    Break::Nul => (Violation::Nul, "NUL"),
                };
                self.hear(Speaker::Client, &format!("(a line with a {name})"));
                let text = format!("{name} in a command line: only CRLF ends a line; closing connection");
                self.violate(violation, Reply::new(500, "5.5.2", text));
                return None;
            }
        };
        match String::from_utf8(octets) {
            Ok(text) if !text.contains(|c: char| c.is_control() && c != '\t') => Some(text),
            _ => {
                let reply = Reply::new(500, "5.5.2", "control character or no UTF-8 in a command line");
                self.hear(Speaker::Client, "(unreadable line)");
                self.reject(Stage::Ehlo, "(unreadable line)".to_owned(), &reply);
                None
            }
        }
    }

    fn content(&mut self) -> bool {
        if self.content.len() >= PIECE {
            self.events.push_back(Event::Content);
            return true;
        }
        let Reading::Content(intake) = &mut self.reading else { return false };
        let rest = self.input.rest();
        if rest.is_empty() {
            return false;
        }
        let (used, ended) = intake.feed(&rest[..rest.len().min(PIECE)], &mut self.content);
        self.input.advance(used);
        if ended && let Reading::Content(intake) = std::mem::replace(&mut self.reading, Reading::Commands) {
            self.content_is_in(&intake);
        }
        true
    }

    fn chunk(&mut self) -> bool {
        if self.content.len() >= PIECE {
            self.events.push_back(Event::Content);
            return true;
        }
        let Reading::Chunk { left, fate, .. } = &mut self.reading else { return false };
        let rest = self.input.rest();
        if rest.is_empty() && *left > 0 {
            return false;
        }
        let used = usize::try_from(*left).unwrap_or(usize::MAX).min(rest.len()).min(PIECE);
        if let (Fate::Keep, Some(intake)) = (&fate, &mut self.transaction.chunks) {
            intake.feed(&rest[..used], &mut self.content);
        }
        *left -= used as u64;
        self.input.advance(used);
        if *left == 0
            && let Reading::Chunk { last, fate, .. } = std::mem::replace(&mut self.reading, Reading::Commands)
        {
            self.chunk_is_in(last, fate);
        }
        true
    }

    fn chunk_is_in(&mut self, last: bool, fate: Fate) {
        if let Fate::Refuse(reply) = fate {
            return self.say(&reply);
        }
        let Some(mut intake) = self.transaction.chunks.take() else { return };
        if last {
            intake.finish();
            self.content_is_in(&intake);
        } else if intake.problem().is_some() {
            self.content_is_in(&intake);
        } else {
            self.say(&Reply::new(250, "2.0.0", format!("{} octets so far", intake.size())));
            self.transaction.chunks = Some(intake);
        }
    }

    fn content_is_in(&mut self, intake: &Intake) {
        self.hear(Speaker::Note, &format!("{} octets of content", intake.size()));
        match intake.problem() {
            None => {
                self.owed = Some(Owed::Content);
                self.events.push_back(Event::ContentEnd { size: intake.size(), eight_bit: intake.is_eight_bit() });
            }
            Some(fault) => {
                self.end_transaction();
                self.events.push_back(Event::Reset);
                self.fault = Some(fault);
                self.reject(Stage::Body, "(content)".to_owned(), &fault_reply(fault));
            }
        }
    }

    fn end_transaction(&mut self) {
        self.transaction = Transaction::default();
        self.content = Vec::new();
        if !matches!(self.session.state, State::Start | State::Unwelcome) {
            self.session.state = State::Ready;
        }
    }

    /// Drops an open transaction and tells the driver.
    fn reset(&mut self) {
        if self.is_in_transaction() {
            self.events.push_back(Event::Reset);
        }
        self.end_transaction();
    }
}

/// The commands.
impl Server {
    /// RFC 1870 6.1: the client says beforehand that the message is larger than we take.
    fn declared_too_large(&self, command: &Command) -> Option<Fault> {
        let Command::Mail(mail) = command else { return None };
        let (size, size_max) = (mail.size?, self.options.size_max);
        (size_max != 0 && size > size_max).then_some(Fault::TooLarge { size, size_max })
    }

    /// May this command be said now? First what holds in the whole session, then the table.
    fn step(&self, command: &Command) -> Result<(), Reply> {
        use Command::*;
        let session = &self.session;
        // RFC 3207 4.
        let is_free = matches!(command, Hello { .. } | Noop | StartTls | Quit);
        if self.options.tls_required && !session.tls && !is_free && session.state != State::Unwelcome {
            return Err(status::TLS_REQUIRED.reply(""));
        }
        transition(session.state, command)?;
        // RFC 4954 6.
        if matches!(command, Mail(_)) && self.options.auth_required && session.user.is_none() {
            return Err(status::AUTH_REQUIRED.reply(""));
        }
        if let Some(fault) = self.declared_too_large(command) {
            return Err(fault_reply(fault));
        }
        match command {
            Mail(_) if self.options.messages_max != 0 && session.messages >= self.options.messages_max => {
                Err(Reply::new(
                    421,
                    "4.7.0",
                    format!("{} too many messages in this session; closing connection", self.options.hostname),
                ))
            }
            // RFC 5321 4.5.3.1.10.
            Rcpt(_)
                if self.options.recipients_max != 0 && self.transaction.recipients >= self.options.recipients_max =>
            {
                Err(status::TOO_MANY_RECIPIENTS.reply(format!("the limit is {}", self.options.recipients_max)))
            }
            // RFC 6531 3.5.
            Rcpt(recipient) if !self.transaction.smtputf8 && recipient.address.is_international() => {
                Err(Reply::new(553, "5.6.7", "this recipient needs the SMTPUTF8 parameter in MAIL"))
            }
            // RFC 3030 3.
            Data if self.transaction.body == Body::BinaryMime => Err(sequence("BINARYMIME needs BDAT")),
            StartTls if session.tls => Err(sequence("TLS is on already")),
            StartTls if !self.options.starttls => Err(Reply::new(502, "5.5.1", "STARTTLS is not offered")),
            Auth { .. } if !self.options.auth => Err(Reply::new(502, "5.5.1", "AUTH is not offered")),
            Auth { .. } if session.user.is_some() => Err(sequence("you are authenticated already")),
            // RFC 4954 6.
            Auth { .. } if !self.offers_auth() => {
                Err(Reply::new(538, "5.7.11", "Encryption required for requested authentication mechanism"))
            }
            _ => Ok(()),
        }
    }

    /// Does what an allowed command asks, or asks the driver.
    fn obey(&mut self, command: Command) {
        match command {
            Command::Hello { name, extended } => {
                self.reset();
                self.ask(Owed::Hello { extended }, Event::Hello { name, extended });
            }
            Command::Mail(mail) => self.ask(Owed::Mail { body: mail.body, smtputf8: mail.smtputf8 }, Event::Mail(mail)),
            Command::Rcpt(recipient) => self.ask(Owed::Rcpt, Event::Rcpt(recipient)),
            Command::Data => {
                self.owed = Some(Owed::Data);
                if !self.is_premature() {
                    self.events.push_back(Event::Data);
                }
            }
            Command::Bdat { size, last } if self.session.state == State::Chunks => {
                self.reading = Reading::Chunk { left: size, last, fate: Fate::Keep };
            }
            Command::Bdat { size, last } => self.ask(Owed::Chunk { size, last }, Event::Data),
            Command::Reset => {
                self.reset();
                self.say(&Reply::new(250, "2.0.0", "ok"));
            }
            Command::Noop => self.say(&Reply::new(250, "2.0.0", "ok")),
            // RFC 5321 3.5.3: 252 keeps the list of users to ourselves.
            Command::Verify => self.say(&Reply::new(252, "2.1.5", "cannot VRFY user, but will take mail for it")),
            Command::Help => self.say(&Reply::new(214, "2.0.0", "see RFC 5321")),
            Command::Quit => {
                self.reset();
                self.say(&Reply::new(221, "2.0.0", format!("{} closing connection", self.options.hostname)));
                self.events.push_back(Event::Quit);
                self.shut();
            }
            Command::StartTls => self.start_tls(),
            Command::Auth { mechanism, initial } => self.auth(&mechanism, initial),
        }
    }

    /// RFC 3207 4; what lies behind the command in the clear was written by someone who cannot read our answer.
    fn start_tls(&mut self) {
        let behind = self.input.len();
        if behind > 0 {
            self.events.push_back(Event::Violation(Violation::PlaintextAfterStartTls(behind)));
        }
        self.input.clear();
        self.say(&Reply::new(220, "2.0.0", "ready to start TLS"));
        self.events.push_back(Event::StartTls);
        self.reading = Reading::Tls;
    }

    fn auth(&mut self, mechanism: &str, initial: Option<String>) {
        if !self.input.is_empty() {
            return self.improper_pipelining();
        }
        let sasl = match mechanism {
            "PLAIN" => Sasl::Plain,
            "LOGIN" => Sasl::LoginUser,
            _ => {
                let reply = Reply::new(504, "5.5.4", "this authentication mechanism is not known here");
                return self.reject(Stage::Auth, command::auth_shown(mechanism), &reply);
            }
        };
        match (initial, sasl) {
            (Some(initial), sasl) => self.response(sasl, &initial),
            (None, sasl) => self.challenge(sasl),
        }
    }

    /// RFC 4954 4: the challenge, in base64; LOGIN's are `Username:` and `Password:`.
    fn challenge(&mut self, sasl: Sasl) {
        self.say(&Reply::plain(
            334,
            match sasl {
                Sasl::Plain => "",
                Sasl::LoginUser => "VXNlcm5hbWU6",
                Sasl::LoginPassword { .. } => "UGFzc3dvcmQ6",
            },
        ));
        self.reading = Reading::Response(sasl);
    }

    fn response_line(&mut self, line: Line) -> bool {
        let Reading::Response(sasl) = std::mem::replace(&mut self.reading, Reading::Commands) else { return false };
        if let Some(line) = self.readable(line) {
            self.hear(Speaker::Client, "(response of AUTH, not shown)");
            self.response(sasl, line.trim_ascii_end());
        }
        true
    }

    fn response(&mut self, sasl: Sasl, response: &str) {
        let reject = |server: &mut Server, code, enhanced, why: &str| {
            server.reject(Stage::Auth, "AUTH".to_owned(), &Reply::new(code, enhanced, why));
        };
        if response == "*" {
            return reject(self, 501, "5.7.0", "authentication cancelled");
        }
        // `=` alone is an empty initial response (RFC 4954 4).
        let text = if response == "=" { Ok(Vec::new()) } else { BASE64.decode(response) };
        let Some(text) = text.ok().and_then(|octets| String::from_utf8(octets).ok()) else {
            return reject(self, 501, "5.5.2", "not base64 of UTF-8");
        };
        match sasl {
            Sasl::LoginUser => self.challenge(Sasl::LoginPassword { user: text }),
            Sasl::LoginPassword { user } => self.authenticate(user, text),
            // RFC 4616 2: [authzid] NUL authcid NUL passwd.
            Sasl::Plain => match text.split('\0').collect::<Vec<_>>()[..] {
                [role, user, password] if role.is_empty() || role == user => {
                    self.authenticate(user.to_owned(), password.to_owned());
                }
                [_, _, _] => reject(self, 535, "5.7.8", "nobody may act for another user here"),
                _ => reject(self, 501, "5.5.2", "not a PLAIN response (RFC 4616)"),
            },
        }
    }

    fn authenticate(&mut self, user: String, password: String) {
        if user.is_empty() || user.contains(char::is_control) {
            let reply = Reply::new(535, "5.7.8", "authentication failed");
            return self.reject(Stage::Auth, "AUTH".to_owned(), &reply);
        }
        self.ask(Owed::Auth { user: user.clone() }, Event::Auth { user, password: Password(password) });
    }

    fn offers_auth(&self) -> bool {
        self.options.auth && self.session.user.is_none() && (self.session.tls || self.options.auth_without_tls)
    }

    /// RFC 5321 4.1.1.1: the name, then a line for each extension.
    fn hello(&self, text: &str, extended: bool) -> Reply {
        let options = &self.options;
        let first = if text.is_empty() { options.hostname.clone() } else { format!("{} {text}", options.hostname) };
        if !extended {
            return Reply::plain(250, first);
        }
        let mut lines = vec![first, "PIPELINING".to_owned()];
        // RFC 1870 3: SIZE 0 means no fixed limit.
        lines.push(format!("SIZE {}", options.size_max));
        lines.extend(
            ["8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES", "DSN", "CHUNKING", "BINARYMIME"].map(str::to_owned),
        );
        lines.extend(self.limits_line());
        if options.starttls && !self.session.tls {
            lines.push("STARTTLS".to_owned());
        }
        if self.offers_auth() {
            lines.push("AUTH PLAIN LOGIN".to_owned());
        }
        Reply { code: 250, enhanced: None, lines }
    }

    /// RFC 9422.
    fn limits_line(&self) -> Option<String> {
        let limits = [("MAILMAX", self.options.messages_max as usize), ("RCPTMAX", self.options.recipients_max)];
        let limits: Vec<String> =
            limits.iter().filter(|(_, max)| *max != 0).map(|(name, max)| format!("{name}={max}")).collect();
        (!limits.is_empty()).then(|| format!("LIMITS {}", limits.join(" ")))
    }
}

/// Saying things.
impl Server {
    fn ask(&mut self, owed: Owed, event: Event) {
        self.owed = Some(owed);
        self.events.push_back(event);
    }

    /// Says a refusal of our own and shows it to the driver.
    fn reject(&mut self, stage: Stage, command: String, reply: &Reply) {
        self.show(stage, command, reply);
        self.say(reply);
    }

    fn show(&mut self, stage: Stage, command: String, reply: &Reply) {
        self.events.push_back(Event::Refused { stage, command, reply: reply.clone() });
    }

    fn say(&mut self, reply: &Reply) {
        if self.is_closing() {
            return;
        }
        self.write(reply);
        if reply.code == 421 {
            return self.shut();
        }
        self.session.errors += u32::from(reply.is_permanent());
        if self.options.errors_max != 0 && self.session.errors > self.options.errors_max {
            let text = format!("{} too many errors; closing connection", self.options.hostname);
            self.write(&Reply::new(421, "4.7.0", text));
            self.events.push_back(Event::TooManyErrors);
            self.shut();
        }
    }

    /// The end of a session that cannot be trusted any more; nothing that lies in its buffer is looked at.
    fn violate(&mut self, violation: Violation, reply: Reply) {
        self.reset();
        self.events.push_back(Event::Violation(violation));
        self.write(&reply);
        self.shut();
    }

    fn write(&mut self, reply: &Reply) {
        reply.write(&mut self.output);
        // A challenge of AUTH may hold what identifies the user.
        if reply.code == 334 {
            self.hear(Speaker::Server, "334");
        } else {
            self.hear(Speaker::Server, &reply.to_string());
        }
    }

    /// Puts a line on record.
    fn hear(&mut self, speaker: Speaker, text: &str) {
        if self.said.len() < SAID_MAX {
            let end = text.char_indices().nth(SAID_LINE_MAX).map_or(text.len(), |(at, _)| at);
            self.said.push((speaker, text[..end].to_owned()));
        }
    }

    /// A client's line as it may be shown: without what AUTH carries, nor what a client may go on with that takes no
    /// notice of our refusing its AUTH.
    fn shown(&self, verb: &str, line: &str) -> String {
        if verb.starts_with("AUTH") {
            return command::auth_shown(command::verb(line).1);
        }
        if self.session.auth_said && !command::is_verb(verb) {
            return "(not shown: it may be a password)".to_owned();
        }
        line.to_owned()
    }

    fn shut(&mut self) {
        self.reading = Reading::Closed;
        self.owed = None;
        self.input.clear();
    }

    fn caught_early(&mut self) -> bool {
        if self.input.is_empty() {
            return false;
        }
        // RFC 5321 3.1: the client waits for the greeting.
        self.violate(
            Violation::EarlyTalker,
            Reply::new(554, "5.5.1", "you spoke before the greeting; closing connection"),
        );
        true
    }

    /// RFC 2920 3.1: DATA is the last of a group. Octets behind it, before our 354, would be commands if we refuse it: the
    /// client and we could then disagree about what is content.
    fn is_premature(&mut self) -> bool {
        let is_premature = matches!(self.owed, Some(Owed::Data | Owed::Auth { .. })) && !self.input.is_empty();
        if is_premature {
            self.improper_pipelining();
        }
        is_premature
    }

    fn improper_pipelining(&mut self) {
        let reply =
            Reply::new(554, "5.5.1", "improper use of pipelining: wait for our answer (RFC 2920); closing connection");
        self.violate(Violation::ImproperPipelining, reply);
    }
}

/// Which command may follow which (RFC 5321 4.1.4, RFC 3030 2). Whether it is then accepted is another matter.
fn transition(state: State, command: &Command) -> Result<(), Reply> {
    use Command::*;
    match (state, command) {
        (_, Quit) => Ok(()),
        (State::Unwelcome, _) => Err(sequence("no service here; say QUIT")),
        (_, Hello { .. } | Reset | Noop | Help | Verify) => Ok(()),
        (State::Start, _) => Err(sequence("say EHLO or HELO first")),
        (State::Ready, Mail(_) | StartTls | Auth { .. }) => Ok(()),
        (State::Ready, Rcpt(_) | Data | Bdat { .. }) => Err(sequence("say MAIL first")),
        (State::Sender | State::Recipients, Rcpt(_)) => Ok(()),
        (State::Sender, Data | Bdat { .. }) => Err(Reply::new(554, "5.5.1", "no valid recipients")),
        (State::Recipients, Data | Bdat { .. }) | (State::Chunks, Bdat { .. }) => Ok(()),
        (State::Chunks, Rcpt(_) | Data) => Err(sequence("BDAT has begun; say BDAT or RSET")),
        (_, Mail(_)) => Err(sequence("a transaction is open; say RSET first")),
        (_, StartTls | Auth { .. }) => Err(sequence("not within a transaction")),
    }
}

fn sequence(why: &str) -> Reply {
    Reply::new(503, "5.5.1", why)
}

/// What was wrong with the content, and in which line.
fn fault_reply(fault: Fault) -> Reply {
    let malformed = |what: &str, line, octet| status::MALFORMED.reply(format!("{what} in line {line} (octet {octet})"));
    match fault {
        Fault::BareCarriageReturn { line, octet } => malformed("bare CR", line, octet),
        Fault::BareLineFeed { line, octet } => malformed("bare LF", line, octet),
        Fault::Nul { line, octet, .. } => malformed("NUL", line, octet),
        Fault::LongLine { line, octets, line_max } => {
            status::MALFORMED.reply(format!("line {line} has {octets} octets and may have {line_max}"))
        }
        Fault::TooLarge { size, size_max } => {
            status::MESSAGE_TOO_LARGE.reply(format!("{size} octets, the limit is {size_max} octets"))
        }
    }
}

/// A command line for the log: cut short.
fn quote(line: &str) -> String {
    line.chars().take(QUOTE_MAX).collect()
}
