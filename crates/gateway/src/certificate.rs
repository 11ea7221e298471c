//! Certificate: what a peer's certificate says, for people. Nothing is verified here.

use mail::{Certificate, Distrust, Time};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::public_key::PublicKey;
use x509_parser::time::ASN1Time;

/// Names kept of a certificate; some hosters' have hundreds.
const NAMES_MAX: usize = 50;
/// Characters kept of a name.
const NAME_MAX: usize = 255;

/// Reads a certificate (DER, RFC 5280). `None`: it is none.
pub(crate) fn facts(der: &[u8]) -> Option<Certificate> {
    let (_, parsed) = X509Certificate::from_der(der).ok()?;
    let mut names: Vec<String> = parsed
        .subject_alternative_name()
        .ok()
        .flatten()
        .into_iter()
        .flat_map(|extension| &extension.value.general_names)
        .filter_map(name)
        .take(NAMES_MAX)
        .collect();
    if names.is_empty() {
        // RFC 6125 6.4.4: the common name counts only where there is nothing better.
        names = parsed.subject().iter_common_name().filter_map(|name| name.as_str().ok()).map(short).collect();
    }
    Some(Certificate {
        names,
        not_before: Some(time(parsed.validity().not_before)),
        not_after: Some(time(parsed.validity().not_after)),
        issuer: short(&parsed.issuer().to_string()),
        self_signed: parsed.issuer().as_raw() == parsed.subject().as_raw(),
        fingerprint: fingerprint(der),
        key: key(&parsed),
        signature: signature(&parsed.signature_algorithm.algorithm.to_id_string()),
        problems: Vec::new(),
    })
}

/// What speaks against a certificate, for people: the names compared, the dates, the verifier's words.
pub(crate) fn words(certificate: &Certificate, name: &str, now: Time) -> Option<String> {
    let day = |time: Option<Time>| {
        let time = time.unwrap_or_default();
        let days = now.since(time).max(time.since(now)).as_secs() / 86_400;
        (time.rfc3339().chars().take(10).collect::<String>(), days)
    };
    let say = |problem: &Distrust| match problem {
        Distrust::Ended => {
            let (date, days) = day(certificate.not_after);
            format!("it ended on {date} ({days} days ago)")
        }
        Distrust::NotYet => {
            let (date, days) = day(certificate.not_before);
            format!("it is not valid before {date} (in {days} days)")
        }
        Distrust::OtherName if certificate.names.is_empty() => format!("it names nobody, {name} was called"),
        Distrust::OtherName => format!("it is for {}, not for {name}", certificate.names.join(", ")),
        Distrust::Untrusted(_) if certificate.self_signed => "it is self-signed".to_owned(),
        Distrust::Untrusted(why) => format!("no known authority vouches for it ({why}; issuer {})", certificate.issuer),
        Distrust::Weak(why) => format!("it is too weak: {why}"),
    };
    let all: Vec<String> = certificate.problems.iter().map(say).collect();
    (!all.is_empty()).then(|| all.join("; "))
}

fn name(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some(short(name)),
        GeneralName::IPAddress(octets) => {
            let v4: Option<[u8; 4]> = (*octets).try_into().ok();
            let v6: Option<[u8; 16]> = (*octets).try_into().ok();
            v4.map(|octets| std::net::IpAddr::from(octets).to_string())
                .or(v6.map(|octets| std::net::IpAddr::from(octets).to_string()))
        }
        _ => None,
    }
}

fn short(text: &str) -> String {
    text.chars().take(NAME_MAX).map(|letter| if letter.is_control() { '?' } else { letter }).collect()
}

fn time(time: ASN1Time) -> Time {
    Time(time.timestamp().saturating_mul(1000))
}

