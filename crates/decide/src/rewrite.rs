//! Aliases and masquerading: recipients become others on the way in, senders on the way out.

use crate::settings::{Book, Masquerade, Settings};
use mail::{Address, ReversePath};
use std::collections::BTreeSet;
use std::ops::Range;

/// The recipients that stand for `recipient` after all aliases, each once, in the order of the settings. An alias may
/// name itself to keep its copy. Never empty: a ring, which the settings cannot hold, leaves the recipient as it is.
pub fn aliases(settings: &Settings, recipient: &Address) -> Vec<Address> {
    let mut found = Vec::new();
    let mut seen = BTreeSet::new();
    let mut waiting = vec![recipient.clone()];
    while let Some(address) = waiting.pop() {
        if !seen.insert(address.key()) {
            continue;
        }
        let Some(alias) = settings.aliases.of(&address) else {
            found.push(address);
            continue;
        };
        let targets: Vec<Address> = alias.to.iter().filter_map(|to| to.apply(&address)).collect();
        if targets.iter().any(|target| target.key() == address.key()) {
            found.push(address);
        }
        waiting.extend(targets.into_iter().rev());
    }
    if found.is_empty() { vec![recipient.clone()] } else { found }
}

/// The address that stands for `address` outside.
pub fn masquerade(settings: &Settings, address: &Address) -> Address {
    let mut seen = BTreeSet::new();
    let mut address = address.clone();
    while let Some(next) = next(&settings.masquerades, &address) {
        if !seen.insert(address.key()) || next == address {
            break;
        }
        address = next;
    }
    address
}

fn next(book: &Book<Masquerade>, address: &Address) -> Option<Address> {
    book.of(address).and_then(|masquerade| masquerade.to.apply(address))
}

/// The sender of the envelope; the null sender stays null (RFC 5321 4.5.5).
pub fn masquerade_sender(settings: &Settings, sender: &ReversePath) -> ReversePath {
    match sender {
        ReversePath::Null => ReversePath::Null,
        ReversePath::Address(address) => ReversePath::Address(masquerade(settings, address)),
    }
}

/// From, Sender and Reply-To of a header block, folded lines included. None: nothing changes. Every byte that is not
/// part of a changed address stays as it is.
pub fn masquerade_header(settings: &Settings, header: &[u8]) -> Option<Vec<u8>> {
    if settings.masquerades.is_empty() {
        return None;
    }
    let mut changed = Vec::with_capacity(header.len());
    let mut copied = 0;
    for field in fields(header).filter(|field| is_masked(&header[field.clone()])) {
        for word in addresses(header, field) {
            let Some(address) = parse(&header[word.clone()]) else { continue };
            let outside = masquerade(settings, &address);
            if outside != address {
                changed.extend_from_slice(&header[copied..word.start]);
                changed.extend_from_slice(outside.to_string().as_bytes());
                copied = word.end;
            }
        }
    }
    if copied == 0 {
        return None;
    }
    changed.extend_from_slice(&header[copied..]);
    Some(changed)
}

fn parse(word: &[u8]) -> Option<Address> {
    std::str::from_utf8(word).ok()?.parse().ok()
}

fn is_masked(field: &[u8]) -> bool {
    let name = field.split(|byte| *byte == b':').next().unwrap_or_default().trim_ascii_end();
    ["from", "sender", "reply-to"].iter().any(|masked| name.eq_ignore_ascii_case(masked.as_bytes()))
}

/// The fields of a header block, each with its folded lines (RFC 5322 2.2.3).
fn fields(header: &[u8]) -> impl Iterator<Item = Range<usize>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let begin = at;
        while at < header.len() {
            at = header[at..].iter().position(|byte| *byte == b'\n').map_or(header.len(), |end| at + end + 1);
            if !matches!(header.get(at), Some(b' ' | b'\t')) {
                break;
            }
        }
        (begin < at).then_some(begin..at)
    })
}

/// The words of a field that could be addresses: outside comments, and a quoted string only if an @ follows it
/// (RFC 5322 3.2.2, 3.4.1).
fn addresses(header: &[u8], field: Range<usize>) -> Vec<Range<usize>> {
    let mut words = Vec::new();
    let colon = header[field.clone()].iter().position(|byte| *byte == b':').unwrap_or_default();
    let mut at = field.start + colon + 1;
    while at < field.end {
        let begin = at;
        match header[at] {
            b'(' => at = comment_end(header, at, field.end),
            b'"' => {
                at = quoted_end(header, at, field.end);
                if header.get(at) == Some(&b'@') {
                    at = word_end(header, at, field.end);
                    words.push(begin..at);
                }
            }
            byte if is_word(byte) => {
                at = word_end(header, at, field.end);
                if header[begin..at].contains(&b'@') {
                    words.push(begin..at);
                }
            }
            _ => at += 1,
        }
    }
    words
}

/// Whatever may stand in an address but quotes; `:` only inside the brackets of a literal.
fn is_word(byte: u8) -> bool {
    !(byte.is_ascii_whitespace() || byte.is_ascii_control() || b"<>(),;:\"\\".contains(&byte))
}

fn word_end(header: &[u8], begin: usize, end: usize) -> usize {
    let mut in_literal = false;
    let ends = |byte: &u8| {
        in_literal = (in_literal || *byte == b'[') && *byte != b']';
        !(is_word(*byte) || in_literal && *byte == b':')
    };
    header[begin..end].iter().position(ends).map_or(end, |length| begin + length)
}

