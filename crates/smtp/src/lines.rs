//! Lines on their way in: a bounded buffer that gives one line at a time, ended by CRLF and by nothing else
//! (RFC 5321 2.3.8: CR and LF must not appear alone).

use memchr::memchr3;

/// Octets received and not yet used.
#[derive(Debug, Default)]
pub(crate) struct Input {
    octets: Vec<u8>,
    /// Where the unused octets begin.
    start: usize,
    /// Up to here no line end was found.
    scanned: usize,
    /// The line under way is too long; its beginning is gone.
    too_long: bool,
}

/// What stands next in the buffer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Line {
    /// A line without its CRLF.
    Whole(Vec<u8>),
    /// Longer than allowed; skipped, its CRLF included.
    TooLong,
    /// Something that might end a line for others and does not here.
    Broken(Break),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Break {
    BareCarriageReturn,
    BareLineFeed,
    Nul,
}

impl Input {
    pub(crate) fn push(&mut self, octets: &[u8]) {
        if self.start == self.octets.len() {
            self.clear_octets();
        } else if self.start > 16 * 1024 {
            self.octets.drain(..self.start);
            self.scanned = self.scanned.saturating_sub(self.start);
            self.start = 0;
        }
        self.octets.extend_from_slice(octets);
    }

    /// The unused octets.
    pub(crate) fn rest(&self) -> &[u8] {
        &self.octets[self.start..]
    }

    /// `octets` of the rest are used.
    pub(crate) fn advance(&mut self, octets: usize) {
        self.start = (self.start + octets).min(self.octets.len());
        self.scanned = self.start;
    }

    pub(crate) fn len(&self) -> usize {
        self.octets.len() - self.start
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Forgets everything, and the memory with it.
    pub(crate) fn clear(&mut self) {
        *self = Input::default();
    }

    /// The next line of at most `max` octets, CRLF included; `None`: its end is not here yet.
    pub(crate) fn line(&mut self, max: usize) -> Option<Line> {
        let from = self.scanned.max(self.start);
        let Some(found) = memchr3(b'\r', b'\n', 0, &self.octets[from..]) else {
            self.wait_from(self.octets.len(), max);
            return None;
        };
        let at = from + found;
        match (self.octets[at], self.octets.get(at + 1)) {
            (b'\r', Some(b'\n')) => Some(self.take(at, max)),
            (b'\r', None) => {
                self.wait_from(at, max);
                None
            }
            (b'\r', Some(_)) => Some(Line::Broken(Break::BareCarriageReturn)),
            (b'\n', _) => Some(Line::Broken(Break::BareLineFeed)),
            _ => Some(Line::Broken(Break::Nul)),
        }
    }

    /// The line that ends with the CR at `at`.
    fn take(&mut self, at: usize, max: usize) -> Line {
        let line = &self.octets[self.start..at];
        let line = if self.too_long || line.len() + 2 > max { Line::TooLong } else { Line::Whole(line.to_vec()) };
        self.start = at + 2;
        self.scanned = self.start;
        self.too_long = false;
        line
    }

    /// No line end before `at`. What is too long already need not be kept.
    fn wait_from(&mut self, at: usize, max: usize) {
        self.scanned = at;
        if at - self.start + 2 > max {
            self.too_long = true;
            self.start = at;
        }
    }

    fn clear_octets(&mut self) {
        self.octets.clear();
        self.start = 0;
        self.scanned = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(wire: &str, expected: &[&str]) {
        for size in 1..=wire.len() {
            let mut input = Input::default();
            let mut lines = Vec::new();
            for piece in wire.as_bytes().chunks(size) {
                input.push(piece);
                while let Some(line) = input.line(10) {
                    match line {
                        Line::Whole(line) => lines.push(String::from_utf8(line).unwrap()),
                        other => lines.push(format!("{other:?}")),
                    }
                    if lines.last().is_some_and(|line| line.starts_with("Broken")) {
                        break;
                    }
                }
                if lines.last().is_some_and(|line| line.starts_with("Broken")) {
                    break;
                }
            }
            assert_eq!(lines, expected, "{wire:?} in pieces of {size}");
        }
    }

    #[test]
    fn only_crlf_ends_a_line() {
        check("one\r\ntwo\r\n\r\nthr", &["one", "two", ""]);
        check("one\ntwo\r\n", &["Broken(BareLineFeed)"]);
        check("ok\r\none\rtwo\r\n", &["ok", "Broken(BareCarriageReturn)"]);
        check("one\r\r\n", &["Broken(BareCarriageReturn)"]);
        check("one\0\r\n", &["Broken(Nul)"]);
    }

    #[test]
    fn a_line_too_long_is_skipped_to_its_true_end() {
        check("12345678\r\n123456789\r\nnext\r\n", &["12345678", "TooLong", "next"]);
        check("0123456789012345678901234567890123456789\r\nnext\r\n", &["TooLong", "next"]);
        check("0123456789012345678901234567890123456789\nnext\r\n", &["Broken(BareLineFeed)"]);
    }

    #[test]
    fn an_endless_line_takes_no_memory() {
        let mut input = Input::default();
        for _ in 0..10_000 {
            input.push(&[b'x'; 1000]);
            assert_eq!(input.line(2048), None);
        }
        assert!(input.octets.capacity() < 64 * 1024);
    }
}
