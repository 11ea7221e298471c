//! Reader: one pass over a message, in pieces of any size, that gathers what is worth knowing of it.
//!
//! Lines are found by their ends; of each line only so much is kept as fields and boundaries need. Nothing is decoded, only
//! counted. Nested messages are looked into as long as they stand there unencoded.

use super::fields::{hop, parameter, short, token};
use super::{ContentFacts, LongLine};
use memchr::{memchr_iter, memchr3};

/// Octets of one line that are kept: enough for any boundary (70) and for a field.
const LINE_KEPT: usize = 4096;
/// Octets of one field, unfolded, that are kept. References and Received are the long ones.
const FIELD_KEPT: usize = 16_384;
const RECEIVED_MAX: usize = 200;
const DELIVERED_TO_MAX: usize = 100;
/// Lines kept for each field that may stand once.
const SINGLE_LINES_MAX: usize = 10;
const ATTACHMENTS_MAX: usize = 10;
/// Multiparts within multiparts that are followed.
const DEPTH_MAX: usize = 16;
/// Octets from the first NUL on that tell whether it is UTF-16.
const PROBE: usize = 32;

/// RFC 5322 3.6, and RFC 2045 for those of MIME.
const SINGLES: [&str; 14] = [
    "Date",
    "From",
    "Sender",
    "Reply-To",
    "To",
    "Cc",
    "Bcc",
    "Message-ID",
    "In-Reply-To",
    "References",
    "Subject",
    "MIME-Version",
    "Content-Type",
    "Content-Transfer-Encoding",
];

/// Reads one message.
#[derive(Debug)]
pub struct Reader {
    facts: ContentFacts,
    /// From 1.
    line: u64,
    /// Octets of the line under way, and the first of them.
    length: u64,
    kept: Vec<u8>,
    /// Of the line under way: `=` in it.
    equals: u64,
    /// The last octet was CR.
    cr: bool,
    probe: Vec<u8>,
    place: Place,
    /// The field under way: its line and its octets without line ends.
    field: Option<(u64, Vec<u8>)>,
    part: Part,
    /// Boundaries of open multiparts, outermost first.
    open: Vec<Multipart>,
    /// The outermost multipart, once its header was read, until its last boundary.
    outermost_open: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// The message's own header.
    Header,
    /// A part's, or a nested message's.
    PartHeader,
    Body,
}

/// The part under way.
#[derive(Debug, Default)]
struct Part {
    media_type: String,
    boundary: Option<String>,
    encoding: Encoding,
    name: Option<String>,
    is_attachment: bool,
    /// Octets so far, after the transfer encoding is taken away.
    decoded: u64,
    /// `=` at base64's end.
    padding: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Encoding {
    #[default]
    Identity,
    Base64,
    QuotedPrintable,
}

#[derive(Debug)]
struct Multipart {
    boundary: String,
    media_type: String,
}

impl Default for Reader {
    fn default() -> Reader {
        let singles = SINGLES.iter().map(|name| ((*name).to_owned(), Vec::new())).collect();
        Reader {
            facts: ContentFacts { singles, ..ContentFacts::default() },
            line: 1,
            length: 0,
            kept: Vec::new(),
            equals: 0,
            cr: false,
            probe: Vec::new(),
            place: Place::Header,
            field: None,
            part: Part::default(),
            open: Vec::new(),
            outermost_open: false,
        }
    }
}

/// Octets.
impl Reader {
    /// The next piece. The facts do not depend on how the message is cut.
    pub fn feed(&mut self, piece: &[u8]) {
        let start = self.facts.size;
        self.facts.size += piece.len() as u64;
        if self.facts.nul.count > 0 {
            self.prove(piece);
        }
        let mut at = 0;
        while at < piece.len() {
            if std::mem::take(&mut self.cr) {
                if piece[at] == b'\n' {
                    at += 1;
                    self.end_line(start + at as u64);
                    continue;
                }
                count(&mut self.facts.bare_cr, start + at as u64 - 1);
                self.length += 1;
            }
            let special = memchr3(b'\r', b'\n', 0, &piece[at..]);
            let end = special.map_or(piece.len(), |run| at + run);
            self.text(&piece[at..end]);
            let Some(&octet) = piece.get(end) else { return };
            let offset = start + end as u64;
            at = end + 1;
            match octet {
                b'\r' => self.cr = true,
                b'\n' => {
                    count(&mut self.facts.bare_lf, offset);
                    self.end_line(offset + 1);
                }
                _ => {
                    if self.facts.nul.count == 0 {
                        self.prove(&piece[end..]);
                    }
                    count(&mut self.facts.nul, offset);
                    self.length += 1;
                }
            }
        }
    }

