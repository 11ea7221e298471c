//! Two addresses forward to each other.

use super::{back, place, with_return};
use crate::diagnose::{Answer, Case, rule};
use mail::{Actor, Carried, Confidence, Finding, Retry};

rule! {
    /// Two addresses forward to each other
    ///
    /// One address, by an alias here or a rule on the server behind, forwards to another one, and that forwards back. Only
    /// mail to these two goes round; all other mail to the same hosts is fine. The aliases of the settings cannot form a ring
    /// by themselves: the other half is elsewhere.
    ///
    /// Remove one of the two forwards.
    "loop.peer.mutual_forward", find
}

fn find(case: &Case<'_>) -> Answer {
    let Some((visit, back)) = back(case) else { return Answer::No };
    let other = |address: &&String| !address.eq_ignore_ascii_case(&back.recipient);
    let carried = back.sent.iter().chain(&back.other_passes);
    let handed = carried.clone().find_map(|one| one.recipients.iter().find(other).map(|to| (to, Some(one))));
    // What an alias made of the recipient, or what final deliveries on the way left.
    let to_host = |to: &String| carried.clone().find(|one: &&Carried| one.recipients.contains(to));
    let Some((to, by)) = handed.or_else(|| back.delivered_to.iter().find(other).map(|to| (to, to_host(to)))) else {
        return Answer::No;
    };
    let is_alias = |address: &str| {
        address.parse::<mail::Address>().is_ok_and(|address| {
            crate::rewrite::aliases(case.settings, &address)
                .iter()
                .any(|target| target.to_string().eq_ignore_ascii_case(to))
        })
    };
    // Several recipients of one message, one of which came back, are no ring.
    let told = back.delivered_to.iter().any(|address| address.eq_ignore_ascii_case(to));
    let by_alias = is_alias(&back.recipient);
    if !by_alias && !told {
        return Answer::No;
    }
    let host = match by.filter(|one| one.address == visit.client) {
        Some(one) => place(one),
        None => visit.client.to_string(),
    };
    let recipient = &back.recipient;
    // Addresses that the message went to on its way round, in their order.
    let mut ring: Vec<&String> = vec![to];
    for pass in back.other_passes.iter().flat_map(|one| &one.recipients) {
        let reached = back.delivered_to.iter().any(|address| address.eq_ignore_ascii_case(pass));
        if reached && other(&pass) && !ring.iter().any(|known| known.eq_ignore_ascii_case(pass)) {
            ring.push(pass);
        }
    }
    let sentence = match ring.as_slice() {
        [_] => format!(
            "{recipient} forwards to {to}, and {host} forwards it back to {recipient}: a circular forward of two addresses."
        ),
        [.., last] => {
            let steps: Vec<String> =
                ring.windows(2).map(|pair| format!("{} forwards to {}", pair[0], pair[1])).collect();
            format!(
                "{recipient} forwards to {to}, {}, and {host} forwards it from {last} back to {recipient}: a circular forward \
                 of {} addresses.",
                steps.join(", "),
                ring.len() + 1
            )
        }
        [] => return Answer::No,
    };
    let how = if by_alias {
        format!("the alias {recipient} → {to} here")
    } else {
        format!("the forward of {recipient} to {to}")
    };
    let finding = Finding::new("loop.peer.mutual_forward", Actor::OurSettings, sentence)
        .confidence(if by_alias && by.is_some_and(|one| one.address == visit.client) {
            Confidence::Proven
        } else {
            Confidence::Likely
        })
        .retry(Retry::AfterFix)
        .disproof(format!("no forward of {to} to {recipient} at {host}"))
        .fix(format!(
            "Remove one of them: {how}, or the rule of {} at {host} that leads to {recipient}.",
            ring.last().map_or(to.as_str(), |last| last.as_str())
        ));
    with_return(finding, visit, back).into()
}

#[cfg(test)]
mod tests {
    use super::super::testing::check;

    #[test]
    fn an_alias_here_and_a_forward_there() {
        let facts = "back x@a.test from 127.0.0.11
             sent mx.b.test 127.0.0.11 y@b.test rule route.other
             delivered-to y@b.test";
        let settings = "settings\n[[alias]]\nfrom = \"x@a.test\"\nto = [\"y@b.test\"]";
        let expected = "loop.peer.mutual_forward: x@a.test forwards to y@b.test, and mx.b.test (127.0.0.11) forwards it back \
                        to x@a.test: a circular forward of two addresses.";
        check(&format!("{facts}\n{settings}"), expected);
        check(&format!("{}\n{settings}", facts.rsplit_once('\n').unwrap().0), expected);
    }

    #[test]
    fn the_forward_of_the_server_behind_is_seen_by_the_pass_between() {
        check(
            "back x@a.test from 127.0.0.11
             sent 127.0.0.20 127.0.0.20 x@a.test
             earlier mx.b.test 127.0.0.11 y@b.test
             delivered-to y@b.test
             delivered-to x@a.test",
            "loop.peer.mutual_forward",
        );
    }

    #[test]
    fn a_ring_of_three_names_all_three() {
        check(
            "back x@a.test from 127.0.0.22
             sent 127.0.0.20 127.0.0.20 x@a.test
             earlier mx.b.test 127.0.0.21 y@b.test
             earlier mx.c.test 127.0.0.22 z@c.test
             delivered-to z@c.test
             delivered-to y@b.test
             delivered-to x@a.test",
            "loop.peer.mutual_forward: x@a.test forwards to y@b.test, y@b.test forwards to z@c.test, and 127.0.0.22 forwards it \
             from z@c.test back to x@a.test: a circular forward of 3 addresses.",
        );
    }

    #[test]
    fn another_recipient_of_the_same_message_is_no_forward() {
        check(
            "back x@a.test from 127.0.0.20\n sent 127.0.0.20 127.0.0.20 x@a.test\n earlier 127.0.0.20 127.0.0.20 z@a.test",
            "loop.peer.backend_returns",
        );
    }
}
