//! TLS: handshakes that fail, and certificates that do not satisfy a policy.

mod cert_expired;
mod cert_name_mismatch;
mod cert_type_cipher_mismatch;
mod cert_untrusted;
mod dh_too_small;
mod handshake_failure;
mod legacy_sigalg;
mod not_offered;
mod server_not_ready;
mod sni_rejected;
mod version_too_old;

use crate::diagnose::{Case, Rule, connected};
use mail::{Certificate, Finding, HostTry, Retry, Severity, Stage, Time, TlsHello, status};

/// Special before general.
pub(super) const RULES: &[Rule] = &[
    version_too_old::RULE,
    dh_too_small::RULE,
    legacy_sigalg::RULE,
    sni_rejected::RULE,
    cert_type_cipher_mismatch::RULE,
    cert_expired::RULE,
    cert_name_mismatch::RULE,
    cert_untrusted::RULE,
    server_not_ready::RULE,
    not_offered::RULE,
    handshake_failure::RULE,
];

pub use server_not_ready::own as own_tls_not_ready;

/// A handshake with a server that failed, and what it said in the clear.
fn unshaken<'a>(case: &Case<'a>) -> Option<(&'a HostTry, &'a TlsHello)> {
    case.tries().iter().find_map(|tried| {
        let failure = tried.failure.as_ref()?;
        let is_handshake = failure.stage == Stage::StartTls && failure.status.host.is_none() && tried.tls.is_none();
        Some((tried, tried.tls_hello.as_ref().filter(|_| is_handshake)?))
    })
}

/// A certificate that did not satisfy the policy.
fn unverified<'a>(case: &Case<'a>) -> Option<(&'a HostTry, &'a Certificate)> {
    let (tried, failure) = case.failed()?;
    let certificate = tried.certificate.as_ref().filter(|certificate| !certificate.problems.is_empty())?;
    let (class, subject, detail) = status::CERTIFICATE_NOT_VERIFIED.enhanced;
    let enhanced = mail::EnhancedStatus { class, subject, detail };
    let by_policy = failure.stage == Stage::StartTls
        && failure.status.host.is_none()
        && failure.status.enhanced == enhanced
        && tried.tls.is_some();
    by_policy.then_some((tried, certificate))
}

/// What became of the mail after TLS failed with a host: a sentence's end, and how much it weighs.
fn aftermath(case: &Case<'_>, tried: &HostTry, finding: impl FnOnce(&str) -> Finding) -> Finding {
    let later = case.tries().iter().skip_while(|other| !std::ptr::eq(*other, tried)).skip(1);
    let in_the_clear =
        later.into_iter().any(|other| other.address == tried.address && connected(other) && other.tls.is_none());
    if in_the_clear && case.went_through().is_some() {
        return finding("; no policy demands TLS, so the message was sent in clear text")
            .severity(Severity::Warning)
            .retry(Retry::NotNeeded);
    }
    if case.went_through().is_some() {
        return finding("; another host took the message").severity(Severity::Warning).retry(Retry::NotNeeded);
    }
    if in_the_clear {
        // The mail failed for another reason.
        return finding("; the attempt went on in clear text").severity(Severity::Warning);
    }
    finding("; the message waits")
}

/// `mx.dest.test (192.0.2.1)`
fn place(tried: &HostTry) -> String {
    if tried.host == tried.address.to_string() {
        tried.host.clone()
    } else {
        format!("{} ({})", tried.host, tried.address)
    }
}

/// The setting that decides about TLS for this mail, for a fix.
fn setting(case: &Case<'_>) -> String {
    match case.attempt() {
        Some(attempt) if attempt.via == mail::Via::RelayHost => "route.other.tls".to_owned(),
        Some(attempt) => format!("[[tls_policy]] domain = \"{}\" (or delivery.tls)", attempt.domain),
        None => "delivery.tls".to_owned(),
    }
}