    /// The message is over.
    pub fn finish(mut self) -> ContentFacts {
        if self.cr {
            let last = self.facts.size - 1;
            count(&mut self.facts.bare_cr, last);
            self.length += 1;
        }
        if self.length > 0 {
            self.end_line(self.facts.size);
        }
        self.end_field();
        if self.place == Place::Header {
            self.facts.header_size = self.facts.size;
        }
        self.end_part();
        self.facts.open_multipart = self.outermost_open;
        self.facts.utf16 = mail::looks_like_utf16(&self.probe);
        self.facts
    }

    /// Octets without CR, LF and NUL.
    fn text(&mut self, octets: &[u8]) {
        self.length += octets.len() as u64;
        if !octets.is_ascii() {
            match self.place {
                Place::Header => self.facts.eight_bit_header = true,
                Place::PartHeader | Place::Body => self.facts.eight_bit_body = true,
            }
        }
        let wanted = LINE_KEPT.saturating_sub(self.kept.len()).min(octets.len());
        self.kept.extend_from_slice(&octets[..wanted]);
        if self.part.encoding != Encoding::Identity && self.place == Place::Body {
            self.equals += memchr_iter(b'=', octets).count() as u64;
        }
    }

    /// The octets from the first NUL on.
    fn prove(&mut self, octets: &[u8]) {
        let wanted = PROBE.saturating_sub(self.probe.len()).min(octets.len());
        self.probe.extend_from_slice(&octets[..wanted]);
    }
}

/// Lines.
impl Reader {
    /// `behind`: the offset behind the line's end.
    fn end_line(&mut self, behind: u64) {
        let line = std::mem::take(&mut self.kept);
        if self.length > self.facts.longest.octets {
            let part = match self.place {
                Place::Header => "header",
                _ => self.media_type(),
            };
            self.facts.longest = LongLine { line: self.line, octets: self.length, part: part.to_owned() };
        }
        match self.place {
            Place::Header | Place::PartHeader => self.header_line(&line, behind),
            Place::Body => self.body_line(&line),
        }
        self.kept = line;
        self.kept.clear();
        self.length = 0;
        self.equals = 0;
        self.line += 1;
    }

    fn media_type(&self) -> &str {
        match (self.part.media_type.as_str(), self.open.last()) {
            // The preamble and the epilogue of a multipart, and its parts' headers.
            ("", Some(multipart)) => &multipart.media_type,
            ("", None) => "text/plain",
            (own, _) => own,
        }
    }

    fn header_line(&mut self, line: &[u8], behind: u64) {
        if self.place == Place::PartHeader && self.boundary(line) {
            return;
        }
        // A line of nothing but NUL or bare CR keeps no octets and is not empty.
        if self.length == 0 {
            self.end_field();
            if self.place == Place::Header {
                self.facts.header_size = behind;
            }
            return self.begin_body();
        }
        match &mut self.field {
            Some((_, octets)) if line.starts_with(b" ") || line.starts_with(b"\t") => {
                let wanted = FIELD_KEPT.saturating_sub(octets.len()).min(line.len());
                octets.extend_from_slice(&line[..wanted]);
            }
            _ => {
                self.end_field();
                self.field = Some((self.line, line.to_vec()));
            }
        }
    }

