//! A client was deferred because a lookup about it failed.

use super::client_refused;
use super::own_reverse::at;
use crate::diagnose::{Answer, Case, rule};
use mail::dns::{Answer as DnsAnswer, Kind, Outcome};
use mail::{Actor, Confidence, Finding, Retry};

rule! {
    /// Lookup about a client failed
    ///
    /// A check of the client needs DNS, and the lookup ended in SERVFAIL or a timeout. Unknown is not "no": the client is
    /// deferred (4xx), not refused, and may come again. Most often the name servers of the client's reverse zone or domain do
    /// not answer.
    ///
    /// If it happens to many clients, look at `dns.servers`: then our resolver is at fault.
    "dns.client_lookup_failed", find
}

fn find(case: &Case<'_>) -> Answer {
    let Some((visit, refused)) = client_refused(case, &["dns-unavailable"]) else { return Answer::No };
    let failed = |answer: &&DnsAnswer| matches!(answer.outcome, Outcome::Failed(_));
    let Some(answer) = visit.dns.iter().find(failed) else { return Answer::No };
    let Outcome::Failed(why) = &answer.outcome else { return Answer::No };
    let client = visit.client;
    let what = match answer.question.kind {
        Kind::Ptr => format!("The lookup of client {client}'s reverse name ({})", answer.question),
        _ => format!("The {} lookup of {} for client {client}", answer.question.kind.name(), answer.question.name),
    };
    let why = answer.trouble.map_or_else(|| why.replace("answered ", ""), |trouble| trouble.to_string());
    let sentence = format!(
        "{what} failed with {why}; whether the record exists is not known, so the client was deferred {} with {}.",
        at(refused.stage),
        refused.reply.code
    );
    let resolver_works = visit.dns.iter().any(DnsAnswer::is_known)
        || case.around.resolvers.iter().any(|resolver| resolver.answered > 0 && resolver.failed_in_a_row < 3);
    let actor = if resolver_works { Actor::TheirDns } else { Actor::OurNetwork };
    let mut finding = Finding::new("dns.client_lookup_failed", actor, sentence)
        .confidence(Confidence::Proven)
        .retry(Retry::Helps { after_s: None })
        .disproof(format!("an answer to {}, with or without a record", answer.question));
    finding.evidence = visit.dns.iter().filter(failed).map(DnsAnswer::summary).collect();
    finding.evidence.push(format!("our answer: {}", refused.reply));
    finding
        .fix("Nothing at once: the client comes again by itself.")
        .fix(format!(
            "If it lasts: `dig {} {}` shows whether the name servers of that zone or the resolver fail.",
            answer.question.name,
            answer.question.kind.name()
        ))
        .into()
}

#[cfg(test)]
mod tests {
    use crate::diagnose::testing::check;

    #[test]
    fn a_reverse_zone_that_does_not_answer_defers() {
        check(
            "client 127.0.1.10 ehlo mail.client.test
             dns 10.1.0.127.in-addr.arpa PTR: FAIL time-out
             refusal connect dns-unavailable 421 4.4.0 unable to connect to DNS, try again later",
            "dns.client_lookup_failed: The lookup of client 127.0.1.10's reverse name (10.1.0.127.in-addr.arpa PTR) failed with \
             time-out; whether the record exists is not known, so the client was deferred at connect with 421.",
        );
    }
}
