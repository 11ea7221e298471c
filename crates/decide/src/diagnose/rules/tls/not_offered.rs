//! A policy asks for TLS, and the peer does not offer it.

use super::{place, setting};
use crate::diagnose::{Answer, Case, rule};
use mail::{Actor, Confidence, Finding, Stage};

rule! {
    /// TLS required but not offered
    ///
    /// The settings ask for TLS on this way, and the peer's answer to EHLO lists no STARTTLS. Nothing shows a middle box in
    /// between (then another finding would stand here).
    ///
    /// The peer's administrator enables STARTTLS; or set tls to offer, which sends in clear text where TLS is not offered.
    "tls.not_offered", find
}

fn find(case: &Case<'_>) -> Answer {
    let Some((tried, failure)) = case.failed() else { return Answer::No };
    let offered = tried.capabilities.iter().any(|line| line.eq_ignore_ascii_case("STARTTLS"));
    let is_ours = failure.status.host.is_none() && failure.status.enhanced.to_string() == "4.7.6";
    if failure.stage != Stage::StartTls || !is_ours || offered || tried.tls_hello.is_some() || tried.starttls.is_some()
    {
        return Answer::No;
    }
    let domain = case.attempt().map(|attempt| attempt.domain.as_str()).unwrap_or_default();
    let sentence = format!("{} does not offer STARTTLS, and the settings demand TLS for {domain}.", place(tried));
    Finding::new("tls.not_offered", Actor::TheirHost, sentence)
        .confidence(Confidence::Proven)
        .evidence(format!("extensions offered: {}", tried.capabilities.join(", ")))
        .evidence(failure.to_string())
        .disproof(format!("STARTTLS in the answer of {} to our EHLO", tried.host))
        .fix(format!("The owner of {} enables STARTTLS.", tried.host))
        .fix(format!("To deliver without TLS: {} with tls = \"offer\".", setting(case)))
        .into()
}

#[cfg(test)]
mod tests {
    use crate::diagnose::testing::check;

    #[test]
    fn a_peer_without_starttls_does_not_satisfy_the_policy() {
        check(
            "to a@plain.test
             try mx.plain.test 127.0.0.11
               ehlo 250 mx.plain.test
               caps PIPELINING, SIZE 1000
               fail start-tls them [internal] 451 4.7.6 STARTTLS required but not advertised",
            "tls.not_offered: mx.plain.test (127.0.0.11) does not offer STARTTLS, and the settings demand TLS for plain.test.",
        );
    }
}
