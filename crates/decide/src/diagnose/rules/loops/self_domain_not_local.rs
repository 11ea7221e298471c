//! DNS leads a domain's mail here, and the settings do not know the domain.

use super::{addresses, is_told, listed, no_way, own_host, with_route};
use crate::diagnose::rules::net::{Reflection, reflection};
use crate::diagnose::{Answer, Case, rule};
use mail::dns::{Kind, Outcome};
use mail::{Actor, Confidence, Finding, Retry, Via};

rule! {
    /// A domain leads here, and is none of ours
    ///
    /// The recipient's domain is not among the domains of the settings, so its mail goes by DNS; and DNS leads to this gateway:
    /// its MX, or its own address if it has no MX. The record is usually right and the list of domains is not.
    ///
    /// Add the domain with the server that holds its mailboxes as next hop; or, if the mail is not meant to come here, point
    /// the MX record at the server that it is meant for.
    "loop.self.domain_not_local", find
}

fn find(case: &Case<'_>) -> Answer {
    let Some((attempt, _)) = no_way(case).filter(|(attempt, _)| attempt.via == Via::Mx && !attempt.local) else {
        return Answer::No;
    };
    let Some(own) = own_host(attempt).filter(|_| !is_told(case, "loop.self.domain_not_local")) else {
        return Answer::No;
    };
    let addresses = match addresses(case, own) {
        Ok(addresses) => addresses,
        Err(asks) => return Answer::Ask(asks),
    };
    // A public address that nobody answers from inside may as well be another server's behind the same router.
    let confidence = match reflection(case) {
        Reflection::Ask(probe) => return Answer::Ask(vec![probe]),
        Reflection::Silent { .. } => return Answer::No,
        Reflection::Unknown => Confidence::Likely,
        Reflection::Answers | Reflection::None => Confidence::Proven,
    };
    let domain = &attempt.domain;
    let implicit = own.host == *domain
        && case.dns(domain, Kind::Mx).is_none_or(|answer| matches!(answer.outcome, Outcome::NoData | Outcome::NoName));
    let addresses = listed(&addresses);
    let leads = match (implicit, addresses.is_empty()) {
        (true, _) => format!("{domain} resolves (no MX, so its own address {addresses} counts) to this gateway"),
        (false, true) => format!("{domain}'s MX {} (preference {}) is this gateway", own.host, own.preference),
        (false, false) => {
            format!("{domain}'s MX {} ({addresses}, preference {}) is this gateway", own.host, own.preference)
        }
    };
    let sentence = format!(
        "{leads}, but {domain} is not among its domains ([[domain]]) or aliases, so it would send the mail to itself."
    );
    let finding = Finding::new("loop.self.domain_not_local", Actor::OurSettings, sentence)
        .confidence(confidence)
        .retry(Retry::AfterFix)
        .disproof(format!("another host at {}, which is not this gateway's own", own.place()))
        .fix(format!("Add {domain} with its mailbox server: [[domain]] name = \"{domain}\", next_hops = [\"HOST\"]."))
        .fix(format!(
            "Or, if its mail is not meant to come here, point the MX of {domain} at the server that holds it."
        ));
    with_route(finding, attempt).into()
}

#[cfg(test)]
mod tests {
    use crate::diagnose::testing::check;

    #[test]
    fn an_own_domain_is_missing_in_the_settings() {
        check(
            "to root@own.test
             dns own.test MX: NODATA
             dns own.test A: 127.0.0.2
             dropped own.test 127.0.0.2 0 own its address
             no-route 554 5.4.6 mail loop: own.test",
            "loop.self.domain_not_local: own.test resolves (no MX, so its own address 127.0.0.2 counts) to this gateway, but \
             own.test is not among its domains ([[domain]]) or aliases, so it would send the mail to itself.",
        );
    }

    #[test]
    fn one_loop_has_one_finding() {
        let told = |text: &str| {
            let found = crate::diagnose::testing::scene(text).nothing_more().diagnose().findings;
            found.into_iter().map(|finding| finding.cause.to_string()).collect::<Vec<_>>().join(" ")
        };
        let own = "to u@auto.test
             dns auto.test MX: NODATA
             dns auto.test A: 127.0.0.2
             dropped auto.test 127.0.0.2 0 own its address
             no-route 554 5.4.6 mail loop: auto.test";
        assert_eq!(told(own), "loop.self.domain_not_local");
        let alias = format!("{own}\nsettings\n[[alias]]\nfrom = \"u@corp.test\"\nto = [\"u@auto.test\"]");
        assert_eq!(told(&alias), "loop.self.pseudo_domain");
        let loopback = own.replace("127.0.0.2", "127.0.0.1");
        assert_eq!(told(&loopback), "loop.self.mx_loopback");
        let greeted = own.replace("own its address", "own its greeting, which bears this gateway's own token");
        assert_eq!(told(&greeted), "loop.self.nat_address");
    }

    #[test]
    fn an_mx_that_is_another_host_is_no_loop() {
        check("to a@own.test\ndns own.test MX: 10 mx.own.test\ntry mx.own.test 127.0.0.11\n  refused", "net.refused");
    }
}