    fn body_line(&mut self, line: &[u8]) {
        if line.starts_with(b"--") && self.boundary(line) {
            return;
        }
        let part = &mut self.part;
        if part.is_attachment || part.name.is_some() {
            part.decoded += match part.encoding {
                Encoding::Identity => self.length + 2,
                // Groups of four letters; `=` at the end stands for an octet less.
                Encoding::Base64 => {
                    part.padding += self.equals;
                    self.length
                }
                // `=XX` is one octet; `=` at a line's end takes the line end away.
                Encoding::QuotedPrintable => {
                    let is_soft = line.last() == Some(&b'=');
                    let triples = self.equals - u64::from(is_soft);
                    (self.length + 2).saturating_sub(2 * triples).saturating_sub(if is_soft { 3 } else { 0 })
                }
            };
        }
    }

    /// Whether the line is a boundary (RFC 2046 5.1.1); then the part ends here. An outer boundary ends the inner parts too.
    fn boundary(&mut self, line: &[u8]) -> bool {
        let Some(rest) = line.strip_prefix(b"--") else { return false };
        let rest = rest.trim_ascii_end();
        let found = self.open.iter().enumerate().rev().find_map(|(depth, multipart)| {
            let behind = rest.strip_prefix(multipart.boundary.as_bytes())?;
            matches!(behind, b"" | b"--").then_some((depth, behind == b"--"))
        });
        let Some((depth, is_last)) = found else { return false };
        self.end_field();
        self.end_part();
        self.open.truncate(depth + usize::from(!is_last));
        self.part = Part::default();
        if is_last {
            self.outermost_open &= depth > 0;
            self.place = Place::Body;
        } else {
            self.place = Place::PartHeader;
        }
        true
    }

    /// The header is over: is it a multipart, a message, or text?
    fn begin_body(&mut self) {
        self.place = Place::Body;
        let media_type = self.part.media_type.clone();
        self.facts.encoded |= self.part.encoding != Encoding::Identity;
        self.facts.reports += u32::from(media_type == "multipart/report");
        if media_type.starts_with("multipart/") {
            let boundary = self.part.boundary.take().filter(|_| self.open.len() < DEPTH_MAX);
            if let Some(boundary) = boundary {
                self.outermost_open |= self.open.is_empty();
                self.open.push(Multipart { boundary, media_type });
            }
            self.part = Part::default();
            return;
        }
        let holds_header = matches!(media_type.as_str(), "message/rfc822" | "message/global" | "text/rfc822-headers");
        if holds_header && self.part.encoding == Encoding::Identity {
            self.end_part();
            self.part = Part::default();
            self.place = Place::PartHeader;
            return;
        }
        if media_type.is_empty() {
            // RFC 2045 5.2.
            "text/plain".clone_into(&mut self.part.media_type);
        }
        let is_text = media_type.is_empty() || ["text/", "message/"].iter().any(|kind| media_type.starts_with(kind));
        self.part.is_attachment |= !is_text;
    }

    fn end_part(&mut self) {
        let part = std::mem::take(&mut self.part);
        if !part.is_attachment && part.name.is_none() {
            return;
        }
        self.facts.attachments_decoded += match part.encoding {
            Encoding::Base64 => (part.decoded / 4 * 3).saturating_sub(part.padding.min(2)),
            _ => part.decoded,
        };
        if let Some(name) = part.name.filter(|_| self.facts.attachments.len() < ATTACHMENTS_MAX) {
            self.facts.attachments.push(name);
        }
    }
}

/// Fields.
impl Reader {
    fn end_field(&mut self) {
        let Some((line, octets)) = self.field.take() else { return };
        let Some(colon) = memchr::memchr(b':', &octets) else { return };
        let name = String::from_utf8_lossy(octets[..colon].trim_ascii_end()).to_ascii_lowercase();
        let value = String::from_utf8_lossy(&octets[colon + 1..]);
        let value = value.trim();
        self.mime(&name, value);
        if self.place == Place::Header {
            self.own(&name, value, line);
        }
    }

