//! The server's side. A script's lines: `C:` the client says (`\r \n \0 \t` as in Rust, CRLF is added; `c:` adds none),
//! `S:` a reply line begins so, `M:` a message was stored. Lines of one kind that follow each other are one group.

use mail::{AuditId, Reply};
use smtp::server::{Durable, Event, Options, Refusal, Server, Violation};

/// A server with its driver: accepts all but `refused@`, answers AUTH by the password `secret`.
pub(crate) struct Desk {
    pub(crate) server: Server,
    pub(crate) events: Vec<String>,
    pub(crate) messages: Vec<String>,
    content: Vec<u8>,
    pub(crate) said: Vec<u8>,
}

struct Stored(AuditId);

impl Durable for Stored {
    fn audit_id(&self) -> AuditId {
        self.0
    }
}

impl Desk {
    pub(crate) fn new(options: Options) -> Desk {
        let mut server = Server::new(options);
        server.greet("gw.test ESMTP");
        Desk { server, events: Vec::new(), messages: Vec::new(), content: Vec::new(), said: Vec::new() }
    }

    pub(crate) fn hear(&mut self, octets: &[u8]) {
        self.server.receive(octets);
        self.drive();
    }

    pub(crate) fn drive(&mut self) {
        while let Some(event) = self.server.next() {
            if event != Event::Content {
                self.events.push(format!("{event:?}"));
            }
            self.meet(event);
        }
        self.said.append(self.server.output());
    }

    fn meet(&mut self, event: Event) {
        let refusal = |code, enhanced, text: &str| Refusal::new(Reply::new(code, enhanced, text)).unwrap();
        match event {
            Event::Hello { name, .. } if name.starts_with("refused") => self.server.refuse(refusal(550, "5.7.1", "no")),
            Event::Hello { .. } | Event::Data => self.server.accept(),
            Event::Mail(mail) if format!("{}", mail.sender).starts_with("refused") => {
                self.server.refuse(refusal(550, "5.7.1", "no"));
            }
            Event::Mail(mail) => self.server.answer(Reply::new(250, "2.1.0", format!("hello {}", mail.sender))),
            Event::Rcpt(rcpt) if rcpt.address.local() == "refused" => {
                self.server.refuse(refusal(550, "5.1.1", "unknown"))
            }
            Event::Rcpt(_) => self.server.accept(),
            Event::Content => {
                let mut piece = self.server.take_content();
                assert!((64 * 1024..=128 * 1024).contains(&piece.len()));
                self.content.append(&mut piece);
            }
            Event::ContentEnd { size, .. } => {
                self.content.append(&mut self.server.take_content());
                assert_eq!(size, self.content.len() as u64);
                let message = String::from_utf8_lossy(&std::mem::take(&mut self.content)).escape_debug().to_string();
                match message.contains("virus") {
                    true => self.server.refuse(refusal(550, "5.7.1", "virus")),
                    false => self.server.accept_content(&Stored(AuditId::new(1, 1, self.messages.len() as u16))),
                }
                if !message.contains("virus") {
                    self.messages.push(message);
                }
            }
            Event::Auth { password, .. } if password.0 == "secret" => self.server.accept(),
            Event::Auth { .. } => self.server.refuse(refusal(535, "5.7.8", "wrong")),
            Event::StartTls => {
                self.said.append(self.server.output());
                self.server.tls_started();
            }
            Event::Reset => self.content.clear(),
            Event::Refused { .. } | Event::Quit | Event::TooManyErrors | Event::Violation(_) => {}
        }
    }
}

fn options(words: &str) -> Options {
    let mut options = Options::new("gw.test");
    for word in words.split_whitespace() {
        let (word, number) = word.split_once('=').unwrap_or((word, "0"));
        let number: usize = number.parse().unwrap();
        match word {
            "tls" => options.starttls = true,
            "tls-required" => (options.starttls, options.tls_required) = (true, true),
            "auth" => options.auth = true,
            "auth-in-the-clear" => (options.auth, options.auth_without_tls) = (true, true),
            "auth-required" => options.auth_required = true,
            "size" => options.size_max = number as u64,
            "recipients" => options.recipients_max = number,
            "messages" => options.messages_max = number as u32,
            "errors" => options.errors_max = number as u32,
            "line" => options.content_line_max = number,
            _ => panic!("{word}?"),
        }
    }
    options
}

