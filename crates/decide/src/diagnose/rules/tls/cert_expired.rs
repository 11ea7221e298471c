//! The certificate's time is over, or has not begun, and a policy asks for a good one.

use super::{day, place, setting, shown, unverified};
use crate::diagnose::{Answer, Case, rule};
use mail::{Actor, Confidence, Distrust, Finding, Time};

rule! {
    /// Certificate not valid now
    ///
    /// A policy (`tls = "verify"`) asks for a certificate that proves the peer's name, and the peer's has ended, or is not valid
    /// yet. Where no policy asks, such a certificate is used all the same.
    ///
    /// The peer's administrator renews it, or reloads the server if it was renewed. If several peers' certificates look as if
    /// they began in the future, this machine's clock is slow: check it first.
    "tls.cert_expired", find
}

/// Clocks of mail servers seldom differ more.
const CLOCK_MS: i64 = 3_600_000;

fn find(case: &Case<'_>) -> Answer {
    let Some((tried, certificate)) = unverified(case) else { return Answer::No };
    let Some(attempt) = case.attempt() else { return Answer::No };
    let ended = certificate.problems.contains(&Distrust::Ended);
    let early = certificate.problems.contains(&Distrust::NotYet);
    let (host, domain) = (&tried.host, &attempt.domain);
    let days = |from: Time, to: Time| match to.since(from).as_secs() / 86_400 {
        0 => "less than a day".to_owned(),
        1 => "1 day".to_owned(),
        days => format!("{days} days"),
    };
    let ahead = clocks_ahead(case);
    let (actor, confidence, sentence) = match (ended, early, certificate.not_before, certificate.not_after) {
        (true, _, _, Some(end)) => (
            Actor::TheirHost,
            Confidence::Proven,
            format!(
                "The certificate of {} ended on {} ({} ago), and the policy for {domain} requires a valid one.",
                place(tried),
                day(end),
                days(end, case.now)
            ),
        ),
        (_, true, Some(start), _) if ahead >= 2 => (
            Actor::OurNetwork,
            Confidence::Likely,
            format!(
                "The certificate of {} seems not valid before {} ({} from now), and the clocks of {ahead} mail hosts are \
                 ahead of ours: this gateway's own clock is slow.",
                place(tried),
                day(start),
                days(case.now, start)
            ),
        ),
        (_, true, Some(start), _) => (
            Actor::TheirHost,
            Confidence::Likely,
            format!(
                "The certificate of {} is not valid before {} ({} from now), and the policy for {domain} requires a valid \
                 one.",
                place(tried),
                day(start),
                days(case.now, start)
            ),
        ),
        _ => return Answer::No,
    };
    // Only what the certificate shows is certain; whether our clock is right is not, unless others agree with it.
    let finding = Finding::new("tls.cert_expired", actor, sentence)
        .confidence(confidence)
        .evidence(shown(certificate))
        .evidence(format!("our clock: {}", case.now.rfc3339()))
        .evidence(format!("{} mail hosts' greetings show a clock more than an hour ahead of ours", ahead))
        .disproof(format!("a certificate of {host} whose dates include now, or a clock here that is wrong"));
    if actor == Actor::OurNetwork {
        return finding.fix("Set this machine's clock, and let NTP keep it: `timedatectl`.").into();
    }
    finding
        .fix(format!("The owner of {host} renews the certificate, or reloads the mail server if it was renewed."))
        .fix(format!("To deliver meanwhile without verification: {} with tls = \"require\".", setting(case)))
        .into()
}

/// Hosts lately, other than one another, whose greeting shows a time well after ours.
fn clocks_ahead(case: &Case<'_>) -> usize {
    let mut hosts: Vec<_> = case
        .around
        .seen
        .iter()
        .filter(|seen| seen.their_clock.is_some_and(|clock| clock.ms() - seen.at.ms() > CLOCK_MS))
        .map(|seen| seen.address)
        .collect();
    hosts.sort_unstable();
    hosts.dedup();
    hosts.len()
}

#[cfg(test)]
mod tests {
    use crate::diagnose::testing::check;

    const REFUSED: &str = "to a@exp.test
         try mx.exp.test 127.0.0.11
           tls TLSv1.3
           fail start-tls them [internal] 451 4.7.5 the peer's certificate is not verified: it ended
           cert mx.exp.test";

    #[test]
    fn the_day_and_the_policy_are_named() {
        check(
            &format!("{REFUSED}\n cert-dates -90 -1\n cert-problem ended"),
            "tls.cert_expired: The certificate of mx.exp.test (127.0.0.11) ended on 2030-03-16 (1 day ago), and the policy \
             for exp.test requires a valid one.",
        );
    }

    #[test]
    fn a_certificate_of_tomorrow_is_the_peers_unless_other_clocks_are_ahead() {
        let early = format!("{REFUSED}\n cert-dates 1 90\n cert-problem not-yet");
        check(
            &early,
            "tls.cert_expired: The certificate of mx.exp.test (127.0.0.11) is not valid before 2030-03-18 (1 day from now), \
             and the policy for exp.test requires a valid one.",
        );
        check(
            &format!(
                "{early}\n seen a.test mx.a.test 127.0.0.12 5 clock 86400\n seen b.test mx.b.test 127.0.0.13 5 clock 86000"
            ),
            "tls.cert_expired: The certificate of mx.exp.test (127.0.0.11) seems not valid before 2030-03-18 (1 day from now), \
             and the clocks of 2 mail hosts are ahead of ours: this gateway's own clock is slow.",
        );
        check(
            &format!(
                "{early}\n seen a.test mx.a.test 127.0.0.12 5 clock 86400\n seen b.test mx.a.test 127.0.0.12 9 clock 86400"
            ),
            "tls.cert_expired: The certificate of mx.exp.test (127.0.0.11) is not valid before 2030-03-18 (1 day from now), \
             and the policy for exp.test requires a valid one.",
        );
    }

    #[test]
    fn other_names_are_another_matter() {
        check(&format!("{REFUSED}\n cert-dates -90 1\n cert-problem other-name"), "tls.cert_name_mismatch");
    }

    #[test]
    fn without_a_policy_it_is_no_matter() {
        check(
            "to a@exp.test
             try mx.exp.test 127.0.0.11
               tls TLSv1.3
               cert mx.exp.test
               cert-dates -90 -1
               cert-problem ended
               final 250 ok",
            "unknown",
        );
    }
}
