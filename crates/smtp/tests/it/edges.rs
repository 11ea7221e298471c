//! The edges of what is taken, by hand: endings that another server might read as the end of content, octets that commands may
//! not have, and lines and sizes one octet below, at and above each limit; each whole, cut in two at many places, octet by octet.

use crate::server::Desk;
use mail::Time;
use smtp::client::{self, Client};
use smtp::server::Options;

const MAIL: &str = "EHLO x\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<c@d.test>\r\n";

/// Up to so many octets are cut at every place; of more, at the ends and at every 97th.
const EVERY_MAX: usize = 300;

fn cuts(length: usize) -> impl Iterator<Item = usize> {
    (0..=length).filter(move |at| length <= EVERY_MAX || *at < 8 || length - at < 8 || at % 97 == 0)
}

/// What `run` makes of the octets in one piece; cut in two at each of [`cuts`], and octet by octet, they must come to the same.
fn in_any_pieces<T: PartialEq + std::fmt::Debug>(wire: &[u8], run: impl Fn(&mut dyn Iterator<Item = &[u8]>) -> T) -> T {
    let whole = run(&mut std::iter::once(wire));
    for at in cuts(wire.len()) {
        let (head, tail) = wire.split_at(at);
        assert_eq!(run(&mut [head, tail].into_iter()), whole, "cut at {at} of {}", wire.len());
    }
    assert_eq!(run(&mut wire.chunks(1)), whole, "octet by octet");
    whole
}

/// What comes of `wire`, said behind `before`: events, messages, replies; the same however it is cut.
fn told(options: &Options, before: &str, wire: &[u8]) -> (String, Vec<String>, String) {
    in_any_pieces(wire, |pieces| {
        let mut desk = Desk::new(options.clone());
        desk.drive();
        desk.hear(before.as_bytes());
        desk.events.clear();
        desk.said.clear();
        pieces.for_each(|piece| desk.hear(piece));
        (desk.events.join("\n"), desk.messages, String::from_utf8(desk.said).unwrap())
    })
}

#[test]
fn no_ending_but_the_true_one_lets_a_second_message_in() {
    let endings = [
        "\n.\n",
        "\n.\r\n",
        "\n.\r",
        "\r.\r",
        "\r.\r\n",
        "\r.\n",
        "\r\n.\n",
        "\r\n.\r",
        "\r\n\0.\r\n",
        "\r\n.\0\r\n",
        "\n\n.\r\n",
        "\r\r.\r\n",
        "\r\n.\r\r\n",
        "\n\r.\r\n",
        "\r\n.\n\r\n",
        "\r\n\r.\r\n",
    ];
    let options = Options::new("gw.test");
    for ending in endings {
        let content = format!("x{ending}MAIL FROM:<evil@b.test>\r\nRCPT TO:<c@d.test>\r\nDATA\r\ny");
        let (events, messages, said) =
            told(&options, &format!("{MAIL}DATA\r\n"), format!("{content}\r\n.\r\nNOOP\r\n").as_bytes());
        assert!(messages.is_empty() && !events.contains("Mail("), "DATA, {ending:?}: {events}");
        assert!(said.starts_with("550 5.6.0 ") && said.ends_with("\r\n250 2.0.0 ok\r\n"), "DATA, {ending:?}: {said}");
        let chunk = format!("BDAT {} LAST\r\n{content}NOOP\r\n", content.len());
        let (events, messages, said) = told(&options, MAIL, chunk.as_bytes());
        assert!(messages.is_empty() && !events.contains("Mail("), "BDAT, {ending:?}: {events}");
        assert!(said.starts_with("550 5.6.0 ") && said.ends_with("\r\n250 2.0.0 ok\r\n"), "BDAT, {ending:?}: {said}");
    }
}

