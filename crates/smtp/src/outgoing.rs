//! Content on its way out, as DATA's dot-stuffed lines or as BDAT's chunks.
//!
//! What we store is lines that end with CRLF. Should that ever not hold, the message stops here: a bare CR or LF passed on is
//! how one server smuggles mail into another.

use memchr::memchr3;

/// How content is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// DATA (RFC 5321 4.1.1.4).
    Dots,
    /// BDAT (RFC 3030 2).
    Chunks,
}

/// One message's content.
#[derive(Debug)]
pub(crate) struct Outgoing {
    way: Way,
    /// BODY=BINARYMIME: any octets.
    binary: bool,
    last: Last,
    line: u64,
    /// Octets of the content so far.
    size: u64,
    /// BDAT: octets whose chunk is not written, because it may be the last one.
    held: Vec<u8>,
}

/// What the last octet was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Last {
    LineEnd,
    Cr,
    Other,
}

/// BDAT's chunks, about; what is smaller goes as one `BDAT n LAST`.
pub(crate) const CHUNK: usize = 64 * 1024;

impl Outgoing {
    pub(crate) fn new(way: Way, binary: bool) -> Outgoing {
        Outgoing { way, binary, last: Last::LineEnd, line: 1, size: 0, held: Vec::new() }
    }

    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// Writes `piece`. Gives the number of chunks that were written, each of which gets a reply; or what may not be sent.
    pub(crate) fn write(&mut self, piece: &[u8], out: &mut Vec<u8>) -> Result<usize, String> {
        self.size += piece.len() as u64;
        match self.way {
            Way::Dots => self.stuff(piece, out).map(|()| 0),
            Way::Chunks => {
                if !self.binary {
                    self.check(piece)?;
                }
                let chunks = usize::from(!self.held.is_empty() && self.held.len() + piece.len() > CHUNK);
                if chunks == 1 {
                    write_chunk(&std::mem::take(&mut self.held), "", out);
                }
                self.held.extend_from_slice(piece);
                Ok(chunks)
            }
        }
    }

    /// Writes the end: the lone dot, or the last chunk.
    pub(crate) fn end(&mut self, out: &mut Vec<u8>) -> Result<(), String> {
        if self.last == Last::Cr {
            return Err(self.wrong("bare CR"));
        }
        match self.way {
            // RFC 5321 4.1.1.4: content that ends within a line (BDAT allows it) gets a CRLF before the dot.
            Way::Dots if self.last == Last::Other => out.extend_from_slice(b"\r\n.\r\n"),
            Way::Dots => out.extend_from_slice(b".\r\n"),
            Way::Chunks => write_chunk(&std::mem::take(&mut self.held), " LAST", out),
        }
        Ok(())
    }

    /// RFC 5321 4.5.2: a line's first dot is doubled.
    fn stuff(&mut self, piece: &[u8], out: &mut Vec<u8>) -> Result<(), String> {
        out.reserve(piece.len() + piece.len() / 64 + 8);
        let mut kept = 0;
        self.walk(piece, |dot| {
            out.extend_from_slice(&piece[kept..dot]);
            out.push(b'.');
            kept = dot;
        })?;
        out.extend_from_slice(&piece[kept..]);
        Ok(())
    }

    fn check(&mut self, piece: &[u8]) -> Result<(), String> {
        self.walk(piece, |_| {})
    }

    /// Goes from line to line; `dot` is told where a line begins with a dot.
    fn walk(&mut self, piece: &[u8], mut dot: impl FnMut(usize)) -> Result<(), String> {
        let mut at = 0;
        while at < piece.len() {
            if self.last == Last::Cr {
                if piece[at] != b'\n' {
                    return Err(self.wrong("bare CR"));
                }
                self.last = Last::LineEnd;
                self.line += 1;
                at += 1;
                continue;
            }
            if self.last == Last::LineEnd && piece[at] == b'.' {
                dot(at);
            }
            let special = memchr3(b'\r', b'\n', 0, &piece[at..]);
            match special.map(|run| piece[at + run]) {
                None => {
                    self.last = Last::Other;
                    return Ok(());
                }
                Some(b'\r') => self.last = Last::Cr,
                Some(b'\n') => return Err(self.wrong("bare LF")),
                Some(_) => return Err(self.wrong("NUL")),
            }
            at += special.map_or(0, |run| run + 1);
        }
        Ok(())
    }

    fn wrong(&self, what: &str) -> String {
        format!("{what} in line {}, not passed on", self.line)
    }
}

fn write_chunk(chunk: &[u8], last: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(format!("BDAT {}{last}\r\n", chunk.len()).as_bytes());
    out.extend_from_slice(chunk);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(way: Way, content: &str, expected: &str) {
        for size in 1..=content.len().max(1) {
            let mut outgoing = Outgoing::new(way, false);
            let mut out = Vec::new();
            let result =
                content.as_bytes().chunks(size).try_for_each(|piece| outgoing.write(piece, &mut out).map(|_| ()));
            let result = result.and_then(|()| outgoing.end(&mut out));
            let got = result.map_or_else(|error| error, |()| String::from_utf8(out).unwrap());
            assert_eq!(got, expected, "{content:?} in pieces of {size}");
        }
    }

    #[test]
    fn dots_are_doubled_at_the_start_of_a_line() {
        check(Way::Dots, ".a\r\nb.\r\n..\r\n", "..a\r\nb.\r\n...\r\n.\r\n");
        check(Way::Dots, "a", "a\r\n.\r\n");
        check(Way::Dots, "", ".\r\n");
        check(Way::Dots, ".", "..\r\n.\r\n");
    }

    #[test]
    fn a_small_message_is_one_chunk() {
        check(Way::Chunks, ".a\r\nb", "BDAT 5 LAST\r\n.a\r\nb");
        check(Way::Chunks, "", "BDAT 0 LAST\r\n");
    }

    #[test]
    fn a_large_message_is_several_chunks() {
        let mut outgoing = Outgoing::new(Way::Chunks, true);
        let mut out = Vec::new();
        let piece = [b'x'; 40_000];
        assert_eq!(outgoing.write(&piece, &mut out), Ok(0));
        assert_eq!(outgoing.write(&piece, &mut out), Ok(1));
        outgoing.end(&mut out).unwrap();
        assert!(out.starts_with(b"BDAT 40000\r\nx"));
        assert!(out[40_012..].starts_with(b"BDAT 40000 LAST\r\nx"));
    }

    #[test]
    fn what_could_smuggle_is_not_passed_on() {
        for way in [Way::Dots, Way::Chunks] {
            check(way, "a\r\nb\n.\r\n", "bare LF in line 2, not passed on");
            check(way, "a\r.\r\n", "bare CR in line 1, not passed on");
            check(way, "a\r", "bare CR in line 1, not passed on");
            check(way, "a\0", "NUL in line 1, not passed on");
        }
    }
}
