//! The content holds a CR without LF behind it.

use super::{counted, fault, from_client, refused, stopped};
use crate::diagnose::words::Topic;
use crate::diagnose::{Answer, Case, rule};
use mail::{Actor, Confidence, Fault, Finding, Retry};

rule! {
    /// A bare CR in the content
    ///
    /// CR and LF occur in mail only together, as the end of a line (RFC 5321 2.3.8). A CR alone comes from programs that write
    /// over their own line, such as the progress bars of downloads, whose output a script or cron mails unchanged.
    ///
    /// Known by the octet where the first one stands, and by the refusal.
    ///
    /// Filter the output (`tr -d '\r'`), or have the program encode it (base64, quoted-printable).
    "content.bare_cr", find
}

fn find(case: &Case<'_>) -> Answer {
    let finding = if let Some((visit, reply, (line, octet))) = fault(case, |fault| match fault {
        Fault::BareCarriageReturn { line, octet } => Some((line, octet)),
        _ => None,
    }) {
        let what = format!(
            "a bare CR at octet {octet} of the content (line {line}); RFC 5321 section 2.3.8 allows CR only before LF"
        );
        let fact = format!("line {line}, octet {octet} (counted from 0): CR without LF");
        from_client("content.bare_cr", visit, &what, fact, reply)
    } else {
        let is_it = |content: &&crate::diagnose::ContentFacts| {
            content.bare_cr.count > 0 && content.bare_lf.count == 0 && content.nul.count == 0
        };
        let Some(content) = case.content.filter(is_it) else { return Answer::No };
        let (count, first) = (content.bare_cr.count, content.bare_cr.first);
        let what = counted(count, "a bare CR character", "bare CR characters");
        let start = format!("The message has {what} (first at octet {first}, typical for progress bars)");
        let fact = format!("{count} CR without LF, the first at octet {first} (counted from 0)");
        if let Some(refused) = refused(case, Topic::LineEnds) {
            let confidence = if refused.named { Confidence::Proven } else { Confidence::Possible };
            Finding::new("content.bare_cr", Actor::TheContent, format!("{start}; {}.", refused.text()))
                .confidence(confidence)
                .evidence(fact)
                .evidence(refused.evidence())
        } else if let Some(tried) = stopped(case) {
            let sentence = format!("{start}; this gateway does not pass them on to {}.", tried.host);
            Finding::new("content.bare_cr", Actor::TheContent, sentence).confidence(Confidence::Proven).evidence(fact)
        } else {
            return Answer::No;
        }
    };
    finding
        .retry(Retry::Useless)
        .disproof("a capture of the connection in which a LF follows every CR")
        .fix("Filter the output before it is mailed (`tr -d '\\r'`), or have the program encode it in base64.")
        .into()
}

#[cfg(test)]
mod tests {
    use crate::diagnose::testing::{content, scene, visit};
    use mail::Fault;

    #[test]
    fn a_progress_bar_is_recognised() {
        let mut scene = scene(
            "to a@ms.test
             try mx.ms.test 127.0.0.11
               data 354 go
               final 552 5.2.0 Message contains bare CR and is violating 822.bis section 2.3
               fail final-reply them 552 5.2.0 Message contains bare CR and is violating 822.bis section 2.3",
        );
        scene.content = content("A: b\r\n\r\n10%\r20%\r30%\r\n");
        scene.check(
            "content.bare_cr: The message has 2 bare CR characters (first at octet 11, typical for progress bars); \
             mx.ms.test refused it: 552 5.2.0 Message contains bare CR and is violating 822.bis section 2.3.",
        );
    }

    #[test]
    fn a_client_that_sends_one_is_told_where() {
        visit("127.0.1.10", "550 5.6.0 malformed content", Fault::BareCarriageReturn { line: 9, octet: 198 })
            .check("content.bare_cr");
    }

    #[test]
    fn both_kinds_are_no_progress_bar() {
        let mut scene = scene("to a@ms.test\ntry mx.ms.test 127.0.0.11\n  final 550 5.6.0 no");
        scene.content = content("A: b\r\n\r\n10%\r20%\nx\r\n");
        assert!(scene.diagnose().findings.iter().all(|finding| finding.cause != "content.bare_cr"));
    }
}