fn key(certificate: &X509Certificate<'_>) -> String {
    const ED25519: &str = "1.3.101.112";
    let public = certificate.public_key();
    let algorithm = public.algorithm.algorithm.to_id_string();
    match public.parsed() {
        Ok(PublicKey::RSA(key)) => format!("RSA {}", key.key_size()),
        Ok(PublicKey::EC(point)) => format!("EC P-{}", point.key_size()),
        Ok(PublicKey::DSA(_)) => "DSA".to_owned(),
        _ if algorithm == ED25519 => "Ed25519".to_owned(),
        _ => algorithm,
    }
}

/// The usual names of signature algorithms (RFC 3279, RFC 4055, RFC 5758, RFC 8410); others by their number.
fn signature(algorithm: &str) -> String {
    let name = match algorithm {
        "1.2.840.113549.1.1.4" => "md5WithRSAEncryption",
        "1.2.840.113549.1.1.5" | "1.3.14.3.2.29" => "sha1WithRSAEncryption",
        "1.2.840.113549.1.1.10" => "rsassaPss",
        "1.2.840.113549.1.1.11" => "sha256WithRSAEncryption",
        "1.2.840.113549.1.1.12" => "sha384WithRSAEncryption",
        "1.2.840.113549.1.1.13" => "sha512WithRSAEncryption",
        "1.2.840.10040.4.3" => "dsa-with-sha1",
        "1.2.840.10045.4.1" => "ecdsa-with-SHA1",
        "1.2.840.10045.4.3.2" => "ecdsa-with-SHA256",
        "1.2.840.10045.4.3.3" => "ecdsa-with-SHA384",
        "1.2.840.10045.4.3.4" => "ecdsa-with-SHA512",
        "1.3.101.112" => "Ed25519",
        other => other,
    };
    name.to_owned()
}

/// SHA-256 in hex, by the provider that TLS uses anyway.
pub(crate) fn fingerprint(der: &[u8]) -> String {
    let suite = rustls::crypto::aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256;
    let Some(suite) = suite.tls13() else { return String::new() };
    suite.common.hash_provider.hash(der).as_ref().iter().map(|octet| format!("{octet:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, DnType, KeyPair, SanType, date_time_ymd};

    fn made(change: impl FnOnce(&mut CertificateParams)) -> Vec<u8> {
        let mut wanted = CertificateParams::new(vec!["mx.dest.test".to_owned()]).unwrap();
        change(&mut wanted);
        wanted.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
    }

    #[test]
    fn a_certificate_says_whose_it_is_and_how_long() {
        let der = made(|wanted| {
            wanted.not_before = date_time_ymd(2020, 1, 1);
            wanted.not_after = date_time_ymd(2020, 2, 1);
            wanted.subject_alt_names.push(SanType::IpAddress("192.0.2.1".parse().unwrap()));
            wanted.distinguished_name.push(DnType::CommonName, "other.test");
        });
        let facts = facts(&der).unwrap();
        assert_eq!(facts.names, ["mx.dest.test", "192.0.2.1"]);
        assert_eq!(facts.not_after, Some(Time(1_580_515_200_000)));
        assert!(facts.self_signed);
        assert_eq!((facts.key.as_str(), facts.signature.as_str()), ("EC P-256", "ecdsa-with-SHA256"));
        assert_eq!(facts.fingerprint.len(), 64);
    }

    #[test]
    fn the_common_name_counts_where_there_is_no_other() {
        let der = made(|wanted| {
            wanted.subject_alt_names.clear();
            wanted.distinguished_name.push(DnType::CommonName, "old.test");
        });
        assert_eq!(facts(&der).unwrap().names, ["old.test"]);
    }

    #[test]
    fn no_octets_make_it_fail() {
        let der = made(|_| {});
        for end in 0..der.len() {
            assert!(facts(&der[..end]).is_none());
        }
        let mut state = 7_u64;
        for _ in 0..5000 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let mut bent = der.clone();
            let at = usize::try_from(state >> 33).unwrap() % bent.len();
            bent[at] ^= u8::try_from(state >> 24 & 0xFF).unwrap();
            let _ = facts(&bent);
        }
    }
}
