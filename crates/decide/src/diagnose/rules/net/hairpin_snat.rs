//! Our own connection comes back under the address of a router.

use super::place;
use crate::diagnose::{Answer, Case, rule};
use mail::{Actor, Confidence, Finding, Severity};

rule! {
    /// Own connection reflected under a router's address
    ///
    /// This gateway connected to a public name of its own site, and the router or load balancer turned the connection round
    /// (NAT reflection, hairpin NAT) and put its own address in the place of the source. To the gateway the session looks like one
    /// of a stranger with the router's address: SPF, reverse DNS and block lists look at that, and mail of the own domains that
    /// goes this way fails them. Nobody forged anything.
    ///
    /// Known by the greeting: the connection that this gateway opened read the very greeting that this client was given.
    ///
    /// Give the domain a next hop inside (`domain.next_hops`), let the inside DNS answer with the inside address, or have the router
    /// keep the source address.
    "net.hairpin_snat", find
}

fn find(case: &Case<'_>) -> Answer {
    let Some(visit) = case.visit() else { return Answer::No };
    let Some(met) = visit.reflected.as_ref().filter(|_| !case.identity.addresses.contains(&visit.client)) else {
        return Answer::No;
    };
    let (client, domain, there) = (visit.client, &met.domain, place(&met.host, met.address));
    let named =
        if visit.helo.is_empty() { String::new() } else { format!(", the client's EHLO name is {}", visit.helo) };
    Finding::new(
        "net.hairpin_snat",
        Actor::OurNetwork,
        format!(
            "The client {client} is a NAT router or load balancer, and the session is this gateway's own outgoing connection to \
             {there} for {domain}, reflected there; SPF for {domain} can not pass from {client}, which sends nothing itself."
        ),
    )
    .severity(Severity::Warning)
    .confidence(Confidence::Proven)
    .evidence(format!("the greeting that {client} was given was read on our connection to {there} port {}", met.port))
    .evidence(format!("{client} is no address of this gateway{named}"))
    .disproof(format!("a session of {client} while this gateway has no connection to {there}"))
    .fix(format!("[[domain]] name = \"{domain}\", next_hops = [\"HOST\"]: the inside address of the server that holds its mail."))
    .fix(format!("Or let the inside DNS give {} its inside address.", met.host))
    .fix(format!("Do not list {client} as internal or trusted: everything that is reflected comes under it."))
    .into()
}

#[cfg(test)]
mod tests {
    use crate::diagnose::testing::check;

    #[test]
    fn our_own_connection_is_no_stranger() {
        check(
            "visit inbound 192.168.1.1
             helo gw.corp.test
             reflected mail.own.test 203.0.113.9 own.test
             closed",
            "net.hairpin_snat: The client 192.168.1.1 is a NAT router or load balancer, and the session is this gateway's own outgoing \
             connection to mail.own.test (203.0.113.9) for own.test, reflected there; SPF for own.test can not pass from 192.168.1.1, \
             which sends nothing itself.",
        );
    }

    #[test]
    fn without_a_router_between_it_is_plain_that_it_is_us() {
        check("visit inbound 127.0.0.3\nreflected mail.own.test 127.0.0.2 own.test", "unknown");
        check("visit inbound 192.168.1.1\nhelo gw.corp.test", "unknown");
    }
}
