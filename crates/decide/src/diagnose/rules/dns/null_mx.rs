//! The domain says that it accepts no mail.

use super::mx_records;
use crate::diagnose::{Answer, Case, rule};
use mail::{Actor, Confidence, Finding, Retry};

rule! {
    /// Domain accepts no mail (null MX)
    ///
    /// The domain's only MX record is `MX 0 .` (RFC 7505): its owner says that it never accepts mail. The message is returned
    /// at once with 5.1.10. An A or AAAA record that the domain may have belongs to its web server and is not tried.
    ///
    /// Known from the answer to the MX query. Nothing is to be mended at this gateway: the sender needs another address.
    "dns.null_mx", find
}

fn find(case: &Case<'_>) -> Answer {
    let Some(attempt) = case.attempt().filter(|attempt| attempt.tries.is_empty()) else { return Answer::No };
    let Some((answer, records)) = mx_records(case) else { return Answer::No };
    let Some((preference, _)) = records.first().filter(|_| records.iter().all(|(_, host)| host.is_empty())) else {
        return Answer::No;
    };
    let domain = &attempt.domain;
    let sentence = format!(
        "{domain} declares by null MX (MX {preference} .) that it accepts no mail (RFC 7505); returned at once, and no A or \
         AAAA record of {domain} was tried."
    );
    Finding::new("dns.null_mx", Actor::TheSender, sentence)
        .confidence(Confidence::Proven)
        .retry(Retry::Useless)
        .evidence(answer.summary())
        .disproof(format!("an MX record of {domain} that names a host, at the domain's own name servers"))
        .fix(format!("The sender corrects the address, or asks the recipient for one outside {domain}."))
        .fix(format!(
            "If {domain} should take mail, its owner replaces `{domain}. MX {preference} .` by the name of a mail host."
        ))
        .into()
}

#[cfg(test)]
mod tests {
    use crate::diagnose::testing::check;

    #[test]
    fn a_null_mx_ends_it() {
        check(
            "to a@nomail.test\n dns nomail.test MX: 0 .\n no-route 550 5.1.10 null MX",
            "dns.null_mx: nomail.test declares by null MX (MX 0 .) that it accepts no mail (RFC 7505); returned at once, and \
             no A or AAAA record of nomail.test was tried.",
        );
    }

    #[test]
    fn a_domain_with_another_mx_takes_mail() {
        check("to a@x.test\n dns x.test MX: 0 ., 10 mx.x.test\n dns mx.x.test A: FAIL SERVFAIL", "dns.servfail");
    }

    #[test]
    fn what_the_settings_route_is_not_asked_of_the_mx() {
        check("to a@x.test\n dns x.test MX: 0 .\n via relay-host", "unknown");
    }
}
