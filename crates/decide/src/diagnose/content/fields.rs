//! Fields: what the values of Received and of MIME fields hold, read leniently; what cannot be read is left empty.

use super::Hop;
use std::net::IpAddr;

/// Octets kept of one value in the facts.
const KEPT_MAX: usize = 255;

/// At most [`KEPT_MAX`] octets, whole characters.
pub(super) fn short(text: &str) -> String {
    let mut end = text.len().min(KEPT_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].to_owned()
}

/// `from a.test (a.test [192.0.2.1]) by b.test with ESMTP id 1 for <c@d.test>; date` (RFC 5321 4.4).
pub(super) fn hop(value: &str) -> Hop {
    let mut hop = Hop::default();
    let clauses = match value.rsplit_once(';') {
        Some((clauses, date)) => {
            hop.date = short(date.trim());
            clauses
        }
        None => value,
    };
    let mut key = String::new();
    for token in tokens(clauses) {
        match (key.as_str(), token) {
            ("from" | "", Token::Comment(text)) if hop.address.is_none() && hop.by.is_empty() => {
                hop.address = address(text);
            }
            (_, Token::Comment(_)) => {}
            (_, Token::Word(word)) => {
                let lower = word.to_ascii_lowercase();
                let place = match key.as_str() {
                    "from" => Some(&mut hop.from),
                    "by" => Some(&mut hop.by),
                    "id" => Some(&mut hop.id),
                    "for" => Some(&mut hop.recipient),
                    _ => None,
                };
                match place.filter(|place| place.is_empty()) {
                    Some(place) => *place = short(word.trim_matches(['<', '>'])),
                    None if matches!(lower.as_str(), "from" | "by" | "id" | "for" | "with" | "via") => key = lower,
                    None => {}
                }
            }
        }
    }
    hop.address = hop.address.or_else(|| address(&hop.from));
    hop
}

/// The address in `a.test [192.0.2.1]`, `[IPv6:2001:db8::1]:25` or `192.0.2.1`.
fn address(text: &str) -> Option<IpAddr> {
    let inner = text.split_once('[').and_then(|(_, rest)| rest.split_once(']')).map(|(inner, _)| inner);
    let parse = |word: &str| {
        let bare = if word.get(..5).is_some_and(|tag| tag.eq_ignore_ascii_case("IPv6:")) { &word[5..] } else { word };
        bare.parse().ok()
    };
    inner.and_then(parse).or_else(|| text.split_whitespace().find_map(parse))
}

enum Token<'a> {
    Word(&'a str),
    /// Without its outer parentheses.
    Comment(&'a str),
}

fn tokens(text: &str) -> impl Iterator<Item = Token<'_>> {
    let mut rest = text;
    std::iter::from_fn(move || {
        rest = rest.trim_start();
        if rest.is_empty() {
            return None;
        }
        if !rest.starts_with('(') {
            let end = rest.find(|c: char| c.is_whitespace() || c == '(').unwrap_or(rest.len());
            let (word, behind) = rest.split_at(end);
            rest = behind;
            return Some(Token::Word(word));
        }
        let mut depth = 0_u32;
        let end = rest.bytes().position(|octet| {
            depth = match octet {
                b'(' => depth + 1,
                b')' => depth - 1,
                _ => depth,
            };
            depth == 0
        });
        let end = end.unwrap_or(rest.len());
        let comment = &rest[1..end];
        rest = rest.get(end + 1..).unwrap_or_default();
        Some(Token::Comment(comment))
    })
}

/// The first word of a MIME value, in lower case: `text/html`.
pub(super) fn token(value: &str) -> String {
    short(value.split([';', '(']).next().unwrap_or_default().trim()).to_ascii_lowercase()
}

