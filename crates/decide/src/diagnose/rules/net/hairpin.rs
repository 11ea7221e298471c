//! The host has our own public address, which cannot be reached from inside.

use super::{evidence, none_connected, tried_place};
use crate::diagnose::{Answer, Case, rule};
use mail::{Actor, Confidence, Finding};

rule! {
    /// Own public address not reachable from inside
    ///
    /// The mail host has a public address of this site (`public_addresses`), and connections to it from inside come to nothing:
    /// the router does not reflect them (NAT reflection, hairpin NAT). From outside the same service may well work.
    ///
    /// Give the domain a next hop with the server's inside address, enable NAT reflection on the router, or let the inside DNS
    /// answer with the inside address.
    "net.hairpin", find
}

fn find(case: &Case<'_>) -> Answer {
    let (Some(attempt), Some(tries)) = (case.attempt(), none_connected(case)) else { return Answer::No };
    let is_ours = |address| case.settings.public_addresses.contains(address);
    let Some(tried) = tries.iter().find(|tried| is_ours(&tried.address)) else { return Answer::No };
    let (domain, address) = (&attempt.domain, tried.address);
    let sentence = format!(
        "{} is {address}, this site's own public NAT address, which is not reachable from inside (no NAT reflection): \
         mail for {domain} cannot leave this way.",
        tried.host
    );
    let mut finding = Finding::new("net.hairpin", Actor::OurNetwork, sentence)
        .confidence(Confidence::Likely)
        .evidence(format!("public_addresses holds {address}"))
        .disproof(format!("a connection from this machine to {} port {} that succeeds", tried_place(tried), tried.port))
        .fix(format!("[[domain]] name = \"{domain}\", next_hops = [\"INSIDE-ADDRESS\"]: the server's address in the inner network."))
        .fix("Or enable NAT reflection on the router, or let the inside DNS answer with the inside address.");
    finding.evidence.extend(evidence(tries));
    finding.into()
}

#[cfg(test)]
mod tests {
    use crate::diagnose::testing::check;

    const SILENT: &str = "to a@second.test
         try mail.second.test 127.0.0.99
           timeout 30000
           fail connect path [internal] 450 4.4.1 connection timed out";

    #[test]
    fn our_own_public_address_does_not_answer_from_inside() {
        check(
            &format!("{SILENT}\nsettings\n[identity]\npublic_addresses = [\"127.0.0.99\"]"),
            "net.hairpin: mail.second.test is 127.0.0.99, this site's own public NAT address, which is not reachable from \
             inside (no NAT reflection): mail for second.test cannot leave this way.",
        );
    }

    #[test]
    fn another_address_is_another_matter() {
        check(&format!("{SILENT}\nsettings\n[identity]\npublic_addresses = [\"127.0.0.98\"]"), "net.timeout");
    }
}
