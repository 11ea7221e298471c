//! Macros in SPF records (RFC 7208 7): parts of the client's names and address, put into the names that are asked for.

/// A string with macros, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spec(pub(super) Vec<Piece>);

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Piece {
    Literal(String),
    Macro(Macro),
}

/// `%{d2r.}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Macro {
    /// In lower case.
    pub(super) letter: char,
    /// Written in upper case: the value is to be URL-escaped.
    escaped: bool,
    /// So many parts from the right.
    parts: Option<usize>,
    reversed: bool,
    delimiters: String,
}

impl Spec {
    /// The text, if there is no macro in it.
    pub fn literal(&self) -> Option<&str> {
        match self.0.as_slice() {
            [Piece::Literal(text)] => Some(text),
            _ => None,
        }
    }
}

impl Macro {
    /// Applies the transformers to the value (RFC 7208 7.3).
    pub(super) fn transform(&self, value: &str) -> String {
        let delimiters = if self.delimiters.is_empty() { "." } else { &self.delimiters };
        let mut parts: Vec<&str> = value.split(|c| delimiters.contains(c)).collect();
        if self.reversed {
            parts.reverse();
        }
        let from = self.parts.map_or(0, |count| parts.len().saturating_sub(count));
        let joined = parts[from..].join(".");
        if self.escaped { url_escaped(&joined) } else { joined }
    }
}

fn url_escaped(text: &str) -> String {
    let escape = |byte: u8| match byte {
        b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        _ if byte.is_ascii_alphanumeric() => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(escape).collect()
}

/// A domain-spec: a string that ends in a top-level name or in a macro.
pub(super) fn domain(text: &str) -> Result<Spec, String> {
    if text.is_empty() {
        return Err("needs a domain".to_owned());
    }
    let (spec, ends_in_macro) = read(text, LETTERS, false)?;
    let top = text.strip_suffix('.').unwrap_or(text).rsplit_once('.').map(|(_, top)| top);
    if ends_in_macro || top.is_some_and(is_top_label) {
        Ok(spec)
    } else {
        Err("has a domain without a top-level name".to_owned())
    }
}

/// Any string without blanks.
pub(super) fn string(text: &str) -> Result<Spec, String> {
    read(text, LETTERS, false).map(|(spec, _)| spec)
}

/// The text of an explanation, which knows more macros and may have blanks (RFC 7208 6.2).
pub(super) fn explanation(text: &str) -> Result<Spec, String> {
    read(text, "slodiphvcrt", true).map(|(spec, _)| spec)
}

const LETTERS: &str = "slodiphv";

/// Letters and digits, hyphens inside, and not digits alone.
fn is_top_label(label: &str) -> bool {
    !label.starts_with('-')
        && !label.ends_with('-')
        && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        && label.bytes().any(|byte| !byte.is_ascii_digit())
}

/// The pieces, and whether the last is a macro.
fn read(text: &str, letters: &str, blanks: bool) -> Result<(Spec, bool), String> {
    let is_allowed = |byte: u8| (0x21..=0x7e).contains(&byte) || (blanks && byte == b' ');
    if !text.bytes().all(is_allowed) {
        return Err("has characters that may not stand there".to_owned());
    }
    let (mut pieces, mut literal, mut rest) = (Vec::new(), String::new(), text);
    let mut ends_in_macro = false;
    while let Some(at) = rest.find('%') {
        literal.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        let taken = match after.as_bytes().first() {
            Some(b'%') => {
                literal.push('%');
                1
            }
            Some(b'_') => {
                literal.push(' ');
                1
            }
            Some(b'-') => {
                literal.push_str("%20");
                1
            }
            Some(b'{') => {
                let (inner, _) = after[1..].split_once('}').ok_or("has a % that begins no macro")?;
                let found = one(inner, letters).ok_or_else(|| format!("has a macro that is none: %{{{inner}}}"))?;
                if !literal.is_empty() {
                    pieces.push(Piece::Literal(std::mem::take(&mut literal)));
                }
                pieces.push(Piece::Macro(found));
                inner.len() + 2
            }
            _ => return Err("has a % that begins no macro".to_owned()),
        };
        rest = &after[taken..];
        ends_in_macro = rest.is_empty();
    }
    literal.push_str(rest);
    if !literal.is_empty() {
        pieces.push(Piece::Literal(literal));
    }
    Ok((Spec(pieces), ends_in_macro))
}

/// What stands between the braces: letter, digits, `r`, delimiters.
fn one(inner: &str, letters: &str) -> Option<Macro> {
    let first = inner.chars().next()?;
    let letter = first.to_ascii_lowercase();
    if !letters.contains(letter) {
        return None;
    }
    let rest = &inner[1..];
    let (digits, rest) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len()));
    // So many that no number holds them are all of them; none at all means nothing (RFC 7208 7.3).
    let parts = match digits {
        "" => None,
        _ if digits.bytes().all(|digit| digit == b'0') => return None,
        _ => Some(digits.parse().unwrap_or(usize::MAX)),
    };
    let (reversed, delimiters) = match rest.strip_prefix(['r', 'R']) {
        Some(rest) => (true, rest),
        None => (false, rest),
    };
    let are_delimiters = delimiters.chars().all(|c| ".-+,/_=".contains(c));
    let delimiters = delimiters.to_owned();
    are_delimiters.then_some(Macro { letter, escaped: first.is_ascii_uppercase(), parts, reversed, delimiters })
}

#[cfg(test)]
mod tests {
    use super::{Piece, string};

    /// RFC 7208 7.4.
    #[test]
    fn transformers() {
        let transform = |text: &str, value: &str| match string(text).unwrap().0.as_slice() {
            [Piece::Macro(one)] => one.transform(value),
            other => panic!("{other:?}"),
        };
        let domain = "email.example.com";
        assert_eq!(transform("%{d}", domain), "email.example.com");
        assert_eq!(transform("%{d4}", domain), "email.example.com");
        assert_eq!(transform("%{d2}", domain), "example.com");
        assert_eq!(transform("%{d1}", domain), "com");
        assert_eq!(transform("%{dr}", domain), "com.example.email");
        assert_eq!(transform("%{d2r}", domain), "example.email");
        assert_eq!(transform("%{d99999999999999999999999}", domain), "email.example.com");
        let local = "strong-bad";
        assert_eq!(transform("%{l}", local), "strong-bad");
        assert_eq!(transform("%{l-}", local), "strong.bad");
        assert_eq!(transform("%{lr}", local), "strong-bad");
        assert_eq!(transform("%{lr-}", local), "bad.strong");
        assert_eq!(transform("%{l1r-}", local), "strong");
        assert_eq!(transform("%{L}", "jack&jill=up-a_b3.c"), "jack%26jill%3Dup-a_b3.c");
    }
}
