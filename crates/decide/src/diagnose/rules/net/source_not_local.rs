//! The settings bind deliveries to an address that this host does not have.

use crate::diagnose::{Answer, Case, rule};
use mail::{Actor, Confidence, Connect, Finding, Via};

rule! {
    /// Source address is not on this host
    ///
    /// `[[delivery.source]]` names an address that no interface of this host (or of this container's network) has: the system
    /// answers "cannot assign requested address" (EADDRNOTAVAIL) before a packet leaves. The peer has nothing to do with it.
    ///
    /// Give the address to an interface, or correct or remove the source in the settings.
    "net.source_not_local", find
}

fn find(case: &Case<'_>) -> Answer {
    let Some(attempt) = case.attempt() else { return Answer::No };
    let (Some(tried), false) = (attempt.tries.last(), case.delivered()) else { return Answer::No };
    let Some(source) = tried.source.filter(|_| tried.connect == Connect::NoSource) else { return Answer::No };
    // Without a setting the system chooses: then it has no address of that family at all.
    if !case.settings.delivery.sources.iter().any(|set| set.address == source) {
        return Answer::No;
    }
    let via = if attempt.via == Via::Mx { "mail host" } else { "next hop" };
    let sentence = format!(
        "Deliveries are bound to {source}, which this host does not have (cannot assign requested address); the {via} {} [{}] \
         was not reached for that reason alone.",
        tried.host, tried.address
    );
    let own: Vec<String> = case.identity.addresses.iter().map(ToString::to_string).collect();
    Finding::new("net.source_not_local", Actor::OurSettings, sentence)
        .confidence(Confidence::Proven)
        .evidence(format!("binding to {source}: EADDRNOTAVAIL"))
        .evidence(format!("addresses of this gateway: {}", own.join(", ")))
        .disproof(format!("`ip address` on this host (in the same network namespace) shows {source}"))
        .fix(format!("Give {source} to an interface of this host: `ip address add {source}/… dev …`; in a container, use the host's network."))
        .fix("Or correct [[delivery.source]] address to one of this host's addresses.")
        .into()
}

#[cfg(test)]
mod tests {
    use crate::diagnose::testing::check;

    const FAILED: &str = "to a@big.test
        try mx.big.test 127.0.0.11 from 192.0.2.77
          no-source
          fail connect us [internal] 421 4.4.1 cannot assign requested address";

    #[test]
    fn a_bound_address_that_is_not_here() {
        check(
            &format!("{FAILED}\nsettings\n[[delivery.source]]\naddress = \"192.0.2.77\""),
            "net.source_not_local: Deliveries are bound to 192.0.2.77, which this host does not have (cannot assign requested \
             address); the mail host mx.big.test [127.0.0.11] was not reached for that reason alone.",
        );
    }

    #[test]
    fn no_address_of_a_family_is_not_a_wrong_setting() {
        check(FAILED, "net.unreachable");
    }
}
