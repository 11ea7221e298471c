//! The relay host wants authentication.

use crate::diagnose::rules::said;
use crate::diagnose::words::{self, Topic};
use crate::diagnose::{Answer, Case, rule};
use mail::{Actor, Confidence, Finding, HostTry, Reply, Via};

rule! {
    /// Authentication required
    ///
    /// The host takes mail from authenticated clients only. Either this gateway has no credentials for it; or it had no chance
    /// to use them, because the host offers AUTH only after STARTTLS and TLS is off here; or both sides have no mechanism in
    /// common (this gateway speaks PLAIN and LOGIN); or the credentials were refused.
    ///
    /// Known by the reply (530, 535, x.7.8 or words) and the extensions that the host's EHLO answer listed. The reply has
    /// nothing to do with the recipients, even if it comes to RCPT.
    ///
    /// For a relay host: route.other.user, route.other.password_file and route.other.tls. For a host found by MX: it is set up
    /// as a submission server; its owner must accept mail without authentication on port 25.
    "peer.auth_required", find
}

fn find(case: &Case<'_>) -> Answer {
    let Some(attempt) = case.attempt().filter(|_| !said::is_backend(case)) else { return Answer::No };
    let wanting =
        said::about(case, Topic::AuthRequired).map(|said| (said.tried, said.code(), said.quote(), said.reply));
    let failed = || {
        let (tried, failure) = case.failed().filter(|(_, failure)| failure.stage == mail::Stage::Auth)?;
        let status = &failure.status;
        let quote = format!("{}: {failure}", said::place(tried));
        Some((tried, status.code.to_string(), quote, None::<&Reply>))
    };
    let wanting = wanting.map(|(tried, code, quote, reply)| (tried, code, quote, Some(reply))).or_else(failed);
    let Some((tried, code, quote, reply)) = wanting else { return Answer::No };
    let place = said::place(tried);
    let user = case.settings.other.user.as_deref().filter(|_| attempt.via == Via::RelayHost);
    let offered = mechanisms(tried);
    let has_starttls = has(tried, "STARTTLS");
    let is_refusal =
        reply.is_none_or(|reply| matches!(reply.code, 534 | 535 | 538 | 454) || words::sender_login(reply).is_some());
    let sent = user.is_some() && !offered.is_empty() && shared(&offered) && is_refusal;
    let (what, fix, confidence) = match (user, offered.as_slice()) {
        (Some(user), _) if sent => (
            format!("refused the credentials of {user} ({code})"),
            format!("Put the right password for {user} into the file of route.other.password_file."),
            Confidence::Likely,
        ),
        (_, []) if tried.tls.is_none() && has_starttls => (
            format!(
                "wants authentication ({code}) and offers AUTH only after STARTTLS; this gateway sent MAIL without TLS and AUTH"
            ),
            "Set route.other.tls = \"require\", and route.other.user with route.other.password_file.".to_owned(),
            Confidence::Likely,
        ),
        (_, []) => (
            format!(
                "wants authentication ({code}) but offers no AUTH here: the wrong port, or no server for this mail"
            ),
            "Ask its owner for the right host and port, mostly 587.".to_owned(),
            Confidence::Likely,
        ),
        (Some(user), offered) if !shared(offered) => (
            format!(
                "wants authentication ({code}) and offers only {}; this gateway has credentials for {user} but speaks PLAIN \
                 and LOGIN: no common mechanism",
                said::list(offered)
            ),
            format!("Ask its owner to offer PLAIN or LOGIN under TLS, or to let {} in by address.", address(tried)),
            Confidence::Proven,
        ),
        (Some(user), _) => (
            format!("wants authentication ({code}) although this gateway has credentials for {user}"),
            "Look into the transcript whether AUTH was said.".to_owned(),
            Confidence::Possible,
        ),
        (None, offered) => (
            format!(
                "wants authentication ({code}) and offers AUTH {}; this gateway has no credentials for it",
                offered.join(" ")
            ),
            "Set route.other.user and route.other.password_file (mode 600).".to_owned(),
            Confidence::Likely,
        ),
    };
    let by_mx = attempt.via == Via::Mx;
    let actor = if by_mx { Actor::TheirHost } else { Actor::OurSettings };
    let mut finding = Finding::new("peer.auth_required", actor, format!("{place} {what}."))
        .confidence(if by_mx && confidence == Confidence::Proven { Confidence::Likely } else { confidence })
        .evidence(quote)
        .evidence(format!(
            "extensions offered {}: {}",
            if tried.tls.is_some() { "under TLS" } else { "in the clear" },
            tried.capabilities.join(", ")
        ))
        .disproof("the same answer in an authenticated session");
    finding = if by_mx {
        finding.fix(format!(
            "The owner of {} accepts mail for {} on port 25 without authentication.",
            tried.host, attempt.domain
        ))
    } else {
        finding.fix(fix)
    };
    finding.into()
}

