//! Named: what a reply quotes: addresses, names, delays, block lists, queue ids, limits.

use super::tokens::{self, Token};
use super::{Topic, topics};
use mail::Reply;
use mail::dns::{Kind, Question};
use std::net::IpAddr;
use std::time::Duration;

/// Whether the text holds this address (in any notation), name or mailbox as a whole word.
pub fn quotes(reply: &Reply, what: &str) -> bool {
    let wanted = what.trim_matches(['<', '>', '[', ']', '.', ' ']).to_ascii_lowercase();
    if wanted.is_empty() {
        return false;
    }
    let text = reply.text().to_ascii_lowercase();
    if let Some(address) = tokens::address(&wanted) {
        let mapped = |found: &IpAddr| found.to_canonical() == address.to_canonical();
        return tokens::read(&text).iter().any(|token| matches!(token, Token::Address(found) if mapped(found)));
    }
    let is_inside = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.@+".contains(&byte);
    text.match_indices(&wanted).any(|(at, _)| {
        let before = text.as_bytes()[..at].last().is_some_and(|byte| is_inside(*byte));
        let after = text[at + wanted.len()..].trim_start_matches('.');
        let had_dot = after.len() < text.len() - at - wanted.len();
        let next = after.bytes().next();
        // A final dot may end a sentence, but not go on: `gw.test.` but not `gw.test.example`.
        !before && !next.is_some_and(|byte| if had_dot { byte.is_ascii_alphanumeric() } else { is_inside(byte) })
    })
}

/// Addresses that the text holds.
pub fn addresses(reply: &Reply) -> Vec<IpAddr> {
    let address = |token: &Token| if let Token::Address(address) = token { Some(*address) } else { None };
    tokens::read(&reply.text()).iter().filter_map(address).collect()
}

/// Longest delay that is believed.
const DELAY_MAX_S: u64 = 5 * 24 * 3600;

/// How long the peer asks us to wait: "try again in 300 seconds", "wait 5 minutes", "retry after 00:05:00".
pub fn delay(reply: &Reply) -> Option<Duration> {
    let text = reply.text().to_ascii_lowercase();
    let words: Vec<&str> = text
        .split(|c: char| c.is_whitespace() || "()[]<>,;=".contains(c))
        .map(|word| word.trim_matches(['.', '!', '"', '\'', '~']))
        .filter(|word| !word.is_empty())
        .collect();
    let asks = |word: &&str| {
        ["retry", "again", "wait", "back", "later", "delay", "remaining", "left", "until"]
            .iter()
            .any(|asking| word.trim_end_matches(':').contains(asking))
            || word.starts_with("greylist")
            || word.starts_with("graylist")
    };
    if !words.iter().any(asks) {
        return None;
    }
    let mut at = 0;
    while at < words.len() {
        let Some((seconds, used)) = span(&words[at..]) else {
            at += 1;
            continue;
        };
        // "100 messages per 60 minutes", "within the last 5 minutes" are no delays.
        let is_limit = words[at.saturating_sub(2)..at].iter().any(|word| {
            ["per", "within", "every", "last", "past", "each", "/", "than", "idle", "timeout"].contains(word)
        });
        if !is_limit && (1..=DELAY_MAX_S).contains(&seconds) {
            return Some(Duration::from_secs(seconds));
        }
        at += used;
    }
    None
}

/// A time at the beginning of the words, in seconds, and how many words it took.
fn span(words: &[&str]) -> Option<(u64, usize)> {
    let clock: Vec<&str> = words[0].trim_end_matches(':').split(':').collect();
    if (2..=3).contains(&clock.len()) && clock.iter().all(|part| (1..=2).contains(&part.len())) {
        let mut seconds = 0;
        for part in &clock {
            seconds = seconds * 60 + part.parse::<u64>().ok()?;
        }
        return Some((seconds, 1));
    }
    let mut seconds = 0;
    let mut used = 0;
    while used < words.len() {
        let word = words[used].trim_matches([':', '-']);
        let digits = word.bytes().take_while(u8::is_ascii_digit).count();
        let Ok(number) = word[..digits].parse::<u64>() else { break };
        let (name, more) = match word[digits..].trim_start_matches('-') {
            "" => (words.get(used + 1).copied().unwrap_or_default(), 2),
            name => (name, 1),
        };
        let Some(unit) = unit(name) else { break };
        seconds += number.checked_mul(unit)?;
        used += more;
        if words.get(used) == Some(&"and") {
            used += 1;
        }
    }
    (used > 0).then_some((seconds, used))
}

fn unit(name: &str) -> Option<u64> {
    match name.trim_end_matches([':', '.', ')']) {
        "s" | "sec" | "secs" | "second" | "seconds" | "second(s" => Some(1),
        "m" | "min" | "mins" | "minute" | "minutes" | "minute(s" => Some(60),
        "h" | "hr" | "hrs" | "hour" | "hours" | "hour(s" => Some(3600),
        "d" | "day" | "days" => Some(24 * 3600),
        _ => None,
    }
}

