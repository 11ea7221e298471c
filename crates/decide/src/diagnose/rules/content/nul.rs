//! The content holds NUL.

use super::{fault, from_client, refused, stopped};
use crate::diagnose::words::Topic;
use crate::diagnose::{Answer, Case, rule};
use mail::{Actor, Confidence, Fault, Finding, Retry};

rule! {
    /// NUL in the content
    ///
    /// Mail may not hold octets of value 0 (RFC 5322 3.5, RFC 5321 4.5.2), except as BINARYMIME. They come from text in UTF-16
    /// that was not encoded (then every second octet is 0), or from buffers padded with zeros.
    ///
    /// Known by the octet where the first one stands, and by the refusal.
    ///
    /// Correct the sending program: encode the part in base64, or write UTF-8.
    "content.nul", find
}

fn find(case: &Case<'_>) -> Answer {
    let looks = |is_utf16: bool| if is_utf16 { " (looks like UTF-16 text without encoding)" } else { "" };
    let mut utf16 = case.content.is_some_and(|content| content.utf16);
    let finding = if let Some((visit, reply, (line, octet, is_wide))) = fault(case, |fault| match fault {
        Fault::Nul { line, octet, utf16 } => Some((line, octet, utf16)),
        _ => None,
    }) {
        utf16 |= is_wide;
        let what = format!(
            "a message with NUL bytes from octet {octet} on (line {line}){}; RFC 5322 forbids NUL",
            looks(utf16)
        );
        let fact = format!("line {line}, octet {octet} (counted from 0): NUL");
        from_client("content.nul", visit, &what, fact, reply)
    } else {
        let Some(content) = case.content.filter(|content| content.nul.count > 0) else { return Answer::No };
        let (count, first) = (content.nul.count, content.nul.first);
        let start = format!(
            "The message has {count} NUL bytes, from octet {first} on{}; RFC 5322 forbids NUL",
            looks(content.utf16)
        );
        let fact = format!("{count} octets of value 0, the first at octet {first} (counted from 0)");
        if let Some(refused) = refused(case, Topic::Nul) {
            let confidence = if refused.named { Confidence::Proven } else { Confidence::Possible };
            Finding::new("content.nul", Actor::TheContent, format!("{start}, and {}.", refused.text()))
                .confidence(confidence)
                .evidence(fact)
                .evidence(refused.evidence())
        } else if let Some(tried) = stopped(case) {
            let sentence = format!("{start}, so this gateway does not pass it on to {}.", tried.host);
            Finding::new("content.nul", Actor::TheContent, sentence).confidence(Confidence::Proven).evidence(fact)
        } else {
            return Answer::No;
        }
    };
    let finding = finding.retry(Retry::Useless).disproof("a capture of the content without an octet of value 0");
    let step = if utf16 {
        "Correct the sending program: it must encode UTF-16 text in base64, or write UTF-8."
    } else {
        "Correct the sending program: it must not pad with zeros; other data it must encode in base64."
    };
    finding.fix(step).into()
}

#[cfg(test)]
mod tests {
    use crate::diagnose::testing::{content, scene, visit};
    use mail::Fault;

    const REFUSED: &str = "to a@ms.test
         try mx.ms.test 127.0.0.11
           data 354 go
           final 550 5.6.11 SMTP protocol violation: NUL bytes are not allowed in body lines
           fail final-reply them 550 5.6.11 SMTP protocol violation: NUL bytes are not allowed in body lines";

    #[test]
    fn utf16_is_named() {
        let mut scene = scene(REFUSED);
        scene.content = content("A: b\r\n\r\nh\0e\0l\0l\0o\0,\0 \0w\0o\0r\0l\0d\0");
        let sentence = scene.diagnose().findings[0].sentence.clone();
        assert!(
            sentence
                .starts_with("The message has 12 NUL bytes, from octet 9 on (looks like UTF-16 text without encoding)"),
            "{sentence}"
        );
        scene.check("content.nul");
    }

    #[test]
    fn a_client_that_sends_one_is_told_where() {
        visit("127.0.1.10", "550 5.6.0 malformed content", Fault::Nul { line: 20, octet: 512, utf16: true }).check(
            "content.nul: Client 127.0.1.10 sent a message with NUL bytes from octet 512 on (line 20) (looks like UTF-16 text \
             without encoding); RFC 5322 forbids NUL, so it was refused with 550 5.6.0.",
        );
    }

    #[test]
    fn without_nul_there_is_nothing_to_say() {
        let mut scene = scene(REFUSED);
        scene.content = content("A: b\r\n\r\nhello\r\n");
        assert!(scene.diagnose().findings.iter().all(|finding| !finding.cause.starts_with("content.")));
    }
}
