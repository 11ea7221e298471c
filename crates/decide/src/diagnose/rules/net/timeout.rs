//! No host answers, and nothing tells why.

use super::{evidence, none_connected, owner, places};
use crate::diagnose::{Answer, Case, rule};
use mail::{Confidence, Connect, Finding, Retry};

rule! {
    /// No answer
    ///
    /// Connections to the named hosts were answered by nobody: neither yes nor no. The host may be down, or a filter may drop the
    /// packets, there, here, or in between. Nothing else that happened lately tells which.
    ///
    /// If other destinations fail in the same way, look at this gateway's own network first; else ask the host's owner.
    "net.timeout", find
}

fn find(case: &Case<'_>) -> Answer {
    let Some(tries) = none_connected(case) else { return Answer::No };
    let Some(first) = tries.iter().find(|tried| matches!(tried.connect, Connect::TimedOut { .. })) else {
        return Answer::No;
    };
    let silent = tries.iter().filter(|tried| matches!(tried.connect, Connect::TimedOut { .. }));
    let Connect::TimedOut { after_ms } = first.connect else { return Answer::No };
    let sentence = format!(
        "No answer from {} on port {} within {} s: down, or filtered on the way.",
        places(silent),
        first.port,
        after_ms.div_ceil(1000)
    );
    let mut finding = Finding::new("net.timeout", owner(case), sentence)
        .confidence(Confidence::Possible)
        .retry(Retry::Helps { after_s: None })
        .disproof(format!("a connection from this machine to {} port {}", first.address, first.port))
        .fix(format!(
            "Try from here: `nc -v {} {}`; and from another network, to tell whose side it is.",
            first.address, first.port
        ));
    finding.evidence = evidence(tries);
    finding.into()
}

#[cfg(test)]
mod tests {
    use crate::diagnose::testing::check;

    #[test]
    fn silence_alone_blames_nobody() {
        check(
            "to a@one.test
             try mx.one.test 127.0.0.41
               timeout 30000
               fail connect path [internal] 450 4.4.1 connection timed out",
            "net.timeout: No answer from mx.one.test (127.0.0.41) on port 25 within 30 s: down, or filtered on the way.",
        );
    }

    #[test]
    fn a_host_that_was_reached_later_ends_the_matter() {
        check(
            "to a@one.test\n try mx1.one.test 127.0.0.41\n timeout 30000\n try mx2.one.test 127.0.0.11\n final 250 ok",
            "unknown",
        );
    }
}