#[test]
fn octets_that_commands_may_not_have_are_refused() {
    let options = Options::new("gw.test");
    for (wire, expected) in [
        (
            &b"EHLO \xff\r\nNOOP\r\n"[..],
            "500 5.5.2 control character or no UTF-8 in a command line\r\n250 2.0.0 ok\r\n",
        ),
        (b"VRFY \x80\xc3\r\nNOOP\r\n", "500 5.5.2 control character or no UTF-8 in a command line\r\n250 2.0.0 ok\r\n"),
        (b"NOOP \x1b[2J\r\nNOOP\r\n", "500 5.5.2 control character or no UTF-8 in a command line\r\n250 2.0.0 ok\r\n"),
        (
            b"MAIL FROM:<\xc3\xbc@b.test>\r\nNOOP\r\n",
            "550 5.6.7 this sender needs the SMTPUTF8 parameter\r\n250 2.0.0 ok\r\n",
        ),
        (b"NOOP\0\r\nNOOP\r\n", "500 5.5.2 NUL in a command line: only CRLF ends a line; closing connection\r\n"),
        (b"\0", "500 5.5.2 NUL in a command line: only CRLF ends a line; closing connection\r\n"),
        (b"NOOP\nNOOP\r\n", "500 5.5.2 bare LF in a command line: only CRLF ends a line; closing connection\r\n"),
        (b"NOOP\r\r\n", "500 5.5.2 bare CR in a command line: only CRLF ends a line; closing connection\r\n"),
    ] {
        let (_, _, said) = told(&options, "EHLO x\r\n", wire);
        assert_eq!(said, expected, "{:?}", wire.escape_ascii().to_string());
    }
}

#[test]
fn a_line_may_be_as_long_as_its_limit_and_not_an_octet_longer() {
    let mut options = Options::new("gw.test");
    (options.auth, options.auth_without_tls) = (true, true);
    let line = |begin: &str, length: usize| format!("{begin}{}\r\n", "A".repeat(length - begin.len() - 2));
    for (begin, limit) in [("NOOP ", 2048), ("AUTH PLAIN ", 12_288), ("XAUTH ", 2048)] {
        for length in [limit - 1, limit, limit + 1, 2 * limit] {
            let wire = line(begin, length) + if begin.starts_with("AUTH") { "" } else { "NOOP\r\n" };
            let (_, _, said) = told(&options, "EHLO x\r\n", wire.as_bytes());
            assert_eq!(said.contains("500 5.5.2 line too long"), length > limit, "{begin} {length}: {said}");
        }
    }
    for length in [2047, 2048, 2049] {
        let wire = line("", length) + ".\r\n";
        let (_, messages, said) = told(&options, &format!("{MAIL}DATA\r\n"), wire.as_bytes());
        assert_eq!(messages.len() == 1, length <= 2048, "{length}: {said}");
        // The dot that transparency adds does not count.
        let wire = format!(".{}.\r\n", line(".", length));
        let (_, messages, said) = told(&options, &format!("{MAIL}DATA\r\n"), wire.as_bytes());
        assert_eq!(messages.len() == 1, length <= 2048, "dot, {length}: {said}");
    }
}

#[test]
fn a_message_may_be_as_large_as_its_limit_and_not_an_octet_larger() {
    let mut options = Options::new("gw.test");
    options.size_max = 60;
    for size in [59, 60, 61] {
        let content = format!("{}\r\n", "x".repeat(size - 2));
        let (_, messages, said) =
            told(&options, &format!("{MAIL}DATA\r\n"), format!("{content}.\r\nNOOP\r\n").as_bytes());
        assert_eq!(messages.len() == 1, size <= 60, "DATA {size}: {said}");
        let (_, messages, said) = told(&options, MAIL, format!("BDAT {size} LAST\r\n{content}NOOP\r\n").as_bytes());
        assert_eq!(messages.len() == 1, size <= 60, "BDAT {size}: {said}");
    }
}

/// The client's events for a greeting and whatever follows, the same however it is cut.
fn heard(wire: &[u8]) -> String {
    let now = Time(0);
    in_any_pieces(wire, |pieces| {
        let (ehlo, peer) = ("c.test".to_owned(), "mx.test".to_owned());
        let mut client = Client::new(client::Options { ehlo, peer, tls: client::Tls::Off, credentials: None }, now);
        pieces.for_each(|piece| client.receive(piece, now));
        std::iter::from_fn(|| client.next()).map(|event| format!("{event:?}\n")).collect::<String>()
    })
}

#[test]
fn replies_end_at_their_limits_too() {
    for length in [4095, 4096, 4097, 9000] {
        let events = heard(format!("220 {}\r\n", "x".repeat(length - 6)).as_bytes());
        assert_eq!(events.contains("Banner("), length <= 4096, "{length}: {events}");
        assert_eq!(events.contains("a line longer than 4096 octets"), length > 4096, "{length}: {events}");
    }
    for lines in [511, 512, 513] {
        let events = heard(format!("{}220 x\r\n", "220-x\r\n".repeat(lines - 1)).as_bytes());
        assert_eq!(events.contains("Banner("), lines <= 512, "{lines}: {events}");
    }
}
