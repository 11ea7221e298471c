//! A server offers STARTTLS and cannot do it.

use super::{place, setting};
use crate::diagnose::{Answer, Case, rule};
use mail::{Actor, Confidence, Finding, Retry, Severity, Stage};

rule! {
    /// TLS offered but not available
    ///
    /// The peer lists STARTTLS and answers the command with a refusal, mostly 454: it cannot load its certificate or key, or
    /// has no resources for TLS (RFC 3207 4). The code 4.7.0 says nothing of a policy here. Of this gateway: a listener's
    /// certificate and key cannot be read or do not fit each other; STARTTLS is then not offered, and the log says why.
    ///
    /// The server's administrator checks the files, their permissions, and that the key belongs to the certificate. Where no
    /// policy asks for TLS, mail goes on in clear text.
    "tls.server_not_ready", find
}

fn find(case: &Case<'_>) -> Answer {
    let Some((tried, reply)) =
        case.tries().iter().find_map(|tried| Some((tried, tried.starttls.as_ref().filter(|said| said.code >= 400)?)))
    else {
        return Answer::No;
    };
    let host = &tried.host;
    let code = match reply.enhanced {
        Some(enhanced) => format!("{} {enhanced}", reply.code),
        None => reply.code.to_string(),
    };
    let stopped = tried.failure.as_ref().is_some_and(|failure| failure.stage == Stage::StartTls);
    let end = match (stopped, case.went_through().is_some()) {
        (false, true) => "sent without TLS",
        (false, false) => "the conversation went on without TLS",
        (true, true) => "another host took the message",
        (true, false) => "the policy demands TLS, so the message waits",
    };
    // 454 is the code for it; another refusal after the offer may be a middle box.
    let confidence = if reply.code == 454 { Confidence::Proven } else { Confidence::Likely };
    let sentence = format!("{} offers STARTTLS but has a local TLS problem ({code}); {end}.", place(tried));
    let finding = Finding::new("tls.server_not_ready", Actor::TheirHost, sentence)
        .confidence(confidence)
        .evidence("STARTTLS among the extensions of the answer to EHLO")
        .evidence(format!("answer to STARTTLS: {} {}", code, reply.text()))
        .disproof(format!("openssl s_client -starttls smtp -connect {host}:{} succeeds", tried.port))
        .fix(format!("The owner of {host} checks that its certificate and key can be read and fit each other."));
    let finding = if stopped && case.went_through().is_none() {
        finding
            .retry(Retry::Helps { after_s: None })
            .fix(format!("To deliver meanwhile: {} with tls = \"offer\".", setting(case)))
    } else {
        let retry = if case.went_through().is_some() { Retry::NotNeeded } else { Retry::AfterFix };
        finding.severity(Severity::Warning).retry(retry)
    };
    finding.into()
}

/// Of a listener of ours (`listener.inbound`) whose certificate or key cannot be used.
pub fn own(listener: &str, why: &str) -> Finding {
    Finding::new(
        "tls.server_not_ready",
        Actor::OurSettings,
        format!("{listener} cannot do TLS, so STARTTLS is not offered there: {why}."),
    )
    .severity(Severity::Warning)
    .confidence(Confidence::Proven)
    .evidence(format!("{listener}.certificate and {listener}.key, read at the start: {why}"))
    .disproof(format!("250-STARTTLS in the answer of {listener} to EHLO"))
    .fix(format!("Set {listener}.key to the key that belongs to {listener}.certificate, readable by the gateway; then restart."))
    .fix("Compare: `openssl x509 -noout -pubkey -in CERTIFICATE` and `openssl pkey -pubout -in KEY` must print the same.")
}

#[cfg(test)]
mod tests {
    use crate::diagnose::testing::check;

    #[test]
    fn a_454_is_a_local_problem_of_the_peer() {
        check(
            "to a@b454.test
             try mx.b454.test 127.0.0.11
               starttls 454 4.7.0 TLS not available due to local problem
               final 250 ok",
            "tls.server_not_ready: mx.b454.test (127.0.0.11) offers STARTTLS but has a local TLS problem (454 4.7.0); sent \
             without TLS.",
        );
    }

    #[test]
    fn where_tls_is_demanded_the_message_waits() {
        check(
            "to a@b454.test
             try mx.b454.test 127.0.0.11
               starttls 454 4.3.3 TLS currently unavailable
               fail start-tls them 454 4.3.3 TLS currently unavailable",
            "tls.server_not_ready: mx.b454.test (127.0.0.11) offers STARTTLS but has a local TLS problem (454 4.3.3); the \
             policy demands TLS, so the message waits.",
        );
    }

    #[test]
    fn a_go_ahead_is_none() {
        check("to a@x.test\n try mx.x.test 127.0.0.11\n starttls 220 2.0.0 go\n tls TLSv1.3\n final 250 ok", "unknown");
    }
}
