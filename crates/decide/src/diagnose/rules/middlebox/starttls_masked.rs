//! A firewall overwrites STARTTLS in the answer to EHLO.

use super::{lacks_tls, place};
use crate::diagnose::{Answer, Case, organisation, rule};
use mail::{Actor, Confidence, Connect, Finding, Retry, Severity};

rule! {
    /// STARTTLS masked by a firewall
    ///
    /// The answer to EHLO holds a keyword of X's as long as STARTTLS, and no STARTTLS: a firewall that inspects SMTP (Cisco PIX
    /// and ASA with "inspect esmtp") overwrote it, so that it can read the mail. If hosts elsewhere show STARTTLS, the
    /// firewall stands on the peer's side; if every host shows the X's, on ours.
    ///
    /// Whoever runs the firewall turns the inspection off for SMTP, or lets TLS through ("allow-tls"). Until then mail goes in
    /// clear text, or waits where a policy demands TLS.
    "middlebox.starttls_masked", find
}

const STARTTLS: &str = "STARTTLS";

/// A keyword that something wrote X's over: all of it, or all but one octet at the end.
fn is_masked(line: &str) -> bool {
    let keyword = line.split(' ').next().unwrap_or_default();
    let crosses = keyword.bytes().take_while(|octet| octet.eq_ignore_ascii_case(&b'X')).count();
    keyword.len() == STARTTLS.len() && crosses + 1 >= keyword.len()
}

fn masked(lines: &[String]) -> Option<&String> {
    let offered = lines.iter().any(|line| line.eq_ignore_ascii_case(STARTTLS));
    lines.iter().find(|line| !offered && is_masked(line))
}

fn find(case: &Case<'_>) -> Answer {
    let Some((tried, keyword)) = case.tries().iter().find_map(|tried| Some((tried, masked(&tried.capabilities)?)))
    else {
        return Answer::No;
    };
    let others = || {
        case.around.seen.iter().filter(|seen| {
            !seen.configured
                && matches!(seen.connect, Connect::Made { .. })
                && seen.address != tried.address
                && organisation(&seen.host) != organisation(&tried.host)
        })
    };
    // A certificate shows that STARTTLS was offered, though the list after it lacks the word.
    let offers = others().filter(|seen| {
        seen.fingerprint.is_some() || seen.capabilities.iter().any(|line| line.eq_ignore_ascii_case(STARTTLS))
    });
    let clear = offers.max_by_key(|seen| seen.at);
    let mut also: Vec<&str> =
        others().filter(|seen| masked(&seen.capabilities).is_some()).map(|seen| seen.host.as_str()).collect();
    also.sort_unstable();
    also.dedup();
    let end = if lacks_tls(case, tried) {
        "the required TLS is not possible"
    } else if case.went_through().is_some() {
        "the message was sent in clear text"
    } else {
        "TLS is not possible"
    };
    let word = keyword.split(' ').next().unwrap_or_default();
    let what = format!("{}'s EHLO reply has \"{word}\" ({} characters) in place of STARTTLS", place(tried), word.len());
    let (actor, confidence, sentence) = match (clear, also.first()) {
        (Some(_), _) => (
            Actor::TheirHost,
            Confidence::Likely,
            format!("{what}; other hosts show STARTTLS, so a firewall on that side masks it and {end}."),
        ),
        (None, Some(_)) => (
            Actor::OurNetwork,
            Confidence::Likely,
            format!(
                "{what}; so do all other hosts lately ({}), so a firewall on this side, our own, masks it and {end}.",
                also.join(", ")
            ),
        ),
        (None, None) => (
            Actor::TheirHost,
            Confidence::Possible,
            format!("{what}: a firewall between here and there, most likely on that side, masks it and {end}."),
        ),
    };
    let mut finding = Finding::new("middlebox.starttls_masked", actor, sentence)
        .confidence(confidence)
        .evidence(format!("answer of {} to EHLO: {}", place(tried), tried.capabilities.join(", ")))
        .disproof(format!("STARTTLS in the answer of {} to an EHLO from another network", tried.host));
    if let Some(clear) = clear {
        finding =
            finding.evidence(format!("{} ({}) offered STARTTLS at {}", clear.host, clear.address, clear.at.rfc3339()));
    }
    finding.evidence.extend(also.iter().map(|host| format!("{host} shows the same")));
    finding = if actor == Actor::OurNetwork {
        finding.fix("Turn SMTP inspection off on our own firewall (Cisco: `no inspect esmtp`, or a policy map with `allow-tls`).")
    } else {
        finding.fix(format!(
            "The owner of {} turns SMTP inspection off on the firewall (Cisco: `no inspect esmtp`, or `allow-tls`).",
            tried.host
        ))
    };
    if !lacks_tls(case, tried) {
        let retry = if case.went_through().is_some() { Retry::NotNeeded } else { Retry::AfterFix };
        finding = finding.severity(Severity::Warning).retry(retry);
    }
    finding.into()
}

#[cfg(test)]
mod tests {
    use crate::diagnose::testing::check;

    const MASKED: &str = "to a@strip.test
         try mx.strip.test 127.0.0.11
           banner 220 mx.strip.test
           ehlo 250 mx.strip.test
           caps PIPELINING, XXXXXXXX, SIZE 1000
           fail start-tls them [internal] 451 4.7.6 STARTTLS required but not advertised";

    #[test]
    fn others_that_show_it_put_the_firewall_on_their_side() {
        check(
            &format!("{MASKED}\n seen other.test mx.other.test 127.0.0.12 3 delivered, caps PIPELINING STARTTLS"),
            "middlebox.starttls_masked: mx.strip.test (127.0.0.11)'s EHLO reply has \"XXXXXXXX\" (8 characters) in place of \
             STARTTLS; other hosts show STARTTLS, so a firewall on that side masks it and the required TLS is not possible.",
        );
    }

    #[test]
    fn where_all_are_masked_it_is_our_own() {
        check(
            &format!("{MASKED}\n seen other.test mx.other.test 127.0.0.12 3 delivered, caps XXXXXXXA"),
            "middlebox.starttls_masked: mx.strip.test (127.0.0.11)'s EHLO reply has \"XXXXXXXX\" (8 characters) in place of \
             STARTTLS; so do all other hosts lately (mx.other.test), so a firewall on this side, our own, masks it and the \
             required TLS is not possible.",
        );
    }

    #[test]
    fn a_keyword_of_another_length_or_beside_starttls_is_none() {
        check(&MASKED.replace("XXXXXXXX", "XCLIENT"), "tls.not_offered");
        check(&MASKED.replace("XXXXXXXX", "XXXX"), "tls.not_offered");
        check(
            "to a@x.test\n try mx.x.test 127.0.0.11\n caps XXXXXXXX, STARTTLS\n fail rcpt them 550 5.1.1 no",
            "unknown",
        );
    }
}
