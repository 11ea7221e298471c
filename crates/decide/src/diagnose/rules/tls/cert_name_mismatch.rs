//! The certificate is for other names, and a policy asks for the right one.

use super::{place, setting, shown, unverified};
use crate::diagnose::{Answer, Case, rule};
use mail::{Actor, Confidence, Distrust, Finding};

rule! {
    /// Certificate for another name
    ///
    /// A policy (`tls = "verify"`) asks for a certificate that proves the name of the MX host or next hop, and the peer's is for
    /// other names only. Usual with an MX record that names a host of the domain's own, behind which a hoster's server stands.
    /// Where no policy asks, such a certificate is used all the same.
    ///
    /// The domain's owner points the MX record to the hoster's own name, or the hoster adds the name to its certificate.
    "tls.cert_name_mismatch", find
}

fn find(case: &Case<'_>) -> Answer {
    let Some((tried, certificate)) = unverified(case) else { return Answer::No };
    let Some(attempt) = case.attempt() else { return Answer::No };
    if !certificate.problems.contains(&Distrust::OtherName) {
        return Answer::No;
    }
    let (host, domain) = (&tried.host, &attempt.domain);
    let names = match certificate.names.as_slice() {
        [] => "no name".to_owned(),
        names if names.len() > 5 => format!("{} and {} other names", names[..5].join(", "), names.len() - 5),
        names => names.join(", "),
    };
    let sentence = format!(
        "{} shows a certificate for {names} only; the local policy for {domain} asks for the name {host}.",
        place(tried)
    );
    Finding::new("tls.cert_name_mismatch", Actor::TheirHost, sentence)
        .confidence(Confidence::Proven)
        .evidence(shown(certificate))
        .evidence(format!("name asked for: {host}"))
        .disproof(format!("a certificate of {host} that has this name among its subjectAltNames"))
        .fix(format!(
            "The owner of {domain} points the MX record to a name that the certificate has, or adds {host} to it."
        ))
        .fix(format!("To deliver meanwhile without verification: {} with tls = \"require\".", setting(case)))
        .into()
}

#[cfg(test)]
mod tests {
    use crate::diagnose::testing::check;

    #[test]
    fn both_names_are_compared() {
        check(
            "to a@cust.test
             try mail.cust.test 127.0.0.11
               tls TLSv1.3
               fail start-tls them [internal] 451 4.7.5 the peer's certificate is not verified
               cert *.hoster.test
               cert-problem other-name",
            "tls.cert_name_mismatch: mail.cust.test (127.0.0.11) shows a certificate for *.hoster.test only; the local policy \
             for cust.test asks for the name mail.cust.test.",
        );
    }

    #[test]
    fn without_a_policy_it_is_no_matter() {
        check(
            "to a@cust.test
             try mail.cust.test 127.0.0.11
               tls TLSv1.3
               cert *.hoster.test
               cert-problem other-name
               final 250 ok",
            "unknown",
        );
    }
}
