//! A peer refuses our IPv4 address because it has no reverse name.

use super::own_reverse::{Family, find_in};
use crate::diagnose::{Answer, Case, rule};

rule! {
    /// Our address has no reverse name
    ///
    /// The peer asks for a PTR record of the address that mail comes from, and the IPv4 address that this delivery left from has
    /// none.
    ///
    /// Known from the peer's words and from our own lookup of that PTR record. Whoever holds the address (the provider) sets the
    /// PTR record to the gateway's host name.
    "dns.own_no_ptr", find
}

fn find(case: &Case<'_>) -> Answer {
    find_in(case, Family::V4, "dns.own_no_ptr")
}
