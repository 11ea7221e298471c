//! The peer refused after it had seen the content, and nothing technical is wrong.

use crate::diagnose::rules::said;
use crate::diagnose::words::{self, Topic};
use crate::diagnose::{Answer, Case, Experiment, rule};
use mail::dns::{Data, Kind, Question};
use mail::{Actor, Confidence, Finding, Retry};

rule! {
    /// Refused for its content
    ///
    /// The host accepted connection, sender and recipients, and refused when it had seen the content: spam, a virus, an
    /// attachment, or a policy. What this gateway can check of itself is listed with the result, so that nobody searches there.
    ///
    /// Known by the stage (the answer to the content) and by words that speak of content, or of nothing else. Without words it
    /// is a guess and called one. What exactly was not liked, only the host knows.
    ///
    /// The sender sends it in another form (no scripts, no archives with a password, a link instead), or the recipient's
    /// administrator releases it.
    "peer.content_policy", find
}

fn find(case: &Case<'_>) -> Answer {
    let found = said::refusals(case).into_iter().find(|said| {
        said.tried.final_reply.as_ref() == Some(said.reply)
            && said.recipient.is_none()
            && match words::topic(said.reply) {
                Some(Topic::Content) => true,
                // 552 alone has three meanings.
                None => said.reply.is_permanent() && said.reply.code != 552,
                _ => false,
            }
    });
    let Some(said) = found else { return Answer::No };
    let by_words = said.is_about(Topic::Content);
    let mut passed = Vec::new();
    let mut failed = Vec::new();
    if let Some(address) = said.tried.source {
        let reverse = Question::new(&words::reverse(address), Kind::Ptr);
        let name = Question::new(&said.tried.ehlo, if address.is_ipv4() { Kind::A } else { Kind::Aaaa });
        let asked = [Experiment::ask(reverse.clone()), Experiment::ask(name.clone())];
        if asked.iter().any(|ask| case.look(ask).is_none()) {
            return Answer::Ask(asked.into());
        }
        if let Some(answer) = case.dns(&reverse.name, Kind::Ptr) {
            match answer.data().find_map(|data| if let Data::Name(name) = data { Some(name) } else { None }) {
                Some(name) => passed.push(("PTR", format!("{address} has the PTR {name}"))),
                None => failed.push(answer.summary()),
            }
        }
        if let Some(answer) = case.dns(&name.name, name.kind) {
            let addresses = answer.addresses();
            if addresses.contains(&address) {
                passed.push(("EHLO", format!("EHLO {} resolves to {address}", said.tried.ehlo)));
            } else if addresses.is_empty() {
                failed.push(answer.summary());
            }
        }
    }
    if let Some(tls) = &said.tried.tls {
        passed.push(("TLS", format!("the session used {}", tls.version)));
    }
    if case.content.is_some_and(|content| content.has_dkim) {
        passed.push(("a DKIM signature", "the message carries a DKIM signature".to_owned()));
    }
    if !by_words && !failed.is_empty() {
        return Answer::No;
    }
    let attachments = case.content.map_or(&[] as &[String], |content| content.attachments.as_slice());
    let with = match attachments {
        [] => String::new(),
        [one] => format!(", attachment {one}"),
        all => format!(", attachments {}", said::list(all)),
    };
    let names: Vec<&str> = passed.iter().map(|(name, _)| *name).collect();
    let order = match names.as_slice() {
        [] => String::new(),
        [one] => format!("; {one} is in order"),
        all => format!("; {} are in order", said::list(all)),
    };
    let mut finding = Finding::new(
        "peer.content_policy",
        Actor::TheContent,
        format!("{} refused this message after seeing its content ({}{with}){order}.", said.place(), said.code()),
    )
    .severity(said::severity(case, &said))
    .confidence(if by_words { Confidence::Likely } else { Confidence::Possible })
    .retry(if said.reply.is_permanent() { Retry::Useless } else { Retry::Helps { after_s: None } })
    .evidence(said.quote())
    .evidence("sender and recipients were accepted before")
    .disproof(format!("{} refuses a plain text message between the same two addresses as well", said.tried.host));
    finding.evidence.extend(passed.into_iter().map(|(_, fact)| format!("in order: {fact}")));
    finding.evidence.extend(failed.into_iter().map(|fact| format!("not in order: {fact}")));
    finding
        .fix("Send a plain message to see that the way is open; then the content in another form, or as a link.")
        .fix(format!("Or ask the postmaster of {} to release it, with the words of the reply.", said.tried.host))
        .into()
}

#[cfg(test)]
mod tests {
    use crate::diagnose::ContentFacts;
    use crate::diagnose::testing::{check, scene};
    use mail::Confidence;

    fn refused(words: &str) -> String {
        format!(
            "to a@dest.test
             try mx.dest.test 127.0.0.11
               banner 220 mx.dest.test
               tls TLSv1.3
               mail 250 ok
               rcpt a@dest.test 250 ok
               data 354 go
               final {words}
               fail final-reply them {words}"
        )
    }

    #[test]
    fn passed_checks_are_listed() {
        let mut scene = scene(&refused(
            "552 5.7.0 This message was blocked because its content presents a potential security issue",
        ));
        scene.content = Some(ContentFacts {
            attachments: vec!["invoice.js".to_owned()],
            has_dkim: true,
            ..ContentFacts::default()
        });
        scene.answer("2.0.0.127.in-addr.arpa PTR: gw.corp.test").answer("gw.corp.test A: 127.0.0.2").check(
            "peer.content_policy: mx.dest.test (127.0.0.11) refused this message after seeing its content (552 5.7.0, \
                 attachment invoice.js); PTR, EHLO, TLS and a DKIM signature are in order.",
        );
    }

    #[test]
    fn a_refusal_without_words_is_a_guess() {
        let scene = scene(&refused("554 5.7.1 refused")).nothing_more();
        let first = scene.diagnose().findings.remove(0);
        assert_eq!((first.cause.as_ref(), first.confidence), ("peer.content_policy", Confidence::Possible));
    }

    #[test]
    fn an_own_mistake_makes_no_guess_about_content() {
        scene(&refused("554 5.7.1 refused"))
            .answer("2.0.0.127.in-addr.arpa PTR: NXDOMAIN")
            .answer("gw.corp.test A: 127.0.0.2")
            .check("peer.refused");
    }

    #[test]
    fn other_reasons_after_content_stay_what_they_are() {
        check(&refused("452 4.2.2 mailbox full"), "rcpt.over_quota");
        check(&refused("451 4.7.1 Greylisted"), "peer.greylist");
        check(&refused("451 4.3.0 try again later"), "peer.deferred");
    }
}
