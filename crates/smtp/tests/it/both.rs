//! Client and server joined in memory: whatever the server offers, content arrives as it was sent or is refused with a reason.

use crate::client::plan;
use crate::server::Desk;
use mail::{Body, Time};
use smtp::client::{Client, Event, Options, Tls};

const EXTENSIONS: [&str; 8] =
    ["PIPELINING", "SIZE", "8BITMIME", "SMTPUTF8", "DSN", "CHUNKING", "BINARYMIME", "STARTTLS"];
const NOW: Time = Time(0);

/// One message, and what must become of it: its extensions.
struct Case {
    words: &'static [&'static str],
    content: String,
    needs: &'static [&'static str],
}

fn cases() -> Vec<Case> {
    let case =
        |words: &'static [&'static str], content: &str, needs| Case { words, content: content.to_owned(), needs };
    vec![
        case(&["a@b.test", "c@d.test,refused@d.test", "small"], "Subject: x\r\n\r\n.\r\n..\r\nline\r\n", &[]),
        case(&["<>", "c@d.test", "dsn"], "x\r\n", &[]),
        case(&["a@b.test", "refused@d.test", "small"], "nobody\r\n", &[]),
        case(&["refused@b.test", "c@d.test", "small"], "refused sender\r\n", &[]),
        case(&["a@b.test", "c@d.test", "8bit"], "Grüße\r\n", &["8BITMIME"]),
        case(&["ü@b.test", "ä@d.test", "small"], "x\r\n", &["SMTPUTF8"]),
        case(&["a@b.test", "c@d.test", "binary"], "a\nb\r\0", &["CHUNKING", "BINARYMIME"]),
        case(&["a@b.test", "c@d.test"], "virus\r\n", &[]),
        Case { words: &["a@b.test", "c@d.test"], content: ".line of text\r\n".repeat(6_000), needs: &[] },
        case(&["a@b.test", "c@d.test"], "", &[]),
    ]
}

/// Runs all messages over one connection, the octets cut into pieces of `size`.
fn run(offered: &[&str], size: usize) {
    let mut options = smtp::server::Options::new("gw.test");
    options.starttls = true;
    let mut desk = Desk::new(options);
    let peer =
        Options { ehlo: "client.test".to_owned(), peer: "gw.test".to_owned(), tls: Tls::Offer, credentials: None };
    let mut client = Client::new(peer, NOW);
    desk.drive();
    let mut cases = cases().into_iter();
    let mut current: Option<Case> = None;
    loop {
        let mut is_moving = false;
        while let Some(event) = client.next() {
            is_moving = true;
            match event {
                Event::Ready(_) => current = begin(&mut client, &mut cases),
                Event::StartTls => client.tls_started(NOW),
                Event::GoAhead => {
                    for piece in current.as_ref().unwrap().content.as_bytes().chunks(10_000) {
                        client.content(piece, NOW);
                    }
                    client.content_end(NOW);
                }
                Event::Final(_) | Event::Refused(_) | Event::NoRecipients => {
                    judge(&current.take().unwrap(), offered, &event, std::mem::take(&mut desk.messages));
                    current = begin(&mut client, &mut cases);
                }
                Event::Banner(_) | Event::Recipient(..) => {}
                Event::Quit => return,
                Event::Failed(failure) => panic!("{offered:?}: {failure}"),
            }
        }
        let said = std::mem::take(client.output());
        said.chunks(size).for_each(|piece| desk.hear(piece));
        let answered = without(&std::mem::take(&mut desk.said), offered);
        answered.chunks(size).for_each(|piece| client.receive(piece, NOW));
        assert!(is_moving || !said.is_empty() || !answered.is_empty(), "{offered:?}: both wait at {}", client.stage());
    }
}

fn begin(client: &mut Client, cases: &mut impl Iterator<Item = Case>) -> Option<Case> {
    match cases.next() {
        None => client.quit(NOW),
        Some(case) => {
            client.send(plan(case.words, case.content.len() as u64), NOW);
            return Some(case);
        }
    }
    None
}

fn judge(case: &Case, offered: &[&str], event: &Event, messages: Vec<String>) {
    let is_sendable = case.needs.iter().all(|need| offered.contains(need));
    let about = format!("{:?} with {offered:?}: {event:?}", case.words);
    let first = case.words[0];
    match event {
        Event::Final(reply) if case.content.starts_with("virus") => assert_eq!(reply.code, 550, "{about}"),
        Event::Final(reply) => {
            assert!(is_sendable && reply.is_positive(), "{about}");
            assert_eq!(messages, [case.content.escape_debug().to_string()], "{about}");
            return;
        }
        Event::NoRecipients => assert_eq!(case.words[1], "refused@d.test", "{about}"),
        Event::Refused(failure) if first.starts_with("refused") => {
            assert_eq!(failure.status.host.as_deref(), Some("gw.test"), "{about}")
        }
        Event::Refused(failure) => assert!(!is_sendable && failure.status.host.is_none(), "{about}"),
        _ => panic!("{about}"),
    }
    assert!(messages.is_empty(), "{about}");
}

/// Takes from an EHLO answer what is not offered.
fn without(said: &[u8], offered: &[&str]) -> Vec<u8> {
    let text = String::from_utf8_lossy(said);
    if !text.starts_with("250-gw.test\r\n") {
        return said.to_vec();
    }
    let is_kept = |line: &&str| EXTENSIONS.iter().all(|name| !line[4..].starts_with(name) || offered.contains(name));
    let mut lines: Vec<String> = text.lines().filter(is_kept).map(|line| format!("250-{}\r\n", &line[4..])).collect();
    let last = lines.pop().unwrap().replacen('-', " ", 1);
    (lines.concat() + &last).into_bytes()
}

#[test]
fn every_subset_of_extensions_delivers_or_says_why_not() {
    assert_eq!(plan(&["<>", "a@b.test", "binary"], 0).body, Body::BinaryMime);
    for mask in 0..1_usize << EXTENSIONS.len() {
        let offered: Vec<&str> =
            EXTENSIONS.iter().enumerate().filter(|(bit, _)| mask >> bit & 1 == 1).map(|(_, name)| *name).collect();
        run(&offered, 65_536);
    }
}

#[test]
fn pieces_of_any_size_give_the_same() {
    for size in [1, 2, 3, 7, 100, 1460] {
        run(&EXTENSIONS, size);
        run(&["PIPELINING"], size);
        run(&[], size);
    }
}