struct Group {
    said: Vec<u8>,
    expected: Vec<String>,
    messages: Vec<String>,
}

fn groups(script: &str) -> Vec<Group> {
    let mut groups = vec![Group { said: Vec::new(), expected: Vec::new(), messages: Vec::new() }];
    for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (who, text) = line.split_at(2);
        let text = text.strip_prefix(' ').unwrap_or(text);
        let raw = text.replace("\\r", "\r").replace("\\n", "\n").replace("\\0", "\0").replace("\\t", "\t");
        if matches!(who, "C:" | "c:") && groups.last().is_some_and(|group| !group.expected.is_empty()) {
            groups.push(Group { said: Vec::new(), expected: Vec::new(), messages: Vec::new() });
        }
        let group = groups.last_mut().unwrap();
        match who {
            "C:" => group.said.extend([raw.as_bytes(), b"\r\n"].concat()),
            "c:" => group.said.extend(raw.as_bytes()),
            "S:" => group.expected.push(text.to_owned()),
            "M:" => group.messages.push(text.to_owned()),
            _ => panic!("{line}?"),
        }
    }
    groups
}

/// Runs a script with the client's octets cut as `cuts` says (positions in the whole stream); gives the events.
fn run(words: &str, script: &str, cut: impl Fn(usize) -> bool) -> Vec<String> {
    let mut desk = Desk::new(options(words));
    let mut position = 0;
    for group in groups(script) {
        desk.said.clear();
        desk.messages.clear();
        if group.said.is_empty() {
            desk.drive();
        }
        let mut piece = Vec::new();
        for octet in group.said {
            piece.push(octet);
            position += 1;
            if cut(position) {
                desk.hear(&std::mem::take(&mut piece));
            }
        }
        if !piece.is_empty() {
            desk.hear(&piece);
        }
        let said = String::from_utf8(desk.said.clone()).unwrap();
        let said: Vec<&str> = said.split_terminator("\r\n").collect();
        let fits = said.len() == group.expected.len()
            && said.iter().zip(&group.expected).all(|(said, expected)| said.starts_with(expected.as_str()));
        assert!(fits, "expected {:#?}\nsaid {said:#?}", group.expected);
        assert!(desk.server.output().is_empty());
        if !group.messages.is_empty() || !desk.messages.is_empty() {
            assert_eq!(desk.messages, group.messages);
        }
    }
    desk.events
}

/// Whole, cut in two at every byte, and byte by byte: replies, messages and events are the same.
fn check(words: &str, script: &str) -> Vec<String> {
    let whole = run(words, script, |_| false);
    let length: usize = groups(script).iter().map(|group| group.said.len()).sum();
    // Every byte; where a line of thousands is the point, every 97th.
    for at in (1..length).step_by(if length > 4000 { 97 } else { 1 }) {
        assert_eq!(run(words, script, |position| position == at), whole, "cut at {at}");
    }
    assert_eq!(run(words, script, |_| true), whole, "byte by byte");
    whole
}

const HELLO: &str = "
    S: 220 gw.test ESMTP
    C: EHLO client.test
    S: 250-gw.test
    S: 250-PIPELINING
    S: 250-SIZE 10485760
    S: 250-8BITMIME
    S: 250-SMTPUTF8
    S: 250-ENHANCEDSTATUSCODES
    S: 250-DSN
    S: 250-CHUNKING
    S: 250-BINARYMIME
    S: 250 LIMITS MAILMAX=100 RCPTMAX=1024
";

fn greeted(script: &str) -> Vec<String> {
    check("", &format!("{HELLO}{script}"))
}

