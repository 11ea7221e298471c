//! EHLO name and reverse name differ, and both are in order. The identity check says so (`crate::identity`); a delivery never
//! fails by it, so that there is nothing to find in a case.

use crate::diagnose::{Answer, Case, rule};

rule! {
    /// EHLO name and reverse name may differ
    ///
    /// The reverse name (PTR) of the address that mail leaves from is another than the name said in EHLO. That is allowed: a server
    /// may look up both, but must not refuse mail because they differ (RFC 5321 4.1.4). What counts is that the reverse name leads
    /// back to the address, and that the EHLO name resolves.
    ///
    /// Known by DNS: the reverse name is forward-confirmed, and the EHLO name has an address.
    ///
    /// Nothing needs to be done. A few receivers score mail a little better if both names are the same.
    "diag.helo_ptr_not_required", find
}

fn find(_: &Case<'_>) -> Answer {
    Answer::No
}
