//! The fallback of a broken next hop hands the mail back.

use super::{after, back, domain_of, place, sent, with_return};
use crate::diagnose::{Answer, Case, rule};
use mail::{Actor, Confidence, Finding, Retry};

rule! {
    /// Two relays are each other's fallback
    ///
    /// The better next hop failed, so the mail went to a fallback; and the fallback, another relay for the same domain, sends
    /// the domain's mail here. While the better next hop works, nobody notices.
    ///
    /// Remove the fallback: mail can wait here as well as there. And repair the next hop that failed.
    "loop.peer.mutual_fallback", find
}

fn find(case: &Case<'_>) -> Answer {
    let Some((visit, back)) = back(case) else { return Answer::No };
    let Some(sent) = sent(back).filter(|sent| !sent.failed_before.is_empty()) else { return Answer::No };
    if sent.address != visit.client {
        return Answer::No;
    }
    let domain = domain_of(&back.recipient);
    let fallback = place(sent);
    let failed = sent.failed_before.join("; ");
    let better: Vec<&str> = sent.failed_before.iter().filter_map(|failed| Some(failed.split_once(": ")?.0)).collect();
    let refused = sent.failed_before.iter().all(|failed| failed.contains("refused"));
    let how = if refused { "refuses connections" } else { "fails" };
    let mut finding = Finding::new(
        "loop.peer.mutual_fallback",
        Actor::OurSettings,
        format!(
            "The better next hop {} of {domain} {how}, and the fallback {fallback} only sends the mail back to this gateway \
             ({}).",
            better.join(", "),
            after(back)
        ),
    )
    .confidence(Confidence::Proven)
    .retry(Retry::AfterFix)
    .evidence(format!("failed before {fallback}: {failed}"))
    .disproof(format!("{fallback} keeping mail for {domain} while {} fails", better.join(", ")))
    .fix(format!("Remove {} from the next hops of {domain}: the mail then waits here until {} is back.", sent.host, better.join(", ")));
    finding = finding.fix(format!("Repair {}.", better.join(", ")));
    with_return(finding, visit, back).into()
}

#[cfg(test)]
mod tests {
    use super::super::testing::check;

    #[test]
    fn the_other_relay_sends_it_back() {
        check(
            "back u@corp.test from 127.0.0.11
             sent gw2.corp.test 127.0.0.11 u@corp.test
             failed backend.corp.test [127.0.0.20]: 421 4.4.1 [internal] connection failed: connection refused",
            "loop.peer.mutual_fallback: The better next hop backend.corp.test [127.0.0.20] of corp.test refuses connections, \
             and the fallback gw2.corp.test (127.0.0.11) only sends the mail back to this gateway (after 1 s).",
        );
    }

    #[test]
    fn a_return_from_elsewhere_is_not_the_fallbacks() {
        check(
            "back u@corp.test from 127.0.0.30
             sent gw2.corp.test 127.0.0.11 u@corp.test
             failed backend.corp.test [127.0.0.20]: 421 4.4.1 [internal] connection failed: connection refused
             hop a.test
             hop gw2.corp.test",
            "loop.peer.unknown_user_ping_pong",
        );
    }
}
