//! The UDP answer was cut short, and TCP to the same server does not work.

use super::asked::{Asked, blocked_tcp, recorded, server, wanted};
use crate::diagnose::{Answer, Case, How, rule};
use mail::dns::{Answer as DnsAnswer, Kind, Trouble};
use mail::{Actor, Confidence, Finding};

rule! {
    /// DNS over TCP is blocked
    ///
    /// The answer is too large for UDP: the server cut it short (TC=1) and must be asked again over TCP (RFC 7766), but TCP to the
    /// same server is refused, or nothing comes. Small answers are fine, which is why it looks like a fault of the few domains
    /// with large ones: many TXT records, many MX hosts, DNSSEC.
    ///
    /// What was asked for is not known, which is not the same as that there is none: mail waits, SPF is "temperror".
    ///
    /// Let TCP port 53 pass to the resolver, and see that the resolver listens on TCP.
    "dns.tcp_blocked", find
}

fn find(case: &Case<'_>) -> Answer {
    let Some((answer, blocked)) = recorded(case).iter().find_map(|answer| {
        let blocked = blocked_tcp(answer);
        (!blocked.is_empty()).then_some((answer, blocked))
    }) else {
        return Answer::No;
    };
    let again = Asked::of(case, &answer.question, How::OverTcp);
    let missing = wanted([&again]);
    if !missing.is_empty() {
        return Answer::Ask(missing);
    }
    // TCP works after all: a passing fault.
    if again.answer().is_some_and(|again| !again.trouble.is_some_and(Trouble::is_silence)) {
        return Answer::No;
    }
    let how = match blocked[0].trouble {
        Trouble::NoListener => "is refused",
        Trouble::TimedOut => "times out",
        Trouble::Unreachable => "cannot be reached",
        _ => "is closed without an answer",
    };
    let servers: Vec<&str> = blocked.iter().map(|tried| server(&tried.server)).collect();
    let who = format!("the resolver{} {}", if servers.len() == 1 { "" } else { "s" }, servers.join(" and "));
    let question = &answer.question;
    let sentence = format!(
        "The {} answer for {} is truncated over UDP and TCP to {who} {how}; {}.",
        question.kind.name(),
        question.name,
        consequence(case, answer)
    );
    let mut finding =
        Finding::new("dns.tcp_blocked", Actor::OurNetwork, sentence).confidence(Confidence::Proven).disproof(format!(
            "an answer to `dig +tcp @{} {} {}` from this machine",
            servers[0],
            question.name,
            question.kind.name()
        ));
    finding.evidence.extend(answer.tried.iter().map(|tried| format!("{question}: {tried}")));
    finding.evidence.extend(again.answer().map(|again| format!("asked again over TCP: {}", again.summary())));
    finding
        .fix(format!("Allow TCP port 53 to {who}, in firewalls and in the resolver's own settings."))
        .fix("Let UDP answers up to 1232 octets (EDNS) pass.")
        .into()
}

fn consequence(case: &Case<'_>, answer: &DnsAnswer) -> String {
    match (answer.question.kind, case.attempt()) {
        (Kind::Txt, _) => "SPF could not be read (temporary error)".to_owned(),
        (_, Some(attempt)) => format!("where mail for {} goes is not known, so it waits", attempt.domain),
        _ => "what was asked for is not known (temporary error)".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use crate::diagnose::testing::check;

    const NO_FRAGMENTS: &str = "ask big-edns fat.test MX: FAIL cut [udp truncated] [tcp no-listener]\n\
         ask small-edns fat.test MX: FAIL cut [udp truncated] [tcp no-listener]\n";

    #[test]
    fn a_refusal_and_a_silence_are_told_apart() {
        check(
            &format!(
                "to a@fat.test\ndns fat.test MX: FAIL cut [udp truncated] [tcp no-listener]\n{NO_FRAGMENTS}ask over-tcp fat.test MX: FAIL x [tcp no-listener]"
            ),
            "dns.tcp_blocked: The MX answer for fat.test is truncated over UDP and TCP to the resolver 127.0.0.53 is refused; where mail \
             for fat.test goes is not known, so it waits.",
        );
        check(
            &format!(
                "to a@fat.test\ndns fat.test MX: FAIL cut [udp truncated] [tcp timed-out]\n{NO_FRAGMENTS}ask over-tcp fat.test MX: FAIL x [tcp timed-out]"
            ),
            "dns.tcp_blocked: The MX answer for fat.test is truncated over UDP and TCP to the resolver 127.0.0.53 times out; where mail for \
             fat.test goes is not known, so it waits.",
        );
    }

    #[test]
    fn a_tcp_that_works_by_now_is_not_blocked() {
        check(
            &format!(
                "to a@fat.test\ndns fat.test MX: FAIL cut [udp truncated] [tcp timed-out]\n{NO_FRAGMENTS}ask over-tcp fat.test MX: 10 mx.fat.test"
            ),
            "dns.servfail",
        );
        check("to a@fat.test\ndns fat.test MX: FAIL SERVFAIL [tcp serv-fail]", "dns.servfail");
    }
}
