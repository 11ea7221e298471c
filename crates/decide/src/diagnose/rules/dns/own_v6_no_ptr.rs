//! A peer refuses our IPv6 address because it has no reverse name.

use super::own_reverse::{Family, find_in};
use crate::diagnose::{Answer, Case, rule};

rule! {
    /// Our IPv6 address has no reverse name
    ///
    /// The peer asks for a PTR record of the address that mail comes from, and the IPv6 address that this delivery left from has
    /// none: the provider does not offer it, or the system chose a temporary (privacy) address as source. Large providers ask
    /// for it over IPv6 more strictly than over IPv4, and refuse often only after the content.
    ///
    /// Known from the peer's words and from our own lookup of that PTR record. Have the PTR record set, bind deliveries to an
    /// address that has one (`[[delivery.source]]`), or prefer IPv4 (`delivery.address_family = "ipv4-first"`).
    "dns.own_v6_no_ptr", find
}

fn find(case: &Case<'_>) -> Answer {
    find_in(case, Family::V6, "dns.own_v6_no_ptr")
}
