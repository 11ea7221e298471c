//! A client was refused because no bounce could be returned to its sender.

use super::{client_refused, listed};
use crate::diagnose::face::{self, Known};
use crate::diagnose::spf;
use crate::diagnose::{Answer, Case, rule};
use mail::dns::{Answer as DnsAnswer, Kind, Outcome, Question};
use mail::{Actor, Confidence, Finding, Refusal, Visit};

rule! {
    /// Sender's domain takes no mail
    ///
    /// The domain of MAIL FROM has neither MX, A nor AAAA record, or a null MX, so that a bounce could not be returned.
    /// `require_resolvable_sender` refuses such mail. Two cases are told apart: the domain does not exist at all (NXDOMAIN: a
    /// typing error, an internal name), or it exists (it may have TXT records such as SPF) but takes no mail (NODATA): a domain
    /// made for sending only.
    ///
    /// The owner of the domain publishes an MX record, or the sending program uses a domain that has one.
    "dns.sender_domain_unresolvable", find
}

fn find(case: &Case<'_>) -> Answer {
    let Some((visit, refused)) = client_refused(case, &["sender-domain-unresolvable"]) else { return Answer::No };
    let Some(sender) = sender(visit, refused) else { return Answer::No };
    let Some((_, domain)) = sender.rsplit_once('@') else { return Answer::No };
    let domain = domain.to_ascii_lowercase();
    let mut wanted = Vec::new();
    let mut answers: Vec<&DnsAnswer> = Vec::new();
    for kind in [Kind::Mx, Kind::A, Kind::Aaaa] {
        match face::answer(case, Question::new(&domain, kind)) {
            Known::Yes(answer) => answers.push(answer),
            Known::Ask(experiments) => wanted.extend(experiments),
            Known::Never => return Answer::No,
        }
    }
    // The text records tell whether the name is in use for sending.
    let policy = match spf::lists(case, &domain, visit.client) {
        Known::Yes(policy) => policy,
        Known::Ask(experiments) => {
            wanted.extend(experiments);
            None
        }
        Known::Never => None,
    };
    if !wanted.is_empty() {
        return Answer::Ask(wanted);
    }
    let null_mx = answers[0].outcome == Outcome::Found && answers[0].summary().ends_with(" .");
    let none = |answer: &&DnsAnswer| matches!(answer.outcome, Outcome::NoName | Outcome::NoData);
    if !null_mx && !answers.iter().all(none) {
        return Answer::No;
    }
    let missing = !null_mx && answers.iter().all(|answer| answer.outcome == Outcome::NoName) && policy.is_none();
    let spf = match &policy {
        Some(policy) if policy.lists => " (it has SPF, which passes)",
        Some(_) => " (it has SPF)",
        None => "",
    };
    let sentence = if null_mx {
        format!(
            "{domain}{spf} declares by null MX that it accepts no mail, so no bounce could be delivered to {sender}."
        )
    } else if missing {
        format!("{domain} is not in DNS (NXDOMAIN for MX, A and AAAA), so no bounce could be delivered to {sender}.")
    } else {
        format!("{domain} exists{spf} but has no MX, A or AAAA (NODATA), so no bounce could be delivered to {sender}.")
    };
    let mut finding =
        Finding::new("dns.sender_domain_unresolvable", Actor::TheirDns, sentence).confidence(Confidence::Proven);
    finding.evidence = answers.iter().map(|answer| answer.summary()).collect();
    finding
        .evidence
        .extend(policy.map(|policy| format!("{domain} TXT: {}; lists {}", policy.record, listed(&policy.entries))));
    finding.evidence.push(format!("our answer to client {}: {}", visit.client, refused.reply));
    finding
        .disproof(format!("an MX, A or AAAA record of {domain} at its own name servers"))
        .fix(format!("The owner of {domain} publishes `{domain}. MX 10 …` with a host that takes bounces; or the client uses another sender."))
        .fix("To take such mail all the same: set require_resolvable_sender = false at the listener.")
        .into()
}

/// The sender that was refused: of its command, or of the transaction.
fn sender(visit: &Visit, refused: &Refusal) -> Option<String> {
    let of_command = refused.command.split_once('<').and_then(|(_, rest)| rest.split_once('>')).map(|(path, _)| path);
    let of_deal = visit.deals.last().map(|deal| deal.sender.as_str());
    of_command.or(of_deal).filter(|sender| sender.contains('@')).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use crate::diagnose::testing::scene;

    const REFUSED: &str = "client 127.0.1.10 ehlo mail.client.test
        refusal mail sender-domain-unresolvable 550 5.1.8 sender's domain takes no mail
        command MAIL FROM:<b@em1.brand.test> SIZE=100";

    #[track_caller]
    fn check(facts: &str, expected: &str) {
        scene(&format!("{REFUSED}\n{facts}")).nothing_more().check(expected);
    }

    #[test]
    fn a_domain_for_sending_only() {
        check(
            "dns em1.brand.test MX: NODATA\ndns em1.brand.test A: NODATA\ndns em1.brand.test AAAA: NODATA\n\
             dns em1.brand.test TXT: \"v=spf1 ip4:127.0.1.10 -all\"",
            "dns.sender_domain_unresolvable: em1.brand.test exists (it has SPF, which passes) but has no MX, A or AAAA (NODATA), \
             so no bounce could be delivered to b@em1.brand.test.",
        );
    }

    #[test]
    fn a_domain_that_is_not_there() {
        check(
            "dns em1.brand.test MX: NXDOMAIN\ndns em1.brand.test A: NXDOMAIN\ndns em1.brand.test AAAA: NXDOMAIN\n\
             dns em1.brand.test TXT: NXDOMAIN",
            "dns.sender_domain_unresolvable: em1.brand.test is not in DNS (NXDOMAIN for MX, A and AAAA), so no bounce could be \
             delivered to b@em1.brand.test.",
        );
    }

    #[test]
    fn a_null_mx() {
        check(
            "dns em1.brand.test MX: 0 .\ndns em1.brand.test A: 192.0.2.1\ndns em1.brand.test AAAA: NODATA\n\
             dns em1.brand.test TXT: NODATA",
            "dns.sender_domain_unresolvable: em1.brand.test declares by null MX that it accepts no mail, so no bounce could be \
             delivered to b@em1.brand.test.",
        );
    }

    #[test]
    fn unknown_is_not_no() {
        check(
            "dns em1.brand.test MX: FAIL SERVFAIL\ndns em1.brand.test A: NODATA\ndns em1.brand.test AAAA: NODATA",
            "unknown",
        );
        check(
            "dns em1.brand.test MX: NODATA\ndns em1.brand.test A: 192.0.2.1\ndns em1.brand.test AAAA: NODATA",
            "unknown",
        );
    }
}
