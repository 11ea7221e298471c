//! Questions with EDNS get no answer, plain ones do.

use super::asked::{Asked, recorded, root, server, wanted};
use crate::diagnose::{Answer, Case, How, rule};
use mail::dns::{Answer as DnsAnswer, Trouble};
use mail::{Actor, Confidence, Finding, Retry, Severity};

rule! {
    /// DNS questions with EDNS are swallowed
    ///
    /// A question with an OPT record (EDNS, RFC 6891) gets no answer, the same question without one does. A firewall drops what
    /// it does not know, or everything above 512 octets. The gateway then asks without EDNS, so mail goes on, but the first
    /// look-up of each such domain waits for a time-out, and DNSSEC is out of reach.
    ///
    /// It is known by asking the same thing both ways, once more. If even the root's name servers cannot be asked for with EDNS,
    /// the firewall is on this side; else it stands before that domain's name servers.
    "dns.edns_dropped", find
}

fn find(case: &Case<'_>) -> Answer {
    let Some(plain) = recorded(case).iter().find(|answer| is_suspect(answer)) else { return Answer::No };
    let with = Asked::of(case, &plain.question, How::SmallEdns);
    let without = Asked::of(case, &plain.question, How::NoEdns);
    let everywhere = Asked::of(case, &root(), How::SmallEdns);
    let wanted = wanted([&with, &without, &everywhere]);
    if !wanted.is_empty() {
        return Answer::Ask(wanted);
    }
    let confidence = match (with.answer(), without.answer()) {
        (Some(with), Some(without)) if with.trouble == Some(Trouble::TimedOut) && without.is_known() => {
            Confidence::Proven
        }
        (None, None) if !plain.tried.is_empty() => Confidence::Possible,
        _ => return Answer::No,
    };
    let all = everywhere.answer().is_some_and(|answer| answer.trouble == Some(Trouble::TimedOut));
    found(case, plain, all, [with.answer(), without.answer(), everywhere.answer()]).confidence(confidence).into()
}

/// Answered without EDNS where silence had been the answer to EDNS, now or before.
fn is_suspect(answer: &DnsAnswer) -> bool {
    let silence = |trouble: Trouble| trouble == Trouble::TimedOut;
    answer.is_known() && answer.without_edns && answer.tried.iter().all(|tried| silence(tried.trouble))
}

fn found(case: &Case<'_>, plain: &DnsAnswer, all: bool, looks: [Option<&DnsAnswer>; 3]) -> Finding {
    let domain = case.attempt().map_or(plain.question.name.as_str(), |attempt| attempt.domain.as_str());
    let resolver = server(&plain.server);
    let after = if case.delivered() { "delivered after falling back to it" } else { "the look-up fell back to it" };
    let (actor, sentence) = if all {
        (
            Actor::OurNetwork,
            format!(
                "EDNS questions to the resolver {resolver} are dropped (time-out), whatever the domain; it answers plain DNS for {domain}: {after}, look-ups are slow."
            ),
        )
    } else {
        (
            Actor::TheirDns,
            format!(
                "The name server for {domain} ignores EDNS questions (time-out) but answers plain DNS; {after}, look-ups are slow."
            ),
        )
    };
    let mut finding = Finding::new("dns.edns_dropped", actor, sentence)
        .severity(Severity::Warning)
        .retry(if case.delivered() { Retry::NotNeeded } else { Retry::Helps { after_s: None } })
        .disproof(format!(
            "an answer to `dig +edns=0 +bufsize=1232 @{resolver} {} {}`",
            plain.question.name,
            plain.question.kind.name()
        ));
    finding.evidence.extend(plain.tried.iter().map(|tried| format!("{}: {tried}", plain.question)));
    finding.evidence.push(format!("{} (without EDNS)", plain.summary()));
    let labels = ["with EDNS 1232", "without EDNS", "the root with EDNS 1232"];
    for (label, look) in labels.iter().zip(looks) {
        finding.evidence.extend(look.map(|look| format!("asked again {label}: {}", look.summary())));
    }
    if all {
        finding.fix(format!("Let EDNS (RFC 6891) and UDP answers above 512 octets pass the firewall between this gateway and {resolver}."))
    } else {
        finding
            .fix(format!("The owner of {domain} lets EDNS (RFC 6891) pass the firewall before its name servers."))
            .fix("Check the firewalls on this side if many domains are affected.")
    }
}

#[cfg(test)]
mod tests {
    use crate::diagnose::testing::{check, scene};

    const FELL_BACK: &str = "to a@old.test
        dns old.test MX: 10 mx.old.test [plain] [udp timed-out]
        dns mx.old.test A: 127.0.0.11 [plain]
        try mx.old.test 127.0.0.11
          final 250 ok
        ";

    #[test]
    fn silence_with_edns_and_an_answer_without() {
        let looks = "ask small-edns old.test MX: FAIL silence [udp timed-out]\nask no-edns old.test MX: 10 mx.old.test [plain]\n";
        check(
            &format!("{FELL_BACK}\n{looks}ask small-edns . NS: NODATA"),
            "dns.edns_dropped: The name server for old.test ignores EDNS questions (time-out) but answers plain DNS; delivered after \
             falling back to it, look-ups are slow.",
        );
        let all = scene(&format!("{FELL_BACK}\n{looks}ask small-edns . NS: FAIL silence [udp timed-out]"));
        assert_eq!(all.diagnose().first().unwrap().actor, mail::Actor::OurNetwork);
    }

    #[test]
    fn one_lost_packet_is_nothing() {
        check(
            &format!(
                "{FELL_BACK}\nask small-edns old.test MX: 10 mx.old.test\nask no-edns old.test MX: 10 mx.old.test [plain]\nask small-edns . NS: NODATA"
            ),
            "unknown",
        );
    }

    #[test]
    fn a_server_that_says_it_knows_no_edns_is_in_its_right() {
        check("to a@old.test\ndns old.test MX: 10 mx.old.test [plain] [udp form-err]", "unknown");
    }
}
