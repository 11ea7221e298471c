//! A hop without 8BITMIME and a signed 8-bit message do not fit together.

use crate::diagnose::words::Topic;
use crate::diagnose::{Answer, Case, rule};
use mail::{Actor, Confidence, Finding, Retry, Stage};

rule! {
    /// A hop without 8BITMIME and a signed 8-bit message
    ///
    /// A server that does not offer 8BITMIME takes 7-bit mail only (RFC 6152). To pass 8-bit mail on to it, the text must be
    /// converted to quoted-printable; that changes the body, and a DKIM signature made before no longer fits ("body hash did not
    /// verify"). This gateway does not convert: it refuses to send such a message to such a hop (554 5.6.3). Other servers do
    /// convert, and leave `X-MIME-Autoconverted` in the header.
    ///
    /// Known by the hop's EHLO answer, the octets above 127 in the message and its DKIM-Signature.
    ///
    /// Let the hop (a content filter, an archive) offer 8BITMIME, or have the message encoded to 7 bit before it is signed. The
    /// key in DNS is not the cause.
    "content.reencoded_breaks_dkim", find
}

fn find(case: &Case<'_>) -> Answer {
    let Some(content) = case.content.filter(|content| content.has_dkim) else { return Answer::No };
    not_sent(case).or_else(|| converted(case, &content.converted)).into()
}

/// We did not send it.
fn not_sent(case: &Case<'_>) -> Option<Finding> {
    let content = case.content?;
    let (tried, failure) = case.failed()?;
    let ours = mail::status::NEEDS_8BITMIME.with("").enhanced;
    let is_it = failure.stage == Stage::Mail
        && failure.status.host.is_none()
        && failure.status.enhanced == ours
        && content.is_eight_bit()
        && !tried.capabilities.iter().any(|line| line.eq_ignore_ascii_case("8BITMIME"));
    let offered = if tried.capabilities.is_empty() { "nothing".to_owned() } else { tried.capabilities.join(", ") };
    let (host, address) = (&tried.host, tried.address);
    let sentence = format!(
        "Hop {host} does not offer 8BITMIME, and the message is a DKIM-signed 8-bit one: converted to quoted-printable its DKIM \
         body hash would no longer fit, so it was not sent (554 5.6.3)."
    );
    is_it.then(|| {
        finish(Finding::new("content.reencoded_breaks_dkim", Actor::TheirHost, sentence), host)
            .confidence(Confidence::Proven)
            .evidence(format!("EHLO answer of {host} [{address}]: {offered}"))
            .evidence("the content has octets above 127 and a DKIM-Signature field")
            .disproof(format!("8BITMIME in the EHLO answer of {host}"))
    })
}

/// A hop before us converted it, and the peer finds the signature broken.
fn converted(case: &Case<'_>, how: &str) -> Option<Finding> {
    if how.is_empty() {
        return None;
    }
    let (tried, _, reply) = case.refusal_about(Topic::Dkim)?;
    let hop = how.split_whitespace().skip_while(|word| *word != "by").nth(1).unwrap_or("a hop before");
    let sentence = format!(
        "Hop {hop} converted the signed message ({how}) after its signature was made, so the DKIM body hash no longer fits; {} \
         refused it: {reply}.",
        tried.host
    );
    let finding = Finding::new("content.reencoded_breaks_dkim", Actor::OurServer, sentence);
    let finding = finish(finding, hop)
        .evidence(format!("X-MIME-Autoconverted: {how}"))
        .evidence(format!("{} answered: {reply}", tried.host))
        .disproof("the signature does not verify at the hop before the conversion either");
    Some(finding)
}

fn finish(finding: Finding, hop: &str) -> Finding {
    finding
        .retry(Retry::AfterFix)
        .fix(format!("Let {hop} offer 8BITMIME."))
        .fix("Or have the sending program encode to 7 bit (quoted-printable, base64) before the message is signed.")
}

#[cfg(test)]
mod tests {
    use crate::diagnose::testing::{content, scene};

    const SIGNED: &str = "DKIM-Signature: v=1; d=corp.test\r\nSubject: x\r\n\r\nGrüße\r\n";

    fn hop(caps: &str) -> String {
        format!(
            "to a@corp.test\nvia next-hops\ntry 127.0.0.20 127.0.0.20:2525\n  ehlo 250 x\n  caps {caps}\n  \
             fail mail them [internal] 554 5.6.3 peer does not offer 8BITMIME"
        )
    }

    #[test]
    fn a_signed_message_is_not_converted_for_an_old_hop() {
        let mut scene = scene(&hop("SIZE"));
        scene.content = content(SIGNED);
        let sentence = scene.diagnose().findings[0].sentence.clone();
        assert!(sentence.starts_with("Hop 127.0.0.20 does not offer 8BITMIME"), "{sentence}");
        scene.check("content.reencoded_breaks_dkim");
    }

    #[test]
    fn without_a_signature_none_can_break() {
        let mut scene = scene(&hop("SIZE"));
        scene.content = content("Subject: x\r\n\r\nGrüße\r\n");
        assert!(scene.diagnose().findings.iter().all(|finding| finding.cause != "content.reencoded_breaks_dkim"));
    }

    #[test]
    fn a_broken_signature_alone_shows_no_conversion() {
        let mut scene = scene(
            "to a@b.test\ntry mx.b.test 127.0.0.11\n  caps 8BITMIME\n  final 550 5.7.20 DKIM body hash did not verify\n  \
             fail final-reply them 550 5.7.20 DKIM body hash did not verify",
        );
        scene.content = content(SIGNED);
        assert!(scene.diagnose().findings.iter().all(|finding| finding.cause != "content.reencoded_breaks_dkim"));
    }
}