/// A parameter of a MIME value (RFC 2045 5.1), in pieces or with a character set as RFC 2231 writes it.
pub(super) fn parameter(value: &str, wanted: &str) -> Option<String> {
    let mut found = String::new();
    for (name, text) in parameters(value) {
        let bare = name.split('*').next().unwrap_or_default();
        if !bare.eq_ignore_ascii_case(wanted) {
            continue;
        }
        // RFC 2231 4: `name*=charset'language'percent-encoded`; 3: `name*0=`, `name*1=` are pieces.
        let text = if name.ends_with('*') {
            let text = if found.is_empty() { text.splitn(3, '\'').last().unwrap_or_default() } else { &text };
            percent_decoded(text)
        } else {
            text
        };
        if !name.contains('*') {
            return Some(short(&text));
        }
        found.push_str(&text);
        if found.len() > KEPT_MAX {
            break;
        }
    }
    (!found.is_empty()).then(|| short(&found))
}

/// Name and value of each parameter; a quoted value without its quotes.
fn parameters(value: &str) -> impl Iterator<Item = (&str, String)> {
    let mut rest = value.find(';').map_or("", |at| &value[at..]);
    std::iter::from_fn(move || {
        rest = rest.trim_start_matches(|c: char| c == ';' || c.is_whitespace());
        let equals = rest.find('=')?;
        let name = rest[..equals].trim();
        rest = rest[equals + 1..].trim_start();
        let mut text = String::new();
        if let Some(quoted) = rest.strip_prefix('"') {
            let mut escaped = false;
            let end = quoted.find(|c: char| {
                let ends = c == '"' && !escaped;
                if !ends && (c != '\\' || escaped) {
                    text.push(c);
                }
                escaped = c == '\\' && !escaped;
                ends
            });
            rest = end.map_or("", |end| &quoted[end + 1..]);
        } else {
            let end = rest.find(';').unwrap_or(rest.len());
            text.push_str(rest[..end].trim());
            rest = &rest[end..];
        }
        Some((name, text))
    })
}

fn percent_decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = bytes.get(at + 1..at + 3).filter(|_| bytes[at] == b'%');
        let octet = hex.and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        out.push(octet.unwrap_or(bytes[at]));
        at += if octet.is_some() { 3 } else { 1 };
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hop_is_read_as_mail_servers_write_it() {
        let read = |text: &str| {
            let hop = hop(text);
            let address = hop.address.map(|address| address.to_string()).unwrap_or_default();
            format!("{}|{}|{}|{}|{}|{}", hop.from, address, hop.by, hop.id, hop.recipient, hop.date)
        };
        assert_eq!(
            read("from a.test (b.test [192.0.2.1]) by c.test (Postfix) with ESMTPS id 4F2 for <d@e.test>; Mon, 1 Jan"),
            "a.test|192.0.2.1|c.test|4F2|d@e.test|Mon, 1 Jan"
        );
        assert_eq!(read("from [IPv6:2001:db8::1] by c.test id x"), "[IPv6:2001:db8::1]|2001:db8::1|c.test|x||");
        assert_eq!(read("(qmail 123 invoked by uid 0); 1 Jan 2026"), "|||||1 Jan 2026");
        assert_eq!(read("by c.test with local (Exim 4.96) id 1a-b; x"), "||c.test|1a-b||x");
        assert_eq!(read("from (unbalanced (x by c.test"), "|||||");
        assert_eq!(read(")(;"), "|||||");
    }

    #[test]
    fn parameters_are_read_in_all_their_writings() {
        let read = |text: &str| parameter(text, "filename").unwrap_or_default();
        assert_eq!(read(r#"attachment; filename="a \"b\"; c.pdf"; size=3"#), r#"a "b"; c.pdf"#);
        assert_eq!(read("attachment; FileName=a.pdf ; x"), "a.pdf");
        assert_eq!(read("attachment; filename*=utf-8''f%C3%BCr%20a.pdf"), "für a.pdf");
        assert_eq!(read(r#"attachment; filename*0="one-"; filename*1="two""#), "one-two");
        assert_eq!(read("attachment; filename"), "");
        assert_eq!(read("attachment; filename=\"open"), "open");
        assert_eq!(token("Text/HTML (x); charset=y"), "text/html");
    }
}
