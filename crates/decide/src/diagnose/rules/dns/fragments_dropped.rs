//! Large UDP answers do not arrive, because their fragments are dropped.

use super::asked::{Asked, blocked_tcp, recorded, server, wanted};
use crate::diagnose::{Answer, Case, How, rule};
use mail::dns::{Answer as DnsAnswer, Trouble};
use mail::{Actor, Confidence, Finding, Retry, Severity};

rule! {
    /// Large DNS answers are lost: IP fragments are dropped
    ///
    /// A UDP answer that does not fit into one packet is sent in fragments, and a firewall on the way drops them (or the ICMP
    /// message that asks for smaller ones). The question with a buffer of 4096 octets gets no answer, the same with 1232 octets
    /// does, by UDP or cut short and by TCP. Only names with large answers fail, above all in signed zones.
    ///
    /// The gateway announces 1232 octets, so that mail goes on as long as TCP works. Other resolvers on this network may
    /// announce 4096: set 1232 there too, let DNS over TCP pass, and let fragments and ICMP "fragmentation needed" pass.
    "dns.fragments_dropped", find
}

/// What one Ethernet frame leaves for an answer: 1500 octets, less 20 of IPv4 and 8 of UDP.
const FRAME: u32 = 1472;

fn find(case: &Case<'_>) -> Answer {
    let Some(large) = recorded(case).iter().find(|answer| is_large(answer)) else { return Answer::No };
    let big = Asked::of(case, &large.question, How::BigEdns);
    let small = Asked::of(case, &large.question, How::SmallEdns);
    let wanted = wanted([&big, &small]);
    if !wanted.is_empty() {
        return Answer::Ask(wanted);
    }
    let (Some(big), Some(small)) = (big.answer(), small.answer()) else { return Answer::No };
    // TCP has no fragments: a silence there is something else.
    let big_is_lost = big.trouble == Some(Trouble::TimedOut) && big.tried.iter().all(|tried| !tried.tcp);
    if !big_is_lost || !(small.is_known() || is_cut(small)) {
        return Answer::No;
    }
    found(case, large, big, small).into()
}

/// Its answer is too large for a packet, or for this gateway's buffer.
fn is_large(answer: &DnsAnswer) -> bool {
    is_cut(answer) || (answer.is_known() && answer.over_tcp)
}

fn is_cut(answer: &DnsAnswer) -> bool {
    answer.tried.iter().any(|tried| tried.trouble == Trouble::Truncated)
}

fn found(case: &Case<'_>, large: &DnsAnswer, big: &DnsAnswer, small: &DnsAnswer) -> Finding {
    let name = &large.question.name;
    let blocked = blocked_tcp(small);
    let tcp = match blocked.first() {
        Some(tried) => format!("TC, TCP {}", tried.trouble),
        None if is_cut(small) => "TC, TCP fine".to_owned(),
        None => "answered".to_owned(),
    };
    let sentence = format!(
        "Answers for {name} larger than about {FRAME} octets do not arrive over UDP (DO, buffer 4096: time-out; buffer 1232: {tcp}): IP \
         fragments are dropped on the way."
    );
    let severity = if large.is_known() { Severity::Warning } else { Severity::Failure };
    let is_measured = small.size > FRAME;
    let retry = match (case.delivered(), large.is_known()) {
        (true, _) => Retry::NotNeeded,
        (false, true) => Retry::Helps { after_s: None },
        (false, false) => Retry::AfterFix,
    };
    let mut finding = Finding::new("dns.fragments_dropped", Actor::OurNetwork, sentence)
        .severity(severity)
        .confidence(if is_measured { Confidence::Proven } else { Confidence::Likely })
        .retry(retry)
        .disproof(format!(
            "an answer to `dig +dnssec +bufsize=4096 +ignore {name} {}` from this machine",
            large.question.kind.name()
        ));
    finding.evidence.push(format!("with DO and a buffer of 4096: {}", big.summary()));
    finding.evidence.push(format!("with DO and a buffer of 1232: {}", small.summary()));
    finding.evidence.extend(small.tried.iter().map(ToString::to_string));
    if small.is_known() && small.size > 0 {
        finding.evidence.push(format!("the answer has {} octets", small.size));
    }
    if let Some(tried) = blocked.first() {
        finding = finding.fix(format!("Let DNS over TCP (port 53) pass to {}.", server(&tried.server)));
    }
    finding
        .fix("Set the EDNS buffer of the resolver to 1232 octets and allow DNS over TCP.")
        .fix("Let IP fragments and ICMP \"fragmentation needed\" pass the firewall.")
}

#[cfg(test)]
mod tests {
    use crate::diagnose::testing::check;

    #[test]
    fn a_large_buffer_is_met_with_silence_and_a_small_one_is_not() {
        check(
            "to u@big.test
             dns big.test MX: 10 mx.big.test [udp truncated] [over-tcp]
             ask big-edns big.test MX: FAIL silence [udp timed-out]
             ask small-edns big.test MX: 10 mx.big.test [udp truncated] [over-tcp]",
            "dns.fragments_dropped: Answers for big.test larger than about 1472 octets do not arrive over UDP (DO, buffer 4096: \
             time-out; buffer 1232: TC, TCP fine): IP fragments are dropped on the way.",
        );
    }

    #[test]
    fn with_tcp_blocked_as_well_it_is_a_failure() {
        check(
            "to u@big.test
             dns big.test MX: FAIL cut [udp truncated] [tcp no-listener]
             ask big-edns big.test MX: FAIL silence [udp timed-out]
             ask small-edns big.test MX: FAIL cut [udp truncated] [tcp no-listener]",
            "dns.fragments_dropped: Answers for big.test larger than about 1472 octets do not arrive over UDP (DO, buffer 4096: \
             time-out; buffer 1232: TC, TCP connection refused): IP fragments are dropped on the way.",
        );
    }

    #[test]
    fn a_server_that_answers_large_or_not_at_all_is_no_case_of_it() {
        let large = "to u@big.test\ndns big.test MX: 10 mx.big.test [udp truncated] [over-tcp]\n";
        check(
            &format!(
                "{large}ask big-edns big.test MX: 10 mx.big.test\nask small-edns big.test MX: 10 mx.big.test [udp truncated] [over-tcp]"
            ),
            "unknown",
        );
        check(
            &format!(
                "{large}ask big-edns big.test MX: FAIL x [udp timed-out]\nask small-edns big.test MX: FAIL x [udp timed-out]"
            ),
            "unknown",
        );
    }
}
