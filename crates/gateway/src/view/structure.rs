//! Structure: what parts a message is made of (RFC 2045, RFC 2046), for people to look at. Not a parser that anything relies
//! on: it reads what it understands and says when it stopped.

use control::{Inside, Part};
use mail::Headers;

/// Octets of a header that are shown.
const HEADER_MAX: usize = 64 << 10;
const PARTS_MAX: usize = 100;
const DEPTH_MAX: u8 = 8;

/// Of a message whose beginning this is; `size` is that of the whole.
pub(super) fn of(beginning: &[u8], size: u64) -> Inside {
    let end = mail::header_end(beginning);
    let header = &beginning[..end.min(HEADER_MAX)];
    let mut inside = Inside {
        header: String::from_utf8_lossy(header).into_owned(),
        parts: Vec::new(),
        is_cut: (beginning.len() as u64) < size || end > HEADER_MAX,
    };
    part(beginning, size, 0, &mut inside);
    inside
}

fn part(content: &[u8], size: u64, depth: u8, inside: &mut Inside) {
    if inside.parts.len() >= PARTS_MAX || depth > DEPTH_MAX {
        inside.is_cut = true;
        return;
    }
    let field = |name: &str| Headers::of(content).find(name).map(|field| field.text()).unwrap_or_default();
    let (kind, disposition) = (field("Content-Type"), field("Content-Disposition"));
    let name = Some(parameter(&disposition, "filename")).filter(|name| !name.is_empty());
    let word = |text: &str| text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let body = &content[mail::header_end(content)..];
    let header = (content.len() - body.len()) as u64;
    inside.parts.push(Part {
        depth,
        // RFC 2045 5.2.
        kind: Some(word(&kind)).filter(|kind| !kind.is_empty()).unwrap_or_else(|| "text/plain".to_owned()),
        charset: parameter(&kind, "charset"),
        encoding: word(&field("Content-Transfer-Encoding")),
        name: name.unwrap_or_else(|| parameter(&kind, "name")),
        size: size.saturating_sub(header),
    });
    match word(&kind).as_str() {
        "message/rfc822" => part(body, body.len() as u64, depth + 1, inside),
        multipart if multipart.starts_with("multipart/") => {
            let boundary = parameter(&kind, "boundary");
            if !boundary.is_empty() {
                between(body, &boundary).into_iter().for_each(|each| part(each, each.len() as u64, depth + 1, inside));
            }
        }
        _ => {}
    }
}

/// The parts between boundary lines (RFC 2046 5.1.1); the last one may be cut.
fn between<'a>(body: &'a [u8], boundary: &str) -> Vec<&'a [u8]> {
    let mark = format!("--{boundary}");
    let mut parts = Vec::new();
    let mut start = None;
    let mut at = 0;
    while at < body.len() && parts.len() < PARTS_MAX {
        let end = body[at..].iter().position(|byte| *byte == b'\n').map_or(body.len(), |length| at + length + 1);
        let line = body[at..end].trim_ascii_end();
        let behind = line.strip_prefix(mark.as_bytes());
        if let Some(behind) = behind.filter(|behind| behind.is_empty() || *behind == b"--") {
            parts.extend(start.map(|start| &body[start..at]));
            start = behind.is_empty().then_some(end);
        }
        at = end;
    }
    parts.extend(start.map(|start| &body[start..]));
    parts
}

/// `; name=value` or `; name="value"` of a structured field; RFC 2231's forms as they stand.
fn parameter(field: &str, name: &str) -> String {
    let mut rest = field;
    while let Some((_, behind)) = rest.split_once(';') {
        rest = behind;
        let Some((known, value)) = behind.split_once('=') else { continue };
        let known = known.trim();
        if !known.eq_ignore_ascii_case(name) && !known.trim_end_matches('*').eq_ignore_ascii_case(name) {
            continue;
        }
        return match value.trim_start().strip_prefix('"') {
            Some(quoted) => unquoted(quoted),
            None => value.split(';').next().unwrap_or_default().trim().to_owned(),
        };
    }
    String::new()
}

fn unquoted(text: &str) -> String {
    let mut value = String::new();
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '"' => break,
            '\\' => value.extend(letters.next()),
            other => value.push(other),
        }
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    const MESSAGE: &str = "Subject: x\r\nContent-Type: multipart/mixed;\r\n boundary=\"a b\"\r\n\r\npreamble\r\n--a b\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nhello\r\n--a b\r\nContent-Type: application/pdf; name=old.pdf\r\nContent-Disposition: attachment; filename=\"a;\\\"b.pdf\"\r\nContent-Transfer-Encoding: BASE64\r\n\r\nAAAA\r\n--a b--\r\nepilogue\r\n";

    fn shape(inside: &Inside) -> Vec<String> {
        let one =
            |part: &Part| format!("{} {} {} {} {}", part.depth, part.kind, part.charset, part.encoding, part.name);
        inside.parts.iter().map(one).collect()
    }

    #[test]
    fn parts_are_found_with_their_names() {
        let inside = of(MESSAGE.as_bytes(), MESSAGE.len() as u64);
        assert_eq!(
            shape(&inside),
            ["0 multipart/mixed   ", "1 text/plain utf-8  ", "1 application/pdf  base64 a;\"b.pdf"]
        );
        assert!(inside.header.starts_with("Subject: x") && !inside.header.contains("preamble") && !inside.is_cut);
    }

    #[test]
    fn what_is_not_mime_is_one_plain_part_and_nothing_is_endless() {
        assert_eq!(shape(&of(b"hello", 5)), ["0 text/plain   "]);
        let nested = "Content-Type: message/rfc822\r\n\r\n".repeat(1000);
        let inside = of(nested.as_bytes(), nested.len() as u64);
        assert!(inside.is_cut && inside.parts.len() == usize::from(DEPTH_MAX) + 1, "{}", inside.parts.len());
        let many = format!("Content-Type: multipart/mixed; boundary=x\r\n\r\n{}", "--x\r\n\r\n".repeat(100_000));
        assert!(of(many.as_bytes(), many.len() as u64).parts.len() <= PARTS_MAX);
    }

    #[test]
    fn a_beginning_says_that_it_is_one() {
        assert!(of(&MESSAGE.as_bytes()[..60], MESSAGE.len() as u64).is_cut);
    }
}
