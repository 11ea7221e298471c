//! One destination gives no answer, while others do.

use super::{age, dialled, evidence, is_elsewhere, none_connected, places};
use crate::diagnose::{Answer, Case, rule};
use mail::{Actor, Confidence, Connect, Finding, Retry};

rule! {
    /// Destination gives no answer
    ///
    /// All mail hosts of the domain are silent (no answer, no refusal), while hosts elsewhere answered lately on the same port:
    /// the way out is open here. Either the host is down, or a filter near it drops connections from this gateway's address.
    ///
    /// Wait, and if it lasts, ask the domain's postmaster whether the host is up and whether this gateway's address is filtered.
    "net.destination_filtered", find
}

/// An answer elsewhere counts for so long.
const LATELY_MS: i64 = 900_000;

fn find(case: &Case<'_>) -> Answer {
    let (Some(attempt), Some(tries)) = (case.attempt(), none_connected(case)) else { return Answer::No };
    let all_silent = tries.iter().all(|tried| matches!(tried.connect, Connect::TimedOut { .. }));
    if !all_silent || attempt.via != mail::Via::Mx {
        return Answer::No;
    }
    let Some(first) = tries.first() else { return Answer::No };
    let elsewhere = dialled(case)
        .into_iter()
        .filter(|other| {
            other.port == first.port
                && is_elsewhere(other, tries)
                && matches!(other.connect, Connect::Made { .. })
                && attempt.started.ms() - other.ended.ms() <= LATELY_MS
                // A family that works tells nothing of the other.
                && tries.iter().all(|tried| tried.address.is_ipv4() == other.address.is_ipv4())
        })
        .max_by_key(|other| (other.delivered, other.ended));
    let Some(other) = elsewhere else { return Answer::No };
    let domain = &attempt.domain;
    let what = if other.delivered {
        format!("mail to {} was delivered {} ago", other.domain, age(other.ended, case.now))
    } else {
        format!("{} answered {} ago", other.place(), age(other.ended, case.now))
    };
    let verb = if tries.len() == 1 { "does" } else { "do" };
    let sentence = format!(
        "{} {verb} not answer on port {}, while {what}: the fault lies at or near {domain} (host down or this address \
         filtered).",
        places(tries),
        first.port
    );
    let source = first.source.map_or("this gateway's address".to_owned(), |source| source.to_string());
    let mut finding = Finding::new("net.destination_filtered", Actor::TheirHost, sentence)
        .confidence(Confidence::Likely)
        .retry(Retry::Helps { after_s: None })
        .disproof(format!(
            "a connection from another network to {} port {} that times out as well shows a host that is down",
            first.address, first.port
        ))
        .fix(format!(
            "Ask the postmaster of {domain}, by another way, whether the host is up and whether {source} is filtered."
        ));
    finding.evidence = evidence(tries);
    finding.evidence.push(format!(
        "{} port {}: connected {} ago",
        other.place(),
        other.port,
        age(other.ended, case.now)
    ));
    finding.into()
}

#[cfg(test)]
mod tests {
    use crate::diagnose::testing::check;

    const SILENT: &str = "to a@one.test
         try mx.one.test 127.0.0.41
           timeout 30000
           fail connect path [internal] 450 4.4.1 connection timed out";

    #[test]
    fn a_delivery_elsewhere_clears_our_own_network() {
        check(
            &format!("{SILENT}\n seen ok.test mx.ok.test 127.0.0.11 2 delivered"),
            "net.destination_filtered: mx.one.test (127.0.0.41) does not answer on port 25, while mail to ok.test was \
             delivered 2 s ago: the fault lies at or near one.test (host down or this address filtered).",
        );
    }

    #[test]
    fn a_next_hop_of_ours_or_an_old_success_clears_nothing() {
        check(&format!("{SILENT}\n seen ok.test mx.ok.test 127.0.0.11 2 configured, delivered"), "net.timeout");
        check(&format!("{SILENT}\n seen ok.test mx.ok.test 127.0.0.11 2000 delivered"), "net.timeout");
        check(&format!("{SILENT}\n seen other.test mx2.one.test 127.0.0.11 2 delivered"), "net.timeout");
    }
}
