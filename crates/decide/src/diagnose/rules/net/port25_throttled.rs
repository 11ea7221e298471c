//! All of port 25 is slow, and the same hosts are fast on another port.

use super::tried_place;
use crate::diagnose::{Answer, Case, Experiment, Result, Seen, connected, organisation, rule};
use mail::{Actor, Confidence, Connect, Finding, Retry, Severity};
use std::net::SocketAddr;

rule! {
    /// Outgoing port 25 throttled
    ///
    /// Every destination is slow on port 25 (a rate of a few KiB/s, or seconds for each command), of several organisations at
    /// once, while the same host answers at full speed on another port: a shaper or a proxy of the provider stands in the way of
    /// port 25. One slow destination alone is that host's matter.
    ///
    /// Ask the provider, or send all mail by a relay host on port 587 (`route.other`).
    "net.port25_throttled", find
}

/// Content at less than this is slow: octets a second.
const SLOW: u64 = 4096;
/// And at more than this it is not.
const FAST: u64 = 32_768;
/// Less content than this says nothing of a rate.
const CONTENT_MIN: u64 = 8192;
/// An answer to a command that takes this long, everywhere, is slow.
const SLOW_MS: u64 = 1500;
/// On the other port a greeting is quick if it takes no longer.
const QUICK_MS: u64 = 700;

#[derive(Clone, Copy, PartialEq)]
enum Pace {
    Slow,
    Fast,
    Unknown,
}

fn rate(seen: &Seen) -> Option<u64> {
    let enough = seen.content_sent >= CONTENT_MIN && seen.content_ms > 0;
    enough.then(|| seen.content_sent.saturating_mul(1000) / seen.content_ms)
}

fn pace(seen: &Seen) -> Pace {
    match rate(seen) {
        Some(rate) if rate < SLOW => Pace::Slow,
        Some(rate) if rate > FAST => Pace::Fast,
        _ if matches!(seen.connect, Connect::Made { .. }) && seen.slowest_ms > 0 && seen.slowest_ms < SLOW_MS / 2 => {
            Pace::Fast
        }
        _ => Pace::Unknown,
    }
}

fn find(case: &Case<'_>) -> Answer {
    let Some(attempt) = case.attempt().filter(|attempt| attempt.via == mail::Via::Mx) else { return Answer::No };
    let Some(tried) = case.last().filter(|tried| connected(tried)) else { return Answer::No };
    // A refusal in words is no slowness.
    if case.refusals().iter().any(|(_, _, reply)| reply.code >= 400) {
        return Answer::No;
    }
    let on_port = || case.around.seen.iter().filter(|seen| seen.port == tried.port && !seen.configured);
    if on_port().any(|seen| pace(seen) == Pace::Fast) {
        return Answer::No;
    }
    let slow: Vec<&Seen> = on_port().filter(|seen| pace(seen) == Pace::Slow).collect();
    let mut who: Vec<&str> = slow.iter().map(|seen| organisation(&seen.host)).collect();
    who.sort_unstable();
    who.dedup();
    if who.len() < 2 || !who.contains(&organisation(&tried.host)) {
        return Answer::No;
    }
    let other = case.settings.diagnosis.submission_port;
    let probe = Experiment::Greet {
        address: SocketAddr::new(tried.address, other),
        host: tried.host.clone(),
        source: None,
        ehlo: None,
        tls: false,
        sender: None,
        recipient: None,
    };
    let quick = match case.look(&probe) {
        None => return Answer::Ask(vec![probe]),
        Some(Result::Talk(seen)) => match (&seen.connect, seen.banner_ms) {
            (Connect::Made { .. }, Some(ms)) => Some(ms).filter(|ms| *ms <= QUICK_MS),
            _ => None,
        },
        Some(_) => None,
    };
    let slowest = slow.iter().filter_map(|seen| rate(seen)).max().unwrap_or(0);
    let at_speed = match quick {
        Some(_) => format!(", while {} answers at full speed on port {other}", tried.address),
        None => String::new(),
    };
    // Without the other port it may be the whole line.
    let confidence = if quick.is_some() { Confidence::Likely } else { Confidence::Possible };
    let sentence = format!(
        "All destinations run at about {} KiB/s on port {}{at_speed}: port {} is throttled or proxied between here and the \
         Internet.",
        (slowest / 1024).max(1),
        tried.port,
        tried.port
    );
    let mut finding = Finding::new("net.port25_throttled", Actor::OurNetwork, sentence)
        .confidence(confidence)
        .disproof(format!("a destination on port {} that takes content at more than {} KiB/s", tried.port, FAST / 1024))
        .fix(format!("Ask the provider about limits or proxies for outgoing port {}.", tried.port))
        .fix("Or send all mail by a relay host on port 587: route.other.next_hops.");
    for seen in slow.iter().rev().take(6) {
        finding.evidence.push(format!(
            "{} ({}): {} octets in {} s, slowest answer {} s",
            seen.host,
            seen.address,
            seen.content_sent,
            seen.content_ms / 1000,
            seen.slowest_ms / 1000
        ));
    }
    if let Some(ms) = quick {
        finding.evidence.push(format!("{} port {other}: greeting after {ms} ms", tried_place(tried)));
    }
    if case.went_through().is_some() {
        finding = finding.severity(Severity::Warning).retry(Retry::NotNeeded);
    }
    finding.evidence.push(format!("attempt for {}", attempt.domain));
    finding.into()
}

#[cfg(test)]
mod tests {
    use crate::diagnose::testing::{Scene, check, scene};
    use crate::diagnose::{Experiment, Result};
    use mail::{Connect, HostTry, Time};

    const SLOW: &str = "to a@a.test
         try mx.a.test 127.0.0.11
           banner 220 x
           final 250 ok
         seen a.test mx.a.test 127.0.0.11 1 delivered, content 50000 49000, slowest 2000";
    const OTHER: &str = "\n seen b.test mx.b.test 127.0.0.12 40 delivered, content 50000 48000, slowest 2000";

    fn probed(text: &str, banner_ms: u64) -> Scene {
        let address: std::net::SocketAddr = "127.0.0.11:587".parse().unwrap();
        let mut tried = HostTry::new("mx.a.test", address.ip(), 587, Time(0));
        tried.connect = Connect::Made { ms: 1 };
        tried.banner_ms = Some(banner_ms);
        let probe = Experiment::Greet {
            address,
            host: "mx.a.test".to_owned(),
            source: None,
            ehlo: None,
            tls: false,
            sender: None,
            recipient: None,
        };
        scene(text).look(probe, Result::Talk(Box::new(tried)))
    }

    #[test]
    fn slow_everywhere_and_fast_on_another_port() {
        probed(&format!("{SLOW}{OTHER}"), 3).check(
            "net.port25_throttled: All destinations run at about 1 KiB/s on port 25, while 127.0.0.11 answers at full speed \
             on port 587: port 25 is throttled or proxied between here and the Internet.",
        );
    }

    #[test]
    fn one_slow_destination_is_its_own_matter() {
        check(SLOW, "unknown");
        probed(&format!("{SLOW}{OTHER}\n seen c.test mx.c.test 127.0.0.13 9 delivered, content 50000 900"), 3)
            .check("unknown");
    }
}
