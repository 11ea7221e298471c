//! Tokens: a reply's text as words in lower case, with addresses, names and links told from words.

use mail::EnhancedStatus;
use std::net::IpAddr;

/// One piece of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Token {
    Word(String),
    Number(u64),
    Address(IpAddr),
    /// A host or domain name with a dot.
    Name(String),
    /// `user@domain`.
    Mailbox(String),
    Link(String),
    Code(EnhancedStatus),
    /// `<>`
    Null,
    /// A word that a phrase has used already.
    Used,
}

/// Words of one reply that are looked at.
const TOKENS_MAX: usize = 400;

/// Cuts a text.
pub(super) fn read(text: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    for word in text.split_whitespace() {
        if tokens.len() >= TOKENS_MAX {
            break;
        }
        if word.trim_matches(['(', ')', ':', ',', ';', '.']) == "<>" || word.to_ascii_lowercase().ends_with(":<>") {
            tokens.push(Token::Null);
            continue;
        }
        if let Some(link) = link(word) {
            tokens.push(link);
            continue;
        }
        for piece in word.split(|c: char| "<>()[]{}\"'`,;!|?*".contains(c)) {
            cut(piece, &mut tokens);
        }
    }
    tokens
}

/// The first enhanced code that the text itself holds: `(#5.1.1)`.
pub(super) fn code(tokens: &[Token]) -> Option<EnhancedStatus> {
    tokens.iter().find_map(|token| if let Token::Code(code) = token { Some(*code) } else { None })
}

fn link(word: &str) -> Option<Token> {
    let lower = word.to_ascii_lowercase();
    let start = lower
        .find("http://")
        .or_else(|| lower.find("https://"))
        .or_else(|| lower.find("www.").filter(|at| *at == 0 || !lower.as_bytes()[at - 1].is_ascii_alphanumeric()))?;
    Some(Token::Link(lower[start..].trim_end_matches(['.', ',', ')', ']', '>', '"', '\'']).to_owned()))
}

fn cut(piece: &str, tokens: &mut Vec<Token>) {
    // An IPv6 address may begin and end in colons.
    if let Some(address) = address(piece.trim_matches(['.', ',', '-', '='])) {
        tokens.push(Token::Address(address));
        return;
    }
    let piece = piece.trim_matches(['.', ':', '-', '=', '/', '_', '~']);
    if piece.is_empty() {
        return;
    }
    if let Some(token) = whole(piece) {
        tokens.push(token);
        return;
    }
    if let Some(at) = piece.find([':', '=', '/', '-', '_', '+', '#', '&', '%']) {
        let (left, right) = piece.split_at(at);
        cut(left, tokens);
        let next = right.chars().next().map_or(0, char::len_utf8);
        cut(&right[next..], tokens);
        return;
    }
    tokens.push(Token::Word(piece.to_lowercase().chars().map(unaccented).collect()));
}

/// Hosts write accents or leave them out.
fn unaccented(c: char) -> char {
    match c {
        'à' | 'á' | 'â' | 'ã' | 'ä' | 'å' | 'ą' => 'a',
        'ç' | 'ć' | 'č' => 'c',
        'è' | 'é' | 'ê' | 'ë' | 'ę' => 'e',
        'ì' | 'í' | 'î' | 'ï' => 'i',
        'ł' => 'l',
        'ñ' | 'ń' => 'n',
        'ò' | 'ó' | 'ô' | 'õ' | 'ö' | 'ø' => 'o',
        'ś' | 'š' | 'ß' => 's',
        'ù' | 'ú' | 'û' | 'ü' => 'u',
        'ź' | 'ż' | 'ž' => 'z',
        other => other,
    }
}

/// What must not be cut further.
fn whole(piece: &str) -> Option<Token> {
    if let Some(address) = address(piece) {
        return Some(Token::Address(address));
    }
    if let Ok(code) = piece.trim_start_matches('#').parse::<EnhancedStatus>() {
        return Some(Token::Code(code));
    }
    if !piece.is_empty() && piece.bytes().all(|byte| byte.is_ascii_digit()) {
        return piece.parse().ok().map(Token::Number);
    }
    if let Some((local, domain)) = piece.rsplit_once('@')
        && !local.is_empty()
        && !domain.is_empty()
    {
        // `ruleset=check_relay,arg=a@b`: the mailbox is what stands last.
        let local = local.rsplit(['=', ':']).next().unwrap_or(local);
        return Some(Token::Mailbox(format!("{local}@{domain}").to_ascii_lowercase()));
    }
    is_name(piece).then(|| Token::Name(piece.to_ascii_lowercase()))
}

/// `127.0.0.2`, `::1`, `IPv6:::1`.
pub(super) fn address(text: &str) -> Option<IpAddr> {
    let text = text.trim_matches(['[', ']']);
    let bare = match text.get(..5) {
        Some(tag) if tag.eq_ignore_ascii_case("ipv6:") => &text[5..],
        _ => text,
    };
    bare.parse().ok()
}

/// Labels with dots between, the last of letters: not `e.g` and not `1.2`.
fn is_name(text: &str) -> bool {
    let mut labels = text.split('.');
    let Some(last) = labels.next_back() else { return false };
    let is_label = |label: &str| {
        !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    };
    let mut before = labels.peekable();
    before.peek().is_some()
        && before.all(is_label)
        && is_label(last)
        && last.len() >= 2
        && last.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic())
}
