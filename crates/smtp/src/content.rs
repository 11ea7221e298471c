//! Content on its way in: DATA's lines up to the lone dot, or BDAT's chunks, checked and passed on in whole slices.
//!
//! Smuggling lives on disagreement about where content ends. Here only CRLF ends a line and only CRLF.CRLF ends
//! DATA's content (RFC 5321 2.3.8, 4.1.1.4); what another server might read differently is remembered as a
//! [`Fault`], the rest is swallowed up to the true end, and the message is refused as a whole.

use mail::Fault;
use memchr::memchr3;

/// Takes one message's content.
#[derive(Debug)]
pub(crate) struct Intake {
    framing: Framing,
    limits: Limits,
    state: State,
    /// Number of the line under way, from 1; only CRLF counts.
    line: u64,
    /// Octets of that line so far, without the dot that transparency added (RFC 5321 4.5.3.1.6).
    column: usize,
    size: u64,
    eight_bit: bool,
    /// The first one counts.
    problem: Option<Fault>,
    /// Octets from the first NUL on, at most [`PROBE`].
    probe: Vec<u8>,
}

/// So many octets from a NUL on tell whether it is UTF-16.
const PROBE: usize = 32;

/// How the end of the content is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// DATA: lines, dot-stuffed, up to the lone dot (RFC 5321 4.5.2).
    Dots,
    /// BDAT: counted octets that must still be lines (RFC 3030 2).
    Lines,
    /// BDAT with BODY=BINARYMIME: any octets (RFC 3030 3).
    Binary,
}

/// The limits of one message's content; 0: none.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) size_max: u64,
    /// Longest line, CRLF included.
    pub(crate) line_max: usize,
}

/// What the octets since the last CRLF were.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    LineStart,
    Text,
    /// A CR; whether it is bare tells the next octet.
    Cr,
    /// CRLF and a dot.
    Dot,
    /// CRLF, a dot and CR.
    DotCr,
}

impl Intake {
    pub(crate) fn new(framing: Framing, limits: Limits) -> Intake {
        let state = State::LineStart;
        Intake {
            framing,
            limits,
            state,
            line: 1,
            column: 0,
            size: 0,
            eight_bit: false,
            problem: None,
            probe: Vec::new(),
        }
    }

    /// Appends the content in `input` to `out`. Gives how many octets were used, and whether the lone dot was among them
    /// (never with BDAT). The result does not depend on how the octets are cut.
    pub(crate) fn feed(&mut self, input: &[u8], out: &mut Vec<u8>) -> (usize, bool) {
        if self.framing == Framing::Binary {
            self.copy(input, out);
            return (input.len(), false);
        }
        self.prove(input);
        let mut at = 0;
        // Octets from here to `at` are content that is not copied yet.
        let mut kept = 0;
        while at < input.len() {
            let octet = input[at];
            match (self.state, octet) {
                (State::LineStart, b'.') if self.framing == Framing::Dots => {
                    self.copy(&input[kept..at], out);
                    at += 1;
                    kept = at;
                    self.state = State::Dot;
                }
                // Transparency: the dot before other text is dropped (RFC 5321 4.5.2).
                (State::Dot, b'\r') => {
                    at += 1;
                    kept = at;
                    self.state = State::DotCr;
                }
                (State::DotCr, b'\n') => return (at + 1, true),
                (State::Cr, b'\n') => {
                    at += 1;
                    self.line += 1;
                    self.column = 0;
                    self.state = State::LineStart;
                }
                (State::Cr | State::DotCr, _) => {
                    // A CR behind a line's first dot was dropped with the dot.
                    let octet_behind = self.size + (at - kept) as u64;
                    let octet_at = octet_behind - u64::from(self.state == State::Cr);
                    self.note(Fault::BareCarriageReturn { line: self.line, octet: octet_at });
                    at += usize::from(octet == b'\r');
                    self.state = if octet == b'\r' { State::Cr } else { State::Text };
                }
                (State::LineStart | State::Dot | State::Text, _) => {
                    let run = memchr3(b'\r', b'\n', 0, &input[at..]);
                    let end = run.map_or(input.len(), |run| at + run);
                    self.state = State::Text;
                    self.lengthen(end - at);
                    at = end;
                    if let Some(&special) = input.get(at) {
                        self.special(special, self.size + (at - kept) as u64);
                        if special == 0 && self.probe.is_empty() {
                            self.prove(&input[at..]);
                        }
                        at += 1;
                    }
                }
            }
        }
        self.copy(&input[kept..], out);
        (at, false)
    }