    fn mime(&mut self, name: &str, value: &str) {
        let part = &mut self.part;
        match name {
            "content-type" => {
                part.media_type = token(value);
                part.boundary = parameter(value, "boundary").filter(|boundary| !boundary.is_empty());
                if part.name.is_none() {
                    part.name = parameter(value, "name");
                }
            }
            "content-transfer-encoding" => {
                part.encoding = match token(value).as_str() {
                    "base64" => Encoding::Base64,
                    "quoted-printable" => Encoding::QuotedPrintable,
                    _ => Encoding::Identity,
                };
            }
            "content-disposition" => {
                part.is_attachment = token(value) == "attachment";
                if let Some(file) = parameter(value, "filename") {
                    part.name = Some(file);
                }
            }
            _ => {}
        }
    }

    /// A field of the message's own header.
    fn own(&mut self, name: &str, value: &str, line: u64) {
        let facts = &mut self.facts;
        if let Some((_, lines)) = facts.singles.iter_mut().find(|(single, _)| single.eq_ignore_ascii_case(name))
            && lines.len() < SINGLE_LINES_MAX
        {
            lines.push(line);
        }
        let first = |place: &mut String| {
            if place.is_empty() {
                *place = short(value);
            }
        };
        match name {
            "received" if facts.received.len() < RECEIVED_MAX => facts.received.push(hop(value)),
            "delivered-to" if facts.delivered_to.len() < DELIVERED_TO_MAX => {
                facts.delivered_to.push(short(value.trim_matches(['<', '>'])));
            }
            "message-id" => first(&mut facts.message_id),
            "in-reply-to" => first(&mut facts.in_reply_to),
            "references" => facts.references = u32::try_from(value.matches('<').count()).unwrap_or(u32::MAX),
            "subject" => first(&mut facts.subject),
            "from" => first(&mut facts.from),
            "x-mime-autoconverted" => first(&mut facts.converted),
            "auto-submitted" => facts.auto_submitted |= !matches!(token(value).as_str(), "" | "no"),
            "dkim-signature" if !facts.has_dkim => {
                facts.has_dkim = true;
                let time = value.split(';').filter_map(|tag| tag.split_once('=')).find(|(tag, _)| tag.trim() == "t");
                facts.dkim_time = time.and_then(|(_, time)| time.trim().parse().ok());
            }
            _ => {}
        }
    }
}

fn count(octets: &mut super::Octets, offset: u64) {
    if octets.count == 0 {
        octets.first = offset;
    }
    octets.count += 1;
}

#[cfg(test)]
mod tests {
    use super::super::ContentFacts;
    use super::*;

    /// Whole, and in pieces of every size: the facts must be the same.
    fn read(message: &[u8]) -> ContentFacts {
        let whole = ContentFacts::read(message);
        for size in 1..=message.len().clamp(1, 40) {
            let mut reader = Reader::default();
            message.chunks(size).for_each(|piece| reader.feed(piece));
            assert_eq!(reader.finish(), whole, "in pieces of {size}");
        }
        whole
    }

