//! The message needs SMTPUTF8 and the next hop does not offer it.

use crate::diagnose::words::{self, Topic};
use crate::diagnose::{Answer, Case, rule};
use mail::{Actor, Confidence, Finding, HostTry, Reply, Retry, status};

rule! {
    /// SMTPUTF8 is needed and not offered
    ///
    /// Addresses with characters beyond ASCII before the `@`, and header fields in raw UTF-8, may go only to servers that offer
    /// SMTPUTF8 (RFC 6531). Every server on the way must offer it, content filters and archives included.
    ///
    /// Known by the EHLO answer of the hop, and by the address or header that needs the extension.
    ///
    /// Let the hop offer SMTPUTF8, or use an ASCII address (a domain beyond ASCII alone can be written as `xn--…`). If none of
    /// your servers behind offers it, do not offer it to the outside either.
    "smtp.utf8_required", find
}

fn find(case: &Case<'_>) -> Answer {
    let Some(attempt) = case.attempt() else { return Answer::No };
    let Some((tried, reply)) = refused(case) else { return Answer::No };
    let offers = tried.capabilities.iter().any(|line| line.eq_ignore_ascii_case("SMTPUTF8"));
    if offers {
        return Answer::No;
    }
    let mut needs: Vec<String> =
        attempt.recipients.iter().filter(|to| !to.is_ascii()).map(|to| format!("recipient \"{to}\"")).collect();
    if !attempt.sender.is_ascii() {
        needs.push(format!("sender \"{}\"", attempt.sender));
    }
    if case.content.is_some_and(|content| content.eight_bit_header) {
        needs.push("the header (raw UTF-8 in a field)".to_owned());
    }
    let host = &tried.host;
    let is_needed = !needs.is_empty();
    let what = match needs.as_slice() {
        [] => "the message came with the SMTPUTF8 flag, though no address of it is beyond ASCII, and so".to_owned(),
        [one] => one.clone(),
        [first, rest @ ..] => format!("{first} (and {} more)", rest.len()),
    };
    let mut sentence = format!("{what} needs SMTPUTF8, which the next hop {host} does not offer (5.6.7).");
    if let Some(first) = sentence.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    let caps = if tried.capabilities.is_empty() { "no extension".to_owned() } else { tried.capabilities.join(", ") };
    let mut finding = Finding::new("smtp.utf8_required", Actor::TheirHost, sentence)
        .confidence(if is_needed { Confidence::Proven } else { Confidence::Likely })
        .retry(Retry::AfterFix)
        .evidence(format!("EHLO answer of {host} [{}]: {caps}", tried.address));
    finding.evidence.extend(needs.into_iter().map(|what| format!("beyond ASCII: {what}")));
    finding.evidence.extend(reply.map(|reply| format!("{host} answered: {reply}")));
    let step = if attempt.local {
        format!("Let {host} offer SMTPUTF8; or use ASCII addresses for its mailboxes.")
    } else {
        format!("Use an ASCII address, or have {host} offer SMTPUTF8.")
    };
    finding.disproof(format!("SMTPUTF8 in the EHLO answer of {host}")).fix(step).into()
}

fn refused<'a>(case: &Case<'a>) -> Option<(&'a HostTry, Option<&'a Reply>)> {
    let ours = case.failed().filter(|(_, failure)| {
        failure.status.host.is_none() && failure.status.enhanced == status::NEEDS_SMTPUTF8.with("").enhanced
    });
    let theirs = case
        .refusals()
        .into_iter()
        .find(|(_, _, reply)| reply.is_permanent() && words::topics(reply).contains(&Topic::SmtpUtf8));
    match (ours, theirs) {
        (Some((tried, _)), _) => Some((tried, None)),
        (None, theirs) => theirs.map(|(tried, _, reply)| (tried, Some(reply))),
    }
}

#[cfg(test)]
mod tests {
    use crate::diagnose::testing::{check, content, scene};

    const HOP: &str = "via next-hops\nlocal\ntry 127.0.0.20 127.0.0.20:2525\n  ehlo 250 x\n  caps SIZE, 8BITMIME\n  \
                       fail mail them [internal] 553 5.6.7 peer does not offer SMTPUTF8";

    #[test]
    fn the_recipient_that_needs_it_is_named() {
        check(
            &format!("to jürgen@corp.test\n{HOP}"),
            "smtp.utf8_required: Recipient \"jürgen@corp.test\" needs SMTPUTF8, which the next hop 127.0.0.20 does not offer \
             (5.6.7).",
        );
    }

    #[test]
    fn a_header_can_need_it_too() {
        let mut scene = scene(&format!("to a@corp.test\n{HOP}"));
        scene.content = content("Subject: Grüße\r\n\r\nx\r\n");
        let sentence = scene.diagnose().findings[0].sentence.clone();
        assert!(sentence.starts_with("The header (raw UTF-8 in a field) needs SMTPUTF8"), "{sentence}");
    }

    #[test]
    fn a_host_that_offers_it_refuses_for_another_reason() {
        check(
            "to jürgen@corp.test\ntry mx.corp.test 127.0.0.20\n  caps SMTPUTF8\n  rcpt jürgen@corp.test 550 5.1.1 no such user\n  \
             fail rcpt them 550 5.1.1 no such user",
            "rcpt.unknown",
        );
    }
}
