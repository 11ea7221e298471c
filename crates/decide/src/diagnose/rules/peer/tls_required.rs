//! The peer takes mail over TLS only.

use crate::diagnose::rules::said;
use crate::diagnose::words::Topic;
use crate::diagnose::{Answer, Case, rule};
use mail::{Actor, Confidence, Finding, Stage};

rule! {
    /// TLS required by the peer
    ///
    /// The host refuses mail in the clear. Either TLS is switched off here; or TLS was tried first and failed, and the try in
    /// the clear that followed was refused: then the failed handshake is the cause; or the host does not offer what it asks
    /// for.
    ///
    /// Known by the reply (530 with STARTTLS, x.7.10, x.7.30), whether STARTTLS was offered, and the try before.
    ///
    /// Set delivery.tls, the domain's [[tls_policy]] or route.other.tls to "offer" or better; for a failed handshake see its
    /// words.
    "peer.tls_required", find
}

fn find(case: &Case<'_>) -> Answer {
    let Some(said) = said::about(case, Topic::TlsRequired) else { return Answer::No };
    let (tried, place) = (said.tried, said.place());
    let has = |keyword: &str| tried.capabilities.iter().any(|line| line.to_ascii_uppercase().starts_with(keyword));
    let handshake = case.tries()[..said.at].iter().rev().find_map(|before| {
        let failure = before.failure.as_ref().filter(|failure| failure.stage == Stage::StartTls)?;
        (before.address == tried.address).then_some((before, failure))
    });
    let code = said.code();
    let finding = match handshake {
        Some((before, failure)) => {
            let ago = said::seconds(tried.started.since(before.started).as_secs());
            let alert = before.tls_hello.as_ref().and_then(|hello| hello.alert).map(|(_, alert)| alert_name(alert));
            let why = alert.unwrap_or_else(|| failure.status.text.clone());
            Finding::new(
                "peer.tls_required",
                Actor::TheirHost,
                format!(
                    "{place} accepts mail over TLS only; the TLS attempt {ago} before failed ({why}), so the clear-text \
                     fallback got {code}."
                ),
            )
            .confidence(Confidence::Proven)
            .evidence(format!("{}: {failure}", said::place(before)))
            .fix(format!("Mend the handshake: {why}. Clear text is not accepted there."))
        }
        None if tried.tls.is_some() => Finding::new(
            "peer.tls_required",
            Actor::TheirPolicy,
            format!("{place} wants better TLS than the session had ({}): {code}.", tried.tls.as_ref().map_or("", |tls| tls.version.as_str())),
        )
        .confidence(Confidence::Possible)
        .fix(format!("Ask the postmaster of {} what the session lacks.", tried.host)),
        None if has("STARTTLS") => Finding::new(
            "peer.tls_required",
            Actor::OurSettings,
            format!(
                "{place} accepts mail over TLS only ({code}) and offered STARTTLS, but TLS is switched off here for this \
                 destination."
            ),
        )
        .confidence(Confidence::Proven)
        .fix("Set delivery.tls, the domain's [[tls_policy]], or for a relay host route.other.tls, to \"offer\" or \"require\"."),
        None => Finding::new(
            "peer.tls_required",
            Actor::TheirHost,
            format!("{place} accepts mail over TLS only ({code}) but does not offer STARTTLS."),
        )
        .fix(format!("The owner of {} offers STARTTLS, or something on the way takes it out of the EHLO answer.", tried.host)),
    };
    finding
        .severity(said::severity(case, &said))
        .evidence(said.quote())
        .evidence(format!("extensions offered: {}", tried.capabilities.join(", ")))
        .disproof(format!("the same answer from {} in a session under TLS", tried.host))
        .into()
}

/// Names of the TLS alerts that end handshakes (RFC 8446 6).
fn alert_name(alert: u8) -> String {
    match alert {
        10 => "unexpected_message",
        40 => "handshake_failure",
        42 => "bad_certificate",
        43 => "unsupported_certificate",
        46 => "certificate_unknown",
        47 => "illegal_parameter",
        48 => "unknown_ca",
        70 => "protocol_version",
        71 => "insufficient_security",
        80 => "internal_error",
        112 => "unrecognized_name",
        116 => "certificate_required",
        120 => "no_application_protocol",
        other => return format!("alert {other}"),
    }
    .to_owned()
}

#[cfg(test)]
mod tests {
    use crate::diagnose::testing::{check, scene};
    use mail::TlsHello;

    const REFUSED: &str = "try mx.tlsonly.test 127.0.0.11
          banner 220 mx.tlsonly.test
          caps STARTTLS
          mail 530 5.7.0 Must issue a STARTTLS command first
          fail mail them 530 5.7.0 Must issue a STARTTLS command first";

    #[test]
    fn tls_is_switched_off_here() {
        check(
            &format!("to a@tlsonly.test\n{REFUSED}"),
            "peer.tls_required: mx.tlsonly.test (127.0.0.11) accepts mail over TLS only (530 5.7.0) and offered STARTTLS, but \
             TLS is switched off here for this destination.",
        );
    }

    #[test]
    fn the_handshake_before_is_the_cause() {
        let mut scene = scene(&format!(
            "to a@tlsonly.test
             try mx.tlsonly.test 127.0.0.11
               banner 220 mx.tlsonly.test
               caps STARTTLS
               fail start-tls them [internal] 454 4.7.0 handshake failed
             {REFUSED}"
        ));
        scene.attempt.tries[0].tls_hello = Some(TlsHello { alert: Some((2, 80)), ..TlsHello::default() });
        let finding =
            scene.diagnose().findings.into_iter().find(|finding| finding.cause == "peer.tls_required").unwrap();
        assert!(finding.sentence.contains("before failed (internal_error), so the clear-text fallback got 530 5.7.0"));
    }
}