    /// The last chunk of BDAT is in. (The lone dot of DATA cannot leave anything open.)
    pub(crate) fn finish(&mut self) {
        if self.state == State::Cr {
            self.note(Fault::BareCarriageReturn { line: self.line, octet: self.size - 1 });
        }
    }

    /// Octets of content, as handed out.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// Whether an octet above 127 was among them.
    pub(crate) fn is_eight_bit(&self) -> bool {
        self.eight_bit
    }

    /// Why the content must be refused. Malformed counts before too large, so that the answer does not depend on the cuts.
    pub(crate) fn problem(&self) -> Option<Fault> {
        let size_max = self.limits.size_max;
        if let Some(Fault::Nul { line, octet, .. }) = self.problem {
            return Some(Fault::Nul { line, octet, utf16: mail::looks_like_utf16(&self.probe) });
        }
        self.problem
            .or((size_max != 0 && self.size > size_max).then_some(Fault::TooLarge { size: self.size, size_max }))
    }

    /// A special octet, and where it stands.
    fn special(&mut self, special: u8, octet: u64) {
        let line = self.line;
        match special {
            b'\r' => self.state = State::Cr,
            b'\n' => self.note(Fault::BareLineFeed { line, octet }),
            _ => self.note(Fault::Nul { line, octet, utf16: false }),
        }
    }

    /// Keeps octets behind a first NUL.
    fn prove(&mut self, octets: &[u8]) {
        if matches!(self.problem, Some(Fault::Nul { .. })) {
            let wanted = PROBE.saturating_sub(self.probe.len()).min(octets.len());
            self.probe.extend_from_slice(&octets[..wanted]);
        }
    }

    fn lengthen(&mut self, octets: usize) {
        self.column += octets;
        let line_max = self.limits.line_max;
        if line_max != 0 && self.column + 2 > line_max {
            let (number, length) = (self.line, self.column as u64 + 2);
            self.note(Fault::LongLine { line: number, octets: length, line_max: line_max as u64 });
            if let Some(Fault::LongLine { line, octets, .. }) = &mut self.problem
                && *line == number
            {
                *octets = length;
            }
        }
    }

    fn note(&mut self, problem: Fault) {
        self.problem.get_or_insert(problem);
    }

