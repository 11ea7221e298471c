//! The host stopped answering in the middle.

use crate::diagnose::rules::said;
use crate::diagnose::{Answer, Case, connected, rule};
use mail::{Actor, Confidence, End, Finding, Retry, Stage};

rule! {
    /// No answer in the middle of the dialogue
    ///
    /// The connection stands, but the host did not answer a command in time: it is overloaded, waits for a look-up of its own,
    /// holds up clients on purpose, or packets are lost on the way.
    ///
    /// Known by the time waited at one stage after the greeting.
    ///
    /// Wait; if it lasts, compare the times with those of other hosts: slow everywhere means this side.
    "peer.silent", find
}

fn find(case: &Case<'_>) -> Answer {
    let Some((tried, failure)) = case.failed().filter(|(tried, _)| connected(tried)) else { return Answer::No };
    let End::TimedOut { waited_ms } = tried.end else { return Answer::No };
    if failure.maybe_delivered || failure.stage <= Stage::Banner {
        return Answer::No;
    }
    let acked =
        tried.unacknowledged.map_or_else(String::new, |octets| format!("; {octets} octets were not acknowledged"));
    Finding::new(
        "peer.silent",
        Actor::TheirHost,
        format!(
            "{} did not answer at {} within {}.",
            said::place(tried),
            failure.stage,
            said::seconds(waited_ms / 1000)
        ),
    )
    .confidence(Confidence::Possible)
    .retry(Retry::Helps { after_s: None })
    .evidence(format!("{failure}{acked}"))
    .disproof("other hosts are as slow at the same time: then the fault is here")
    .fix("Wait: the gateway tries again.")
    .fix(format!("If it lasts, ask the postmaster of {}.", tried.host))
    .into()
}

#[cfg(test)]
mod tests {
    use crate::diagnose::testing::check;

    #[test]
    fn the_time_waited_is_told() {
        check(
            "to a@dest.test
             try mx.dest.test 127.0.0.11
               banner 220 x
               fail rcpt them [internal] 451 4.4.2 timeout
               silent 300000",
            "peer.silent: mx.dest.test (127.0.0.11) did not answer at RCPT TO within 5 min.",
        );
    }
}
