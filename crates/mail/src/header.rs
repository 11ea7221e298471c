//! Header: the fields before the empty line (RFC 5322 2.2), read without copying.

/// Where the header ends: the offset of the body, behind the empty line. The whole content if there is none.
pub fn header_end(content: &[u8]) -> usize {
    let mut at = 0;
    while let Some(length) = content[at..].windows(2).position(|pair| pair == b"\r\n") {
        if length == 0 {
            return at + 2;
        }
        at += length + 2;
    }
    content.len()
}

/// One field, its folding still in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field<'a> {
    /// All bytes of the field, CRLF at its end included.
    pub raw: &'a [u8],
    /// The name; empty for a line that is no field.
    pub name: &'a [u8],
    /// What follows the colon.
    pub value: &'a [u8],
}

impl Field<'_> {
    /// Whether the field has this name, in any case.
    pub fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name.as_bytes())
    }

    /// The value unfolded and trimmed; bytes that are not UTF-8 are replaced.
    pub fn text(&self) -> String {
        let unfolded: Vec<u8> = self.value.iter().copied().filter(|byte| *byte != b'\r' && *byte != b'\n').collect();
        String::from_utf8_lossy(&unfolded).trim().to_owned()
    }
}

/// The fields of a content, in their order.
#[derive(Clone, Debug)]
pub struct Headers<'a> {
    rest: &'a [u8],
}

impl<'a> Headers<'a> {
    /// Of a content that begins with its header.
    pub fn of(content: &'a [u8]) -> Headers<'a> {
        Headers { rest: content }
    }

    /// The first field of this name.
    pub fn find(mut self, name: &str) -> Option<Field<'a>> {
        Iterator::find(&mut self, |field| field.is(name))
    }
}

impl<'a> Iterator for Headers<'a> {
    type Item = Field<'a>;

    fn next(&mut self) -> Option<Field<'a>> {
        if self.rest.is_empty() || self.rest.starts_with(b"\r\n") {
            return None;
        }
        let mut end = 0;
        loop {
            match self.rest[end..].iter().position(|&byte| byte == b'\n') {
                None => end = self.rest.len(),
                Some(at) => end += at + 1,
            }
            if !matches!(self.rest.get(end), Some(b' ' | b'\t')) {
                break;
            }
        }
        let (raw, rest) = self.rest.split_at(end);
        self.rest = rest;
        let (name, value) = match raw.iter().position(|&byte| byte == b':') {
            Some(colon) => (raw[..colon].trim_ascii_end(), &raw[colon + 1..]),
            None => (&raw[..0], raw),
        };
        Some(Field { raw, name, value })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MESSAGE: &[u8] = b"Subject: a\r\n folded\r\nReceived: x\r\nno field\r\nreceived: y\r\n\r\nReceived: body\r\n";

    #[test]
    fn fields_are_read_up_to_the_empty_line() {
        assert_eq!(Headers::of(MESSAGE).find("subject").unwrap().text(), "a folded");
        assert_eq!(Headers::of(MESSAGE).filter(|field| field.is("Received")).count(), 2);
        assert_eq!(&MESSAGE[header_end(MESSAGE)..], b"Received: body\r\n");
    }

    #[test]
    fn a_header_without_end_is_all_header() {
        assert_eq!(header_end(b"A: b\r\n"), 6);
        assert_eq!(Headers::of(b"A: b").count(), 1);
        assert_eq!(header_end(b"\r\nbody"), 2);
    }
}
