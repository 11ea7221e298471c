//! Content: by DATA and by BDAT the same octets come to the same verdict and the same message, and to what the RFC says.

use super::desk::Desk;
use crate::octets::Octets;
use smtp::server::Options;

const LINE_MAX: usize = 40;
const SIZE_MAX: usize = 600;

/// An octet says whether the limits are small and how BDAT is cut; the rest is a message.
pub(crate) fn check(input: &[u8]) {
    let mut octets = Octets(input);
    let (how, size) = (octets.octet(), usize::from(octets.octet()));
    let content = octets.0;
    let limits = if how & 1 == 0 { (0, 0) } else { (LINE_MAX, SIZE_MAX) };
    let with_line_end =
        [content, if content.is_empty() || content.ends_with(b"\r\n") { b"" } else { b"\r\n" }].concat();

    let dots = deliver(limits, &as_data(content));
    let chunks = deliver(limits, &as_chunks(content, size));
    let is_good = is_good(content, limits);
    // The line end that DATA cannot do without may be the two octets too many.
    let is_good_with_line_end = is_good && (limits.1 == 0 || with_line_end.len() <= limits.1);
    match (&dots, is_good_with_line_end) {
        (Ok(taken), true) => assert_eq!(taken, &with_line_end, "DATA gives another message"),
        (Err(_), false) => {}
        (dots, good) => panic!("DATA: {dots:?}, good: {good}"),
    }
    match (&chunks, is_good) {
        (Ok(taken), true) => assert_eq!(taken, content, "BDAT gives another message"),
        (Err(_), false) => {}
        (chunks, good) => panic!("BDAT: {chunks:?}, good: {good}"),
    }
    if let (Err(dots), Err(chunks)) = (&dots, &chunks)
        && !dots.contains("limit is")
        && size == 0
    {
        assert_eq!(dots, chunks, "one fault, two answers");
    }
}

/// RFC 5321 2.3.8, 4.5.3.1.6: lines end with CRLF, neither stands alone, no NUL.
fn is_good(content: &[u8], (line_max, size_max): (usize, usize)) -> bool {
    // Latin-1: a character for each octet.
    let text: String = content.iter().copied().map(char::from).collect();
    let lines: Vec<&str> = text.split("\r\n").collect();
    let is_long = |line: &&str| line_max != 0 && line.chars().count() + 2 > line_max;
    !lines.iter().any(|line| line.contains(['\r', '\n', '\0']))
        && !lines.iter().any(is_long)
        && (size_max == 0 || content.len() <= size_max)
}

/// RFC 5321 4.5.2: a line that begins with a dot gets another one; the lone dot ends.
fn as_data(content: &[u8]) -> Vec<u8> {
    let mut wire = b"DATA\r\n".to_vec();
    let mut is_line_start = true;
    for (at, octet) in content.iter().enumerate() {
        if is_line_start && *octet == b'.' {
            wire.push(b'.');
        }
        wire.push(*octet);
        is_line_start = content[..=at].ends_with(b"\r\n");
    }
    wire.extend_from_slice(if is_line_start { b".\r\n" } else { b"\r\n.\r\n" });
    wire
}

/// RFC 3030 2: in chunks of `size`; 0: in one.
fn as_chunks(content: &[u8], size: usize) -> Vec<u8> {
    let size = if size == 0 { content.len().max(1) } else { size };
    let mut wire = Vec::new();
    for chunk in content.chunks(size) {
        wire.extend_from_slice(format!("BDAT {}\r\n", chunk.len()).as_bytes());
        wire.extend_from_slice(chunk);
    }
    match content.len() <= size {
        true => [format!("BDAT {} LAST\r\n", content.len()).as_bytes(), content].concat(),
        false => [wire, b"BDAT 0 LAST\r\n".to_vec()].concat(),
    }
}

/// The message as it was taken, or the refusal.
fn deliver((line_max, size_max): (usize, usize), wire: &[u8]) -> Result<Vec<u8>, String> {
    let mut options = Options::new("gw.test");
    (options.content_line_max, options.size_max) = (line_max, size_max as u64);
    options.errors_max = 0;
    let mut desk = Desk::of(options, 0);
    desk.greet();
    desk.hear(b"EHLO x\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<c@d.test>\r\n");
    desk.said.clear();
    // DATA is the last of its group.
    let (first, rest) = if wire.starts_with(b"DATA") { wire.split_at(6) } else { wire.split_at(0) };
    desk.hear(first);
    desk.hear(rest);
    let said = String::from_utf8_lossy(&desk.said).into_owned();
    match desk.taken.len() {
        0 => {
            Err(said.lines().find(|line| line.starts_with('5')).unwrap_or_else(|| panic!("neither: {said}")).to_owned())
        }
        1 => Ok(desk.taken.remove(0)),
        more => panic!("{more} messages of one: {said}"),
    }
}
