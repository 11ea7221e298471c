//! The other side's newest TLS version is older than 1.2.

use super::{aftermath, facts, place, unshaken, version_name, with_facts};
use crate::diagnose::{Answer, Case, rule};
use mail::{Actor, Confidence, Finding};

rule! {
    /// TLS version too old
    ///
    /// The other side speaks no TLS version that this gateway accepts: TLS 1.2 or newer (RFC 8996 forbids 1.0 and 1.1). Its
    /// ServerHello names an older version, or it answers our ClientHello with the alert protocol_version (70); of a client,
    /// its ClientHello offers older ones only.
    ///
    /// The other side must update its TLS library or allow TLS 1.2. Where no policy asks for TLS, mail goes in clear text
    /// meanwhile.
    "tls.version_too_old", find
}

const TLS_1_2: u16 = 0x0303;
const PROTOCOL_VERSION: u8 = 70;

fn find(case: &Case<'_>) -> Answer {
    if let Some(visit) = case.visit() {
        let Some(hello) = &visit.tls_hello else { return Answer::No };
        let Some(newest) = hello.versions.iter().max().filter(|newest| **newest < TLS_1_2) else { return Answer::No };
        let client = visit.client;
        let sentence = format!(
            "Client {client} offers no TLS newer than {} (0x{newest:04x}); this gateway requires TLS 1.2 or newer.",
            version_name(*newest)
        );
        let mut finding = Finding::new("tls.version_too_old", Actor::TheirHost, sentence)
            .confidence(Confidence::Proven)
            .disproof(format!("a ClientHello of {client} with version 0x0303 or 0x0304"))
            .fix(format!("Update the TLS library of {client}, or let it send without STARTTLS."));
        finding.evidence = facts(hello);
        return finding.into();
    }
    let Some((tried, hello)) = unshaken(case) else { return Answer::No };
    let host = &tried.host;
    let rejected = hello.alert.is_some_and(|(_, description)| description == PROTOCOL_VERSION);
    let what = match hello.version {
        Some(version) if version < TLS_1_2 => {
            format!("{} speaks only {} (ServerHello 0x{version:04x})", place(tried), version_name(version))
        }
        None if rejected => {
            format!("{} speaks only TLS versions before 1.2 (alert 70 protocol_version to our hello)", place(tried))
        }
        _ => return Answer::No,
    };
    let confidence = if hello.version.is_some() { Confidence::Proven } else { Confidence::Likely };
    let finding = aftermath(case, tried, |end| {
        Finding::new(
            "tls.version_too_old",
            Actor::TheirHost,
            format!("{what}; this gateway requires TLS 1.2 or newer{end}."),
        )
    });
    with_facts(finding.confidence(confidence), tried, hello)
        .disproof(format!("openssl s_client -starttls smtp -tls1_2 -connect {host}:{} succeeds", tried.port))
        .fix(format!("The owner of {host} enables TLS 1.2 or 1.3."))
        .into()
}

#[cfg(test)]
mod tests {
    use crate::diagnose::testing::{check, hello, scene};

    const FAILED: &str = "to a@old.test
         try mx.old.test 127.0.0.11
           banner 220 x
           fail start-tls path [internal] 451 4.7.5 TLS negotiation failed";

    #[test]
    fn the_version_of_the_server_hello_is_named() {
        check(
            &format!("{FAILED}\n hello version 0301"),
            "tls.version_too_old: mx.old.test (127.0.0.11) speaks only TLS 1.0 (ServerHello 0x0301); this gateway requires \
             TLS 1.2 or newer; the message waits.",
        );
    }

    #[test]
    fn the_alert_alone_tells_and_clear_text_is_said() {
        check(
            &format!("{FAILED}\n hello alert 70\n try mx.old.test 127.0.0.11\n final 250 ok"),
            "tls.version_too_old: mx.old.test (127.0.0.11) speaks only TLS versions before 1.2 (alert 70 protocol_version \
             to our hello); this gateway requires TLS 1.2 or newer; no policy demands TLS, so the message was sent in \
             clear text.",
        );
    }

    #[test]
    fn another_alert_or_version_is_another_matter() {
        check(&format!("{FAILED}\n hello alert 40"), "tls.handshake_failure");
        check(&format!("{FAILED}\n hello version 0303\n hello alert 40"), "tls.handshake_failure");
    }

    #[test]
    fn a_client_that_offers_old_versions_only_is_told_so() {
        let mut scene = scene("").visiting("127.0.1.10");
        hello(scene.hello_of_visit(), "versions 0301");
        scene.check(
            "tls.version_too_old: Client 127.0.1.10 offers no TLS newer than TLS 1.0 (0x0301); this gateway requires TLS \
             1.2 or newer.",
        );
    }
}