fn quoted_end(header: &[u8], begin: usize, end: usize) -> usize {
    let mut at = begin + 1;
    while at < end {
        match header[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    end
}

/// Comments nest.
fn comment_end(header: &[u8], begin: usize, end: usize) -> usize {
    let (mut at, mut depth) = (begin, 0usize);
    while at < end {
        match header[at] {
            b'\\' => at += 1,
            b'(' => depth += 1,
            b')' => depth -= 1,
            _ => {}
        }
        at += 1;
        if depth == 0 {
            return at;
        }
    }
    end
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: &str = r#"
        [[alias]]
        from = "sales@corp.test"
        to = ["a@corp.test", "team@corp.test", "A@corp.test"]
        [[alias]]
        from = "team@corp.test"
        to = ["b@corp.test", "a@corp.test", "team@corp.test"]
        [[alias]]
        from = "@old.test"
        to = ["@corp.test"]
        [[alias]]
        from = "gone@old.test"
        to = ["x@far.test"]
        [[alias]]
        from = "@catch.test"
        to = ["all@catch.test"]
        [[masquerade]]
        from = "@inside.corp.test"
        to = "@corp.test"
        [[masquerade]]
        from = "root@corp.test"
        to = "admin@corp.test"
    "#;

    fn settings() -> Settings {
        Settings::read(SETTINGS).unwrap()
    }

    fn check_alias(recipient: &str, expected: &str) {
        let found: Vec<String> =
            aliases(&settings(), &recipient.parse().unwrap()).iter().map(ToString::to_string).collect();
        assert_eq!(found.join(", "), expected, "{recipient}");
    }

    #[test]
    fn aliases_lead_to_each_recipient_once() {
        check_alias("x@corp.test", "x@corp.test");
        check_alias("Sales@Corp.test", "a@corp.test, team@corp.test, b@corp.test");
        check_alias("me@old.test", "me@corp.test");
        check_alias("sales@old.test", "a@corp.test, team@corp.test, b@corp.test");
        check_alias("gone@old.test", "x@far.test");
        check_alias("me@sub.old.test", "me@sub.old.test");
        check_alias("who@catch.test", "all@catch.test");
    }

    #[test]
    fn a_ring_that_got_in_loses_no_mail() {
        // The reader refuses rings; two halves of one are joined here behind its back.
        let mut half = Settings::read("[[alias]]\nfrom = \"a@x.test\"\nto = [\"b@x.test\"]").unwrap();
        half.aliases.join(Settings::read("[[alias]]\nfrom = \"b@x.test\"\nto = [\"a@x.test\"]").unwrap().aliases);
        let found = aliases(&half, &"a@x.test".parse().unwrap());
        assert_eq!(found, ["a@x.test".parse().unwrap()]);
    }

    #[test]
    fn senders_are_masked_step_by_step() {
        let masked = |sender: &str| masquerade(&settings(), &sender.parse().unwrap()).to_string();
        assert_eq!(masked("Me@inside.corp.test"), "Me@corp.test");
        assert_eq!(masked("root@inside.corp.test"), "admin@corp.test");
        assert_eq!(masked("me@far.test"), "me@far.test");
        assert_eq!(masquerade_sender(&settings(), &ReversePath::Null), ReversePath::Null);
    }

    fn check_header(header: &str, expected: Option<&str>) {
        let found = masquerade_header(&settings(), header.as_bytes()).map(|header| String::from_utf8(header).unwrap());
        assert_eq!(found.as_deref(), expected, "{header}");
    }

    #[test]
    fn only_addresses_in_the_three_fields_change() {
        check_header(
            "From: Me <me@inside.corp.test>\r\nTo: you@inside.corp.test\r\nreply-to :\r\n me@inside.corp.test,\r\n\troot@corp.test\r\nSubject: me@inside.corp.test\r\n",
            Some(
                "From: Me <me@corp.test>\r\nTo: you@inside.corp.test\r\nreply-to :\r\n me@corp.test,\r\n\tadmin@corp.test\r\nSubject: me@inside.corp.test\r\n",
            ),
        );
        check_header("From: you@far.test\r\nTo: me@inside.corp.test\r\n", None);
        check_header("From: me@sub.inside.corp.test\r\n", None);
    }

    #[test]
    fn names_comments_and_quotes_stay() {
        check_header(
            "From: \"me@inside.corp.test\" ((really) me@inside.corp.test) <me@inside.corp.test>\r\n",
            Some("From: \"me@inside.corp.test\" ((really) me@inside.corp.test) <me@corp.test>\r\n"),
        );
        check_header("From: \"a \\\" b\"@inside.corp.test\r\n", Some("From: \"a \\\" b\"@corp.test\r\n"));
        check_header(
            "From: Group: a@inside.corp.test, b@[IPv6:::1], c@inside.corp.test;\r\n",
            Some("From: Group: a@corp.test, b@[IPv6:::1], c@corp.test;\r\n"),
        );
    }

    #[test]
    fn broken_headers_are_left_alone() {
        for header in [
            "",
            "From",
            "From:",
            "From: (",
            "From: )",
            "From: \"",
            "From: \"\\",
            "From: (\\",
            "From: a@",
            "From: @inside.corp.test",
            "From: a@@inside.corp.test",
            ":\n",
            " \n",
        ] {
            check_header(header, None);
        }
        assert_eq!(masquerade_header(&settings(), b"From: \xff@inside.corp.test\r\n"), None);
    }
}
