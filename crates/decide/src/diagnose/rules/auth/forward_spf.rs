//! Mail of strangers that this gateway passes on, and their SPF record does not list it.

use super::unlisted;
use crate::diagnose::rules::said;
use crate::diagnose::{Answer, Case, rule};
use mail::Actor;

rule! {
    /// Forwarded mail fails SPF
    ///
    /// This gateway passes on mail of a stranger with the stranger's envelope sender: an alias or a forward leads outside. The next host
    /// evaluates SPF of that sender for this gateway's address, which no record of a stranger can list.
    ///
    /// Known by the refusal, by the sender's domain, which is none of ours, and by its record as DNS has it now.
    ///
    /// Rewrite the envelope sender to an address of yours, or let the recipient fetch the mail instead of having it forwarded.
    "auth.forward_spf", find
}

fn find(case: &Case<'_>) -> Answer {
    let unlisted = match unlisted(case, false) {
        Ok(unlisted) => unlisted,
        Err(answer) => return answer,
    };
    let Some(attempt) = case.attempt() else { return Answer::No };
    let (domain, ours) = (&unlisted.domain, unlisted.ours);
    let sentence = format!(
        "{} gets mail forwarded by this gateway with the original sender {}; SPF of {domain} does not allow {ours}, so {} refused it for {} \
         ({}).",
        said::list(&attempt.recipients),
        attempt.sender,
        unlisted.said.place(),
        unlisted.what(),
        unlisted.said.code()
    );
    unlisted
        .finding(case, "auth.forward_spf", Actor::OurSettings, sentence)
        .fix(format!("Rewrite the envelope sender of what is forwarded: [[masquerade]] from = \"@{domain}\", to an address of yours."))
        .fix("Or let the recipient fetch the mail, or have the forward accepted there.")
        .fix(format!("If this gateway is meant to send for {domain}: its owner adds {ours} to the record."))
        .into()
}

#[cfg(test)]
mod tests {
    use crate::diagnose::testing::{check, scene};

    const REFUSED: &str = "to x@dest.test
        from s@src.test
        try mx.dest.test 198.51.100.1 from 192.0.2.9
          mail 250 ok
          rcpt x@dest.test 550 SPF fail - not authorized
          fail rcpt them 550 SPF fail";

    #[test]
    fn a_forward_fails_by_design() {
        scene(REFUSED).answer("src.test TXT: \"v=spf1 ip4:192.0.2.1 -all\"").check(
            "auth.forward_spf: x@dest.test gets mail forwarded by this gateway with the original sender s@src.test; SPF of src.test does not \
             allow 192.0.2.9, so mx.dest.test (198.51.100.1) refused it for SPF (550).",
        );
    }

    #[test]
    fn another_reason_is_another_matter() {
        check(&REFUSED.replace("550 SPF fail - not authorized", "550 5.1.1 unknown user"), "rcpt.unknown");
    }
}