/// `TLS 1.0`
fn version_name(version: u16) -> String {
    match version {
        0x0200 | 0x0002 => "SSL 2.0".to_owned(),
        0x0300 => "SSL 3.0".to_owned(),
        0x0301..=0x0304 => format!("TLS 1.{}", version - 0x0301),
        other => format!("version 0x{other:04x}"),
    }
}

/// The description of an alert (RFC 8446 6, RFC 5246 7.2).
fn alert_name(description: u8) -> &'static str {
    match description {
        0 => "close_notify",
        10 => "unexpected_message",
        20 => "bad_record_mac",
        21 => "decryption_failed",
        22 => "record_overflow",
        40 => "handshake_failure",
        42 => "bad_certificate",
        43 => "unsupported_certificate",
        44 => "certificate_revoked",
        45 => "certificate_expired",
        46 => "certificate_unknown",
        47 => "illegal_parameter",
        48 => "unknown_ca",
        49 => "access_denied",
        50 => "decode_error",
        51 => "decrypt_error",
        70 => "protocol_version",
        71 => "insufficient_security",
        80 => "internal_error",
        86 => "inappropriate_fallback",
        90 => "user_canceled",
        109 => "missing_extension",
        110 => "unsupported_extension",
        112 => "unrecognized_name",
        113 => "bad_certificate_status_response",
        115 => "unknown_psk_identity",
        116 => "certificate_required",
        120 => "no_application_protocol",
        _ => "not registered",
    }
}

/// What a handshake said, one fact each.
fn facts(hello: &TlsHello) -> Vec<String> {
    let names = |versions: &[u16]| versions.iter().map(|version| version_name(*version)).collect::<Vec<_>>().join(", ");
    let mut facts = Vec::new();
    if !hello.versions.is_empty() {
        let sni = hello.sni.as_ref().map_or(String::new(), |sni| format!(", server name {sni:?}"));
        facts.push(format!("ClientHello: {}, {} cipher suites{sni}", names(&hello.versions), hello.suites.len()));
    }
    if let Some(version) = hello.version {
        let suite = hello.suite.map_or(String::new(), |suite| format!(", suite 0x{suite:04x}"));
        facts.push(format!("ServerHello: 0x{version:04x} ({}){suite}", version_name(version)));
    }
    if let Some(bits) = hello.dh_bits {
        facts.push(format!("ServerKeyExchange: Diffie-Hellman prime of {bits} bits"));
    }
    if let Some(scheme) = hello.signature {
        facts.push(format!("ServerKeyExchange: signature scheme 0x{scheme:04x}"));
    }
    let alert = |(level, description): (u8, u8)| format!("{description} {} (level {level})", alert_name(description));
    facts.extend(hello.alert.map(|said| format!("alert of the other side: {}", alert(said))));
    facts.extend(hello.our_alert.map(|said| format!("our alert: {}", alert(said))));
    if !hello.not_tls.is_empty() {
        facts.push(format!("octets instead of TLS: {:?}", String::from_utf8_lossy(&hello.not_tls)));
    }
    facts
}

/// Adds facts, and the failure as the queue shows it.
fn with_facts(mut finding: Finding, tried: &HostTry, hello: &TlsHello) -> Finding {
    finding.evidence.extend(facts(hello));
    finding.evidence.extend(tried.failure.as_ref().map(ToString::to_string));
    finding
}

/// `2030-01-01`
fn day(time: Time) -> String {
    time.rfc3339().chars().take(10).collect()
}

/// A certificate in a line.
fn shown(certificate: &Certificate) -> String {
    let date = |time: Option<Time>| time.map_or("?".to_owned(), day);
    format!(
        "certificate for {}, valid {} to {}, issuer {}, {}, SHA-256 {}",
        certificate.names.join(", "),
        date(certificate.not_before),
        date(certificate.not_after),
        if certificate.self_signed { "itself" } else { &certificate.issuer },
        certificate.key,
        certificate.fingerprint,
    )
}
