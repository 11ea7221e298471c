//! Two mail systems pass users that they do not know to each other.

use super::{after, back, domain_of, place, sent, with_return};
use crate::diagnose::{Answer, Case, rule};
use mail::{Actor, Confidence, Finding, Retry};

rule! {
    /// Nobody says that the user is unknown
    ///
    /// Two mail systems share a domain, as in a migration, and each passes recipients that it does not know to the other one;
    /// the last one passes them to this gateway. Mail to people who exist on one of them is fine. Mistyped and deleted
    /// addresses go round instead of being refused.
    ///
    /// Make the last system in the chain authoritative for the domain, so that it answers 550 5.1.1; or give this gateway the
    /// list of all valid recipients of both.
    "loop.peer.unknown_user_ping_pong", find
}

fn find(case: &Case<'_>) -> Answer {
    let Some((visit, back)) = back(case) else { return Answer::No };
    let Some(sent) = sent(back) else { return Answer::No };
    let recipient = &back.recipient;
    let (first, last) = (sent.address, visit.client);
    // One host that returns a single address of a domain, or another host than the one it was handed to.
    let others_fine = !back.stayed.is_empty();
    if first == last || case.identity.is_address(last) {
        return Answer::No;
    }
    if !others_fine && back.between.len() < 2 {
        return Answer::No;
    }
    let domain = domain_of(recipient);
    let finding = Finding::new(
        "loop.peer.unknown_user_ping_pong",
        Actor::OurServer,
        format!(
            "{recipient} exists on neither {} nor {last}; each passes unknown users of {domain} on, {last} to this gateway \
             ({}), so the address circles.",
            place(sent),
            after(back)
        ),
    )
    .confidence(if others_fine && back.between.len() >= 2 { Confidence::Likely } else { Confidence::Possible })
    .retry(Retry::Useless)
    .disproof(format!("{recipient} being a mailbox on {} or {last}, or mail to other users of {domain} coming back as well", place(sent)))
    .fix(format!("Make one side, the last in the chain ({last}), authoritative for {domain}, so that it answers 550 5.1.1 for unknown users."))
    .fix(format!("Or give this gateway the valid recipients of both: [[domain]] name = \"{domain}\", recipients = [\"…\"]."));
    with_return(finding, visit, back).into()
}

#[cfg(test)]
mod tests {
    use super::super::testing::check;

    #[test]
    fn a_mistyped_address_circles() {
        check(
            "back nobody77@corp.test from 127.0.0.21
             sent 127.0.0.20 127.0.0.20 nobody77@corp.test
             hop p2.corp.test (from p1.corp.test ([127.0.0.20]))
             hop p1.corp.test (from gw.corp.test ([127.0.0.2]))
             stayed ann@corp.test
             stayed bob@corp.test",
            "loop.peer.unknown_user_ping_pong: nobody77@corp.test exists on neither 127.0.0.20 nor 127.0.0.21; each passes \
             unknown users of corp.test on, 127.0.0.21 to this gateway (after 1 s), so the address circles.",
        );
    }
}
