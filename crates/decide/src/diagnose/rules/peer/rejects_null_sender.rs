//! The peer refuses the empty sender.

use crate::diagnose::rules::said::{self, Said};
use crate::diagnose::words::{self, Topic};
use crate::diagnose::{Answer, Case, rule};
use mail::{Actor, Confidence, Finding, Retry, Stage};

rule! {
    /// Empty sender refused
    ///
    /// The host refuses MAIL FROM:<>, the sender that every bounce and every receipt must have, mostly against backscatter. RFC
    /// 5321 4.5.5 asks to accept it. Bounces to that domain are lost: its users never hear that their mail failed.
    ///
    /// Known by a refusal of a message with an empty sender at MAIL, or at RCPT with words about it, or because other senders
    /// pass there.
    ///
    /// Only the owner of that host can change it. The bounce is dropped: a bounce is never bounced.
    "peer.rejects_null_sender", find
}

fn find(case: &Case<'_>) -> Answer {
    let Some(attempt) = case.attempt().filter(|attempt| attempt.sender.is_empty()) else { return Answer::No };
    let Some((said, confidence)) = refused(case) else { return Answer::No };
    let to = said::list(&attempt.recipients);
    let place = said.place();
    let lasting = if said.reply.is_permanent() { Retry::Useless } else { Retry::Helps { after_s: None } };
    let mut finding = Finding::new(
        "peer.rejects_null_sender",
        Actor::TheirPolicy,
        format!(
            "{place} refuses all messages with the empty sender <> ({} at {}), which RFC 5321 4.5.5 requires to be accepted; so \
             bounces to {to} are lost.",
            said.code(),
            said.stage,
        ),
    )
    .severity(said::severity(case, &said))
    .confidence(confidence)
    .retry(lasting)
    .evidence("MAIL FROM:<>")
    .evidence(said.quote())
    .disproof(format!("another message with the empty sender that {} accepts", said.tried.host));
    if let Some(seen) = said::before(case, said.tried).find(|seen| seen.delivered && !seen.sender.is_empty()) {
        finding = finding.evidence(format!("{} took a message from {} lately", seen.host, seen.sender));
    }
    finding
        .fix(format!("The owner of {} accepts MAIL FROM:<>, at least for recipients that exist.", said.tried.host))
        .fix("Here there is nothing to do: the bounce is dropped, no bounce is made of a bounce.")
        .into()
}

fn refused<'a>(case: &Case<'a>) -> Option<(Said<'a>, Confidence)> {
    if let Some(said) = said::about(case, Topic::NullSender) {
        return Some((said, Confidence::Likely));
    }
    let said = said::decisive(case).filter(|said| said.reply.is_permanent())?;
    let topic = words::topic(said.reply);
    let is_open = matches!(topic, None | Some(Topic::SenderNotAllowed | Topic::SenderDomain));
    let others = said::before(case, said.tried).any(|seen| seen.delivered && !seen.sender.is_empty());
    let others_fail = said::before(case, said.tried)
        .any(|seen| !seen.delivered && !seen.sender.is_empty() && seen.reply.as_ref() == Some(said.reply));
    match said.stage {
        _ if !is_open || others_fail => None,
        Stage::Mail => Some((said, Confidence::Likely)),
        Stage::Rcpt if topic.is_some() || others => Some((said, Confidence::Possible)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use crate::diagnose::testing::check;

    fn bounce(sender: &str, stage: &str) -> String {
        format!("to x@nonull.test\nfrom {sender}\ntry mx.nonull.test 127.0.0.11\nbanner 220 x\n{stage}")
    }

    #[test]
    fn a_refusal_at_mail_is_about_the_sender() {
        check(
            &bounce("", "mail 550 5.7.1 no\nfail mail them 550 5.7.1 no"),
            "peer.rejects_null_sender: mx.nonull.test (127.0.0.11) refuses all messages with the empty sender <> (550 5.7.1 at \
             MAIL FROM), which RFC 5321 4.5.5 requires to be accepted; so bounces to x@nonull.test are lost.",
        );
        check(
            &bounce(
                "",
                "mail 250 ok\nrcpt x@nonull.test 550 5.7.1 we do not accept bounces\nfail rcpt them 550 5.7.1 no",
            ),
            "peer.rejects_null_sender",
        );
    }

    #[test]
    fn other_senders_and_other_reasons_are_not_meant() {
        check(&bounce("a@b.test", "mail 550 5.7.1 no\nfail mail them 550 5.7.1 no"), "peer.refused");
        check(
            &bounce("", "mail 250 ok\nrcpt x@nonull.test 550 5.1.1 unknown\nfail rcpt them 550 5.1.1 unknown"),
            "rcpt.unknown",
        );
        check(&bounce("", "mail 530 5.7.0 Authentication required\nfail mail them 530 5.7.0 x"), "peer.auth_required");
    }
}
