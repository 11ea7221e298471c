//! A lookup failed, so that nothing is known.

use crate::diagnose::{Answer, Case, rule};
use mail::dns::{Answer as DnsAnswer, Outcome};
use mail::{Actor, Confidence, Finding, Retry};

rule! {
    /// DNS lookup failed
    ///
    /// A lookup that the delivery needs ended in SERVFAIL, REFUSED or a timeout. That is not the answer "there is none": the
    /// domain may be in perfect order. The message stays in the queue and is tried again.
    ///
    /// If it lasts: SERVFAIL means that the resolver could not get a valid answer from the domain's name servers (they are down,
    /// or their signatures do not fit); REFUSED that the resolver does not serve this gateway; a timeout that nobody answered.
    /// If many domains fail at the same time, look at `dns.servers` first.
    "dns.servfail", find
}

fn find(case: &Case<'_>) -> Answer {
    let Some(attempt) = case.attempt().filter(|attempt| attempt.tries.is_empty()) else { return Answer::No };
    let failed: Vec<(&DnsAnswer, &str)> = attempt
        .dns
        .iter()
        .filter_map(
            |answer| if let Outcome::Failed(why) = &answer.outcome { Some((answer, why.as_str())) } else { None },
        )
        .collect();
    let Some((first, why)) = failed.first() else { return Answer::No };
    let name = &first.question.name;
    let others: Vec<String> = attempt
        .dns
        .iter()
        .filter(|answer| answer.question != first.question && answer.question.name == *name)
        .map(brief)
        .collect();
    let others = if others.is_empty() { String::new() } else { format!(" ({})", others.join(", ")) };
    let sentence = format!(
        "The {} lookup of {name} failed with {}{others}; temporary DNS failure, kept in queue.",
        first.question.kind.name(),
        said(first, why)
    );
    // A resolver that answers other questions is not to blame.
    let resolver_works =
        case.around.resolvers.iter().any(|resolver| resolver.answered > 0 && resolver.failed_in_a_row < 3)
            || attempt.dns.iter().any(|answer| !matches!(answer.outcome, Outcome::Failed(_)) && !answer.cached);
    let actor = if resolver_works || why.contains("SERVFAIL") { Actor::TheirDns } else { Actor::OurNetwork };
    let mut finding = Finding::new("dns.servfail", actor, sentence)
        .confidence(Confidence::Proven)
        .retry(Retry::Helps { after_s: None })
        .disproof(format!("an answer of the same server to {}, with or without records", first.question));
    finding.evidence = attempt.dns.iter().map(DnsAnswer::summary).collect();
    finding.evidence.extend(
        failed
            .iter()
            .flat_map(|(answer, _)| &answer.extended_errors)
            .map(|error| format!("extended DNS error {error}")),
    );
    finding
        .fix("Nothing at once: the message is tried again by itself.")
        .fix(format!(
            "If it lasts: `dig {} {}` at the resolver and at the domain's own name servers shows who fails.",
            name,
            first.question.kind.name()
        ))
        .into()
}

/// `SERVFAIL (127.0.0.53:53)`; more than one server's words stay as they are.
fn said(answer: &DnsAnswer, why: &str) -> String {
    let one = why.strip_prefix(&format!("{} ", answer.server)).filter(|rest| !rest.contains("; "));
    let words = |text: &str| text.replace("answered ", "");
    one.map_or_else(|| words(why), |rest| format!("{} ({})", words(rest), answer.server))
}

/// `AAAA: none`
fn brief(answer: &DnsAnswer) -> String {
    let kind = answer.question.kind.name();
    match &answer.outcome {
        Outcome::Found => format!("{kind}: found"),
        Outcome::NoData => format!("{kind}: none"),
        Outcome::NoName => format!("{kind}: NXDOMAIN"),
        Outcome::Failed(_) => format!("{kind}: failed too"),
    }
}

#[cfg(test)]
mod tests {
    use crate::diagnose::testing::check;

    #[test]
    fn nodata_of_one_family_does_not_hide_the_failure_of_the_other() {
        check(
            "to a@flaky.test
             dns flaky.test MX: 10 mx.flaky.test
             dns mx.flaky.test A: FAIL 127.0.0.53:53 answered SERVFAIL
             dns mx.flaky.test AAAA: NODATA
             dropped mx.flaky.test - 10 unknown SERVFAIL
             no-route 421 4.4.4 failed",
            "dns.servfail: The A lookup of mx.flaky.test failed with SERVFAIL (127.0.0.53:53) (AAAA: none); temporary \
             DNS failure, kept in queue.",
        );
    }

    #[test]
    fn a_failed_lookup_beside_a_host_that_was_dialled_is_not_the_cause() {
        check(
            "to a@flaky.test
             dns flaky.test MX: 10 mx.flaky.test
             dns mx.flaky.test A: 127.0.0.11
             dns mx.flaky.test AAAA: FAIL 127.0.0.53:53 answered SERVFAIL
             try mx.flaky.test 127.0.0.11
               final 554 no
               fail final-reply them 554 no",
            "unknown",
        );
    }
}