#[test]
fn a_message_is_taken_and_acknowledged_with_its_audit_id() {
    greeted(
        "C: MAIL FROM:<a@b.test> SIZE=10 BODY=8BITMIME
         S: 250 2.1.0 hello a@b.test
         C: RCPT TO:<c@d.test>
         S: 250 2.1.5
         C: DATA
         S: 354
         C: Subject: x
         C:
         C: ..dots
         C: .
         S: 250 2.0.0 accepted as 0000000020800
         M: Subject: x\\r\\n\\r\\n.dots\\r\\n
         C: QUIT
         S: 221 2.0.0 gw.test",
    );
}

#[test]
fn pipelined_commands_are_answered_in_order() {
    greeted(
        "C: MAIL FROM:<a@b.test>
         C: RCPT TO:<refused@d.test>
         C: RCPT TO:<c@d.test>
         C: DATA
         S: 250 2.1.0
         S: 550 5.1.1 unknown
         S: 250 2.1.5
         S: 354
         C: x
         C: .
         C: MAIL FROM:<>
         C: RSET
         C: NOOP
         C: VRFY x
         C: HELP
         C: QUIT
         S: 250 2.0.0 accepted
         S: 250 2.1.0
         S: 250 2.0.0
         S: 250 2.0.0
         S: 252 2.1.5
         S: 214 2.0.0
         S: 221 2.0.0
         M: x\\r\\n",
    );
}

#[test]
fn commands_out_of_order_get_503() {
    check(
        "",
        "S: 220
         C: MAIL FROM:<>
         C: RCPT TO:<a@b.test>
         C: NOOP
         C: HELO x
         C: RCPT TO:<a@b.test>
         C: MAIL FROM:<>
         C: MAIL FROM:<>
         C: AUTH PLAIN
         S: 503 5.5.1 say EHLO
         S: 503 5.5.1 say EHLO
         S: 250 2.0.0
         S: 250 gw.test
         S: 503 5.5.1 say MAIL
         S: 250 2.1.0
         S: 503 5.5.1 a transaction is open
         S: 503 5.5.1 not within
         C: DATA
         S: 554 5.5.1 no valid recipients
         C: RCPT TO:<refused@b.test>
         C: EHLO x
         C: DATA
         S: 550 5.1.1
         S: 250-gw.test
         S: 250-PIPELINING
         S: 250-SIZE
         S: 250-8BITMIME
         S: 250-SMTPUTF8
         S: 250-ENHANCEDSTATUSCODES
         S: 250-DSN
         S: 250-CHUNKING
         S: 250-BINARYMIME
         S: 250 LIMITS
         S: 503 5.5.1 say MAIL",
    );
}

#[test]
fn wrong_commands_are_named() {
    greeted(
        "C: FROB
         C: EXPN x
         C: MAIL FROM:a@b
         C: MAIL FROM:<a@b.test> X=1
         C: MAIL FROM:<a@b.test> SIZE=x
         C: AUTH PLAIN
         S: 500 5.5.2
         S: 502 5.5.1
         S: 501 5.1.7
         S: 555 5.5.4
         S: 501 5.5.4
         S: 502 5.5.1
         C: STARTTLS
         S: 502 5.5.1",
    );
    let long = "x".repeat(3000);
    greeted(&format!("C: NOOP {long}\nC: NOOP\nS: 500 5.5.2 line too long\nS: 250 2.0.0"));
}

#[test]
fn a_broken_line_ends_the_session_and_what_follows_is_not_looked_at() {
    for (broken, name) in [
        ("NOOP\\nMAIL FROM:<>", "bare LF"),
        ("NOOP\\rx", "bare CR"),
        ("NO\\0OP", "NUL"),
        ("RSET\\r\\r\\nNOOP", "bare CR"),
    ] {
        let events = greeted(&format!("C: NOOP\nC: {broken}\nC: NOOP\nC: QUIT\nS: 250 2.0.0\nS: 500 5.5.2 {name}"));
        assert!(events.last().unwrap().starts_with("Violation(B") || events.last().unwrap() == "Violation(Nul)");
    }
    greeted("C: GET / HTTP/1.1\nC: Host: gw.test\nC: MAIL FROM:<>\nS: 500 5.5.2 this is an SMTP server");
    greeted("C: BDAT x\nC: MAIL FROM:<>\nS: 501 5.5.4 syntax: BDAT");
}

