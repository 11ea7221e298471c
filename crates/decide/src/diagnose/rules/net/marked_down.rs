//! A destination that failed repeatedly and is left alone for a while.

use crate::diagnose::{Answer, Case, rule};
use mail::{Actor, Confidence, Finding, Retry, Time};

rule! {
    /// The destination is marked down
    ///
    /// Several attempts in a row reached no host of this destination. So that its mail does not bind connections, nothing is dialled for
    /// some minutes; then one delivery tries for all. Mail that came meanwhile waits without an attempt of its own.
    ///
    /// Known by the queue itself: since when, until when, and the last failure.
    ///
    /// The last failure is what must be mended. A retry by hand (`gatepost queue retry --domain DOMAIN`) tries at once.
    "net.marked_down", find
}

/// No attempt shows it: the queue says it of mail that was not attempted.
fn find(_: &Case<'_>) -> Answer {
    Answer::No
}

/// Of mail that waits because its destination is down.
pub fn marked_down(domain: &str, since: Time, until: Time, last_failure: &str, now: Time) -> Finding {
    let wait = u64::try_from(until.ms() - now.ms()).unwrap_or(0) / 1000;
    Finding::new(
        "net.marked_down",
        Actor::TheirHost,
        format!(
            "Mail for {domain} waits without an attempt: its destination is marked down since {}, until {}, after attempts in a row that \
             reached no host; the last failure was {last_failure}.",
            since.rfc3339(),
            until.rfc3339()
        ),
    )
    .confidence(Confidence::Proven)
    .retry(Retry::Helps { after_s: Some(wait) })
    .evidence(format!("marked down since {}", since.rfc3339()))
    .evidence(format!("last failure: {last_failure}"))
    .disproof("an attempt between these two times")
    .fix(format!("Look at the mail that was attempted: gatepost incidents, or gatepost diagnose USER@{domain}."))
    .fix(format!("Mended? `gatepost queue retry --domain {domain}` tries at once."))
}

#[cfg(test)]
mod tests {
    use super::marked_down;
    use mail::Time;

    #[test]
    fn since_and_until_are_named() {
        let (since, until) = (Time(1_900_000_000_000), Time(1_900_000_300_000));
        let finding = marked_down("dest.test", since, until, "connection refused", since);
        assert_eq!(
            finding.sentence,
            "Mail for dest.test waits without an attempt: its destination is marked down since 2030-03-17T17:46:40.000Z, until \
             2030-03-17T17:51:40.000Z, after attempts in a row that reached no host; the last failure was connection refused."
        );
        assert_eq!(finding.retry, mail::Retry::Helps { after_s: Some(300) });
    }
}
