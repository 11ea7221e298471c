//! Replies on their way in: octets of a server become whole replies (RFC 5321 4.2).
//!
//! Lenient where it cannot hurt: a bare LF ends a line too and a text may be missing. What is no reply at all is an error
//! that quotes what came, for it is often another service, a proxy's page or a TLS-only port.

use mail::Reply;

/// RFC 5321 4.5.3.1.5 has 512, CRLF included.
const LINE_MAX: usize = 4096;
/// Lines of one reply. EHLO's is the longest there is, with a few dozen.
const LINES_MAX: usize = 512;
/// Octets quoted in an error.
const QUOTE_MAX: usize = 100;

/// Collects one reply after another.
#[derive(Debug, Default)]
pub(crate) struct Replies {
    octets: Vec<u8>,
    /// Whole lines of the reply under way.
    lines: Vec<String>,
}

impl Replies {
    pub(crate) fn push(&mut self, octets: &[u8]) {
        self.octets.extend_from_slice(octets);
    }

    /// Whether nothing is left over.
    pub(crate) fn is_empty(&self) -> bool {
        self.octets.is_empty() && self.lines.is_empty()
    }

    /// The next reply with its lines as they were said; `None`: it is not whole yet; an error: what came instead.
    pub(crate) fn next(&mut self) -> Option<Result<(Reply, Vec<String>), String>> {
        loop {
            let end = memchr::memchr(b'\n', &self.octets);
            // The words must not depend on whether the line's end is here already.
            if end.map_or(self.octets.len(), |end| end + 1) > LINE_MAX {
                return Some(Err(format!("a line longer than {LINE_MAX} octets: {}", quote(&self.octets))));
            }
            let line: Vec<u8> = self.octets.drain(..=end?).collect();
            if self.lines.len() == LINES_MAX {
                return Some(Err(format!("more than {LINES_MAX} lines: {}", quote(&line))));
            }
            if !is_reply_line(&line) {
                return Some(Err(quote(&line)));
            }
            self.lines.push(readable(line.trim_ascii_end()));
            if line[3] != b'-' {
                let lines = std::mem::take(&mut self.lines);
                let texts: Vec<&str> = lines.iter().map(String::as_str).collect();
                return Some(Reply::parse(&texts).map(|reply| (reply, lines)).map_err(|error| error.to_string()));
            }
        }
    }
}

/// Three digits, then `-`, a space or the end (RFC 5321 4.2). `line` has its LF, so a fourth octet is there.
fn is_reply_line(line: &[u8]) -> bool {
    line.len() >= 4
        && line[..3].iter().all(u8::is_ascii_digit)
        && (b'2'..=b'5').contains(&line[0])
        && matches!(line[3], b' ' | b'-' | b'\r' | b'\n' | b'\t')
}

/// Text that can stand in a log: no control characters.
fn readable(line: &[u8]) -> String {
    String::from_utf8_lossy(line)
        .chars()
        .map(|c| {
            if c == '\t' {
                ' '
            } else if c.is_control() {
                '?'
            } else {
                c
            }
        })
        .collect()
}

/// The beginning of what came, escaped.
fn quote(octets: &[u8]) -> String {
    format!("\"{}\"", octets[..octets.len().min(QUOTE_MAX)].escape_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(wire: &str, expected: &[&str]) {
        for size in 1..=wire.len() {
            let mut replies = Replies::default();
            let mut got = Vec::new();
            for piece in wire.as_bytes().chunks(size) {
                replies.push(piece);
                while let Some(reply) = replies.next() {
                    got.push(reply.map_or_else(|error| format!("error: {error}"), |(reply, _)| reply.to_string()));
                }
            }
            assert_eq!(got, expected, "{wire:?} in pieces of {size}");
        }
    }

    #[test]
    fn replies_are_read() {
        check("220 mx\r\n250-a\r\n250-b\r\n250 c\r\n", &["220 mx", "250 a b c"]);
        check("250\r\n250\n250 \r\n354\tgo\r\n", &["250", "250", "250", "354 go"]);
        check("550-5.7.1 no\r\n550 5.7.1 \x1b[2J\r\n", &["550 5.7.1 no ?[2J"]);
        check("250-\r\n250\r\n", &["250  "]);
    }

    #[test]
    fn what_is_no_reply_is_quoted() {
        check("HTTP/1.1 400 Bad\r\n", &["error: \"HTTP/1.1 400 Bad\\r\\n\""]);
        check("\x15\x03\x01\r\n", &["error: \"\\x15\\x03\\x01\\r\\n\""]);
        check("2x0 a\r\n", &["error: \"2x0 a\\r\\n\""]);
        check("2500 a\r\n", &["error: \"2500 a\\r\\n\""]);
    }

    #[test]
    fn endless_replies_are_cut_off() {
        let mut replies = Replies::default();
        replies.push(&[b'2'; 5000]);
        assert!(replies.next().unwrap().is_err());
        let mut replies = Replies::default();
        replies.push("250-x\r\n".repeat(600).as_bytes());
        assert!(replies.next().unwrap().is_err());
    }
}