#[test]
fn smuggled_commands_stay_content_and_the_message_is_refused() {
    for (ending, expected) in [
        ("\\n.\\n", "bare LF in line 1"),
        ("\\n.\\r\\n", "bare LF in line 1"),
        ("\\r.\\r", "bare CR in line 1"),
        ("\\r.\\r\\n", "bare CR in line 1"),
        ("\\r\\n.\\n", "bare LF in line 2"),
        ("\\r\\n.\\r", "bare CR in line 2"),
        ("\\r\\n\\0.\\r\\n", "NUL in line 2"),
        ("\\r\\n.\\0\\r\\n", "NUL in line 2"),
    ] {
        greeted(&format!(
            "C: MAIL FROM:<a@b.test>
             C: RCPT TO:<c@d.test>
             C: DATA
             S: 250
             S: 250
             S: 354
             c: x{ending}MAIL FROM:<evil@b.test>\\r\\nRCPT TO:<c@d.test>\\r\\nDATA\\r\\nsmuggled\\r\\n.\\r\\n
             S: 550 5.6.0 malformed content: {expected}
             C: QUIT
             S: 221"
        ));
    }
}

#[test]
fn chunks_are_counted_and_checked() {
    greeted(
        "C: MAIL FROM:<a@b.test>
         C: RCPT TO:<c@d.test>
         C: BDAT 5
         c: a\\r\\n.\\r
         C: BDAT 3
         c: \\nb.
         C: BDAT 0 LAST
         C: NOOP
         S: 250
         S: 250
         S: 250 2.0.0 5 octets
         S: 250 2.0.0 8 octets
         S: 250 2.0.0 accepted
         S: 250 2.0.0 ok
         M: a\\r\\n.\\r\\nb.",
    );
    greeted(
        "C: MAIL FROM:<a@b.test>
         C: RCPT TO:<c@d.test>
         C: BDAT 3
         c: a\\nb
         C: BDAT 6 LAST
         C: QUIT
         C: MAIL FROM:<a@b.test> BODY=BINARYMIME
         C: RCPT TO:<c@d.test>
         C: BDAT 5 LAST
         c: a\\nb\\r\\0
         S: 250
         S: 250
         S: 550 5.6.0 malformed content: bare LF in line 1
         S: 503 5.5.1 say MAIL
         S: 250
         S: 250
         S: 250 2.0.0 accepted
         M: a\\nb\\r\\0",
    );
}

#[test]
fn a_refused_chunk_is_swallowed_not_obeyed() {
    greeted(
        "C: BDAT 6
         C: QUIT
         C: MAIL FROM:<a@b.test>
         C: RCPT TO:<refused@d.test>
         C: BDAT 6 LAST
         C: QUIT
         C: RCPT TO:<c@d.test>
         C: BDAT 3
         c: abc
         C: RCPT TO:<c@d.test>
         C: MAIL FROM:<>
         C: RSET
         C: NOOP
         S: 503 5.5.1
         S: 250
         S: 550 5.1.1
         S: 554 5.5.1
         S: 250
         S: 250 2.0.0 3 octets
         S: 503 5.5.1 BDAT has begun
         S: 503 5.5.1 a transaction
         S: 250
         S: 250
         C: MAIL FROM:<a@b.test> BODY=BINARYMIME
         C: RCPT TO:<c@d.test>
         C: DATA
         S: 250
         S: 250
         S: 503 5.5.1 BINARYMIME needs BDAT",
    );
}

