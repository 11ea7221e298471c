//! No greeting comes, because the port begins with TLS.

use crate::diagnose::{Answer, Case, Experiment, Result, connected, rule};
use mail::{Actor, Confidence, End, Finding, Stage};
use std::net::SocketAddr;

rule! {
    /// Port with implicit TLS
    ///
    /// Connected, and no greeting came; but the port answers a TLS handshake. It expects TLS from the first octet (RFC 8314 3.3,
    /// mostly port 465), while this gateway says STARTTLS after a greeting in the clear.
    ///
    /// Use the port of the same server that greets in the clear: 587 for submission with a user, 25 between mail servers.
    "smtp.plain_on_tls_port", find
}

fn find(case: &Case<'_>) -> Answer {
    let Some((tried, failure)) = case.failed() else { return Answer::No };
    let no_greeting = connected(tried)
        && tried.banner.is_none()
        && failure.stage == Stage::Banner
        && failure.status.host.is_none()
        && matches!(tried.end, End::TimedOut { .. } | End::Closed | End::Broken(_));
    if !no_greeting {
        return Answer::No;
    }
    let probe = Experiment::TlsFirst { address: SocketAddr::new(tried.address, tried.port), host: tried.host.clone() };
    let hello = match case.look(&probe) {
        None => return Answer::Ask(vec![probe]),
        Some(Result::Tls(hello)) => Some(hello),
        Some(_) => None,
    };
    // A ServerHello or an alert is TLS; silence and other octets are not.
    let speaks_tls = hello.is_some_and(|hello| hello.version.is_some() || hello.alert.is_some());
    let was_asked = hello.is_some();
    if !speaks_tls && (was_asked || tried.port != 465) {
        return Answer::No;
    }
    let (host, port) = (&tried.host, tried.port);
    let what = if speaks_tls { "answers a TLS handshake" } else { "is the usual one for TLS from the first octet" };
    let sentence = format!(
        "{host}:{port} sends no plain greeting but {what}: the port uses implicit TLS, the configuration says STARTTLS."
    );
    let mut finding = Finding::new("smtp.plain_on_tls_port", Actor::OurSettings, sentence)
        .confidence(if speaks_tls { Confidence::Proven } else { Confidence::Likely })
        .evidence(failure.to_string())
        .disproof(format!("a greeting from {} port {port} before anything is said", tried.address))
        .fix(format!("Set the next hop to \"{host}:587\", or the port on which {host} offers STARTTLS."));
    if let Some(version) = hello.and_then(|hello| hello.version) {
        finding = finding.evidence(format!("ServerHello on port {port}: version 0x{version:04x}"));
    }
    finding.into()
}

#[cfg(test)]
mod tests {
    use crate::diagnose::testing::{Scene, scene};
    use crate::diagnose::{Experiment, Result};
    use mail::TlsHello;

    const SILENT: &str = "to a@x.test
         via relay-host
         try smart.test 127.0.0.11:465
           silent 300000
           fail banner path [internal] 451 4.4.2 no banner: timed out";

    fn probed(hello: TlsHello) -> Scene {
        let probe = Experiment::TlsFirst { address: "127.0.0.11:465".parse().unwrap(), host: "smart.test".to_owned() };
        let scene = scene(SILENT);
        scene.asks(&probe);
        scene.look(probe, Result::Tls(Box::new(hello)))
    }

    #[test]
    fn a_server_hello_tells() {
        probed(TlsHello { version: Some(0x0303), ..TlsHello::default() }).check(
            "smtp.plain_on_tls_port: smart.test:465 sends no plain greeting but answers a TLS handshake: the port uses \
             implicit TLS, the configuration says STARTTLS.",
        );
    }

    #[test]
    fn silence_there_is_another_matter() {
        probed(TlsHello::default()).check("smtp.greeting_timeout");
        probed(TlsHello { not_tls: b"220 x".to_vec(), ..TlsHello::default() }).check("smtp.greeting_timeout");
    }
}
