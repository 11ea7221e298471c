//! Words: what a peer's free text is about. The only place where text is read; rules ask for topics.
//!
//! The vocabulary is that of the MTAs in use (Postfix, Exim, Sendmail, qmail, Exchange, Gmail, Yahoo, Cisco, Proofpoint,
//! rspamd, postgrey …) as their sources and manuals print it. Words that name one thing count first, then enhanced codes
//! (RFC 3463, RFC 7372, RFC 7505 and the IANA registry), since hosts get 5.7.1 and 5.1.1 wrong more often than their text;
//! then words that are used for several things, last what RFC 5321 says of the code alone. Names, addresses and links are
//! no words: a host called `spf.example.org` speaks of nothing.

mod codes;
mod foreign;
mod named;
mod phrases;
mod tokens;

pub use named::{
    Identity, addresses, delay, dnsbl_zone, identity, limit, queue_id, quotes, reverse, sender_login, zone_question,
};

use mail::Reply;

/// What a refusal is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Topic {
    Greylist,
    /// The EHLO name.
    Helo,
    /// PTR or forward-confirmed reverse DNS.
    ReverseDns,
    Spf,
    Dkim,
    Dmarc,
    /// A DNS block list, or an internal one.
    BlockList,
    /// Too fast, unusual rate, reputation.
    Rate,
    /// Too many connections at once.
    Connections,
    /// Too many recipients for one transaction.
    Recipients,
    /// The mailbox is full.
    Quota,
    /// The peer's disk or memory.
    Storage,
    MessageSize,
    NoSuchUser,
    RelayDenied,
    /// The sender's domain does not resolve.
    SenderDomain,
    /// This sender may not be used with this login or at all.
    SenderNotAllowed,
    /// A callout to verify the sender failed.
    Callout,
    /// The null sender is not welcome.
    NullSender,
    AuthRequired,
    TlsRequired,
    /// Spam, virus, attachment.
    Content,
    LineLength,
    /// Bare CR or LF.
    LineEnds,
    Nul,
    /// Header fields missing or doubled.
    Header,
    Hops,
    Loop,
    SmtpUtf8,
    /// Busy, try later, with no reason.
    Busy,
    Clock,
}

/// How much a sign weighs. Same weights keep the order in which they were found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Weight {
    /// RFC 5321's meaning of a code that is used for everything.
    Generic,
    /// Words that are used for several things.
    Vague,
    /// An enhanced code with one meaning.
    Code,
    /// Words with one meaning.
    Clear,
    /// Words and code agree.
    Both,
}

/// All topics that a reply's codes or words are about, the surest first.
///
/// Clear words silence a code that says otherwise: `552 5.2.2 message size exceeds …` is about the size.
pub fn topics(reply: &Reply) -> Vec<Topic> {
    let mut tokens = tokens::read(&reply.text());
    let enhanced = reply.enhanced.or_else(|| tokens::code(&tokens));
    let codes = codes::topics(reply.code, enhanced);
    let mut found: Vec<(Topic, Weight)> = Vec::new();
    for (topic, weight) in phrases::topics(&mut tokens) {
        if !found.iter().any(|(known, _)| *known == topic) {
            let agrees = weight == Weight::Clear && codes.contains(&(topic, Weight::Code));
            found.push((topic, if agrees { Weight::Both } else { weight }));
        }
    }
    let clear = found.iter().any(|(_, weight)| *weight >= Weight::Clear);
    if !clear {
        for (topic, weight) in codes.into_iter().filter(|(_, weight)| *weight == Weight::Code) {
            match found.iter_mut().find(|(known, _)| *known == topic) {
                Some(known) => known.1 = Weight::Both,
                None => found.push((topic, weight)),
            }
        }
    }
    if found.is_empty() {
        found = codes::topics(reply.code, enhanced);
    }
    // Words for several things add nothing where others are plain: "rejected, try later: mailbox full".
    let best = found.iter().map(|(_, weight)| *weight).max();
    if best >= Some(Weight::Clear) {
        found.retain(|(_, weight)| *weight >= Weight::Clear);
    }
    found.sort_by_key(|(_, weight)| std::cmp::Reverse(*weight));
    found.into_iter().map(|(topic, _)| topic).collect()
}

/// The surest topic.
pub fn topic(reply: &Reply) -> Option<Topic> {
    topics(reply).first().copied()
}

/// Whether the surest topic is this one.
pub fn is_about(reply: &Reply, wanted: Topic) -> bool {
    topic(reply) == Some(wanted)
}

#[cfg(test)]
mod tests;
