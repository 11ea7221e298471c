//! Envelope: what the server reads from MAIL and RCPT, our client says again, and the server reads the same; and so does the
//! store, through JSON.

use crate::octets::Octets;
use mail::{AuditId, Envelope, Origin, Recipient, Time};
use smtp::client::{Client, Options, Tls};
use smtp::server::{Event, MailParams, Server};

/// Two lines: what stands behind `MAIL ` and behind `RCPT `.
pub(crate) fn check(input: &[u8]) {
    let mut octets = Octets(input);
    let (mail, rcpt) = (octets.line(), octets.line());
    let Some((mail, recipient)) = read(format!("MAIL {mail}\r\nRCPT {rcpt}\r\n").as_bytes()) else { return };
    through_json(&mail, &recipient);
    let said = said(&mail, &recipient);
    let Some((mail_again, recipient_again)) = read(&said) else {
        panic!("not taken again: {}", String::from_utf8_lossy(&said))
    };
    // RFC 4954 5: AUTH= is for those who trust each other, and ends here.
    assert_eq!(mail_again, MailParams { auth: None, size: Some(7), ..mail }, "{}", String::from_utf8_lossy(&said));
    assert_eq!(recipient_again, recipient, "{}", String::from_utf8_lossy(&said));
}

/// What a server makes of two commands; `None`: it refuses one.
fn read(commands: &[u8]) -> Option<(MailParams, Recipient)> {
    let mut options = smtp::server::Options::new("gw.test");
    options.size_max = 0;
    let mut server = Server::new(options);
    server.greet("gw.test");
    server.receive(b"EHLO x\r\n");
    server.receive(commands);
    let mut mail = None;
    while let Some(event) = server.next() {
        match event {
            Event::Mail(params) => mail = Some(params),
            Event::Rcpt(recipient) => return mail.map(|mail| (mail, recipient)),
            _ => {}
        }
        server.accept();
    }
    None
}

/// Our client's words for them.
fn said(mail: &MailParams, recipient: &Recipient) -> Vec<u8> {
    let now = Time(0);
    let peer = Options { ehlo: "c.test".to_owned(), peer: "gw.test".to_owned(), tls: Tls::Off, credentials: None };
    let mut client = Client::new(peer, now);
    client.receive(b"220 gw\r\n", now);
    client.receive(b"250-gw\r\n250-PIPELINING\r\n250-SIZE\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250-BINARYMIME\r\n250-CHUNKING\r\n250 DSN\r\n", now);
    while client.next().is_some() {}
    client.output().clear();
    let plan = smtp::client::MessagePlan {
        sender: mail.sender.clone(),
        recipients: vec![recipient.clone()],
        body: mail.body,
        smtputf8: mail.smtputf8,
        size: 7,
        ret: mail.ret,
        envid: mail.envid.clone(),
        small: false,
    };
    client.send(plan, now);
    std::mem::take(client.output())
}

fn through_json(mail: &MailParams, recipient: &Recipient) {
    let envelope = Envelope {
        sender: mail.sender.clone(),
        body: mail.body,
        smtputf8: mail.smtputf8,
        ret: mail.ret,
        envid: mail.envid.clone(),
        origin: Origin { connection: Some(AuditId::new(1, 2, 3)), ..Origin::internal() },
    };
    let text = serde_json::to_string(&(&envelope, recipient)).unwrap();
    let (envelope_again, recipient_again): (Envelope, Recipient) =
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{text}: {error}"));
    assert_eq!((&envelope_again, &recipient_again), (&envelope, recipient));
}
