//! Said: what peers refused in an attempt, and the words for it that many rules share.

use crate::diagnose::words::{self, Topic};
use crate::diagnose::{Case, Seen, delivered};
use mail::{HostTry, Reply, Severity, Stage, Via};
use std::net::IpAddr;

/// One refusal.
#[derive(Clone, Copy, Debug)]
pub(super) struct Said<'a> {
    /// The number of the try.
    pub at: usize,
    pub tried: &'a HostTry,
    pub stage: Stage,
    pub reply: &'a Reply,
    /// Of a reply to RCPT.
    pub recipient: Option<&'a str>,
}

impl Said<'_> {
    /// `450 4.2.0`, or `450` where the peer gave no more.
    pub(super) fn code(&self) -> String {
        match self.reply.enhanced {
            Some(enhanced) => format!("{} {enhanced}", self.reply.code),
            None => self.reply.code.to_string(),
        }
    }

    /// `mx.dest.test (127.0.0.11)`
    pub(super) fn place(&self) -> String {
        place(self.tried)
    }

    /// `mx.dest.test (127.0.0.11) answered RCPT TO <a@dest.test> with "450 4.2.0 Greylisted"`
    pub(super) fn quote(&self) -> String {
        let what = match (self.stage, self.recipient) {
            (Stage::Banner, _) => "greeted".to_owned(),
            (Stage::FinalReply, _) => "answered the content".to_owned(),
            (stage, Some(recipient)) => format!("answered {stage} <{recipient}>"),
            (stage, None) => format!("answered {stage}"),
        };
        format!("{} {what} with \"{}\"", self.place(), self.reply)
    }

    pub(super) fn is_about(&self, topic: Topic) -> bool {
        words::is_about(self.reply, topic)
    }

    /// The words and codes give no reason.
    pub(super) fn gives_no_reason(&self) -> bool {
        matches!(words::topic(self.reply), None | Some(Topic::Busy))
    }

    /// Our own address that the peer means: the one it quotes, else the one that the connection left from.
    pub(super) fn our_address(&self) -> Option<IpAddr> {
        let source = self.tried.source;
        match source {
            Some(source) if words::quotes(self.reply, &source.to_string()) => Some(source),
            // Behind a NAT the peer sees another.
            _ => words::addresses(self.reply).into_iter().find(|quoted| *quoted != self.tried.address).or(source),
        }
    }
}

/// `mx.dest.test (127.0.0.11)`; an address alone once.
pub(super) fn place(tried: &HostTry) -> String {
    let address = tried.address.to_string();
    if tried.host == address || tried.host.is_empty() { address } else { format!("{} ({address})", tried.host) }
}

/// All refusals, those of the last host first: it decided.
pub(super) fn refusals<'a>(case: &Case<'a>) -> Vec<Said<'a>> {
    let mut all = Vec::new();
    for (at, tried) in case.tries().iter().enumerate().rev() {
        let mut add = |stage, reply: Option<&'a Reply>, recipient| {
            let refused = reply.filter(|reply| reply.code >= 400);
            all.extend(refused.map(|reply| Said { at, tried, stage, reply, recipient }));
        };
        add(Stage::Banner, tried.banner.as_ref(), None);
        add(Stage::Ehlo, tried.greeted.as_ref().filter(|_| !tried.helo_only), None);
        add(Stage::Mail, tried.mail_reply.as_ref(), None);
        for said in &tried.rcpt {
            add(Stage::Rcpt, Some(&said.reply), Some(said.recipient.as_str()));
        }
        add(Stage::Data, tried.data_refusal(), None);
        add(Stage::FinalReply, tried.final_reply.as_ref(), None);
    }
    all
}

/// The first refusal whose surest topic is this one.
pub(super) fn about<'a>(case: &Case<'a>, topic: Topic) -> Option<Said<'a>> {
    refusals(case).into_iter().find(|said| said.is_about(topic))
}

/// The refusal that decided the attempt: of the last host, unless it took the mail.
pub(super) fn decisive<'a>(case: &Case<'a>) -> Option<Said<'a>> {
    refusals(case).into_iter().find(|said| severity(case, said) == Severity::Failure)
}

/// A failure, or a warning if a later host took the mail all the same.
pub(super) fn severity(case: &Case<'_>, said: &Said<'_>) -> Severity {
    let later = &case.tries()[said.at + 1..];
    let went_through = match said.recipient {
        Some(recipient) => later.iter().any(|tried| {
            delivered(tried) && tried.rcpt.iter().any(|rcpt| rcpt.recipient == recipient && rcpt.reply.is_positive())
        }),
        None => later.iter().any(delivered),
    };
    if went_through { Severity::Warning } else { Severity::Failure }
}

/// The settings name the host: a server behind, a relay host, a detour.
pub(super) fn is_configured(case: &Case<'_>) -> bool {
    case.attempt().is_some_and(|attempt| matches!(attempt.via, Via::NextHops | Via::RelayHost | Via::Detour))
}

/// The host is a server of ours behind the gateway.
pub(super) fn is_backend(case: &Case<'_>) -> bool {
    case.attempt().is_some_and(|attempt| attempt.local && attempt.via != Via::Mx)
}

/// What else happened lately with the same host.
pub(super) fn before<'a>(case: &Case<'a>, tried: &HostTry) -> impl Iterator<Item = &'a Seen> + use<'a> {
    let around = case.around;
    let (address, host) = (tried.address, tried.host.clone());
    around.seen.iter().filter(move |seen| seen.address == address || (!host.is_empty() && seen.host == host))
}

/// `<>` is called the empty sender.
pub(super) fn sender(sender: &str) -> String {
    if sender.is_empty() { "the empty sender <>".to_owned() } else { sender.to_owned() }
}

/// `a`, `a and b`, `a, b and c`, `a, b and 7 more`.
pub(super) fn list<S: AsRef<str>>(items: &[S]) -> String {
    /// Names in one sentence.
    const NAMED_MAX: usize = 4;
    let items: Vec<&str> = items.iter().map(AsRef::as_ref).collect();
    match items.as_slice() {
        [] => String::new(),
        [one] => (*one).to_owned(),
        [first @ .., last] if items.len() <= NAMED_MAX => format!("{} and {last}", first.join(", ")),
        all => format!("{} and {} more", all[..NAMED_MAX].join(", "), all.len() - NAMED_MAX),
    }
}

/// `45 s`, `5 min`, `2 h`.
pub(super) fn seconds(seconds: u64) -> String {
    match seconds {
        0..=119 => format!("{seconds} s"),
        120..=7199 if seconds.is_multiple_of(60) => format!("{} min", seconds / 60),
        120..=7199 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ if seconds.is_multiple_of(3600) => format!("{} h", seconds / 3600),
        _ => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
    }
}

/// Adds what is not there yet.
pub(super) fn push_new(list: &mut Vec<String>, item: impl Into<String>) {
    let item = item.into();
    if !list.contains(&item) {
        list.push(item);
    }
}
