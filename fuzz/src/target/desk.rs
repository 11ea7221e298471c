//! A driver for the server's machine, with a policy that depends on nothing but what is asked.

use mail::{AuditId, Reply, Speaker};
use smtp::server::{Durable, Event, Options, Refusal, Server};

/// What the session says of itself; two sessions that are alike tell the same.
#[derive(Debug)]
pub(crate) struct Desk {
    server: Server,
    policy: u8,
    /// Events, but for those that only say that content is there.
    events: Vec<String>,
    /// Whole messages, taken or not.
    pub(crate) messages: Vec<Vec<u8>>,
    /// Of these, those that were taken.
    pub(crate) taken: Vec<Vec<u8>>,
    content: Vec<u8>,
    output: Vec<u8>,
    /// Replies that nobody has taken yet.
    pub(crate) said: Vec<u8>,
    record: Vec<String>,
    /// What is shown to people of what the client said: its lines in the record, refused commands.
    pub(crate) shown: Vec<String>,
    /// The last octets led to AUTH's end.
    pub(crate) was_auth: bool,
    sender: String,
}

/// A proof for the machine; nothing is stored here.
struct Stored;

impl Durable for Stored {
    fn audit_id(&self) -> AuditId {
        AuditId::new(1, 2, 3)
    }
}

/// The record of a session keeps so many lines between two calls (`SAID_MAX`): of more, pieces decide which.
const RECORD_MAX: usize = 200;

impl Desk {
    /// Bits of `options`: STARTTLS; AUTH; AUTH in the clear; TLS required; AUTH required; small limits; refused at the door; TLS
    /// from the start.
    pub(crate) fn new(options: u8, policy: u8) -> Desk {
        let on = |bit: u8| options & 1 << bit != 0;
        let mut it = Options::new("gw.test");
        (it.starttls, it.auth, it.auth_without_tls) = (on(0), on(1), on(2));
        (it.tls_required, it.auth_required) = (on(3), on(4));
        if on(5) {
            (it.recipients_max, it.messages_max, it.errors_max) = (2, 2, 3);
            (it.size_max, it.content_line_max) = (60, 20);
        }
        let mut desk = Desk::of(it, policy);
        if on(7) {
            desk.server.tls_started();
        }
        if on(6) {
            desk.server.refuse(refusal(554));
        } else {
            desk.server.greet("gw.test ESMTP");
        }
        desk.drive();
        desk
    }

    /// With these options, before the greeting.
    pub(crate) fn of(options: Options, policy: u8) -> Desk {
        Desk {
            server: Server::new(options),
            policy,
            events: Vec::new(),
            messages: Vec::new(),
            taken: Vec::new(),
            content: Vec::new(),
            output: Vec::new(),
            said: Vec::new(),
            record: Vec::new(),
            shown: Vec::new(),
            was_auth: false,
            sender: String::new(),
        }
    }

    pub(crate) fn greet(&mut self) {
        self.server.greet("gw.test ESMTP");
        self.drive();
    }

    /// Octets of the client. Whether anything came of them.
    pub(crate) fn hear(&mut self, octets: &[u8]) -> bool {
        let before = (self.events.len(), self.output.len());
        self.was_auth = false;
        // As a driver reads: so much at once, and only if it is wanted.
        for piece in octets.chunks(64 * 1024) {
            if !self.server.is_closing() {
                assert!(self.server.wants_input(), "it wants no input and does not close");
                self.server.receive(piece);
                self.drive();
            }
        }
        (self.events.len(), self.output.len()) != before
    }

    fn drive(&mut self) {
        while let Some(event) = self.server.next() {
            self.record();
            self.react(event);
        }
        self.record();
        let said = std::mem::take(self.server.output());
        replies_are_well_formed(&said);
        self.output.extend_from_slice(&said);
        self.said.extend_from_slice(&said);
    }

    fn record(&mut self) {
        for (speaker, text) in self.server.take_said() {
            if speaker != Speaker::Server {
                self.shown.push(text.clone());
            }
            self.record.push(format!("{speaker:?} {text}"));
        }
    }