    /// What is refused anyway is counted, not kept.
    fn copy(&mut self, octets: &[u8], out: &mut Vec<u8>) {
        self.size += octets.len() as u64;
        self.eight_bit |= !octets.is_ascii();
        if self.problem().is_none() {
            out.extend_from_slice(octets);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds `wire` whole, then cut in two at every byte, then byte by byte; all must agree.
    fn check(framing: Framing, wire: &str, expected: &str) {
        let whole = take(framing, &[wire.as_bytes()]);
        assert_eq!(whole, expected, "{wire:?}");
        for at in 0..=wire.len() {
            let (head, tail) = wire.as_bytes().split_at(at);
            assert_eq!(take(framing, &[head, tail]), expected, "{wire:?} cut at {at}");
        }
        let bytes: Vec<&[u8]> = wire.as_bytes().chunks(1).collect();
        assert_eq!(take(framing, &bytes), expected, "{wire:?} byte by byte");
    }

    fn take(framing: Framing, pieces: &[&[u8]]) -> String {
        let mut intake = Intake::new(framing, Limits { size_max: 40, line_max: 12 });
        let (mut out, mut ended) = (Vec::new(), false);
        let mut rest = 0;
        for piece in pieces {
            if ended {
                rest += piece.len();
                continue;
            }
            let (used, end) = intake.feed(piece, &mut out);
            rest += piece.len() - used;
            ended = end;
        }
        if framing != Framing::Dots {
            intake.finish();
        }
        let end = if ended { format!(" END+{rest}") } else { String::new() };
        match intake.problem() {
            Some(problem) => format!("{problem:?}{end}"),
            None => format!("{:?}{end}", String::from_utf8(out).unwrap()),
        }
    }

    #[test]
    fn only_a_lone_dot_between_true_line_ends_ends_the_content() {
        check(Framing::Dots, ".\r\n", r#""" END+0"#);
        check(Framing::Dots, "a\r\n.\r\nQUIT\r\n", r#""a\r\n" END+6"#);
        check(Framing::Dots, "..a\r\n.b\r\n...\r\n.\r\n", r#"".a\r\nb\r\n..\r\n" END+0"#);
        check(Framing::Dots, "a.\r\n .\r\nb", r#""a.\r\n .\r\nb""#);
    }

    #[test]
    fn every_smuggling_ending_is_named_and_does_not_end_the_content() {
        let line_feed = "BareLineFeed { line: 1, octet: 1 } END+0";
        let carriage_return = "BareCarriageReturn { line: 1, octet: 1 } END+0";
        for (ending, expected) in [
            ("\n.\n", line_feed),
            ("\n.\r\n", line_feed),
            ("\r.\r", carriage_return),
            ("\r.\r\n", carriage_return),
            ("\r\r.\r\n", carriage_return),
            ("\r\n.\n", "BareLineFeed { line: 2, octet: 3 } END+0"),
            ("\r\n.\r", "BareCarriageReturn { line: 2, octet: 3 } END+0"),
            ("\r\n.\r.", "BareCarriageReturn { line: 2, octet: 3 } END+0"),
            ("\r\n.\r\r\n", "BareCarriageReturn { line: 2, octet: 3 } END+0"),
            ("\n\r.\r\n", line_feed),
            ("\n\r\n.\n", line_feed),
            ("\r\n\0.\r\n", "Nul { line: 2, octet: 3, utf16: false } END+0"),
            ("\r\n.\0\r\n", "Nul { line: 2, octet: 3, utf16: false } END+0"),
            ("\r\n.\0.\r\n", "Nul { line: 2, octet: 3, utf16: false } END+0"),
        ] {
            check(Framing::Dots, &format!("a{ending}b\r\n.\r\n"), expected);
        }
    }

    #[test]
    fn utf16_is_recognised() {
        check(Framing::Lines, "w\0i\0d\0e\0 \0t\0", "Nul { line: 1, octet: 1, utf16: true }");
        check(Framing::Lines, "pad\0\0\0\0\0\0\0\0\0", "Nul { line: 1, octet: 3, utf16: false }");
    }

    #[test]
    fn long_lines_and_large_content_are_refused() {
        check(Framing::Dots, "0123456789\r\n.\r\n", r#""0123456789\r\n" END+0"#);
        check(Framing::Dots, "..123456789\r\n.\r\n", r#"".123456789\r\n" END+0"#);
        check(Framing::Dots, "0123456789a\r\n.\r\n", "LongLine { line: 1, octets: 13, line_max: 12 } END+0");
        check(
            Framing::Dots,
            &format!("{}\r\n.\r\n", "0".repeat(30)),
            "LongLine { line: 1, octets: 32, line_max: 12 } END+0",
        );
        check(Framing::Dots, &("12345678\r\n".repeat(5) + ".\r\n"), "TooLarge { size: 50, size_max: 40 } END+0");
        check(Framing::Dots, &("12345678\r\n".repeat(5) + "\n\r\n.\r\n"), "BareLineFeed { line: 6, octet: 50 } END+0");
    }

    #[test]
    fn chunks_are_lines_unless_binary() {
        check(Framing::Lines, "a\r\n.\r\nb", r#""a\r\n.\r\nb""#);
        check(Framing::Lines, "a\nb", "BareLineFeed { line: 1, octet: 1 }");
        check(Framing::Lines, "a\r\nb\r", "BareCarriageReturn { line: 2, octet: 4 }");
        check(Framing::Binary, "a\nb\r\0.", r#""a\nb\r\0.""#);
    }
}
