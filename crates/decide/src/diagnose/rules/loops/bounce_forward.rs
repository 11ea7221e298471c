//! A forward to a dead address, whose bounces are forwarded as well.

use crate::diagnose::{Answer, Case, rule};
use mail::{Actor, Confidence, Finding, Retry};

rule! {
    /// Bounces of a forward are forwarded again
    ///
    /// An address forwards to another one that is refused for good. The forwarder puts its own address in the place of the
    /// sender, also of the null sender that every report bears. So the report about the refusal comes to the forwarding
    /// address, is forwarded like any mail, is refused, and causes the next report, each with the one before inside. No address
    /// forwards back: it is no ring of forwards.
    ///
    /// Remove the forward to the dead address; let the forwarder keep the null sender, and use SRS instead of the mailbox's
    /// address where it must rewrite.
    "loop.bounce.forward", find
}

fn find(case: &Case<'_>) -> Answer {
    let Some(attempt) = case.attempt().filter(|attempt| !attempt.sender.is_empty()) else { return Answer::No };
    let Some(content) = case.content.filter(|content| content.reports >= 1) else { return Answer::No };
    // A message that answers automatically must have the null sender (RFC 3834 3.3): this one was given another.
    let refused = case.refusals().into_iter().find(|(_, _, reply)| reply.is_permanent());
    let Some((tried, stage, reply)) = refused else { return Answer::No };
    let recipient = attempt.recipients.first().map_or("", String::as_str);
    let sender = &attempt.sender;
    let is_ours = sender.parse::<mail::Address>().is_ok_and(|sender| {
        case.settings.local_domain(sender.domain()).is_some() || case.settings.aliases.of(&sender).is_some()
    });
    // A report whose sender is the very address that forwards to the recipient: nobody writes such by hand.
    let key = |address: &str| address.parse::<mail::Address>().ok().map(|address| address.key());
    let forwards_here = sender.parse().is_ok_and(|sender| {
        crate::rewrite::aliases(case.settings, &sender).iter().any(|target| Some(target.key()) == key(recipient))
    });
    if content.reports < 2 && !forwards_here {
        return Answer::No;
    }
    if !is_ours || sender.eq_ignore_ascii_case(recipient) {
        return Answer::No;
    }
    Finding::new(
        "loop.bounce.forward",
        Actor::OurServer,
        format!(
            "{sender} forwards to {recipient}, which is refused ({} {}), and the bounces are forwarded as well because the \
             forwarder puts {sender} in place of the empty sender.",
            reply.code,
            reply.status()
        ),
    )
    .confidence(if content.reports >= 3 || forwards_here { Confidence::Proven } else { Confidence::Likely })
    .retry(Retry::Useless)
    .evidence(format!("{} [{}] answered {reply} at {stage}", tried.host, tried.address))
    .evidence(format!("the message is a report ({} in it), and has the sender {sender} in place of none", content.reports))
    .disproof(format!("{recipient} taking mail, or the reports having been attached by a person"))
    .fix(format!("Remove the forward of {sender} to the dead address {recipient}."))
    .fix(format!("Let the forwarder keep MAIL FROM:<> when it forwards bounces, and use SRS instead of {sender} as sender."))
    .into()
}

#[cfg(test)]
mod tests {
    use crate::diagnose::ContentFacts;
    use crate::diagnose::testing::scene;

    fn check(reports: u32, sender: &str, expected: bool) {
        let mut scene = scene(&format!(
            "to b@ext.test
             from {sender}
             try mx.ext.test 127.0.0.11
               rcpt b@ext.test 550 5.1.1 no such user
settings
[[domain]]
name = \"corp.test\"
next_hops = [\"127.0.0.20\"]"
        ));
        scene.content = Some(ContentFacts { reports, ..ContentFacts::default() });
        let found = scene.nothing_more().diagnose();
        let found = found
            .findings
            .iter()
            .find(|finding| finding.cause == "loop.bounce.forward")
            .map(|finding| finding.sentence.clone());
        let sentence = "a@corp.test forwards to b@ext.test, which is refused (550 5.1.1), and the bounces are forwarded as well \
                        because the forwarder puts a@corp.test in place of the empty sender.";
        assert_eq!(found, expected.then(|| sentence.to_owned()));
    }

    #[test]
    fn a_report_that_bears_the_forwarding_address_as_its_sender() {
        let mut scene = scene(
            "to b@ext.test
             from a@corp.test
             try mx.ext.test 127.0.0.11
               rcpt b@ext.test 550 5.1.1 no such user
settings
[[alias]]
from = \"a@corp.test\"
to = [\"b@ext.test\"]",
        );
        scene.content = Some(ContentFacts { reports: 1, ..ContentFacts::default() });
        scene.check("loop.bounce.forward");
        scene.content = Some(ContentFacts::default());
        let found = scene.nothing_more().diagnose();
        assert!(found.findings.iter().all(|finding| finding.cause != "loop.bounce.forward"));
    }

    #[test]
    fn nested_reports_with_a_mailbox_as_sender() {
        check(3, "a@corp.test", true);
        check(0, "a@corp.test", false);
        check(1, "a@corp.test", false);
        check(3, "", false);
        check(3, "s@far.test", false);
    }
}
