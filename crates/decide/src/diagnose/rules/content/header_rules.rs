//! Header fields are missing or stand twice.

use super::refused;
use crate::diagnose::words::Topic;
use crate::diagnose::{Answer, Case, ContentFacts, rule};
use mail::{Actor, Confidence, Finding, Retry};

rule! {
    /// A header field is missing or stands twice
    ///
    /// A message must have one Date and one From, should have one Message-ID, and may have Sender, Reply-To, To, Cc, Subject and
    /// some others once only (RFC 5322 3.6). Large mailbox providers refuse mail that breaks this, often with the code that they
    /// use for spam (5.7.1). Applications that write headers by hand and list managers that add a second Reply-To are the cause.
    ///
    /// Known by counting the fields of the message itself, with the lines where they stand, and by the refusal.
    ///
    /// Correct the program that writes the message.
    "content.header_rules", find
}

/// RFC 5322 3.6; those of MIME are no reason that a peer names.
const ONCE: [&str; 11] =
    ["Date", "From", "Sender", "Reply-To", "To", "Cc", "Bcc", "Message-ID", "In-Reply-To", "References", "Subject"];
const REQUIRED: [&str; 3] = ["From", "Date", "Message-ID"];

fn find(case: &Case<'_>) -> Answer {
    let Some(content) = case.content.filter(|content| !content.singles.is_empty()) else { return Answer::No };
    let broken = broken(content);
    let (Some(refused), Some(_)) = (refused(case, Topic::Header), broken.first()) else { return Answer::No };
    // That a field is missing explains a refusal only if the peer says so: most take such mail.
    if !refused.named && !ONCE.into_iter().any(|name| content.lines(name).len() > 1) {
        return Answer::No;
    }
    let confidence = if refused.named { Confidence::Proven } else { Confidence::Possible };
    let sentence = format!("The message has {}; {}.", broken.join(" and "), refused.text());
    let mut finding = Finding::new("content.header_rules", Actor::TheContent, sentence)
        .confidence(confidence)
        .retry(Retry::Useless)
        .disproof("the same host refuses the message with each of these fields standing exactly once");
    finding.evidence = broken;
    finding
        .evidence(refused.evidence())
        .fix("Correct the program that writes the message (an application, a list manager): each of these fields once.")
        .into()
}

/// `two Reply-To fields (lines 7 and 12), RFC 5322 section 3.6 allows one`, `no Message-ID field`.
fn broken(content: &ContentFacts) -> Vec<String> {
    let doubled = ONCE.into_iter().filter_map(|name| {
        let lines: Vec<String> = content.lines(name).iter().map(u64::to_string).collect();
        let (last, others) = lines.split_last().filter(|(_, others)| !others.is_empty())?;
        let count = if others.len() == 1 { "two".to_owned() } else { lines.len().to_string() };
        let lines = format!("lines {} and {last}", others.join(", "));
        Some(format!("{count} {name} fields ({lines}) where RFC 5322 section 3.6 allows one"))
    });
    let missing = REQUIRED.into_iter().filter(|name| content.lines(name).is_empty());
    doubled.chain(missing.map(|name| format!("no {name} field"))).collect()
}

#[cfg(test)]
mod tests {
    use crate::diagnose::testing::{content, scene};

    const REFUSED: &str = "to a@big.test
         try mx.big.test 127.0.0.11
           data 354 go
           final 550 5.7.1 This message is not RFC 5322 compliant: multiple Reply-To headers
           fail final-reply them 550 5.7.1 This message is not RFC 5322 compliant: multiple Reply-To headers";
    const GOOD: &str = "Date: x\r\nFrom: a@b\r\nMessage-ID: <1@b>\r\nTo: c@d\r\n";

    #[test]
    fn a_field_that_stands_twice_is_named_with_its_lines() {
        let mut scene = scene(REFUSED);
        scene.content = content(&format!("{GOOD}Reply-To: a@b\r\nX: y\r\nReply-To: c@d\r\n\r\nx\r\n"));
        let sentence = scene.diagnose().findings[0].sentence.clone();
        assert!(
            sentence.starts_with("The message has two Reply-To fields (lines 5 and 7) where RFC 5322"),
            "{sentence}"
        );
        scene.check("content.header_rules");
    }

    #[test]
    fn a_missing_field_is_named() {
        let mut scene = scene(&REFUSED.replace("multiple Reply-To headers", "missing a valid Message-ID header"));
        scene.content = content("Date: x\r\nFrom: a@b\r\n\r\nx\r\n");
        let findings = scene.diagnose().findings;
        let sentence = findings.first().map(|finding| finding.sentence.as_str()).unwrap_or_default();
        let named = sentence.starts_with("The message has no Message-ID field; mx.big.test refused it: 550");
        assert!(named, "{sentence}");
    }

    #[test]
    fn a_good_header_is_no_cause_whatever_the_peer_says() {
        let mut scene = scene(REFUSED);
        scene.content = content(&format!("{GOOD}\r\nx\r\n"));
        assert!(scene.diagnose().findings.iter().all(|finding| finding.cause != "content.header_rules"));
    }
}
