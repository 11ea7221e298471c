//! There is no way to the host.

use super::{evidence, how, none_connected, owner, tried_place};
use crate::diagnose::{Answer, Case, rule};
use mail::{Actor, Confidence, Connect, Finding, Retry};

rule! {
    /// No way to the host
    ///
    /// The kernel or a router on the way says that the network or the host cannot be reached. Network unreachable mostly comes
    /// from this machine's own routes; host unreachable from the last router before the host.
    ///
    /// Check `ip route get ADDRESS` here; if there is a route, the host's network is at fault.
    "net.unreachable", find
}

fn find(case: &Case<'_>) -> Answer {
    let Some(tries) = none_connected(case) else { return Answer::No };
    let is_it = |connect: &Connect| {
        matches!(
            connect,
            Connect::NetworkUnreachable | Connect::HostUnreachable | Connect::NoSource | Connect::Failed(_)
        )
    };
    if !tries.iter().all(|tried| is_it(&tried.connect)) {
        return Answer::No;
    }
    let Some(first) = tries.first() else { return Answer::No };
    let actor = if first.connect == Connect::HostUnreachable { owner(case) } else { Actor::OurNetwork };
    let sentence = format!("{} cannot be reached from here: {}.", tried_place(first), how(&first.connect));
    let mut finding = Finding::new("net.unreachable", actor, sentence)
        .confidence(Confidence::Likely)
        .retry(Retry::Helps { after_s: None })
        .disproof(format!("a connection from this machine to {} port {}", first.address, first.port))
        .fix(format!("See the route here: `ip route get {}`.", first.address));
    finding.evidence = evidence(tries);
    finding.into()
}

#[cfg(test)]
mod tests {
    use crate::diagnose::testing::check;

    #[test]
    fn a_router_says_no() {
        check(
            "to a@one.test
             try mx.one.test 192.0.2.1
               no-host
               fail connect path [internal] 421 4.4.1 host unreachable",
            "net.unreachable: mx.one.test (192.0.2.1) cannot be reached from here: host unreachable.",
        );
    }
}