/// Lists that are known by a name that is not their zone.
const LISTS: &[(&str, &str)] = &[
    ("spamhaus", "zen.spamhaus.org"),
    ("spamcop", "bl.spamcop.net"),
    ("barracudacentral", "b.barracudacentral.org"),
    ("sorbs", "dnsbl.sorbs.net"),
    ("uceprotect", "dnsbl-1.uceprotect.net"),
    ("psbl", "psbl.surriel.com"),
    ("mailspike", "bl.mailspike.net"),
    ("backscatterer", "ips.backscatterer.org"),
];

/// The zone of the block list that the text names: the name behind "using", "listed at" and the like; else the zone of a
/// list known by its name. Only if the reply is about a block list at all.
pub fn dnsbl_zone(reply: &Reply) -> Option<String> {
    if !topics(reply).contains(&Topic::BlockList) {
        return None;
    }
    let tokens = tokens::read(&reply.text());
    let word = |at: usize| match tokens.get(at) {
        Some(Token::Word(word)) => word.as_str(),
        _ => "",
    };
    let name = |at: usize| match tokens.get(at) {
        Some(Token::Name(name)) => Some(without_address(name)),
        _ => None,
    };
    const BEFORE: &[&str] =
        &["using", "via", "at", "in", "on", "by", "dnsbl", "rbl", "list", "blacklist", "blocklist", "zone", "from"];
    const LISTED: &[&str] =
        &["block", "black", "list", "reject", "refus", "found", "bann", "dnsbl", "rbl", "denied", "deny"];
    let is_after_listing = |at: usize| {
        BEFORE.contains(&word(at - 1))
            && (at.saturating_sub(9)..at).any(|at| LISTED.iter().any(|start| word(at).starts_with(start)))
    };
    // "Client mail.example.test blocked using zen…": the first name behind a listing word.
    let behind = (1..tokens.len()).filter(|at| is_after_listing(*at)).find_map(name);
    let labelled = || {
        (0..tokens.len()).find_map(|at| {
            let name = name(at)?;
            let is_list = name.split('.').any(|label| {
                [
                    "bl",
                    "dnsbl",
                    "rbl",
                    "zen",
                    "sbl",
                    "xbl",
                    "pbl",
                    "dbl",
                    "dul",
                    "blacklist",
                    "blocklist",
                    "spamhaus",
                    "spamcop",
                ]
                .contains(&label)
            });
            is_list.then_some(name)
        })
    };
    let known = || {
        tokens.iter().find_map(|token| {
            let text = match token {
                Token::Word(word) => word,
                Token::Link(link) => link,
                _ => return None,
            };
            LISTS.iter().find(|(list, _)| text.contains(list)).map(|(_, zone)| (*zone).to_owned())
        })
    };
    behind.or_else(labelled).or_else(known)
}

/// `2.0.0.127.zen.example.org` is the question, `zen.example.org` the zone.
fn without_address(name: &str) -> String {
    let labels: Vec<&str> = name.split('.').collect();
    let numbers = labels.iter().take_while(|label| label.parse::<u8>().is_ok()).count();
    if numbers == 4 { labels[4..].join(".") } else { name.to_owned() }
}

/// The name that an address's PTR record has (RFC 1035 3.5, RFC 3596 2.5).
pub fn reverse(address: IpAddr) -> String {
    let zone = if address.to_canonical().is_ipv4() { "in-addr.arpa" } else { "ip6.arpa" };
    zone_question(address, zone, Kind::Ptr).name
}

/// The name under which a list keeps an address (RFC 5782 2).
pub fn zone_question(address: IpAddr, zone: &str, kind: Kind) -> Question {
    let reversed = match address.to_canonical() {
        IpAddr::V4(address) => address.octets().iter().rev().map(u8::to_string).collect::<Vec<_>>().join("."),
        IpAddr::V6(address) => address
            .octets()
            .iter()
            .rev()
            .flat_map(|octet| [octet & 15, octet >> 4])
            .map(|nibble| format!("{nibble:x}"))
            .collect::<Vec<_>>()
            .join("."),
    };
    Question::new(&format!("{reversed}.{zone}"), kind)
}

/// What a rate limit or a reputation hangs on, as the text names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identity {
    DkimDomain(String),
    SpfDomain(String),
    UrlDomain(String),
    Address(IpAddr),
    Network(String),
    Sender(String),
}

impl std::fmt::Display for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Identity::DkimDomain(domain) => write!(f, "the DKIM domain {domain}"),
            Identity::SpfDomain(domain) => write!(f, "the SPF domain {domain}"),
            Identity::UrlDomain(domain) => write!(f, "links to {domain}"),
            Identity::Address(address) => write!(f, "the address {address}"),
            Identity::Network(network) => write!(f, "the network {network}"),
            Identity::Sender(sender) => write!(f, "the sender {sender}"),
        }
    }
}

