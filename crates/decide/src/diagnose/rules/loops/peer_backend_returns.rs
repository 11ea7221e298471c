//! The server behind takes the message and hands it back.

use super::{after, back, domain_of, is_told, listed, place, sent, with_return};
use crate::diagnose::{Answer, Case, rule};
use mail::{Actor, Carried, Confidence, Finding, Retry, Return, Via, Visit};

rule! {
    /// The mail server behind returns the mail
    ///
    /// The next hop accepted the message and handed it back within a short time. It does not hold the domain (or the address)
    /// as its own: it takes the message for outgoing mail and gives it to its own smart-host, which is this gateway. Host and
    /// port are right if other domains are delivered there; only its table of domains is wrong.
    ///
    /// Add the domain on the mail server behind, or correct the domain's next hop here. A higher hop limit would only make it
    /// go round longer.
    "loop.peer.backend_returns", find
}

fn find(case: &Case<'_>) -> Answer {
    let Some((visit, back)) = back(case) else { return Answer::No };
    let recipient = &back.recipient;
    let domain = domain_of(recipient);
    let Some(sent) = sent(back) else { return Answer::No };
    if sent.address != visit.client || is_told(case, "loop.peer.backend_returns") {
        return Answer::No;
    }
    let who = if matches!(sent.via, Via::NextHops | Via::Detour) { "Backend" } else { "Next hop" };
    let host = place(sent);
    if sent.via == Via::RelayHost {
        return relay_host(visit, back, sent).into();
    }
    let (what, missing) = if back.stayed.is_empty() {
        (
            format!("{domain} is not an accepted domain there"),
            format!("Add {domain} as a local (authoritative) domain on {host}"),
        )
    } else {
        (
            format!(
                "{recipient} is not known there, though {} {} kept",
                listed(&back.stayed),
                if back.stayed.len() == 1 { "is" } else { "are" }
            ),
            format!("Add the address on {host}, or let it refuse unknown users with 550 5.1.1"),
        )
    };
    let finding = Finding::new(
        "loop.peer.backend_returns",
        Actor::OurServer,
        format!(
            "{who} {host} accepted the message for {recipient} and returned it to this gateway {}: {what}, and its smart-host \
             is this gateway.",
            after(back)
        ),
    )
    .confidence(if back.stayed_domains.is_empty() { Confidence::Likely } else { Confidence::Proven })
    .retry(Retry::AfterFix)
    .disproof(format!("{host} keeping a message to {recipient}"))
    .fix(format!("{missing}, or correct the next hop of {domain} here ({}).", sent.rule))
    .fix("Do not raise the hop limit: it would only go round longer.");
    with_return(finding, visit, back).into()
}

/// The relay host for all other mail takes this gateway for its own.
fn relay_host(visit: &Visit, back: &Return, sent: &Carried) -> Finding {
    let (host, recipient, domain) = (place(sent), &back.recipient, domain_of(&back.recipient));
    let all = if back.stayed_domains.is_empty() { "mail for" } else { "it keeps other domains, but mail for" };
    let finding = Finding::new(
        "loop.peer.backend_returns",
        Actor::OurSettings,
        format!(
            "The relay host {host} of {} accepted the message for {recipient} and returned it to this gateway {}: {all} {domain} \
             leads from there back here.",
            sent.rule,
            after(back)
        ),
    )
    .confidence(Confidence::Proven)
    .retry(Retry::AfterFix)
    .disproof(format!("{host} delivering a message to {recipient}"))
    .fix(format!("On {host}: do not use this gateway as smart-host for {domain}, and let the MX of {domain} lead to the server that holds it."))
    .fix("Or set route.other.next_hops to a relay host that delivers, or to \"mx\".".to_owned());
    with_return(finding, visit, back)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{check, returned};

    #[test]
    fn a_relay_host_that_returns_is_told_as_one() {
        let mut scene =
            returned("back a@far.test from 127.0.0.30\nsent smart.corp.test 127.0.0.30 a@far.test rule route.other");
        scene.visit.as_mut().unwrap().returns[0].sent[0].via = mail::Via::RelayHost;
        scene.check(
            "loop.peer.backend_returns: The relay host smart.corp.test (127.0.0.30) of route.other accepted the message for \
             a@far.test and returned it to this gateway after 1 s: mail for far.test leads from there back here.",
        );
    }

    #[test]
    fn a_domain_that_the_backend_does_not_hold() {
        check(
            "back u@second.test from 127.0.0.20
             sent 127.0.0.20 127.0.0.20 u@second.test
             stayed-domain corp.test",
            "loop.peer.backend_returns: Backend 127.0.0.20 accepted the message for u@second.test and returned it to this \
             gateway after 1 s: second.test is not an accepted domain there, and its smart-host is this gateway.",
        );
    }

    #[test]
    fn one_address_that_the_backend_does_not_hold() {
        check(
            "back u@corp.test from 127.0.0.20
             sent 127.0.0.20 127.0.0.20 u@corp.test
             stayed ann@corp.test",
            "loop.peer.backend_returns: Backend 127.0.0.20 accepted the message for u@corp.test and returned it to this \
             gateway after 1 s: u@corp.test is not known there, though ann@corp.test is kept, and its smart-host is this gateway.",
        );
    }

    #[test]
    fn one_loop_has_one_finding() {
        let told = |text: &str| {
            let found = returned(text).nothing_more().diagnose().findings;
            found.into_iter().map(|finding| finding.cause.to_string()).collect::<Vec<_>>().join(" ")
        };
        let facts = "back u@sub.corp.test from 127.0.0.20\nsent 127.0.0.20 127.0.0.20 u@sub.corp.test";
        assert_eq!(told(facts), "loop.peer.backend_returns");
        assert_eq!(told(&format!("{facts}\ndelivered-to u@sub.corp.test")), "loop.local.redirect_self");
        assert_eq!(
            told(&format!("{facts}\nfailed b [127.0.0.9]: 421 4.4.1 connection refused")),
            "loop.peer.mutual_fallback"
        );
        let parent = "settings\n[[domain]]\nname = \"corp.test\"\nnext_hops = [\"127.0.0.20\"]";
        assert_eq!(told(&format!("{facts}\n{parent}")), "loop.peer.subdomain_not_accepted");
    }

    #[test]
    fn nothing_came_back() {
        let mut scene = returned("back u@corp.test from 127.0.0.20\nsent 127.0.0.20 127.0.0.20 u@corp.test");
        scene.visit.as_mut().unwrap().returns.clear();
        scene.check("unknown");
    }
}
