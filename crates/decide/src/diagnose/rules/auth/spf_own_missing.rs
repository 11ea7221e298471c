//! Our own domain's SPF record does not list this gateway.

use super::unlisted;
use crate::diagnose::{Answer, Case, rule};
use mail::Actor;

rule! {
    /// The SPF record of our domain lacks this gateway
    ///
    /// A host refused mail of a domain of ours for SPF (RFC 7208), or for DMARC on top of it. The domain's record does not permit the
    /// address that this gateway sends from.
    ///
    /// Known by the refusal, and by the record as DNS has it now.
    ///
    /// Add the address to the record, before `all`.
    "auth.spf_own_missing", find
}

fn find(case: &Case<'_>) -> Answer {
    let unlisted = match unlisted(case, true) {
        Ok(unlisted) => unlisted,
        Err(answer) => return answer,
    };
    let (domain, ours) = (&unlisted.domain, unlisted.ours);
    let sentence = format!(
        "SPF of {domain} (\"{}\") does not permit {ours}, the address this gateway sends from; {} refused the mail for {} ({}).",
        unlisted.record,
        unlisted.said.place(),
        unlisted.what(),
        unlisted.said.code()
    );
    let term = crate::spf::term(ours);
    unlisted
        .finding(case, "auth.spf_own_missing", Actor::OurDns, sentence)
        .fix(format!("Add {term} to the SPF record of {domain}, before \"all\"."))
        .into()
}

#[cfg(test)]
mod tests {
    use crate::diagnose::testing::scene;

    const REFUSED: &str = "to a@dest.test
        from s@corp.test
        try mx.dest.test 198.51.100.1 from 192.0.2.9
          mail 250 ok
          rcpt a@dest.test 550 5.7.23 SPF check failed: 192.0.2.9 is not allowed to send mail from corp.test
          fail rcpt them 550 5.7.23 SPF check failed
settings
[[domain]]
name = \"corp.test\"
next_hops = [\"127.0.0.20\"]";

    #[test]
    fn our_record_lacks_our_address() {
        scene(REFUSED).answer("corp.test TXT: \"v=spf1 ip4:192.0.2.1 -all\"").check(
            "auth.spf_own_missing: SPF of corp.test (\"v=spf1 ip4:192.0.2.1 -all\") does not permit 192.0.2.9, the address this gateway \
             sends from; mx.dest.test (198.51.100.1) refused the mail for SPF (550 5.7.23).",
        );
    }

    #[test]
    fn a_record_that_lists_it_is_another_matter() {
        scene(REFUSED).answer("corp.test TXT: \"v=spf1 ip4:192.0.2.9 -all\"").check("unknown");
        scene(REFUSED).nothing_more().check("unknown");
    }
}
