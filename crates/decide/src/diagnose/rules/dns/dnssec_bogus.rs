//! The zone's signatures do not fit, so that a validating resolver answers SERVFAIL.

use super::asked::{Asked, recorded, server, wanted};
use crate::diagnose::{Answer, Case, How, rule};
use mail::dns::{Answer as DnsAnswer, Trouble};
use mail::{Actor, Confidence, Finding};

rule! {
    /// DNSSEC validation fails
    ///
    /// The domain's zone is signed, but its signatures have expired or do not fit the keys that its parent names. A validating
    /// resolver then answers SERVFAIL, as it should; one that does not validate answers as if nothing were wrong, which is why the
    /// domain's owner may not have noticed.
    ///
    /// It is known by asking once more with checking disabled (CD=1), for this explanation only: mail is never delivered by an
    /// answer that failed validation. An extended error (RFC 8914, codes 6 to 12) names the reason.
    ///
    /// The owner of the zone signs it anew, or removes the DS record at the parent. If the signatures of all zones look expired,
    /// the clock of the resolver is wrong.
    "dns.dnssec_bogus", find
}

fn find(case: &Case<'_>) -> Answer {
    let failed =
        |answer: &&DnsAnswer| answer.trouble == Some(Trouble::ServFail) && reason(answer) != Some(Reason::Other);
    let Some(answer) = recorded(case).iter().find(failed) else { return Answer::No };
    let unchecked = Asked::of(case, &answer.question, How::CheckingDisabled);
    let again = Asked::of(case, &answer.question, How::DnsOnly);
    let wanted = wanted([&unchecked, &again]);
    if !wanted.is_empty() {
        return Answer::Ask(wanted);
    }
    let named = reason(answer).or_else(|| reason(again.answer()?));
    let still_fails = again.answer().is_some_and(|again| again.trouble == Some(Trouble::ServFail));
    let confidence = match (unchecked.answer(), named) {
        (Some(unchecked), Some(Reason::Bogus(_))) if unchecked.is_known() && still_fails => Confidence::Proven,
        (Some(unchecked), None) if unchecked.is_known() && still_fails => Confidence::Likely,
        (None, Some(Reason::Bogus(_))) => Confidence::Likely,
        _ => return Answer::No,
    };
    let name = &answer.question.name;
    let why = match named {
        Some(Reason::Bogus(why)) => why,
        _ => "SERVFAIL",
    };
    let without = match unchecked.answer() {
        Some(unchecked) if !unchecked.records.is_empty() => {
            let data: Vec<String> = unchecked.data().map(ToString::to_string).collect();
            format!("; without validation the {} would be {}", answer.question.kind.name(), data.join(", "))
        }
        Some(_) => "; without validation the resolver answers".to_owned(),
        None => String::new(),
    };
    let sentence = format!("DNSSEC validation of {name} fails ({why}){without}, so the fault is in that zone.");
    let mut finding = Finding::new("dns.dnssec_bogus", Actor::TheirDns, sentence)
        .confidence(confidence)
        .evidence(format!("{} (from {})", answer.summary(), server(&answer.server)))
        .disproof(format!("an answer with the AD flag of another validating resolver to {}", answer.question));
    finding.evidence.extend(answer.extended_errors.iter().map(|error| format!("extended DNS error {error}")));
    finding.evidence.extend(unchecked.answer().map(|answer| format!("with CD=1: {}", answer.summary())));
    finding.evidence.extend(again.answer().map(|answer| format!("asked again with validation: {}", answer.summary())));
    finding
        .fix(format!("The owner of {name} signs the zone anew, or corrects the DS record at its parent."))
        .fix("Do not switch validation off: the message is tried again until it expires.")
        .into()
}

/// What an extended error says of a SERVFAIL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reason {
    Bogus(&'static str),
    /// Something else than validation.
    Other,
}

/// RFC 8914 4: 6 to 12 are about validation; 5 is too, but leaves open which way. `None`: nothing is said.
fn reason(answer: &DnsAnswer) -> Option<Reason> {
    let number = |error: &String| error.strip_prefix("EDE ")?.split(' ').next()?.parse::<u16>().ok();
    let numbers: Vec<u16> = answer.extended_errors.iter().filter_map(number).collect();
    let bogus = numbers.iter().find_map(|number| {
        Some(match number {
            6 => "bogus, EDE 6",
            7 => "signature expired, EDE 7",
            8 => "signature not yet valid, EDE 8",
            9 => "DNSKEY missing, EDE 9",
            10 => "RRSIGs missing, EDE 10",
            11 => "no zone key, EDE 11",
            12 => "NSEC missing, EDE 12",
            _ => return None,
        })
    });
    // 0, 3, 5, 19 and 29 tell nothing against it.
    let says_other = numbers.iter().any(|number| !matches!(number, 0 | 3 | 5..=12 | 19 | 29));
    bogus.map(Reason::Bogus).or(says_other.then_some(Reason::Other))
}

#[cfg(test)]
mod tests {
    use crate::diagnose::testing::{check, scene};

    const BOGUS: &str = "to a@bogus.test\ndns bogus.test MX: FAIL SERVFAIL [udp serv-fail] [EDE 7 expired]\n";

    #[test]
    fn an_answer_with_checking_disabled_shows_it() {
        check(
            &format!(
                "{BOGUS}ask checking-disabled bogus.test MX: 10 mx.bogus.test\nask dns-only bogus.test MX: FAIL SERVFAIL [udp serv-fail] [EDE 7 expired]"
            ),
            "dns.dnssec_bogus: DNSSEC validation of bogus.test fails (signature expired, EDE 7); without validation the MX would be 10 \
             mx.bogus.test, so the fault is in that zone.",
        );
    }

    #[test]
    fn servfail_that_stays_or_passes_is_not_bogus() {
        let plain = "to a@bogus.test\ndns bogus.test MX: FAIL SERVFAIL [udp serv-fail]\n";
        let found = |cd: &str, again: &str| {
            let scene = scene(&format!(
                "{plain}ask checking-disabled bogus.test MX: {cd}\nask dns-only bogus.test MX: {again}"
            ));
            scene.diagnose().findings.iter().any(|finding| finding.cause == "dns.dnssec_bogus")
        };
        assert!(!found("FAIL SERVFAIL [udp serv-fail]", "FAIL SERVFAIL [udp serv-fail]"));
        assert!(!found("10 mx.bogus.test", "10 mx.bogus.test"), "it was a passing fault");
        assert!(found("10 mx.bogus.test", "FAIL SERVFAIL [udp serv-fail]"));
    }

    #[test]
    fn another_reason_of_the_resolver_is_believed() {
        let scene = scene("to a@x.test\ndns x.test MX: FAIL SERVFAIL [udp serv-fail] [EDE 22 no reachable authority]");
        assert!(
            scene.diagnose().wanted.iter().all(|experiment| !format!("{experiment:?}").contains("CheckingDisabled"))
        );
    }
}
