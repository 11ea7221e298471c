//! Transfer: our client and our server joined. Whatever is offered, what the client calls delivered is what the server took.

use super::desk::Desk;
use crate::octets::Octets;
use mail::{Body, Recipient, ReversePath, Time};
use smtp::client::{Client, Event, MessagePlan, Options, Tls};

const NOW: Time = Time(0);
const EXTENSIONS: [&str; 7] = ["PIPELINING", "SIZE", "8BITMIME", "SMTPUTF8", "DSN", "CHUNKING", "BINARYMIME"];

/// What is offered (a bit each), the message, the size of pieces; then the content.
pub(crate) fn check(input: &[u8]) {
    let mut octets = Octets(input);
    let (offered, kind, piece) = (octets.octet(), octets.octet(), usize::from(octets.octet()) + 1);
    let content = octets.0;
    let plain = run(offered & !32, kind, piece, content);
    let chunked = run(offered | 32, kind, piece, content);
    let binary = kind & 3 == 2;
    match (&plain, &chunked) {
        // RFC 5321 4.1.1.4: DATA ends with a line end, whether the content had one or not.
        (Ok(plain), Ok(chunked)) if !content.is_empty() && !content.ends_with(b"\r\n") => {
            assert_eq!(plain, &[chunked, &b"\r\n"[..]].concat(), "DATA and BDAT differ");
        }
        (Ok(plain), Ok(chunked)) => assert_eq!(plain, chunked, "DATA and BDAT differ"),
        (Err(plain), Err(chunked)) if !binary => {
            assert_eq!(plain, chunked, "DATA and BDAT are refused for different reasons")
        }
        (Err(_), Err(_)) => {}
        // Only chunks can carry binary content.
        (Err(_), Ok(_)) if binary => {}
        _ => panic!("DATA: {plain:?}, BDAT: {chunked:?}"),
    }
    if let Ok(taken) = &chunked {
        assert_eq!(taken, content, "BDAT changes the message");
    }
}

/// The message as the server took it; or why not.
fn run(offered: u8, kind: u8, piece: usize, content: &[u8]) -> Result<Vec<u8>, String> {
    let mut options = smtp::server::Options::new("gw.test");
    // Where the server's limits end is another target's matter.
    (options.content_line_max, options.size_max) = (0, 0);
    let mut desk = Desk::of(options, 0);
    desk.greet();
    let peer = Options { ehlo: "c.test".to_owned(), peer: "gw.test".to_owned(), tls: Tls::Off, credentials: None };
    let mut client = Client::new(peer, NOW);
    let mut result = None;
    loop {
        let mut is_moving = false;
        while let Some(event) = client.next() {
            is_moving = true;
            match event {
                Event::Ready(_) => client.send(plan(kind, content.len()), NOW),
                Event::GoAhead => {
                    content.chunks(piece).for_each(|piece| client.content(piece, NOW));
                    client.content_end(NOW);
                }
                Event::Final(reply) if reply.is_positive() => {
                    assert_eq!(desk.taken.len(), 1, "called delivered: {reply}");
                    result = Some(Ok(desk.taken.remove(0)));
                    client.quit(NOW);
                }
                Event::Final(reply) => {
                    result = Some(Err(reply.to_string()));
                    client.quit(NOW);
                }
                Event::Refused(failure) => {
                    result = Some(Err(failure.to_string()));
                    client.quit(NOW);
                }
                Event::Failed(failure) => panic!("the connection failed: {failure}"),
                Event::Quit => {
                    assert!(desk.taken.is_empty(), "taken, and not called delivered");
                    return result.unwrap_or_else(|| panic!("no end"));
                }
                Event::Banner(_) | Event::Recipient(..) => {}
                Event::NoRecipients | Event::StartTls => panic!("{event:?}"),
            }
        }
        let said = std::mem::take(client.output());
        for piece in said.chunks(piece) {
            desk.hear(piece);
        }
        let answered = without(&std::mem::take(&mut desk.said), offered);
        answered.chunks(piece).for_each(|piece| client.receive(piece, NOW));
        assert!(is_moving || !said.is_empty() || !answered.is_empty(), "both wait at {}", client.stage());
    }
}

fn plan(kind: u8, size: usize) -> MessagePlan {
    let address = |text: &str| text.parse().unwrap();
    let recipients = ["c@d.test", "\"e f\"@d.test"].map(|text| Recipient::plain(address(text)));
    MessagePlan {
        sender: if kind & 4 == 0 { ReversePath::Null } else { ReversePath::Address(address("a@b.test")) },
        recipients: recipients[..1 + usize::from(kind >> 3 & 1)].to_vec(),
        body: [Body::SevenBit, Body::EightBitMime, Body::BinaryMime, Body::SevenBit][usize::from(kind & 3)],
        smtputf8: kind & 16 != 0,
        size: size as u64,
        ret: None,
        envid: None,
        small: kind & 32 != 0,
    }
}

/// Takes from an EHLO answer what is not offered.
fn without(said: &[u8], offered: u8) -> Vec<u8> {
    let text = String::from_utf8_lossy(said);
    if !text.starts_with("250-gw.test\r\n") {
        return said.to_vec();
    }
    let is_kept = |line: &&str| {
        EXTENSIONS.iter().enumerate().all(|(bit, name)| !line[4..].starts_with(name) || offered & 1 << bit != 0)
    };
    let lines: Vec<&str> = text.lines().filter(is_kept).collect();
    let last = lines.len() - 1;
    let line = |(at, line): (usize, &&str)| format!("250{}{}\r\n", if at == last { ' ' } else { '-' }, &line[4..]);
    lines.iter().enumerate().map(line).collect::<String>().into_bytes()
}
