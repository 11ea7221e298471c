//! A domain of ours is routed by MX, and its best MX is this gateway.

use super::{addresses, listed, no_way, own_host, with_route};
use crate::diagnose::{Answer, Case, rule};
use mail::{Actor, Confidence, Finding, Retry, Via};

rule! {
    /// The best MX of a domain of ours is this gateway
    ///
    /// The domain is among the domains whose mail is taken (`[[domain]]`), and its mail is to go on by its MX records
    /// (`next_hops = "mx"`). The best of them is this gateway: RFC 5321 5.1 strikes it and all that are not better, and no
    /// host is left. The MX record is right; the gateway was not told which server lies behind it.
    ///
    /// Give the domain the mailbox server as its next hop. Nothing is dialled and nothing is retried until then.
    "loop.self.best_mx", find
}

fn find(case: &Case<'_>) -> Answer {
    let Some((attempt, _)) = no_way(case).filter(|(attempt, _)| attempt.via == Via::Mx && attempt.local) else {
        return Answer::No;
    };
    let Some(own) = own_host(attempt) else { return Answer::No };
    let addresses = match addresses(case, own) {
        Ok(addresses) => addresses,
        Err(asks) => return Answer::Ask(asks),
    };
    let domain = &attempt.domain;
    let which = if addresses.is_empty() { String::new() } else { format!("{}, ", listed(&addresses)) };
    let sentence = format!(
        "{domain} is routed by DNS, but its best MX {} ({which}preference {}) is this gateway itself, so no next hop remains.",
        own.host, own.preference
    );
    let finding = Finding::new("loop.self.best_mx", Actor::OurSettings, sentence)
        .confidence(Confidence::Proven)
        .retry(Retry::AfterFix)
        .disproof(format!("another host at {}, which is not this gateway's own", own.place()))
        .fix(format!(
            "Give {domain} a next hop, the real mailbox server: [[domain]] name = \"{domain}\", next_hops = [\"HOST\"]."
        ));
    with_route(finding, attempt).into()
}

#[cfg(test)]
mod tests {
    use crate::diagnose::testing::{check, scene};

    const BEST: &str = "to user@corp.test
        local
        via mx
        dns corp.test MX: 10 gw.corp.test
        dropped gw.corp.test 127.0.0.2 10 own its address
        no-route 554 5.4.6 mail loop: corp.test
settings
[[domain]]
name = \"corp.test\"
next_hops = \"mx\"";

    #[test]
    fn the_gateway_is_its_own_best_mx() {
        check(
            BEST,
            "loop.self.best_mx: corp.test is routed by DNS, but its best MX gw.corp.test (127.0.0.2, preference 10) is this \
             gateway itself, so no next hop remains.",
        );
    }

    #[test]
    fn a_name_without_its_address_is_asked_for() {
        let text = BEST.replace("127.0.0.2 10 own its address", "- 10 own its name");
        scene(&text).answer("gw.corp.test A: 127.0.0.2").answer("gw.corp.test AAAA: NODATA").check(
            "loop.self.best_mx: corp.test is routed by DNS, but its best MX gw.corp.test (127.0.0.2, preference 10) is this \
             gateway itself, so no next hop remains.",
        );
        scene(&text).nothing_more().check("loop.self.best_mx");
    }

    #[test]
    fn a_failed_lookup_of_a_better_host_is_no_loop() {
        check(&BEST.replace("554 5.4.6 mail loop: corp.test", "421 4.4.4 resolver failed"), "unknown");
    }
}
