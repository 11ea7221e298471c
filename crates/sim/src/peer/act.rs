//! What a peer does at one word: what it says, after how long, and what becomes of the connection.

use std::{net::SocketAddr, time::Duration};

use crate::{Span, date};

/// The right-hand side of a script line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Act {
    pub(super) delay: Duration,
    /// Before the answer: a call back to verify the sender. Only if it fails, `say` is said; else the usual.
    pub(super) callout: Option<Callout>,
    pub(super) say: Say,
    pub(super) then: Then,
}

/// `callout ADDRESS:PORT [wait SPAN]`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Callout {
    pub(super) to: SocketAddr,
    /// How long to wait for the greeting and for each reply.
    pub(super) wait: Duration,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Say {
    /// What a peer without a script says.
    Usual,
    /// The bytes of a reply, CRLF included, or any other bytes.
    Bytes(Vec<u8>),
    /// Bytes in several writes, each after a pause.
    Parts(Vec<(Duration, Vec<u8>)>),
    Nothing,
    /// Take the message as accepted, but do not say so (`dot lost`).
    Lost,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Then {
    Stay,
    Close,
    /// RST in place of FIN.
    Reset,
    /// Stay connected, read on, never say anything again.
    Silence,
    /// FIN from our side, while the other side may still write.
    HalfClose,
}

impl Act {
    pub(super) const USUAL: Self = Self { delay: Duration::ZERO, callout: None, say: Say::Usual, then: Then::Stay };

    /// `[delay SPAN] [callout ADDRESS [wait SPAN]] [CODE text | raw BYTES | lost | close | reset | silence | halfclose] [then close…]`
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let (word, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
        if word == "delay" {
            let (span, rest) = rest.trim().split_once(char::is_whitespace).unwrap_or((rest.trim(), ""));
            let act = if rest.trim().is_empty() { Self::USUAL } else { Self::parse(rest)? };
            return Ok(Self { delay: span.parse::<Span>()?.0, ..act });
        }
        if word == "callout" {
            return Self::calling(rest);
        }
        if let Some(then) = Then::parse(text) {
            return Ok(Self { say: Say::Nothing, then, ..Self::USUAL });
        }
        let (said, then) = split_then(text);
        let say = match word {
            "lost" if said == "lost" => {
                return Ok(Self { say: Say::Lost, then: then.unwrap_or(Then::Close), ..Self::USUAL });
            }
            "raw" => raw(said.strip_prefix("raw").unwrap_or(said).trim_start())?,
            code if is_code(code) => Say::Bytes(reply(code, said.strip_prefix(code).unwrap_or_default().trim_start())?),
            _ => {
                return Err(format!(
                    "\"{text}\" is no action: expected a reply such as `450 4.2.0 text`, or delay, callout, raw, close, reset, silence, halfclose or lost"
                ));
            }
        };
        Ok(Self { say, then: then.unwrap_or(Then::Stay), ..Self::USUAL })
    }

    /// `ADDRESS:PORT [wait SPAN] CODE text`
    fn calling(text: &str) -> Result<Self, String> {
        let (to, mut rest) = text.trim().split_once(char::is_whitespace).unwrap_or((text.trim(), ""));
        let to = to.parse().map_err(|_| format!("\"{to}\" is no ADDRESS:PORT to call"))?;
        let mut wait = Duration::from_secs(30);
        if let Some(more) = rest.trim_start().strip_prefix("wait ") {
            let (span, more) = more.trim_start().split_once(char::is_whitespace).unwrap_or((more.trim(), ""));
            (wait, rest) = (span.parse::<Span>()?.0, more);
        }
        Ok(Self { callout: Some(Callout { to, wait }), ..Self::parse(rest)? })
    }

    /// Does this word begin an action?
    pub(super) fn begins(word: &str) -> bool {
        is_code(word) || Then::parse(word).is_some() || matches!(word, "delay" | "raw" | "lost" | "callout")
    }
}

impl Then {
    fn parse(word: &str) -> Option<Self> {
        match word {
            "close" => Some(Self::Close),
            "reset" => Some(Self::Reset),
            "silence" => Some(Self::Silence),
            "halfclose" => Some(Self::HalfClose),
            _ => None,
        }
    }
}

fn is_code(word: &str) -> bool {
    word.len() == 3 && word.bytes().all(|b| b.is_ascii_digit())
}

fn split_then(text: &str) -> (&str, Option<Then>) {
    let cut = text.rsplit_once(" then ").and_then(|(said, word)| Some((said.trim_end(), Then::parse(word.trim())?)));
    cut.map_or((text, None), |(said, then)| (said, Some(then)))
}

/// `BYTES [pause SPAN BYTES]…`
fn raw(text: &str) -> Result<Say, String> {
    let mut parts = text.split(" pause ");
    let first = unescape(parts.next().unwrap_or_default())?;
    let mut all = vec![(Duration::ZERO, first)];
    for part in parts {
        let (span, bytes) = part.trim_start().split_once(char::is_whitespace).unwrap_or((part.trim(), ""));
        all.push((span.parse::<Span>()?.0, unescape(bytes.trim_start())?));
    }
    match all.len() {
        1 => Ok(all.pop().map_or(Say::Nothing, |(_, bytes)| Say::Bytes(bytes))),
        _ => Ok(Say::Parts(all)),
    }
}

/// Puts the time of day in the place of `{date}`, and of `{date-2h}` or `{date+30m}` on a host whose clock is wrong.
pub(super) fn dated(bytes: Vec<u8>) -> Vec<u8> {
    if !bytes.windows(5).any(|word| word == b"{date") {
        return bytes;
    }
    let mut text = String::from_utf8_lossy(&bytes).into_owned();
    while let Some((before, rest)) = text.split_once("{date")
        && let Some((shift, after)) = rest.split_once('}')
    {
        let (sign, span) = shift.strip_prefix('-').map_or((1, shift.trim_start_matches('+')), |span| (-1, span));
        let seconds = span.parse::<Span>().map_or(0, |span| i64::try_from(span.0.as_secs()).unwrap_or(0));
        text = format!("{before}{}{after}", date::rfc5322(date::now_s() + sign * seconds));
    }
    text.into_bytes()
}

/// RFC 5321 4.2.1: `\n` in the text makes a reply of several lines.
pub(super) fn reply(code: &str, text: &str) -> Result<Vec<u8>, String> {
    let text = String::from_utf8_lossy(&unescape(text)?).replace("\r\n", "\n");
    Ok(lines(code, &text.split('\n').collect::<Vec<_>>()))
}

/// The lines of one reply, all but the last with a hyphen.
pub(super) fn lines(code: &str, texts: &[&str]) -> Vec<u8> {
    let mut out = Vec::new();
    for (at, text) in texts.iter().enumerate() {
        let separator = if at + 1 == texts.len() { ' ' } else { '-' };
        out.extend(format!("{code}{separator}{text}\r\n").into_bytes());
    }
    out
}

/// `\r \n \t \\ \0 \xHH`
pub(crate) fn unescape(text: &str) -> Result<Vec<u8>, String> {
    let mut out = Vec::new();
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        out.push(match bytes.next() {
            Some(b'r') => b'\r',
            Some(b'n') => b'\n',
            Some(b't') => b'\t',
            Some(b'0') => 0,
            Some(b'\\') => b'\\',
            Some(b'x') => {
                let digits: Vec<u8> = bytes.by_ref().take(2).collect();
                std::str::from_utf8(&digits)
                    .ok()
                    .filter(|d| d.len() == 2)
                    .and_then(|d| u8::from_str_radix(d, 16).ok())
                    .ok_or("\\x needs two hexadecimal digits")?
            }
            _ => return Err(format!("\"{text}\" has an unknown escape: known are \\r \\n \\t \\0 \\\\ \\xHH")),
        });
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &str) -> String {
        match Act::parse(text).unwrap().say {
            Say::Bytes(bytes) => String::from_utf8(bytes).unwrap(),
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn a_reply_is_a_code_and_its_lines() {
        assert_eq!(said("450 4.2.0 Greylisted"), "450 4.2.0 Greylisted\r\n");
        assert_eq!(said(r"550 5.7.1 one\n5.7.1 two"), "550-5.7.1 one\r\n550 5.7.1 two\r\n");
        assert_eq!(said("250"), "250 \r\n");
    }

    #[test]
    fn what_happens_next_stands_after_then() {
        let act = Act::parse("delay 2s 421 4.3.2 now and then busy then close").unwrap();
        assert_eq!((act.delay, act.then), (Duration::from_secs(2), Then::Close));
        assert_eq!(said("421 now and then busy then close"), "421 now and then busy\r\n");
    }

    #[test]
    fn bytes_are_sent_as_they_are() {
        assert_eq!(Act::parse(r"raw 220 x\n\x00\xff").unwrap().say, Say::Bytes(b"220 x\n\x00\xff".to_vec()));
    }

    #[test]
    fn bytes_can_come_in_parts() {
        let parts = Act::parse(r"raw 220-x\r\n pause 2s 220 x\r\n").unwrap().say;
        assert_eq!(
            parts,
            Say::Parts(vec![(Duration::ZERO, b"220-x\r\n".to_vec()), (Duration::from_secs(2), b"220 x\r\n".to_vec())])
        );
    }

    #[test]
    fn a_callout_comes_before_the_reply() {
        let act = Act::parse("callout 127.0.0.2:2525 wait 2s 451 4.3.0 could not verify").unwrap();
        assert_eq!(act.callout.unwrap().wait, Duration::from_secs(2));
        assert_eq!(act.say, Say::Bytes(b"451 4.3.0 could not verify\r\n".to_vec()));
        for wrong in ["callout x 451 no", "callout 127.0.0.2:2525", "callout 127.0.0.2:2525 wait 451"] {
            assert!(Act::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_reply_can_have_the_time() {
        let text = String::from_utf8(dated(b"220 x; {date}, {date-2h}".to_vec())).unwrap();
        assert!(!text.contains('{') && text.matches("+0000").count() == 2, "{text}");
    }

    #[test]
    fn words_alone_end_the_connection() {
        assert_eq!(Act::parse("lost").unwrap(), Act { say: Say::Lost, then: Then::Close, ..Act::USUAL });
        assert_eq!(Act::parse("reset").unwrap().then, Then::Reset);
        for wrong in ["", "closed", "45 x", "delay", "delay 5", r"250 \q", r"raw \x1"] {
            assert!(Act::parse(wrong).is_err(), "{wrong}");
        }
    }
}
