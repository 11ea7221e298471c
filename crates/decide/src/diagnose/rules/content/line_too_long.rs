//! A line is longer than mail allows.

use super::{fault, from_client, refused};
use crate::diagnose::words::Topic;
use crate::diagnose::{Answer, Case, LINE_MAX, rule};
use mail::{Actor, Confidence, Fault, Finding, Retry};

rule! {
    /// A line is too long
    ///
    /// A line of a message may have 998 octets, without CRLF (RFC 5322 2.1.1). Programs that write HTML, or a header field, as
    /// one line exceed that; many servers take it, some refuse it, and some of those with a 552 that reads like a size limit.
    ///
    /// Known by measuring: the longest line, its number and the part that holds it; and by the refusal.
    ///
    /// The sending program must encode the part (quoted-printable or base64) or fold the field. Nothing on the way may wrap the
    /// line: that would change the text and break a signature.
    "content.line_too_long", find
}

fn find(case: &Case<'_>) -> Answer {
    let finding = if let Some((visit, reply, (line, octets, line_max))) = fault(case, |fault| match fault {
        Fault::LongLine { line, octets, line_max } => Some((line, octets, line_max)),
        _ => None,
    }) {
        let what = format!(
            "a line {line} of {octets} octets; RFC 5322 section 2.1.1 allows {LINE_MAX} and this gateway takes {line_max} with CRLF"
        );
        from_client(
            "content.line_too_long",
            visit,
            &what,
            format!("line {line} has {octets} octets, CRLF included"),
            reply,
        )
    } else {
        let Some(longest) = case.content.and_then(|content| content.too_long()) else { return Answer::No };
        let Some(refused) = refused(case, Topic::LineLength) else { return Answer::No };
        let confidence = match refused.reply.code {
            _ if refused.named => Confidence::Proven,
            // RFC 5321 4.2.3: syntax errors, here of the content.
            500 | 501 => Confidence::Likely,
            _ => Confidence::Possible,
        };
        let part = if longest.part == "header" { "header".to_owned() } else { format!("{} part", longest.part) };
        let sentence = format!(
            "Line {} ({part}) has {} octets, the limit is {LINE_MAX} (RFC 5322 section 2.1.1); {}.",
            longest.line,
            longest.octets,
            refused.text()
        );
        Finding::new("content.line_too_long", Actor::TheContent, sentence)
            .confidence(confidence)
            .evidence(format!("longest line: {}, {} octets without CRLF, {part}", longest.line, longest.octets))
            .evidence(refused.evidence())
    };
    finding
        .retry(Retry::Useless)
        .disproof("the same host refuses the same message with all lines below 998 octets")
        .fix("The sending program must encode the part in quoted-printable or base64; a long header field must be folded.")
        .fix("Do not wrap the line on the way if the message is signed (DKIM).")
        .into()
}

#[cfg(test)]
mod tests {
    use crate::diagnose::testing::{content, scene, visit};
    use mail::Fault;

    const REFUSED: &str = "to a@strict.test
         try mx.strict.test 127.0.0.11
           data 354 go
           final 500 5.0.0 Line too long
           fail final-reply them 500 5.0.0 Line too long";

    fn html(octets: usize) -> String {
        format!("A: b\r\nContent-Type: text/html\r\n\r\nx\r\n{}\r\n", "h".repeat(octets))
    }

    #[test]
    fn the_measured_line_is_named() {
        let mut scene = scene(REFUSED);
        scene.content = content(&html(5000));
        scene.check(
            "content.line_too_long: Line 5 (text/html part) has 5000 octets, the limit is 998 (RFC 5322 section 2.1.1); \
             mx.strict.test refused it: 500 5.0.0 Line too long.",
        );
    }

    #[test]
    fn a_line_of_998_octets_is_not_too_long() {
        let mut scene = scene(REFUSED);
        scene.content = content(&html(998));
        assert!(scene.diagnose().findings.iter().all(|finding| finding.cause != "content.line_too_long"));
    }

    #[test]
    fn a_long_line_explains_no_refusal_of_the_recipient() {
        let mut scene = scene("to a@strict.test\ntry mx.strict.test 127.0.0.11\n  rcpt a@strict.test 550 5.1.1 no");
        scene.content = content(&html(5000));
        assert!(scene.diagnose().findings.iter().all(|finding| finding.cause != "content.line_too_long"));
    }

    #[test]
    fn a_client_is_told_the_length() {
        visit("127.0.1.10", "550 5.6.0 x", Fault::LongLine { line: 4, octets: 5000, line_max: 2048 })
            .check("content.line_too_long");
    }
}
