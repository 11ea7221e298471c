//! The server does not want the name that was sent.

use super::{aftermath, place, unshaken, with_facts};
use crate::diagnose::{Answer, Case, rule};
use mail::{Actor, Confidence, Finding};

rule! {
    /// Server name rejected
    ///
    /// The peer ends the handshake with the alert unrecognized_name (112): it knows no certificate for the server name (SNI,
    /// RFC 6066 3) that we sent, and serves none by default. The name is that of the MX record or of the next hop, without a
    /// final dot.
    ///
    /// The peer's administrator sets a default certificate or adds the name. If the next hop in the settings is an alias of
    /// the server's true name, write the true name.
    "tls.sni_rejected", find
}

const UNRECOGNIZED_NAME: u8 = 112;

fn find(case: &Case<'_>) -> Answer {
    let Some((tried, hello)) = unshaken(case) else { return Answer::No };
    let (Some((_, UNRECOGNIZED_NAME)), Some(name)) = (hello.alert, &hello.sni) else { return Answer::No };
    let host = &tried.host;
    let finding = aftermath(case, tried, |end| {
        let why = if name.ends_with('.') {
            " (RFC 6066 section 3 forbids the trailing dot)"
        } else {
            " (alert 112 unrecognized_name) instead of serving a default certificate"
        };
        let sentence = format!("{} aborts for SNI \"{name}\"{why}{end}.", place(tried));
        Finding::new("tls.sni_rejected", Actor::TheirHost, sentence)
    });
    with_facts(finding.confidence(Confidence::Proven), tried, hello)
        .disproof(format!("openssl s_client -starttls smtp -servername {name} -connect {host}:{} succeeds", tried.port))
        .fix(format!("The owner of {host} adds {name} to the names it serves, or sets a default certificate."))
        .into()
}

#[cfg(test)]
mod tests {
    use crate::diagnose::testing::check;

    const FAILED: &str = "to a@dot.test
         try mx.dot.test 127.0.0.11
           fail start-tls path [internal] 451 4.7.5 TLS negotiation failed";

    #[test]
    fn the_name_is_quoted_as_it_was_sent() {
        check(
            &format!("{FAILED}\n hello sni mx.dot.test.\n hello alert 112"),
            "tls.sni_rejected: mx.dot.test (127.0.0.11) aborts for SNI \"mx.dot.test.\" (RFC 6066 section 3 forbids the \
             trailing dot); the message waits.",
        );
        check(
            &format!("{FAILED}\n hello sni mx.dot.test\n hello alert 112"),
            "tls.sni_rejected: mx.dot.test (127.0.0.11) aborts for SNI \"mx.dot.test\" (alert 112 unrecognized_name) instead \
             of serving a default certificate; the message waits.",
        );
    }

    #[test]
    fn an_internal_error_is_not_about_the_name() {
        check(&format!("{FAILED}\n hello sni mx.dot.test\n hello alert 80"), "tls.handshake_failure");
    }
}