/// The identity that a rate limit names.
pub fn identity(reply: &Reply) -> Option<Identity> {
    let tokens = tokens::read(&reply.text());
    let word = |at: usize| {
        matches!(tokens.get(at), Some(Token::Word(_))).then(|| match &tokens[at] {
            Token::Word(word) => word.as_str(),
            _ => "",
        })
    };
    for at in 0..tokens.len() {
        let Some(kind @ ("dkim" | "spf" | "url")) = word(at) else { continue };
        let named = tokens[at + 1..].iter().take(4).find_map(|token| match token {
            Token::Name(name) => Some(name.clone()),
            _ => None,
        });
        if let Some(name) = named {
            return Some(match kind {
                "dkim" => Identity::DkimDomain(name),
                "spf" => Identity::SpfDomain(name),
                _ => Identity::UrlDomain(name),
            });
        }
    }
    let netblock = tokens.windows(2).any(|two| matches!(&two[0], Token::Word(word) if word == "netblock"));
    let address = tokens.iter().find_map(|token| match token {
        Token::Address(address) if netblock => Some(Identity::Network(address.to_string())),
        Token::Address(address) => Some(Identity::Address(*address)),
        _ => None,
    });
    address.or_else(|| {
        tokens.iter().find_map(|token| match token {
            Token::Mailbox(mailbox) => Some(Identity::Sender(mailbox.clone())),
            _ => None,
        })
    })
}

/// The number that a limit names: "maximum 100 recipients", "limit is 2", "max connections (2)".
pub fn limit(reply: &Reply) -> Option<u64> {
    let tokens = tokens::read(&reply.text());
    let is_limit = |token: &Token| {
        matches!(token, Token::Word(word) if ["limit", "max", "maximum", "allow", "exceed", "most", "only", "than", "up"]
            .iter().any(|start| word.starts_with(start)))
    };
    let is_time = |token: Option<&Token>| matches!(token, Some(Token::Word(word)) if unit(word).is_some());
    (0..tokens.len()).find_map(|at| match tokens[at] {
        Token::Number(number)
            if number > 0
                && !is_time(tokens.get(at + 1))
                && tokens[at.saturating_sub(5)..(at + 4).min(tokens.len())].iter().any(is_limit) =>
        {
            Some(number)
        }
        _ => None,
    })
}

/// The login that a refusal of the sender names: "not owned by user relay@corp.test".
pub fn sender_login(reply: &Reply) -> Option<String> {
    let tokens = tokens::read(&reply.text());
    let start = tokens.iter().position(|token| {
        matches!(token, Token::Word(word) if ["user", "login", "account", "username", "by", "authenticated", "as"].contains(&word.as_str()))
    })?;
    tokens[start..].iter().find_map(|token| match token {
        Token::Mailbox(mailbox) => Some(mailbox.clone()),
        _ => None,
    })
}

/// The id under which the peer keeps the message, out of the reply to the final dot.
pub fn queue_id(reply: &Reply) -> Option<String> {
    if !reply.is_positive() {
        return None;
    }
    let text = reply.text();
    let lower = text.to_ascii_lowercase();
    let clean = |word: &str| {
        let id = word.trim_matches(|c: char| "()[]<>,;.\"'".contains(c));
        let is_id =
            (3..=120).contains(&id.len()) && id.bytes().any(|byte| byte.is_ascii_digit() || byte.is_ascii_uppercase());
        is_id.then(|| id.to_owned())
    };
    let after = |mark: &str| {
        let at = lower.find(mark)? + mark.len();
        text.get(at..)?.split_whitespace().next().and_then(clean)
    };
    for mark in [
        "queued as ",
        "queued mail for delivery as ",
        "internalid=",
        "ids=",
        "id=",
        "queued (",
        "queue id ",
        "queue-id ",
        "queueid ",
        "qp ",
        "message ",
    ] {
        if let Some(at) = lower.find(mark)
            && at > 0
            && lower.as_bytes()[at - 1].is_ascii_alphanumeric()
        {
            continue;
        }
        if let Some(id) = after(mark) {
            return Some(id);
        }
    }
    // Sendmail and OpenSMTPD: `v1ABC Message accepted for delivery`; Gmail: `OK 1700000000 x-20si123 - gsmtp`.
    let words: Vec<&str> = text.split_whitespace().collect();
    let at = lower
        .split_whitespace()
        .position(|word| word == "message")
        .or_else(|| lower.split_whitespace().position(|word| word == "gsmtp").map(|at| at.saturating_sub(1)))?;
    at.checked_sub(1).and_then(|at| words.get(at)).and_then(|word| clean(word))
}