    const MIXED: &str = "Received: from a.test ([192.0.2.1]) by b.test with ESMTP id 1; Mon, 1 Jan 2026 00:00:00 +0000\r\n\
        Received: by c.test id 2\r\n\
        Delivered-To: u@b.test\r\n\
        Message-ID: <1@a.test>\r\n\
        In-Reply-To: <0@b.test>\r\n\
        References: <a@x>\r\n <b@x>\r\n\
        Reply-To: x@a.test\r\n\
        Subject: one\r\n two\r\n\
        reply-to: y@a.test\r\n\
        DKIM-Signature: v=1; d=a.test; t=1700000000; bh=x=\r\n\
        Auto-Submitted: auto-replied (vacation)\r\n\
        Content-Type: multipart/mixed; boundary=\"o\"\r\n\
        \r\n\
        preamble\r\n\
        --o\r\n\
        Content-Type: multipart/alternative; boundary=i\r\n\
        \r\n\
        --i\r\n\
        \r\n\
        plain\r\n\
        --i\r\n\
        Content-Type: text/html\r\n\
        \r\n\
        <p>a long line of HTML that goes on and on and on and on and on and on and on and on and on</p> <p>longer</p>\r\n\
        --i--\r\n\
        --o\r\n\
        Content-Type: application/pdf; name=a.pdf\r\n\
        Content-Transfer-Encoding: base64\r\n\
        \r\n\
        AAAA\r\nAA==\r\n\
        --o--\r\n\
        epilogue\r\n";

    #[test]
    fn a_line_of_nuls_does_not_end_the_header() {
        assert_eq!(read(b"A: b\r\n\0\0\r\nSubject: c\r\n\r\nx").header_size, 24);
    }

    #[test]
    fn a_message_with_parts_is_read() {
        let facts = read(MIXED.as_bytes());
        assert_eq!(facts.received.len(), 2);
        assert_eq!((facts.received[0].by.as_str(), facts.received[1].id.as_str()), ("b.test", "2"));
        assert_eq!(facts.delivered_to, ["u@b.test"]);
        assert_eq!((facts.message_id.as_str(), facts.in_reply_to.as_str()), ("<1@a.test>", "<0@b.test>"));
        assert_eq!((facts.references, facts.subject.as_str()), (2, "one two"));
        assert_eq!((facts.lines("Reply-To"), facts.lines("From")), (&[8, 11][..], &[][..]));
        assert!(facts.has_dkim && facts.auto_submitted && facts.encoded && !facts.open_multipart);
        assert_eq!(facts.dkim_time, Some(1_700_000_000));
        assert_eq!(facts.header_size as usize, mail::header_end(MIXED.as_bytes()));
        assert_eq!(facts.longest, LongLine { line: 26, octets: 109, part: "text/html".to_owned() });
        assert_eq!((facts.attachments.as_slice(), facts.attachments_decoded), (&["a.pdf".to_owned()][..], 4));
        assert_eq!((facts.bare_cr.count, facts.bare_lf.count, facts.nul.count), (0, 0, 0));
    }

    #[test]
    fn a_multipart_that_is_cut_off_is_open() {
        let cut = MIXED.split("--o--").next().unwrap();
        assert!(read(cut.as_bytes()).open_multipart);
        // An inner one that the outer one ends is not.
        assert!(!read(MIXED.replace("--i--\r\n", "").as_bytes()).open_multipart);
    }

    #[test]
    fn octets_that_no_line_may_hold_are_counted_from_the_messages_start() {
        let facts = read(b"A: b\r\n\r\n10%\r20%\r30%\r\nx\ny\r\n\0");
        assert_eq!((facts.bare_cr.count, facts.bare_cr.first), (2, 11));
        assert_eq!((facts.bare_lf.count, facts.bare_lf.first), (1, 22));
        assert_eq!((facts.nul.count, facts.nul.first), (1, 26));
        assert!(!facts.utf16);
        assert_eq!(read(b"a\r").bare_cr.first, 1);
    }

    #[test]
    fn utf16_is_told_from_padding() {
        let wide: Vec<u8> = "Hello, this is wide".encode_utf16().flat_map(u16::to_le_bytes).collect();
        let wide_be: Vec<u8> = "Hello, this is wide".encode_utf16().flat_map(u16::to_be_bytes).collect();
        assert!(read(&[b"A: b\r\n\r\n", wide.as_slice()].concat()).utf16);
        assert!(read(&[b"A: b\r\n\r\n", wide_be.as_slice()].concat()).utf16);
        assert!(!read(b"A: b\r\n\r\nx\0\0\0\0\0\0\0\0\0\0\0\0").utf16);
        assert!(!read(b"A: b\r\n\r\nx\0yzabcdefghijklmnop").utf16);
    }

