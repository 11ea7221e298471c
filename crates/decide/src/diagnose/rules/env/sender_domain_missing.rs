//! A peer refuses our sender because its domain does not exist or takes no mail.

use super::sender::{self, Absent};
use crate::diagnose::{Answer, Case, rule};

rule! {
    /// Sender's domain does not exist or takes no mail
    ///
    /// The peer refuses the sender because its domain is not in DNS (NXDOMAIN), or has neither MX, A nor AAAA record, or a null
    /// MX: a bounce could not be returned. A typing error in a program's sender, a domain that was given up, or one made for
    /// sending only. A 450 looks temporary but lasts until the record or the sender is changed.
    ///
    /// Known from the peer's words and our own lookups.
    "env.sender_domain_missing", find
}

fn find(case: &Case<'_>) -> Answer {
    sender::find_in(case, "env.sender_domain_missing", |domain| {
        (!sender::is_internal(domain)).then_some(Absent::Missing)
    })
}

#[cfg(test)]
mod tests {
    use crate::diagnose::testing::check;

    #[test]
    fn a_mistyped_sender_domain() {
        check(
            "to a@dest.test
             from app@crop.test
             dns crop.test MX: NXDOMAIN
             dns crop.test A: NXDOMAIN
             dns crop.test AAAA: NXDOMAIN
             try mx.dest.test 127.0.0.11
               mail 450 4.1.8 Domain of sender address app@crop.test does not exist
               fail mail them 450 4.1.8 no",
            "env.sender_domain_missing: mx.dest.test refuses the sender domain crop.test, which does not exist in DNS (NXDOMAIN).",
        );
    }

    #[test]
    fn a_sender_domain_with_null_mx() {
        check(
            "to a@dest.test
             from app@news.test
             dns news.test MX: 0 .
             dns news.test A: 192.0.2.1
             dns news.test AAAA: NODATA
             try mx.dest.test 127.0.0.11
               mail 550 5.7.27 Sender address has null MX
               fail mail them 550 5.7.27 no",
            "env.sender_domain_missing: mx.dest.test refuses the sender domain news.test, which declares by null MX that it \
             accepts no mail.",
        );
    }
}
