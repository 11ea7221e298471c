//! The hosts have IPv6 addresses only, and this machine has no IPv6.

use super::{evidence, none_connected};
use crate::diagnose::{Answer, Case, rule};
use crate::settings::AddressFamily;
use mail::dns::{Data, Kind, Outcome};
use mail::{Actor, Confidence, Connect, Finding};
use std::net::IpAddr;

rule! {
    /// IPv6 only, and no IPv6 here
    ///
    /// The mail hosts of the domain have AAAA records only, and connections over IPv6 cannot even begin here: there is no IPv6
    /// address or route on this machine (EADDRNOTAVAIL, ENETUNREACH at once), or the settings leave IPv6 out.
    ///
    /// Give this machine IPv6, or send the domain's mail by a relay host that has it.
    "net.no_local_v6", find
}

fn find(case: &Case<'_>) -> Answer {
    let Some(attempt) = case.attempt() else { return Answer::No };
    let domain = &attempt.domain;
    let fixes = |finding: Finding| {
        finding
            .fix("Give this machine an IPv6 address and a default route.")
            .fix(format!("Or send mail for {domain} by a host that has IPv6: [[domain]] or route.other.next_hops."))
    };
    if attempt.tries.is_empty() {
        return by_settings(case, domain).map(fixes).into();
    }
    let Some(tries) = none_connected(case) else { return Answer::No };
    // Without an address of global scope even "host unreachable" is our own kernel's word.
    let has_address = case.identity.addresses.iter().any(is_global_v6);
    let cannot_begin = |connect: &Connect| match connect {
        Connect::NetworkUnreachable | Connect::NoSource => true,
        Connect::HostUnreachable => !has_address,
        _ => false,
    };
    if !tries.iter().all(|tried| tried.address.is_ipv6() && cannot_begin(&tried.connect)) {
        return Answer::No;
    }
    // IPv6 that works elsewhere is there: then the route to this network alone is missing.
    let works = case.around.seen.iter().any(|seen| {
        seen.address.is_ipv6()
            && !seen.address.is_loopback()
            && matches!(seen.connect, Connect::Made { .. } | Connect::Refused | Connect::TimedOut { .. })
    });
    let Some(first) = tries.first().filter(|_| !works) else { return Answer::No };
    let sentence =
        format!("{} has only the IPv6 address {} and this host has no IPv6 connectivity.", first.host, first.address);
    let mut finding = Finding::new("net.no_local_v6", Actor::OurNetwork, sentence)
        .confidence(Confidence::Proven)
        .disproof("`ip -6 route get ADDRESS` shows a route and a source address of global scope");
    finding.evidence = evidence(tries);
    finding.evidence.extend(case.dns(&first.host, Kind::A).map(mail::dns::Answer::summary));
    fixes(finding).into()
}

/// An address by which the Internet can be reached: not loopback, link-local (fe80::/10) or unique local (fc00::/7).
fn is_global_v6(address: &IpAddr) -> bool {
    let IpAddr::V6(address) = address else { return false };
    !address.is_loopback() && !address.is_unicast_link_local() && !address.is_unique_local()
}

/// Nothing was dialled, because the settings leave IPv6 out.
fn by_settings(case: &Case<'_>, domain: &str) -> Option<Finding> {
    if case.settings.delivery.address_family != AddressFamily::Ipv4 {
        return None;
    }
    let mx = case.dns(domain, Kind::Mx)?;
    let names: Vec<&str> = mx
        .data()
        .filter_map(|data| if let Data::Mx { host, .. } = data { Some(host.as_str()) } else { None })
        .collect();
    let no_v4 = |name: &&str| {
        case.dns(name, Kind::A).is_some_and(|answer| matches!(answer.outcome, Outcome::NoData | Outcome::NoName))
    };
    let v6 = names.iter().find_map(|name| {
        let address = case.dns(name, Kind::Aaaa)?.addresses().into_iter().next()?;
        Some((*name, address))
    });
    let (name, address) = v6.filter(|_| names.iter().all(no_v4))?;
    let sentence = format!(
        "{name} has only the IPv6 address {address} and this host has no IPv6 connectivity: delivery.address_family leaves \
         IPv6 out."
    );
    let finding = Finding::new("net.no_local_v6", Actor::OurSettings, sentence)
        .confidence(Confidence::Proven)
        .evidence(mx.summary())
        .evidence(format!("{name} AAAA {address}"))
        .disproof(format!("an A record of {name}"));
    Some(finding.fix("Set delivery.address_family to any, if this machine has IPv6."))
}

#[cfg(test)]
mod tests {
    use crate::diagnose::testing::{check, scene};

    const NO_ROUTE: &str = "to a@v6only.test
         dns v6only.test MX: 10 mx.v6only.test
         dns mx.v6only.test A: NODATA
         dns mx.v6only.test AAAA: 2001:db8::25
         try mx.v6only.test 2001:db8::25
           unreachable
           fail connect path [internal] 421 4.4.1 connection failed";

    #[test]
    fn a_host_with_ipv6_only_is_out_of_reach() {
        check(
            NO_ROUTE,
            "net.no_local_v6: mx.v6only.test has only the IPv6 address 2001:db8::25 and this host has no IPv6 connectivity.",
        );
    }

    #[test]
    fn an_unreachable_host_is_none_where_ipv6_is_at_hand() {
        let mut scene = scene(&NO_ROUTE.replace("unreachable", "no-host"));
        scene.check("net.no_local_v6");
        scene.identity.addresses.push("2001:db8:2::2".parse().unwrap());
        scene.check("net.unreachable");
    }

    #[test]
    fn ipv6_that_works_elsewhere_is_there() {
        check(&format!("{NO_ROUTE}\n seen ok.test mx.ok.test [2001:db8:1::1]:25 9 delivered"), "net.unreachable");
    }

    #[test]
    fn an_ipv4_address_beside_it_is_another_matter() {
        check(
            &format!(
                "{NO_ROUTE}\n try mx.v6only.test 127.0.0.11\n refused\n fail connect path [internal] 421 4.4.1 refused"
            ),
            "net.refused",
        );
    }
}