    #[test]
    fn eight_bit_octets_are_told_apart_by_place() {
        let at = |text: &str| {
            let facts = read(text.as_bytes());
            (facts.eight_bit_header, facts.eight_bit_body)
        };
        assert_eq!(at("Subject: ü\r\n\r\nx"), (true, false));
        assert_eq!(at("Subject: u\r\n\r\nü"), (false, true));
        assert_eq!(at("Subject: u\r\n\r\nu"), (false, false));
    }

    #[test]
    fn nested_reports_are_counted() {
        let report = |inner: &str| {
            format!(
                "Content-Type: multipart/report; boundary=b\r\n\r\n--b\r\n\r\nx\r\n--b\r\nContent-Type: message/rfc822\r\n\r\n{inner}\r\n--b--\r\n"
            )
        };
        assert_eq!(read(report("Subject: x\r\n\r\nx").as_bytes()).reports, 1);
        let inner = report("Subject: x\r\n\r\nx").replace("=b", "=c").replace("--b", "--c");
        let facts = read(report(&inner).as_bytes());
        assert_eq!(facts.reports, 2);
        assert!(!facts.open_multipart);
        let header_only =
            report("Content-Type: multipart/report; boundary=c").replace("message/rfc822", "text/rfc822-headers");
        assert_eq!(read(header_only.as_bytes()).reports, 1, "a header without its empty line");
        let header_only =
            report("Content-Type: multipart/report; boundary=c\r\n").replace("message/rfc822", "text/rfc822-headers");
        assert_eq!(read(header_only.as_bytes()).reports, 2);
    }

    #[test]
    fn a_quoted_printable_attachment_is_counted_decoded() {
        let facts = read(
            b"Content-Type: text/csv; name=\"a.csv\"\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\na=3Db=\r\nc\r\n",
        );
        assert_eq!(facts.attachments_decoded, "a=bc\r\n".len() as u64);
    }

    #[test]
    fn nothing_breaks_it() {
        // xorshift, from a fixed seed: the same octets each time, of a kind that looks like mail.
        let words: [&[u8]; 18] = [
            b"\r\n",
            b"\n",
            b"\r",
            b"\0",
            b"--",
            b"--b\r\n",
            b"--b--\r\n",
            b": ",
            b"Content-Type: multipart/mixed; boundary=b\r\n",
            b"Content-Type: message/rfc822\r\n",
            b"Content-Disposition: attachment; filename*0*=\"",
            b"\xff\xc3",
            b"%",
            b"'",
            b"=",
            b"Received: from (((",
            b";",
            b" ",
        ];
        let mut seed = 0x2545_F491_4F6C_DD1D_u64;
        for _ in 0..200 {
            let mut message = Vec::new();
            for _ in 0..60 {
                seed ^= seed << 13;
                seed ^= seed >> 7;
                seed ^= seed << 17;
                match seed % 24 {
                    at @ 0..18 => message.extend_from_slice(words[at as usize]),
                    _ => message.push((seed >> 32) as u8),
                }
            }
            read(&message);
        }
    }

    #[test]
    fn what_is_kept_has_limits() {
        let field = format!("Received: from {}\r\n", "a".repeat(100_000));
        let facts = ContentFacts::read(field.repeat(300).as_bytes());
        assert_eq!(facts.received.len(), RECEIVED_MAX);
        assert!(facts.received[0].from.len() <= 255);
        assert_eq!(facts.longest.octets, field.len() as u64 - 2);
        let folded = format!("Subject: {}\r\n\r\n", "\r\n x".repeat(100_000));
        assert!(ContentFacts::read(folded.as_bytes()).subject.len() <= 255);
    }
}