#[test]
fn limits_hold() {
    check(
        "size=20 recipients=1 messages=2 line=12",
        "S: 220
         C: HELO x
         C: MAIL FROM:<> SIZE=21
         C: MAIL FROM:<> SIZE=20
         C: RCPT TO:<a@b.test>
         C: RCPT TO:<b@b.test>
         C: DATA
         S: 250
         S: 552 5.3.4
         S: 250
         S: 250
         S: 452 4.5.3
         S: 354
         C: 12345678
         C: 12345678
         C: 12345678
         C: .
         C: MAIL FROM:<>
         C: RCPT TO:<a@b.test>
         C: DATA
         S: 552 5.3.4
         S: 250
         S: 250
         S: 354
         C: 1234567890a
         C: .
         C: MAIL FROM:<>
         C: NOOP
         S: 550 5.6.0 malformed content: line 1 has 13 octets and may have 12
         S: 421 4.7.0 gw.test too many messages",
    );
    check("errors=1", "S: 220\nC: FROB\nC: FROB\nC: NOOP\nS: 500\nS: 500\nS: 421 4.7.0 gw.test too many errors");
}

#[test]
fn refused_content_is_refused_once_and_the_session_goes_on() {
    greeted(
        "C: MAIL FROM:<a@b.test>
         C: RCPT TO:<c@d.test>
         C: DATA
         S: 250
         S: 250
         S: 354
         C: virus
         C: .
         C: MAIL FROM:<a@b.test>
         S: 550 5.7.1 virus
         S: 250",
    );
}

#[test]
fn starttls_forgets_what_was_said_in_the_clear() {
    let script = "S: 220
         C: EHLO x
         S: 250-gw.test
         S: 250-PIPELINING
         S: 250-SIZE
         S: 250-8BITMIME
         S: 250-SMTPUTF8
         S: 250-ENHANCEDSTATUSCODES
         S: 250-DSN
         S: 250-CHUNKING
         S: 250-BINARYMIME
         S: 250-LIMITS
         S: 250 STARTTLS
         C: MAIL FROM:<>
         S: 530 5.7.0 Must issue a STARTTLS command first
         C: STARTTLS
         S: 220 2.0.0
         C: MAIL FROM:<>
         S: 503 5.5.1 say EHLO
         C: EHLO x
         S: 250-gw.test
         S: 250-PIPELINING
         S: 250-SIZE
         S: 250-8BITMIME
         S: 250-SMTPUTF8
         S: 250-ENHANCEDSTATUSCODES
         S: 250-DSN
         S: 250-CHUNKING
         S: 250-BINARYMIME
         S: 250-LIMITS
         S: 250 AUTH PLAIN LOGIN
         C: STARTTLS
         S: 503 5.5.1 TLS is on already
         C: MAIL FROM:<>
         S: 530 5.7.0 Authentication required
         C: AUTH PLAIN AGEAc2VjcmV0
         S: 235 2.7.0
         C: AUTH PLAIN AGEAc2VjcmV0
         S: 503 5.5.1
         C: MAIL FROM:<>
         S: 250";
    check("tls-required auth auth-required", script);
}

#[test]
fn plaintext_behind_starttls_is_thrown_away() {
    let script = "S: 220\nC: HELO x\nS: 250\nC: STARTTLS\nC: RSET\nS: 220 2.0.0";
    let events = run("tls", script, |_| false);
    assert!(events.contains(&format!("{:?}", Event::Violation(Violation::PlaintextAfterStartTls(6)))));
}

#[test]
fn auth_in_all_its_forms() {
    let hello = "S: 220\nC: HELO x\nS: 250\n";
    check("auth", &format!("{hello}C: AUTH PLAIN\nS: 538 5.7.11"));
    check(
        "auth-in-the-clear",
        &format!(
            "{hello}
             C: AUTH CRAM-MD5
             S: 504 5.5.4
             C: AUTH PLAIN
             S: 334
             C: *
             S: 501 5.7.0
             C: AUTH PLAIN
             S: 334
             C: AGEAd3Jvbmc=
             S: 535 5.7.8 wrong
             C: AUTH PLAIN !!
             S: 501 5.5.2
             C: AUTH PLAIN =
             S: 501 5.5.2
             C: AUTH PLAIN YgBhAHNlY3JldA==
             S: 535 5.7.8 nobody may act
             C: AUTH LOGIN
             S: 334 VXNlcm5hbWU6
             C: YQ==
             S: 334 UGFzc3dvcmQ6
             C: c2VjcmV0
             S: 235 2.7.0"
        ),
    );
    check("auth-in-the-clear", &format!("{hello}C: AUTH LOGIN YQ==\nS: 334 UGFzc3dvcmQ6\nC: c2VjcmV0\nS: 235"));
    let response = "AGEAc2VjcmV0";
    let events = check(
        "auth-in-the-clear",
        &format!("{hello}C: AUTH PLAIN {}\nC: AUTHPLAIN {response}\nS: 500 5.5.2 line\nS: 500", "A".repeat(13_000)),
    );
    assert!(!format!("{events:?}").contains(response), "a secret in the log");
}

