//! What is common to the rules about a sender's domain that peers refuse.

use crate::diagnose::face::{self, Known};
use crate::diagnose::words::{self, Topic};
use crate::diagnose::{Answer, Case};
use mail::dns::{Answer as DnsAnswer, Data, Kind, Outcome, Question};
use mail::{Actor, Confidence, Finding, Retry, Severity};
use std::net::IpAddr;

/// Which of the two rules it is for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Absent {
    Internal,
    Missing,
}

/// Top-level domains that will never be in public DNS: RFC 6761, RFC 6762, RFC 8375, ICANN's `internal` (SAC113), and those of
/// RFC 6762 appendix G that are used in private networks.
const INTERNAL: &[&str] = &[
    "internal",
    "intranet",
    "private",
    "corp",
    "home",
    "lan",
    "local",
    "localdomain",
    "localhost",
    "invalid",
    "domain",
    "host",
];

pub(super) fn is_internal(domain: &str) -> bool {
    let domain = domain.trim_end_matches('.');
    match domain.rsplit_once('.') {
        None => true,
        Some((rest, top)) => INTERNAL.contains(&top) || (top == "arpa" && (rest == "home" || rest.ends_with(".home"))),
    }
}

pub(super) fn find_in(case: &Case<'_>, cause: &'static str, kind: fn(&str) -> Option<Absent>) -> Answer {
    let Some(attempt) = case.attempt() else { return Answer::No };
    // Who calls back to verify a sender fails as well where the domain is not there.
    let refusal = case.refusal_about(Topic::SenderDomain).or_else(|| case.refusal_about(Topic::Callout));
    let Some((tried, stage, reply)) = refusal else { return Answer::No };
    let Some((_, domain)) = attempt.sender.rsplit_once('@') else { return Answer::No };
    let domain = domain.to_ascii_lowercase();
    let Some(kind) = kind(&domain) else { return Answer::No };
    let (mut answers, mut wanted): (Vec<&DnsAnswer>, Vec<_>) = (Vec::new(), Vec::new());
    let mut failed = false;
    for kind in [Kind::Mx, Kind::A, Kind::Aaaa] {
        match face::answer(case, Question::new(&domain, kind)) {
            Known::Yes(answer) => answers.push(answer),
            Known::Ask(experiments) => wanted.extend(experiments),
            Known::Never => failed = true,
        }
    }
    if !wanted.is_empty() {
        return Answer::Ask(wanted);
    }
    let is_null = |data: &Data| matches!(data, Data::Mx { host, .. } if host.trim_end_matches('.').is_empty());
    let mx = answers.iter().find(|answer| answer.question.kind == Kind::Mx);
    let null_mx = mx.is_some_and(|mx| mx.outcome == Outcome::Found && mx.data().all(is_null));
    let none = !failed && answers.iter().all(|answer| matches!(answer.outcome, Outcome::NoName | Outcome::NoData));
    let no_name = none && answers.iter().all(|answer| answer.outcome == Outcome::NoName);
    let lacks = match kind {
        // What a resolver inside knows of such a name, nobody outside does.
        Absent::Internal => "does not exist in public DNS",
        Absent::Missing if null_mx => "declares by null MX that it accepts no mail",
        Absent::Missing if no_name => "does not exist in DNS (NXDOMAIN)",
        Absent::Missing if none => "has neither MX, A nor AAAA record (NODATA)",
        Absent::Missing => return Answer::No,
    };
    let mut sentence = format!("{} refuses the sender domain {domain}, which {lacks}", tried.host);
    let program = submitter(case, &attempt.sender);
    if kind == Absent::Internal {
        let who = match program {
            Some(client) if client.is_loopback() || face::is_own(case, client) => {
                format!("the local program on {client}")
            }
            Some(client) => format!("the program on {client}"),
            None => "a local program".to_owned(),
        };
        sentence.push_str(&format!("; {who} used its host name as sender"));
    }
    let sure = words::topics(reply).first() == Some(&Topic::SenderDomain) && (none || null_mx);
    let mut finding = Finding::new(cause, Actor::TheSender, sentence + ".")
        .confidence(if sure { Confidence::Proven } else { Confidence::Likely })
        .evidence(format!("{} [{}] at {stage}: {reply}", tried.host, tried.address));
    if case.delivered() {
        finding = finding.severity(Severity::Warning).retry(Retry::NotNeeded);
    }
    finding.evidence.extend(answers.iter().map(|answer| answer.summary()));
    finding.evidence.extend(program.map(|client| format!("the message came from {client}")));
    finding
        .disproof(format!("an MX, A or AAAA record of {domain} in public DNS"))
        .fix(format!(
            "Set the program's sender to an existing address, or rewrite it here: [[masquerade]] from = \"{}\", to = \"…\".",
            attempt.sender
        ))
        .fix("Do not wait for a retry: it will not help, even though the answer may be a 4xx.")
        .into()
}

/// Where the message came from, if that was lately.
fn submitter(case: &Case<'_>, sender: &str) -> Option<IpAddr> {
    let came = case.around.sent.iter().rev().find(|sent| sent.incoming && sent.sender.eq_ignore_ascii_case(sender))?;
    Some(came.peer)
}
