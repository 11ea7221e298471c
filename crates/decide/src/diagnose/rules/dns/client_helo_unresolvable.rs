//! A client was refused because its EHLO name does not resolve.

use super::client_refused;
use crate::diagnose::face::{self, Known};
use crate::diagnose::{Answer, Case, rule};
use mail::dns::{Answer as DnsAnswer, Kind, Outcome, Question};
use mail::{Actor, Confidence, Finding};

rule! {
    /// Client's EHLO name does not resolve
    ///
    /// The name that the client said in EHLO or HELO has neither A, AAAA nor MX record: an internal name, a container's id, a
    /// typing error. `require_resolvable_helo` refuses such clients.
    ///
    /// The operator of the client sets its host name to one that is in public DNS. The client's administrator finds this under
    /// "Helo command rejected: Host not found".
    "dns.client_helo_unresolvable", find
}

fn find(case: &Case<'_>) -> Answer {
    let Some((visit, refused)) = client_refused(case, &["helo-unresolvable"]) else { return Answer::No };
    let (name, client) = (&visit.helo, visit.client);
    if name.is_empty() || name.starts_with('[') {
        return Answer::No;
    }
    let mut answers: Vec<&DnsAnswer> = Vec::new();
    let mut wanted = Vec::new();
    for kind in [Kind::A, Kind::Aaaa] {
        match face::answer(case, Question::new(name, kind)) {
            Known::Yes(answer) => answers.push(answer),
            Known::Ask(experiments) => wanted.extend(experiments),
            Known::Never => return Answer::No,
        }
    }
    if !wanted.is_empty() {
        return Answer::Ask(wanted);
    }
    if !answers.iter().all(|answer| matches!(answer.outcome, Outcome::NoName | Outcome::NoData)) {
        return Answer::No;
    }
    let why = match (name.contains('.'), answers[0].outcome == Outcome::NoName) {
        (false, _) => "is not fully qualified and has no address record",
        (true, true) => "is not in DNS (NXDOMAIN)",
        (true, false) => "has neither an A nor an AAAA record (NODATA)",
    };
    let sentence = format!(
        "Client {client} calls itself {name:?} in EHLO, which {why}; the policy \"require resolvable EHLO name\" refused it \
         with {}.",
        refused.reply.code
    );
    let mut finding =
        Finding::new("dns.client_helo_unresolvable", Actor::TheirHost, sentence).confidence(Confidence::Proven);
    finding.evidence = answers.iter().map(|answer| answer.summary()).collect();
    finding.evidence.push(format!("our answer: {}", refused.reply));
    finding
        .disproof(format!("an A, AAAA or MX record of {name}"))
        .fix(format!("The operator of {client} sets its mail server's host name to a name in DNS, or publishes `{name}. A {client}`."))
        .fix("If the client is one of yours, add its network to internal_hosts; or set require_resolvable_helo = false.")
        .into()
}

#[cfg(test)]
mod tests {
    use crate::diagnose::testing::scene;

    #[test]
    fn a_container_id_is_no_host_name() {
        let with = |facts: &str| {
            let refused =
                "client 127.0.1.10 ehlo 25aea30808b2\nrefusal ehlo helo-unresolvable 550 5.7.1 does not resolve";
            scene(&format!("{refused}\n{facts}")).nothing_more()
        };
        with("dns 25aea30808b2 A: NXDOMAIN\ndns 25aea30808b2 AAAA: NXDOMAIN").check(
            "dns.client_helo_unresolvable: Client 127.0.1.10 calls itself \"25aea30808b2\" in EHLO, which is not fully qualified \
             and has no address record; the policy \"require resolvable EHLO name\" refused it with 550.",
        );
        with("dns 25aea30808b2 A: FAIL SERVFAIL\ndns 25aea30808b2 AAAA: NXDOMAIN").check("unknown");
        with("dns 25aea30808b2 A: 127.0.1.10\ndns 25aea30808b2 AAAA: NXDOMAIN").check("unknown");
    }
}