#[test]
fn content_before_our_go_ahead_ends_the_session() {
    let events = run(
        "",
        "S: 220
         C: HELO x
         C: MAIL FROM:<a@b.test>
         C: RCPT TO:<refused@b.test>
         C: RCPT TO:<c@b.test>
         C: DATA
         C: QUIT
         C: .
         S: 250
         S: 250
         S: 550
         S: 250
         S: 554 5.5.1 improper use of pipelining",
        |_| false,
    );
    assert_eq!(events.last().unwrap(), "Violation(ImproperPipelining)");
    run(
        "auth-in-the-clear",
        "S: 220\nC: HELO x\nC: AUTH PLAIN\nC: AGEAc2VjcmV0\nS: 250\nS: 554 5.5.1 improper",
        |_| false,
    );
}

#[test]
fn who_speaks_before_the_greeting_is_sent_away() {
    let mut server = Server::new(Options::new("gw.test"));
    server.receive(b"EHLO x\r\n");
    server.greet("gw.test");
    assert_eq!(server.next(), Some(Event::Violation(Violation::EarlyTalker)));
    assert!(server.is_closing() && server.output().starts_with(b"554 5.5.1"));
}

#[test]
fn a_refused_client_may_only_quit() {
    let mut server = Server::new(Options::new("gw.test"));
    server.refuse(Refusal::new(Reply::new(554, "5.7.1", "no")).unwrap());
    server.receive(b"EHLO x\r\nNOOP\r\nQUIT\r\n");
    while server.next().is_some() {}
    let said = String::from_utf8(server.output().clone()).unwrap();
    let codes: Vec<&str> = said.lines().map(|line| &line[..3]).collect();
    assert_eq!(codes, ["554", "503", "503", "221"]);

    let mut server = Server::new(Options::new("gw.test"));
    server.refuse(Refusal::new(Reply::new(421, "4.3.2", "later")).unwrap());
    assert!(server.is_closing());
}

#[test]
fn only_a_store_can_acknowledge_content() {
    for answer in [None, Some(Reply::new(250, "2.0.0", "fine"))] {
        let mut server = Server::new(Options::new("gw.test"));
        server.greet("gw.test");
        server.receive(b"HELO x\r\nMAIL FROM:<>\r\nRCPT TO:<a@b.test>\r\nDATA\r\n");
        while server.next().is_some() {
            server.accept();
        }
        server.output().clear();
        server.receive(b"x\r\n.\r\n");
        assert!(matches!(server.next(), Some(Event::ContentEnd { .. })));
        match answer {
            None => server.accept(),
            Some(reply) => server.answer(reply),
        }
        assert!(server.output().starts_with(b"451 4.3.0"));
    }
    assert!(Refusal::new(Reply::plain(250, "fine")).is_none());
}

#[test]
fn large_content_comes_in_pieces_of_bounded_size() {
    let mut desk = Desk::new(options(""));
    desk.hear(b"HELO x\r\nMAIL FROM:<>\r\nRCPT TO:<a@b.test>\r\nDATA\r\n");
    let line = [&[b'x'; 98][..], b"\r\n"].concat();
    for _ in 0..100 {
        desk.hear(&line.repeat(1000));
        assert!(desk.server.wants_input());
    }
    desk.hear(b".\r\n");
    assert_eq!(desk.messages[0].len(), 100_000 * (line.len() + 2), "each CR and LF takes two characters when printed");
}
