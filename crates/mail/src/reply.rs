//! Reply: what a server says (RFC 5321 4.2), with its enhanced status if it has one (RFC 2034).

use crate::EnhancedStatus;
use serde::{Deserialize, Serialize};
use std::fmt;

/// One reply. Lines are kept without code, enhanced status and CRLF.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reply {
    pub code: u16,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enhanced: Option<EnhancedStatus>,
    pub lines: Vec<String>,
}

/// Why bytes are not a reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplyError(pub String);

impl Reply {
    /// A reply without an enhanced status: the greeting, EHLO's, 354 (RFC 2034 4).
    pub fn plain(code: u16, text: impl Into<String>) -> Reply {
        Reply { code, enhanced: None, lines: vec![text.into()] }
    }

    /// A reply with one. `Reply::new(550, "5.7.1", …)`; a text that is no status is left out.
    pub fn new(code: u16, enhanced: &str, text: impl Into<String>) -> Reply {
        Reply { code, enhanced: enhanced.parse().ok(), lines: vec![text.into()] }
    }

    /// 2xx.
    pub fn is_positive(&self) -> bool {
        self.code / 100 == 2
    }

    /// 4xx.
    pub fn is_transient(&self) -> bool {
        self.code / 100 == 4
    }

    /// 5xx.
    pub fn is_permanent(&self) -> bool {
        self.code / 100 == 5
    }

    /// The enhanced status, or the class's own `x.0.0` where the peer gave none.
    pub fn status(&self) -> EnhancedStatus {
        // RFC 3463 2 has no class 3: 354 and 334 are success so far.
        let class = if self.code / 100 == 3 { 2 } else { (self.code / 100) as u8 };
        self.enhanced.unwrap_or(EnhancedStatus { class, subject: 0, detail: 0 })
    }

    /// All lines in one, for logs and statuses.
    pub fn text(&self) -> String {
        self.lines.join(" ")
    }

    /// Parses whole lines of one reply, CRLF removed: `["250-one", "250 two"]`.
    pub fn parse(lines: &[&str]) -> Result<Reply, ReplyError> {
        let wrong =
            |line: &str| ReplyError(format!("{:?} is not an SMTP reply", line.chars().take(100).collect::<String>()));
        let mut parts = Vec::with_capacity(lines.len());
        for line in lines {
            let code = line.get(..3).and_then(|code| code.parse::<u16>().ok()).filter(|code| (200..600).contains(code));
            let code = code.ok_or_else(|| wrong(line))?;
            match line.as_bytes().get(3) {
                None => parts.push((code, "")),
                Some(b' ' | b'-') => parts.push((code, &line[4..])),
                Some(_) => return Err(wrong(line)),
            }
        }
        // RFC 5321 4.2.1 asks for one code throughout; the last line's counts with those who mix them, and an enhanced status
        // that contradicts it is text.
        let (code, _) = *parts.last().ok_or_else(|| wrong(""))?;
        let mut reply = Reply { code, enhanced: None, lines: Vec::with_capacity(parts.len()) };
        for (_, rest) in parts {
            let (enhanced, text) = split_enhanced(rest, code);
            reply.enhanced = reply.enhanced.or(enhanced);
            reply.lines.push(text.to_owned());
        }
        Ok(reply)
    }

    /// As bytes on the wire, CRLF included, the enhanced status in each line (RFC 2034 4).
    pub fn write(&self, out: &mut Vec<u8>) {
        for (at, line) in self.lines.iter().enumerate() {
            let separator = if at + 1 == self.lines.len() { ' ' } else { '-' };
            out.extend_from_slice(format!("{}{separator}", self.code).as_bytes());
            if let Some(enhanced) = self.enhanced {
                out.extend_from_slice(format!("{enhanced} ").as_bytes());
            }
            // A text is ours or a peer's: in neither may a line end begin a new reply.
            out.extend(line.bytes().map(|byte| if byte == b'\r' || byte == b'\n' { b' ' } else { byte }));
            out.extend_from_slice(b"\r\n");
        }
    }
}

/// Splits `5.7.1 text` if the status' class fits the code (RFC 3463 2).
fn split_enhanced(rest: &str, code: u16) -> (Option<EnhancedStatus>, &str) {
    let (word, text) = rest.split_once(' ').unwrap_or((rest, ""));
    match word.parse::<EnhancedStatus>() {
        Ok(status) if u16::from(status.class) == code / 100 => (Some(status), text),
        _ => (None, rest),
    }
}

/// `550 5.7.1 text`, in one line.
impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.code)?;
        if let Some(enhanced) = self.enhanced {
            write!(f, " {enhanced}")?;
        }
        let text = self.text();
        if text.is_empty() { Ok(()) } else { write!(f, " {text}") }
    }
}

impl fmt::Display for ReplyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ReplyError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_are_read_with_and_without_enhanced_status() {
        let reply = Reply::parse(&["550-5.7.1 no", "550 5.7.1 really"]).unwrap();
        assert_eq!(reply.to_string(), "550 5.7.1 no really");
        assert_eq!(Reply::parse(&["250"]).unwrap().to_string(), "250");
        assert_eq!(Reply::parse(&["220 2.0 beta ready"]).unwrap().enhanced, None);
        assert_eq!(Reply::parse(&["451 5.7.1 x"]).unwrap().text(), "5.7.1 x");
    }

    #[test]
    fn an_enhanced_status_never_contradicts_the_code() {
        let reply = Reply::parse(&["450-4.1.1 a", "550 5.1.1 b"]).unwrap();
        assert_eq!(reply.to_string(), "550 5.1.1 4.1.1 a b");
        assert_eq!(reply.status().to_string(), "5.1.1");
        assert_eq!(Reply::plain(354, "go").status().to_string(), "2.0.0", "there is no class 3");
    }

    #[test]
    fn what_is_no_reply_is_refused() {
        for wrong in ["", "HTTP/1.1 400", "25", "999 x", "2500 x", "ééé"] {
            assert!(Reply::parse(&[wrong]).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_line_end_in_a_text_does_not_begin_a_reply() {
        let mut out = Vec::new();
        Reply::plain(250, "a\r\n550 b").write(&mut out);
        assert_eq!(out, b"250 a  550 b\r\n");
    }
}
