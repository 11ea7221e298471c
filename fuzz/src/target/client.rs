//! The client's machine: a server's octets, in any pieces, give the same events, commands and transcript.

use crate::octets::Octets;
use crate::pieces::{cuts, pieces};
use mail::{Body, Notify, Recipient, Ret, ReversePath, Time};
use smtp::client::{Client, Closed, Credentials, Event, MessagePlan, Options, Tls};

const NOW: Time = Time(1_000_000);

/// Options, plans, and what the server says.
pub(crate) fn check(input: &[u8]) {
    let mut octets = Octets(input);
    let (options, plans) = (octets.octet(), octets.octet());
    let wire = octets.0;
    let mut reference = Caller::new(options, plans);
    // Behind an event that wants something of the driver a server has to wait: what it says earlier answers nothing yet.
    let mut waits = Vec::new();
    for at in 0..wire.len() {
        if reference.hear(&wire[at..=at]) {
            waits.push(at + 1);
        }
    }
    reference.end();
    let expected = reference.told();
    for cuts in cuts(wire) {
        let mut caller = Caller::new(options, plans);
        for piece in pieces(wire.len(), &cuts, &waits) {
            caller.hear(&wire[piece]);
        }
        caller.end();
        assert_eq!(caller.told(), expected, "cut at {cuts:?} (waiting at {waits:?})");
    }
}

struct Caller {
    client: Client,
    plans: u8,
    sent: u32,
    events: Vec<String>,
    output: Vec<u8>,
    transcript: Vec<String>,
    is_over: bool,
    password: String,
}

impl Caller {
    /// Bits of `options`: two for TLS; credentials.
    fn new(options: u8, plans: u8) -> Caller {
        let tls = [Tls::Off, Tls::Offer, Tls::Require, Tls::Offer][usize::from(options & 3)];
        let password = "p4ssw0rd-of-test".to_owned();
        let credentials =
            (options & 4 != 0).then(|| Credentials { user: "ann".to_owned(), password: password.clone() });
        let options = Options { ehlo: "gw.test".to_owned(), peer: "mx.test".to_owned(), tls, credentials };
        let client = Client::new(options, NOW);
        Caller {
            client,
            plans,
            sent: 0,
            events: Vec::new(),
            output: Vec::new(),
            transcript: Vec::new(),
            is_over: false,
            password,
        }
    }

    /// Whether the server has to wait for what the driver does now.
    fn hear(&mut self, octets: &[u8]) -> bool {
        self.client.receive(octets, NOW);
        self.drive()
    }

    fn drive(&mut self) -> bool {
        let mut acted = false;
        while let Some(event) = self.client.next() {
            assert!(!self.is_over, "{event:?} after the end");
            self.events.push(format!("{event:?}"));
            acted |= !matches!(event, Event::Banner(_) | Event::Recipient(..) | Event::Failed(_) | Event::Quit);
            self.react(&event);
        }
        self.output.append(self.client.output());
        self.transcript.extend(self.client.take_transcript().into_iter().map(|said| format!("{said:?}")));
        acted
    }

    fn react(&mut self, event: &Event) {
        match event {
            Event::Ready(_) | Event::Final(_) | Event::Refused(_) | Event::NoRecipients => self.next_message(),
            Event::GoAhead => {
                let content = self.content();
                for piece in content.chunks(7) {
                    self.client.content(piece, NOW);
                }
                self.client.content_end(NOW);
            }
            Event::StartTls => self.client.tls_started(NOW),
            Event::Failed(_) | Event::Quit => self.is_over = true,
            Event::Banner(_) | Event::Recipient(..) => {}
        }
    }

    fn content(&self) -> &'static [u8] {
        const CONTENTS: [&[u8]; 4] = [b"Subject: x\r\n\r\n.dot\r\n..\r\n", b"", b"no end of line", b"bare\nline\r\n"];
        CONTENTS[usize::from(self.plans >> 2 & 3)]
    }

    fn next_message(&mut self) {
        self.sent += 1;
        if self.sent > 3 {
            return self.client.quit(NOW);
        }
        let address = |text: &str| text.parse().unwrap();
        let sender = if self.plans & 1 == 0 { ReversePath::Address(address("a@b.test")) } else { ReversePath::Null };
        let first = Recipient {
            notify: Some(Notify { success: true, ..Notify::DEFAULT }),
            orcpt: Some("rfc822;c@d.test".to_owned()),
            ..Recipient::plain(address("c@d.test"))
        };
        let mut recipients = vec![first, Recipient::plain(address("\"e f\"@d.test"))];
        recipients.truncate(1 + usize::from(self.plans >> 1 & 1));
        let plan = MessagePlan {
            sender,
            recipients,
            body: [Body::SevenBit, Body::EightBitMime, Body::BinaryMime, Body::SevenBit]
                [usize::from(self.plans >> 4 & 3)],
            smtputf8: self.plans & 64 != 0,
            size: self.content().len() as u64,
            ret: Some(Ret::Headers),
            envid: Some("id".to_owned()),
            small: self.plans & 128 != 0,
        };
        self.client.send(plan, NOW);
    }

    /// The server closes.
    fn end(&mut self) {
        self.client.closed(Closed::Eof, NOW);
        self.drive();
        assert!(self.is_over, "closed, and not over");
        assert!(self.client.stage().name().len() > 1);
        for said in &self.transcript {
            assert!(!said.contains(&self.password), "the password is shown: {said}");
        }
        commands_are_lines(&self.output);
    }

    fn told(&self) -> String {
        // What was not written yet when the connection failed is not written any more: that is a matter of pieces.
        let failed = self.events.last().is_some_and(|event| event.starts_with("Failed"));
        let output = if failed { "" } else { &self.output.escape_ascii().to_string() };
        format!("{}\n--\n{}\n--\n{}", self.events.join("\n"), output, self.transcript.join("\n"))
    }
}

/// Whatever the server says, no CR or LF stands alone in what we say, but in binary chunks.
fn commands_are_lines(output: &[u8]) {
    if output.windows(15).any(|some| some.starts_with(b"BODY=BINARYMIME")) {
        return;
    }
    let text = String::from_utf8_lossy(output).replace("\r\n", "");
    assert!(!text.contains(['\r', '\n', '\0']), "{:?}", output.escape_ascii().to_string());
}