fn address(tried: &HostTry) -> String {
    tried.source.map_or_else(|| "this gateway".to_owned(), |source| source.to_string())
}

fn has(tried: &HostTry, keyword: &str) -> bool {
    tried
        .capabilities
        .iter()
        .any(|line| line.split_whitespace().next().is_some_and(|word| word.eq_ignore_ascii_case(keyword)))
}

/// Mechanisms that the EHLO answer offered; some hosts write `AUTH=`.
fn mechanisms(tried: &HostTry) -> Vec<String> {
    let mut all = Vec::new();
    for line in &tried.capabilities {
        let line = line.to_ascii_uppercase().replace("AUTH=", "AUTH ");
        let mut words = line.split_whitespace();
        if words.next() == Some("AUTH") {
            words.for_each(|word| said::push_new(&mut all, word));
        }
    }
    all
}

fn shared(offered: &[String]) -> bool {
    offered.iter().any(|mechanism| mechanism == "PLAIN" || mechanism == "LOGIN")
}

#[cfg(test)]
mod tests {
    use crate::diagnose::testing::check;

    const RELAY: &str = "to a@dest.test
        via relay-host
        try smart.test 127.0.0.11
          banner 220 smart.test";
    const USER: &str =
        "\nsettings\n[route.other]\nnext_hops = [\"smart.test\"]\nuser = \"relay@corp.test\"\npassword_file = \"/p\"";
    const WANTED: &str = "mail 530 5.7.0 Authentication required\nfail mail them 530 5.7.0 Authentication required";

    #[test]
    fn auth_is_offered_after_starttls_only() {
        check(
            &format!("{RELAY}\ncaps PIPELINING, STARTTLS\n{WANTED}"),
            "peer.auth_required: smart.test (127.0.0.11) wants authentication (530 5.7.0) and offers AUTH only after STARTTLS; \
             this gateway sent MAIL without TLS and AUTH.",
        );
    }

    #[test]
    fn there_are_no_credentials() {
        check(
            &format!("{RELAY}\ncaps AUTH PLAIN LOGIN\ntls TLSv1.3\n{WANTED}"),
            "peer.auth_required: smart.test (127.0.0.11) wants authentication (530 5.7.0) and offers AUTH PLAIN LOGIN; this \
             gateway has no credentials for it.",
        );
    }

    #[test]
    fn there_is_no_common_mechanism() {
        check(
            &format!("{RELAY}\ncaps AUTH CRAM-MD5\ntls TLSv1.3\n{WANTED}{USER}"),
            "peer.auth_required: smart.test (127.0.0.11) wants authentication (530 5.7.0) and offers only CRAM-MD5; this \
             gateway has credentials for relay@corp.test but speaks PLAIN and LOGIN: no common mechanism.",
        );
    }

    #[test]
    fn the_credentials_were_refused() {
        check(
            &format!("{RELAY}\ncaps AUTH PLAIN\ntls TLSv1.3\nfail auth them 535 5.7.8 bad credentials{USER}"),
            "peer.auth_required: smart.test (127.0.0.11) refused the credentials of relay@corp.test (535).",
        );
    }

    #[test]
    fn a_wish_for_tls_is_not_one_for_authentication() {
        check(
            &format!(
                "{RELAY}\ncaps STARTTLS\nmail 530 5.7.0 Must issue a STARTTLS command first\nfail mail them 530 5.7.0 x"
            ),
            "peer.tls_required",
        );
    }
}
