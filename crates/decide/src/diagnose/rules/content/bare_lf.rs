//! The content holds a LF without CR before it.

use super::{counted, fault, from_client, refused, stopped};
use crate::diagnose::words::Topic;
use crate::diagnose::{Answer, Case, rule};
use mail::{Actor, Confidence, Fault, Finding, Retry};

rule! {
    /// A bare LF in the content
    ///
    /// In mail a line ends with CR and LF; a LF alone is not allowed (RFC 5321 2.3.8). Programs that write text as Unix or a
    /// script does, and hand it to SMTP unchanged, send it. Servers refuse it since 2023, because two servers that disagree
    /// about where a line, and so the message, ends can be made to pass on forged mail.
    ///
    /// Known by the octet where the first one stands, and by the refusal.
    ///
    /// Correct the sending program: it must write CRLF. It has nothing to do with BDAT, which some servers name in their text.
    "content.bare_lf", find
}

fn find(case: &Case<'_>) -> Answer {
    let finding = if let Some((visit, reply, (line, octet))) = fault(case, |fault| match fault {
        Fault::BareLineFeed { line, octet } => Some((line, octet)),
        _ => None,
    }) {
        let what = format!(
            "a bare LF at octet {octet} of the content (line {line}); RFC 5321 section 2.3.8 allows LF only after CR"
        );
        let fact = format!("line {line}, octet {octet} (counted from 0): LF without CR");
        from_client("content.bare_lf", visit, &what, fact, reply)
    } else {
        let Some(content) = case.content.filter(|content| content.bare_lf.count > 0 && content.nul.count == 0) else {
            return Answer::No;
        };
        let (count, first) = (content.bare_lf.count, content.bare_lf.first);
        let what = counted(count, "a bare LF", "bare LF");
        let start =
            format!("The message has {what} (first at octet {first}); RFC 5321 section 2.3.8 allows LF only after CR");
        let fact = format!("{count} LF without CR, the first at octet {first} (counted from 0)");
        if let Some(refused) = refused(case, Topic::LineEnds) {
            let confidence = if refused.named { Confidence::Proven } else { Confidence::Possible };
            Finding::new("content.bare_lf", Actor::TheContent, format!("{start}, and {}.", refused.text()))
                .confidence(confidence)
                .evidence(fact)
                .evidence(refused.evidence())
        } else if let Some(tried) = stopped(case) {
            let sentence = format!("{start}, so this gateway does not pass it on to {}.", tried.host);
            Finding::new("content.bare_lf", Actor::TheContent, sentence).confidence(Confidence::Proven).evidence(fact)
        } else {
            return Answer::No;
        }
    };
    finding
        .retry(Retry::Useless)
        .disproof("a capture of the connection in which every LF follows a CR")
        .fix("Correct the sending program: each line must end with CRLF.")
        .into()
}

#[cfg(test)]
mod tests {
    use crate::diagnose::testing::{content, scene, visit};
    use mail::Fault;

    const REFUSED: &str = "to a@ms.test
         try mx.ms.test 127.0.0.11
           banner 220 x
           mail 250 ok
           rcpt a@ms.test 250 ok
           data 354 go
           final 550 5.6.11 SMTPSEND.BareLinefeedsAreIllegal; message contains bare linefeeds
           fail final-reply them 550 5.6.11 SMTPSEND.BareLinefeedsAreIllegal; message contains bare linefeeds";

    #[test]
    fn a_client_that_sends_one_is_told_where() {
        visit("127.0.1.10", "550 5.6.0 malformed content", Fault::BareLineFeed { line: 3, octet: 231 }).check(
            "content.bare_lf: Client 127.0.1.10 sent a bare LF at octet 231 of the content (line 3); RFC 5321 section \
             2.3.8 allows LF only after CR, so it was refused with 550 5.6.0.",
        );
    }

    #[test]
    fn a_peer_that_refuses_what_is_there_is_right() {
        let mut scene = scene(REFUSED);
        scene.content = content("A: b\r\n\r\nx\ny\r\n");
        let found = scene.diagnose();
        let first = found.first().unwrap();
        assert_eq!(first.cause, "content.bare_lf");
        assert!(first.sentence.contains("first at octet 9"), "{}", first.sentence);
    }

    #[test]
    fn a_peer_that_says_so_without_reason_proves_nothing() {
        let mut scene = scene(REFUSED);
        scene.content = content("A: b\r\n\r\nx\r\ny\r\n");
        assert!(scene.diagnose().findings.iter().all(|finding| !finding.cause.starts_with("content.")));
    }

    #[test]
    fn a_peer_that_took_it_is_no_case() {
        let mut scene = scene("to a@ms.test\ntry mx.ms.test 127.0.0.11\n  final 250 2.0.0 ok");
        scene.content = content("A: b\r\n\r\nx\ny\r\n");
        scene.check("unknown");
    }
}
