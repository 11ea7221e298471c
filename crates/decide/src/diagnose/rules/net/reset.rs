//! The connection was reset before anything was said.

use super::{evidence, tried_place};
use crate::diagnose::{Answer, Case, connected, rule};
use mail::{Actor, Confidence, Connect, End, Finding, Retry, Stage};

rule! {
    /// Connection reset
    ///
    /// The connection came about, or nearly, and was reset before the greeting: a firewall or a load balancer without a server
    /// behind, an access list of the mail server, or a crash.
    ///
    /// If it lasts, ask the host's owner whether this gateway's address is let through.
    "net.reset", find
}

fn find(case: &Case<'_>) -> Answer {
    let Some((tried, failure)) = case.failed() else { return Answer::No };
    let broken = matches!(&tried.end, End::Broken(_)) && connected(tried) && tried.banner.is_none();
    if !(tried.connect == Connect::Reset || broken && failure.stage == Stage::Banner) {
        return Answer::No;
    }
    let sentence = format!("{} resets the connection on port {} before any greeting.", tried_place(tried), tried.port);
    let mut finding = Finding::new("net.reset", Actor::TheirHost, sentence)
        .confidence(Confidence::Likely)
        .retry(Retry::Helps { after_s: None })
        .disproof(format!(
            "a connection from another address to {} that is reset as well: then it is not about ours",
            tried.address
        ))
        .fix(format!(
            "Ask the owner of {} whether {} is let through.",
            tried.host,
            tried.source.map_or("this gateway".to_owned(), |source| source.to_string())
        ));
    finding.evidence = evidence(case.tries());
    finding.evidence.push(failure.to_string());
    finding.into()
}

#[cfg(test)]
mod tests {
    use crate::diagnose::testing::check;

    #[test]
    fn a_reset_is_no_refusal() {
        check(
            "to a@one.test
             try mx.one.test 192.0.2.1
               broken Connection reset by peer
               fail banner path [internal] 451 4.4.2 no banner: Connection reset by peer",
            "net.reset: mx.one.test (192.0.2.1) resets the connection on port 25 before any greeting.",
        );
    }

    #[test]
    fn a_reset_in_the_middle_is_another_matter() {
        check(
            "to a@one.test
             try mx.one.test 192.0.2.1
               banner 220 mx.one.test
               broken Connection reset by peer
               fail mail path [internal] 451 4.4.2 reset",
            "unknown",
        );
    }
}
