//! A subdomain goes with its parent's mail to a host that does not know it.

use super::{after, back, domain_of, place, sent, with_return};
use crate::diagnose::{Answer, Case, rule};
use mail::{Actor, Confidence, Finding, Retry};

rule! {
    /// A subdomain is not accepted by the next hop
    ///
    /// Subdomains inherit the next hop of the domain that they belong to. The next hop takes the domain, but not this
    /// subdomain: it sends such mail on by its default route, which leads back here.
    ///
    /// Add the subdomain as an accepted domain on the next hop, or give it a next hop of its own here.
    "loop.peer.subdomain_not_accepted", find
}

fn find(case: &Case<'_>) -> Answer {
    let Some((visit, back)) = back(case) else { return Answer::No };
    let domain = domain_of(&back.recipient);
    let Some(local) = domain.parse().ok().and_then(|domain| case.settings.local_domain(&domain)) else {
        return Answer::No;
    };
    let parent = local.name.ascii();
    let Some(sent) = sent(back).filter(|sent| sent.address == visit.client && sent.failed_before.is_empty()) else {
        return Answer::No;
    };
    if parent.eq_ignore_ascii_case(domain) {
        return Answer::No;
    }
    let peer = place(sent);
    let finding = Finding::new(
        "loop.peer.subdomain_not_accepted",
        Actor::OurServer,
        format!(
            "{peer} has no route of its own for {domain} and returns it {}; this gateway's rule \"*.{parent} → {}\" sends it \
             there again.",
            after(back),
            sent.host
        ),
    )
    .confidence(if back.stayed_domains.contains(&parent) { Confidence::Proven } else { Confidence::Likely })
    .retry(Retry::AfterFix)
    .disproof(format!("mail to {parent} coming back from {peer} as well, or mail to {domain} being kept there"))
    .fix(format!("Add {domain} as an accepted domain with its own next hop on {peer}."))
    .fix(format!("Or give it a more specific route here: [[domain]] name = \"{domain}\", next_hops = [\"HOST\"]."));
    with_return(finding, visit, back).into()
}

#[cfg(test)]
mod tests {
    use super::super::testing::check;

    const SUB: &str = "back a@app.corp.test from 127.0.0.11
        sent edge.corp.test 127.0.0.11 a@app.corp.test
        stayed-domain corp.test
settings
[[domain]]
name = \"corp.test\"
next_hops = [\"edge.corp.test\"]";

    #[test]
    fn the_parent_is_kept_and_the_subdomain_comes_back() {
        check(
            SUB,
            "loop.peer.subdomain_not_accepted: edge.corp.test (127.0.0.11) has no route of its own for app.corp.test and \
             returns it after 1 s; this gateway's rule \"*.corp.test → edge.corp.test\" sends it there again.",
        );
    }

    #[test]
    fn a_subdomain_with_its_own_entry_is_a_domain() {
        check(
            &format!("{SUB}\n[[domain]]\nname = \"app.corp.test\"\nnext_hops = [\"edge.corp.test\"]"),
            "loop.peer.backend_returns",
        );
    }
}
