//! Our clock is wrong.

use crate::diagnose::rules::said;
use crate::diagnose::words::Topic;
use crate::diagnose::{Answer, Case, rule};
use mail::{Actor, Confidence, Finding, Severity};
use std::net::IpAddr;

rule! {
    /// The clock of this host is wrong
    ///
    /// This host's clock differs from the time that several independent hosts show. DKIM signatures (t=, x=), Date fields and
    /// certificates are then in the future or expired, and strict hosts refuse. The DKIM key and the certificates are in order.
    ///
    /// Known by the time in the greetings of at least two hosts at different addresses, which differ from ours by the same amount. A
    /// whole number of hours points to a time zone taken for UTC. One host alone may be wrong itself.
    ///
    /// Set the clock: switch on NTP (timedatectl set-ntp true), or correct the virtual machine's clock.
    "own.clock_skew", find
}

/// Less is network delay and slow greetings; DKIM verifiers allow about this much.
const SKEW_MIN_S: i64 = 120;

/// Two hosts agree if their clocks differ by no more.
const AGREE_S: i64 = 90;

fn find(case: &Case<'_>) -> Answer {
    let told = said::about(case, Topic::Clock);
    let mut clocks: Vec<(String, IpAddr, i64)> = Vec::new();
    for seen in case.around.seen.iter().rev() {
        let Some(theirs) = seen.their_clock else { continue };
        let known = clocks.iter().any(|(host, address, _)| *address == seen.address || *host == seen.host);
        if !known {
            clocks.push((seen.host.clone(), seen.address, (seen.at.ms() - theirs.ms()).div_euclid(1000)));
        }
    }
    let off: Vec<&(String, IpAddr, i64)> = clocks.iter().filter(|(.., skew)| skew.abs() >= SKEW_MIN_S).collect();
    let agreeing = off.iter().find_map(|first| {
        let same: Vec<_> = off.iter().copied().filter(|other| (other.2 - first.2).abs() <= AGREE_S).collect();
        (same.len() >= 2 && same.len() * 2 > clocks.len()).then_some(same)
    });
    let (hosts, skew, confidence) = match (&agreeing, &told) {
        (Some(same), _) => {
            let mut skews: Vec<i64> = same.iter().map(|clock| clock.2).collect();
            skews.sort_unstable();
            // A greeting can only be late, which makes their clock look slow: the least offset is the truest.
            let skew = skews.iter().copied().min_by_key(|skew| skew.abs()).unwrap_or_default();
            (same.iter().map(|clock| clock.0.clone()).collect::<Vec<_>>(), skew, Confidence::Proven)
        }
        (None, Some(said)) => match off.iter().find(|clock| clock.1 == said.tried.address) {
            Some(clock) => (vec![clock.0.clone()], clock.2, Confidence::Possible),
            None => return told_only(case, said),
        },
        (None, None) => return Answer::No,
    };
    let direction = if skew > 0 { "ahead of" } else { "behind" };
    let future = match (&told, skew > 0) {
        (_, true) => "; DKIM signatures (t=) and dates lie in the future",
        (_, false) => "; dates lie in the past, and what is new is not valid yet",
    };
    let mut finding = Finding::new(
        "own.clock_skew",
        Actor::OurSettings,
        format!("This host's clock is {} s {direction} {}{future}.", skew.abs(), said::list(&hosts)),
    )
    .confidence(confidence)
    .severity(match &told {
        Some(said) => said::severity(case, said),
        None => Severity::Warning,
    })
    .disproof("the time of an NTP server that agrees with this host");
    for (host, address, skew) in &off {
        finding = finding.evidence(format!("{host} ({address}): its greeting's time and ours differ by {skew} s"));
    }
    finding.evidence.extend(told.map(|said| said.quote()));
    if skew.abs() >= 3600 - AGREE_S && (skew.abs() + AGREE_S) % 3600 <= 2 * AGREE_S {
        finding = finding
            .evidence(format!("{} whole hours: perhaps local time taken for UTC", (skew.abs() + AGREE_S) / 3600));
    }
    finding
        .fix("Set the clock: `timedatectl set-ntp true`, then `timedatectl` to see that it is synchronized.")
        .fix("See that the hardware clock runs in UTC: `timedatectl set-local-rtc 0`.")
        .into()
}

/// A host says so, and there is no clock to compare with.
fn told_only(case: &Case<'_>, said: &said::Said<'_>) -> Answer {
    Finding::new(
        "own.clock_skew",
        Actor::OurSettings,
        format!(
            "{} says that a time in this message is wrong ({}); this host's clock may be wrong, or the other's.",
            said.place(),
            said.code()
        ),
    )
    .severity(said::severity(case, said))
    .confidence(Confidence::Possible)
    .evidence(said.quote())
    .evidence(format!("this host's time: {}", case.now.rfc5322()))
    .disproof("the time of an NTP server that agrees with this host")
    .fix("Compare the clock with an NTP server: `timedatectl`; if it is off, `timedatectl set-ntp true`.")
    .into()
}

#[cfg(test)]
mod tests {
    use crate::diagnose::testing::{Scene, scene, seen_at};
    use mail::{Confidence, Severity, Time};

    const REFUSED: &str = "to a@dest.test
        try mx.dest.test 127.0.0.11
          rcpt a@dest.test 250 ok
          final 550 5.7.5 signature timestamp in the future
          fail final-reply them 550 5.7.5 signature timestamp in the future";

    fn with(mut scene: Scene, clocks: &[(&str, &str, i64)]) -> Scene {
        for (host, address, ahead_s) in clocks {
            scene.around.seen.push(seen_at(host, address, |seen| {
                seen.their_clock = Some(Time(seen.at.ms() - ahead_s * 1000));
            }));
        }
        scene
    }

    #[test]
    fn two_independent_hosts_show_it() {
        with(scene(REFUSED), &[("mx.other.test", "127.0.0.12", 7201), ("mx.dest.test", "127.0.0.11", 7200)]).check(
            "own.clock_skew: This host's clock is 7200 s ahead of mx.dest.test and mx.other.test; DKIM signatures (t=) and dates \
             lie in the future.",
        );
    }

    #[test]
    fn one_host_alone_may_be_wrong_itself() {
        let scene = with(scene(REFUSED), &[("mx.dest.test", "127.0.0.11", 7200), ("mx.dest.test", "127.0.0.11", 7200)]);
        assert_eq!(scene.diagnose().findings[0].confidence, Confidence::Possible);
    }

    #[test]
    fn hosts_that_disagree_among_themselves_prove_nothing() {
        let scene = with(
            scene("to a@dest.test\ntry mx.dest.test 127.0.0.11\nrcpt a@dest.test 250 ok\nfinal 250 ok"),
            &[("a.test", "127.0.0.21", 7200), ("b.test", "127.0.0.22", -300), ("c.test", "127.0.0.23", 0)],
        );
        assert!(scene.diagnose().findings.iter().all(|finding| finding.severity == Severity::Info));
    }
}