    fn react(&mut self, event: Event) {
        match &event {
            Event::Content => {
                self.content.append(&mut self.server.take_content());
                return;
            }
            Event::ContentEnd { size, .. } => {
                self.content.append(&mut self.server.take_content());
                assert_eq!(self.content.len() as u64, *size, "octets of content");
            }
            Event::Refused { command, reply, .. } => {
                assert!(reply.is_transient() || reply.is_permanent(), "{reply}");
                self.shown.push(command.clone());
            }
            Event::Auth { .. } => self.was_auth = true,
            _ => {}
        }
        self.events.push(format!("{event:?} {:?}", self.server.take_fault()));
        match event {
            Event::Hello { name, .. } => self.answer(name.as_bytes()),
            Event::Mail(mail) => {
                self.sender = mail.sender.to_string();
                self.answer(&self.sender.clone().into_bytes());
            }
            Event::Rcpt(recipient) => self.answer(recipient.address.local().as_bytes()),
            Event::Data => self.answer(&self.sender.clone().into_bytes()[..0]),
            Event::Auth { user, password } => {
                self.events.push(format!("password {:?}", password.0));
                self.answer(user.as_bytes());
            }
            Event::ContentEnd { .. } => self.end(),
            Event::Reset => self.content.clear(),
            Event::StartTls => {
                assert!(self.server.output().ends_with(b"220 2.0.0 ready to start TLS\r\n"));
                let said = std::mem::take(self.server.output());
                self.output.extend_from_slice(&said);
                self.said.extend_from_slice(&said);
                self.server.tls_started();
            }
            _ => {}
        }
    }

    fn end(&mut self) {
        let content = std::mem::take(&mut self.content);
        let is_wanted = self.policy & 1 << 4 == 0 || !content.windows(5).any(|five| five == b"virus");
        self.events.push(format!("content {:?}", String::from_utf8_lossy(&content)));
        self.messages.push(content.clone());
        if is_wanted {
            self.taken.push(content);
            self.server.accept_content(&Stored);
        } else {
            self.server.refuse(refusal(550));
        }
    }

    /// Refuses what begins with `no`, puts off what begins with `later`, ends the session at `close`, each if the policy has it.
    fn answer(&mut self, about: &[u8]) {
        let asks = |bit: u8, word: &[u8]| self.policy & 1 << bit != 0 && about.starts_with(word);
        match () {
            () if asks(0, b"no") => self.server.refuse(refusal(550)),
            () if asks(1, b"later") => self.server.refuse(refusal(451)),
            () if asks(2, b"close") => self.server.refuse(refusal(421)),
            // DATA is asked about with nothing.
            () if about.is_empty() && asks(3, b"") => self.server.refuse(refusal(451)),
            () => self.server.accept(),
        }
    }

    /// Everything that must not depend on pieces.
    pub(crate) fn told(&self) -> String {
        let record = if self.record.len() < RECORD_MAX { self.record.join("\n") } else { String::new() };
        format!("{}\n--\n{}\n--\n{record}", self.events.join("\n"), self.output.escape_ascii())
    }
}

fn refusal(code: u16) -> Refusal {
    Refusal::new(Reply::new(code, &format!("{}.7.1", code / 100), "as the test wants it")).unwrap()
}

/// RFC 5321 4.2: three digits, a hyphen or a space, text, CRLF; the last line has a space.
fn replies_are_well_formed(said: &[u8]) {
    let text = String::from_utf8(said.to_vec()).unwrap();
    let lines: Vec<&str> = text.split_terminator("\r\n").collect();
    assert!(text.is_empty() || text.ends_with("\r\n"), "{text:?}");
    for line in &lines {
        let octets = line.as_bytes();
        assert!(
            octets.len() >= 4 && octets[..3].iter().all(u8::is_ascii_digit) && matches!(octets[3], b' ' | b'-'),
            "{line:?}"
        );
        assert!(!line.contains(['\r', '\n', '\0']), "{line:?}");
    }
    assert!(lines.last().is_none_or(|line| line.as_bytes()[3] == b' '), "{text:?}");
}
