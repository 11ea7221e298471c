//! A client was refused because its address has no reverse name.

use super::client_refused;
use super::own_reverse::at;
use crate::diagnose::face::{self, Known, Reverse};
use crate::diagnose::{Answer, Case, rule};
use mail::dns::Question;
use mail::{Actor, Confidence, Finding};

rule! {
    /// Client has no reverse name
    ///
    /// The client's address has no PTR record: its reverse zone answers that there is none (NXDOMAIN or NODATA), which is not a
    /// lookup that failed. `require_reverse_name` refuses such clients, since most of them are no mail servers.
    ///
    /// The operator of the client has the record set. If the client is one of your own hosts, name its network in
    /// `internal_hosts`.
    "dns.client_no_ptr", find
}

fn find(case: &Case<'_>) -> Answer {
    let Some((visit, refused)) = client_refused(case, &["no-reverse-name"]) else { return Answer::No };
    let client = visit.client.to_canonical();
    let ptr = match face::answer(case, Question::reverse(client)) {
        Known::Yes(ptr) => ptr,
        Known::Ask(experiments) => return Answer::Ask(experiments),
        Known::Never => return Answer::No,
    };
    let Known::Yes((Reverse::None, facts)) = face::reverse(case, client) else { return Answer::No };
    let whose = if ptr.server.is_empty() { String::new() } else { format!(" from {}", ptr.server) };
    let sentence = format!(
        "Client {client} has no PTR record (authoritative {}); the policy \"require reverse name\" refused it {} with {}.",
        face::ptr_absence(case, client),
        at(refused.stage),
        refused.reply.code
    );
    let mut finding = Finding::new("dns.client_no_ptr", Actor::TheirDns, sentence).confidence(Confidence::Proven);
    finding.evidence = facts.into_iter().map(|fact| fact + &whose).collect();
    finding.evidence.push(format!("our answer: {}", refused.reply));
    finding
        .disproof(format!("a PTR record at {}", ptr.question.name))
        .fix(format!(
            "The operator of {client} has its provider set `{}. PTR …` to a name with the address {client}.",
            ptr.question.name
        ))
        .fix("If the client is one of yours, add its network to internal_hosts; or set require_reverse_name = false.")
        .into()
}

#[cfg(test)]
mod tests {
    use crate::diagnose::testing::scene;

    const REFUSED: &str =
        "client 127.0.1.10 ehlo mail.client.test\n refusal connect no-reverse-name 550 5.7.25 no reverse name";

    #[test]
    fn no_ptr_is_not_a_failed_lookup() {
        let with = |answer: &str| scene(&format!("{REFUSED}\n{answer}")).nothing_more();
        with("dns 10.1.0.127.in-addr.arpa PTR: NXDOMAIN").check(
            "dns.client_no_ptr: Client 127.0.1.10 has no PTR record (authoritative NXDOMAIN); the policy \"require reverse \
             name\" refused it at connect with 550.",
        );
        with("dns 10.1.0.127.in-addr.arpa PTR: NODATA").check("dns.client_no_ptr");
        with("dns 10.1.0.127.in-addr.arpa PTR: FAIL timed out").check("unknown");
        with("dns 10.1.0.127.in-addr.arpa PTR: mail.client.test").check("unknown");
        with("").check("unknown");
    }
}
