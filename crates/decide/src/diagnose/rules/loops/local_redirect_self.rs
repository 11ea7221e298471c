//! A mailbox's own filter or alias sends its mail to itself.

use super::{after, back, place, sent, with_return};
use crate::diagnose::{Answer, Case, rule};
use mail::{Actor, Confidence, Finding, Retry};

rule! {
    /// A mailbox is redirected to itself
    ///
    /// The mail server behind delivered the message to the mailbox (Delivered-To names it), and the mailbox's own filter or
    /// alias sent it to the same address again. Neither the sender nor another system has a part in it.
    ///
    /// Remove the redirect in the user's filter or alias; to keep a copy, keep it instead of redirecting it.
    "loop.local.redirect_self", find
}

fn find(case: &Case<'_>) -> Answer {
    let Some((visit, back)) = back(case) else { return Answer::No };
    let same = |address: &String| address.eq_ignore_ascii_case(&back.recipient);
    // Another address among them: a ring of several.
    if back.delivered_to.is_empty() || !back.delivered_to.iter().all(same) {
        return Answer::No;
    }
    let Some(sent) = sent(back).filter(|sent| sent.address == visit.client && sent.recipients.iter().any(same)) else {
        return Answer::No;
    };
    let recipient = &back.recipient;
    let finding = Finding::new(
        "loop.local.redirect_self",
        Actor::OurServer,
        format!(
            "{recipient} is redirected to itself: Delivered-To: {recipient} was already present when the message came back \
             from the backend {} {}.",
            place(sent),
            after(back)
        ),
    )
    .confidence(Confidence::Proven)
    .retry(Retry::AfterFix)
    .disproof(format!("no filter, forward or alias of {recipient} on {} that leads to {recipient}", place(sent)))
    .fix(format!("Remove the redirect to {recipient} in the filter or alias of that mailbox on {}; keep a copy there instead.", place(sent)));
    with_return(finding, visit, back).into()
}

#[cfg(test)]
mod tests {
    use super::super::testing::check;

    #[test]
    fn its_own_delivered_to_gives_it_away() {
        check(
            "back u@corp.test from 127.0.0.20
             sent 127.0.0.20 127.0.0.20 u@corp.test
             delivered-to u@corp.test",
            "loop.local.redirect_self: u@corp.test is redirected to itself: Delivered-To: u@corp.test was already present when \
             the message came back from the backend 127.0.0.20 after 1 s.",
        );
    }

    #[test]
    fn two_addresses_are_a_ring() {
        check(
            "back u@corp.test from 127.0.0.20
             sent 127.0.0.20 127.0.0.20 u@corp.test
             delivered-to v@b.test
             delivered-to u@corp.test",
            "loop.peer.mutual_forward",
        );
    }
}
