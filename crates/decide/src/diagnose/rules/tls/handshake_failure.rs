//! A handshake failed, for no reason that a better rule knows.

use super::{aftermath, alert_name, facts, place, setting, unshaken, with_facts};
use crate::diagnose::{Answer, Case, rule};
use mail::{Actor, Confidence, End, Finding, TlsHello};

rule! {
    /// TLS handshake failed
    ///
    /// STARTTLS was answered with 220, and then the handshake failed: the other side closed, sent an alert, kept silent, or sent
    /// what is no TLS. The evidence shows what each side offered and how far it came. Where no policy asks for TLS, a second
    /// connection carries the mail in clear text.
    ///
    /// The server's administrator looks into its TLS log: no common version or cipher suite, an unreadable key, a middle box.
    "tls.handshake_failure", find
}

fn find(case: &Case<'_>) -> Answer {
    if let Some(visit) = case.visit() {
        let Some(hello) = &visit.tls_hello else { return Answer::No };
        let client = visit.client;
        let sentence = format!("The TLS handshake with client {client} failed: {}.", what("the client", hello));
        let mut finding = Finding::new("tls.handshake_failure", Actor::TheirHost, sentence)
            .confidence(Confidence::Likely)
            .disproof(format!("a later handshake with {client} that succeeds"))
            .fix(format!(
                "Look into the TLS log of {client}. If it rejects our certificate: listener.{}.certificate must be one that \
                 it knows.",
                visit.listener.name()
            ));
        finding.evidence = facts(hello);
        finding.evidence.push(format!("the connection ended: {:?}", visit.end));
        return finding.into();
    }
    let Some((tried, hello)) = unshaken(case) else { return Answer::No };
    let host = &tried.host;
    let finding = aftermath(case, tried, |end| {
        let how = match &tried.end {
            _ if is_silent(hello)
                && tried.failure.as_ref().is_some_and(|failure| failure.status.text.contains("timed out")) =>
            {
                "says nothing during the handshake".to_owned()
            }
            End::TimedOut { .. } if is_silent(hello) => "says nothing during the handshake".to_owned(),
            _ => what("it", hello),
        };
        let how = how.strip_prefix("it ").unwrap_or(&how).to_owned();
        let sentence = format!("{} offers STARTTLS but {how}{end}.", place(tried));
        Finding::new("tls.handshake_failure", Actor::TheirHost, sentence)
    });
    with_facts(finding, tried, hello)
        .disproof(format!("openssl s_client -starttls smtp -connect {host}:{} succeeds", tried.port))
        .fix(format!("The owner of {host} looks into its TLS log at {}.", tried.started.rfc3339()))
        .fix(format!("To send in clear text without trying TLS first: {} with tls = \"off\".", setting(case)))
        .into()
}

/// The other side sent nothing at all.
fn is_silent(hello: &TlsHello) -> bool {
    hello.version.is_none() && hello.alert.is_none() && hello.not_tls.is_empty()
}

/// What went wrong, with the other side as the subject.
fn what(who: &str, hello: &TlsHello) -> String {
    if let Some((_, description)) = hello.alert {
        return format!("{who} ends the handshake with alert {description} ({})", alert_name(description));
    }
    if !hello.not_tls.is_empty() {
        return format!("{who} sends no TLS after it: {:?}", String::from_utf8_lossy(&hello.not_tls));
    }
    if let Some((_, description)) = hello.our_alert {
        return format!("{who} sends what this side rejects with alert {description} ({})", alert_name(description));
    }
    format!("{who} closes the connection during the handshake")
}

#[cfg(test)]
mod tests {
    use crate::diagnose::testing::check;

    const FAILED: &str = "to a@old.test
         try mx.old.test 127.0.0.11
           fail start-tls path [internal] 451 4.7.5 TLS negotiation failed: tls handshake eof
           closed
           hello versions 0304 0303";

    #[test]
    fn the_message_goes_in_the_clear() {
        check(
            &format!("{FAILED}\n try mx.old.test 127.0.0.11\n final 250 ok"),
            "tls.handshake_failure: mx.old.test (127.0.0.11) offers STARTTLS but closes the connection during the handshake; \
             no policy demands TLS, so the message was sent in clear text.",
        );
    }

    #[test]
    fn an_alert_is_named() {
        check(
            &format!("{FAILED}\n hello alert 40"),
            "tls.handshake_failure: mx.old.test (127.0.0.11) offers STARTTLS but ends the handshake with alert 40 \
             (handshake_failure); the message waits.",
        );
    }
}
