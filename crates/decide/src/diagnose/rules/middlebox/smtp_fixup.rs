//! A firewall rewrites the greeting and the extensions.

use super::{lacks_tls, place};
use crate::diagnose::{Answer, Case, rule};
use mail::{Actor, Confidence, Finding, Reply, Retry, Severity};

rule! {
    /// SMTP rewritten by a firewall
    ///
    /// The greeting consists of asterisks: a Cisco PIX or ASA with "fixup protocol smtp" or "inspect esmtp" stands in front
    /// of the server. It refuses EHLO or takes extensions out of its answer (STARTTLS, SIZE, 8BITMIME), and it may cut
    /// connections whose last packets it does not like.
    ///
    /// Whoever runs that firewall turns the inspection off. Until then mail goes by HELO, without extensions.
    "middlebox.smtp_fixup", find
}

/// Fewer asterisks may be somebody's taste.
const STARS_MIN: usize = 6;

/// Asterisks apart from digits and blanks; older versions leave a letter of the name here and there.
fn is_starred(banner: &Reply) -> bool {
    let text = banner.text();
    let stars = text.bytes().filter(|octet| *octet == b'*').count();
    let others = text.bytes().filter(|octet| !matches!(octet, b'*' | b' ' | b'0'..=b'9')).count();
    stars >= STARS_MIN && others * 5 <= stars
}

fn find(case: &Case<'_>) -> Answer {
    let starred = |tried: &&mail::HostTry| tried.banner.as_ref().is_some_and(is_starred);
    let Some(tried) = case.tries().iter().find(starred) else { return Answer::No };
    let refused = tried.helo_only || tried.greeted.as_ref().is_some_and(|reply| reply.code >= 500);
    let demanded = lacks_tls(case, tried);
    let what = if refused { "is masked with asterisks and EHLO is refused" } else { "is masked with asterisks" };
    let end = match (demanded, case.went_through()) {
        (true, _) => "; the required TLS is not possible",
        (false, Some(_)) if tried.helo_only => "; delivered with HELO",
        _ => "",
    };
    let sentence = format!(
        "The greeting of {} {what}: a Cisco PIX/ASA SMTP inspection stands in front and removes extensions (STARTTLS, SIZE, \
         8BITMIME){end}.",
        place(tried)
    );
    let banner = tried.banner.as_ref().map(|reply| format!("{} {}", reply.code, reply.text())).unwrap_or_default();
    let mut finding = Finding::new("middlebox.smtp_fixup", Actor::TheirHost, sentence)
        .confidence(if refused { Confidence::Proven } else { Confidence::Likely })
        .evidence(format!("greeting: {banner}"))
        .disproof(format!("a greeting of {} from inside its network that shows asterisks as well", tried.host))
        .fix(format!(
            "The owner of {} turns SMTP inspection off on the firewall: `no fixup protocol smtp 25`, `no inspect esmtp`.",
            tried.host
        ));
    if let Some(reply) = tried.greeted.as_ref().filter(|_| refused) {
        finding = finding.evidence(format!("answer to EHLO: {} {}", reply.code, reply.text()));
    }
    if !demanded {
        let retry = if case.went_through().is_some() { Retry::NotNeeded } else { Retry::AfterFix };
        finding = finding.severity(Severity::Warning).retry(retry);
    }
    finding.into()
}

#[cfg(test)]
mod tests {
    use crate::diagnose::testing::check;

    const STARS: &str = "to a@asa.test
         try mx.asa.test 127.0.0.11
           banner 220 ****2*******0****
           ehlo 500 5.5.1 command unrecognized
           helo-only";

    #[test]
    fn asterisks_and_a_refused_ehlo_are_an_inspection() {
        check(
            &format!("{STARS}\n final 250 ok"),
            "middlebox.smtp_fixup: The greeting of mx.asa.test (127.0.0.11) is masked with asterisks and EHLO is refused: a \
             Cisco PIX/ASA SMTP inspection stands in front and removes extensions (STARTTLS, SIZE, 8BITMIME); delivered with \
             HELO.",
        );
    }

    #[test]
    fn where_tls_is_demanded_it_is_the_failure() {
        check(
            &format!("{STARS}\n fail start-tls them [internal] 451 4.7.6 STARTTLS required but not advertised"),
            "middlebox.smtp_fixup: The greeting of mx.asa.test (127.0.0.11) is masked with asterisks and EHLO is refused: a \
             Cisco PIX/ASA SMTP inspection stands in front and removes extensions (STARTTLS, SIZE, 8BITMIME); the required TLS \
             is not possible.",
        );
    }

    #[test]
    fn stars_around_words_are_taste_and_old_servers_are_old() {
        check(
            "to a@x.test\n try mx.x.test 127.0.0.11\n banner 220 *** mx.x.test welcomes you ***\n final 250 ok",
            "unknown",
        );
        check(
            "to a@x.test\n try mx.x.test 127.0.0.11\n banner 220 mx.x.test\n ehlo 500 what\n helo-only\n final 250 ok",
            "unknown",
        );
    }
}
