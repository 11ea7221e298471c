//! A null MX stands beside real ones.

use super::{listed, mx_records};
use crate::diagnose::{Answer, Case, rule};
use mail::{Actor, Confidence, Finding, Retry, Severity};

rule! {
    /// Null MX beside other MX records
    ///
    /// The domain publishes `MX 0 .`, which says that it accepts no mail, and together with it an MX record that names a host.
    /// RFC 7505 section 3 allows a null MX only alone. This gateway leaves the null MX out and delivers to the named host;
    /// other senders may return the mail. Usually a record that was left over when mail service began.
    ///
    /// The owner of the domain removes the record `MX 0 .`.
    "dns.null_mx_invalid", find
}

fn find(case: &Case<'_>) -> Answer {
    let Some(took) = case.went_through() else { return Answer::No };
    let Some((answer, records)) = mx_records(case) else { return Answer::No };
    let Some((preference, _)) = records.iter().find(|(_, host)| host.is_empty()) else { return Answer::No };
    let real: Vec<&str> = records.iter().map(|(_, host)| *host).filter(|host| !host.is_empty()).collect();
    if real.is_empty() {
        return Answer::No;
    }
    let domain = &answer.question.name;
    let sentence = format!(
        "{domain} publishes a null MX (MX {preference} .) together with {}; the null MX is invalid beside others (RFC 7505 \
         section 3), so {} was used.",
        listed(&real),
        took.host
    );
    Finding::new("dns.null_mx_invalid", Actor::TheirDns, sentence)
        .severity(Severity::Warning)
        .confidence(Confidence::Proven)
        .retry(Retry::NotNeeded)
        .evidence(answer.summary())
        .evidence(format!("{} [{}] took the message", took.host, took.address))
        .disproof(format!("an MX answer of the domain's own name servers without `{preference} .`"))
        .fix(format!("The owner of {domain} removes the record `{domain}. MX {preference} .`."))
        .into()
}

#[cfg(test)]
mod tests {
    use crate::diagnose::testing::check;

    #[test]
    fn a_null_mx_beside_another_is_left_out_and_told() {
        check(
            "to a@mixed.test
             dns mixed.test MX: 0 ., 10 mx.mixed.test
             dns mx.mixed.test A: 127.0.0.11
             try mx.mixed.test 127.0.0.11
               final 250 2.0.0 ok",
            "dns.null_mx_invalid: mixed.test publishes a null MX (MX 0 .) together with mx.mixed.test; the null MX is \
             invalid beside others (RFC 7505 section 3), so mx.mixed.test was used.",
        );
    }

    #[test]
    fn it_is_no_cause_of_a_refusal() {
        check(
            "to a@mixed.test
             dns mixed.test MX: 0 ., 10 mx.mixed.test
             try mx.mixed.test 127.0.0.11
               final 554 no
               fail final-reply them 554 no",
            "unknown",
        );
    }
}
