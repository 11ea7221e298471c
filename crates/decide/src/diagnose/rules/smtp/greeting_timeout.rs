//! The greeting came late, or not at all.

use crate::diagnose::rules::said;
use crate::diagnose::{Answer, Case, connected, rule};
use mail::{Actor, Confidence, End, Finding, Retry, Severity, Stage};

rule! {
    /// Late greeting
    ///
    /// TCP connects at once, but the host's 220 comes late or not at all: it holds up clients on purpose (a tarpit), or waits
    /// for look-ups of this gateway's name that time out, or it is overloaded. Port 25 is not blocked: then there would be no
    /// connection.
    ///
    /// Known by the time from the connection to the greeting. RFC 5321 4.5.3.2.1 asks clients to wait five minutes.
    ///
    /// If the greeting came: nothing. If not: see that this gateway's address has a PTR record that answers quickly; keep
    /// delivery.timeouts.banner at five minutes; make sure that the port is not one for TLS from the first octet (465).
    "smtp.greeting_timeout", find
}

/// A greeting later than this is worth a note.
const LATE_MS: u64 = 10_000;

fn find(case: &Case<'_>) -> Answer {
    if let Some((tried, failure)) =
        case.failed().filter(|(tried, failure)| connected(tried) && failure.stage == Stage::Banner)
        && let End::TimedOut { waited_ms } = tried.end
        && tried.banner.is_none()
    {
        return Finding::new(
            "smtp.greeting_timeout",
            Actor::TheirHost,
            format!(
                "{} accepted the connection but sent no greeting within {}.",
                said::place(tried),
                said::seconds(waited_ms / 1000)
            ),
        )
        .confidence(Confidence::Likely)
        .retry(Retry::Helps { after_s: None })
        .evidence(format!("TCP connection to {}:{} made", tried.address, tried.port))
        .evidence(failure.to_string())
        .disproof(format!("a greeting from {} to a client at another address at the same time", tried.host))
        .fix("See that this gateway's address has a PTR record and that its name servers answer quickly.")
        .fix(format!("If it lasts, ask the postmaster of {}. Keep delivery.timeouts.banner at 5 minutes.", tried.host))
        .into();
    }
    let late = case.tries().iter().rev().find(|tried| {
        tried.banner.as_ref().is_some_and(|banner| banner.code == 220)
            && tried.reused_after_ms.is_none()
            && tried.banner_ms.is_some_and(|ms| ms >= LATE_MS)
    });
    let Some(tried) = late else { return Answer::No };
    let after = said::seconds(tried.banner_ms.unwrap_or_default() / 1000);
    let worked = if crate::diagnose::delivered(tried) { "; the session then worked" } else { "" };
    Finding::new(
        "smtp.greeting_timeout",
        Actor::TheirHost,
        format!(
            "{} accepted the connection but sent its greeting only after {after} (tarpit or slow reverse look-up there){worked}.",
            said::place(tried)
        ),
    )
    .severity(Severity::Warning)
    .confidence(Confidence::Likely)
    .retry(Retry::NotNeeded)
    .evidence(format!("greeting after {after}: \"{}\"", tried.banner.as_ref().map_or_else(String::new, ToString::to_string)))
    .disproof("greetings of other hosts are as late: then something here holds them up")
    .fix("Nothing; see that this gateway's address has a PTR record that answers quickly.")
    .into()
}

#[cfg(test)]
mod tests {
    use crate::diagnose::testing::{check, scene};
    use mail::Severity;

    #[test]
    fn a_late_greeting_is_told_with_its_seconds() {
        let text = "to a@slow.test
            try mx.slow.test 127.0.0.11
              banner 220 mx.slow.test
              banner-after 45000
              rcpt a@slow.test 250 ok
              final 250 ok";
        let scene = scene(text);
        scene.check(
            "smtp.greeting_timeout: mx.slow.test (127.0.0.11) accepted the connection but sent its greeting only after 45 s \
             (tarpit or slow reverse look-up there); the session then worked.",
        );
        assert_eq!(scene.diagnose().findings[0].severity, Severity::Warning);
        check(&text.replace("45000", "1200"), "diag.delivered_elsewhere");
    }

    #[test]
    fn no_greeting_at_all_is_a_failure() {
        check(
            "to a@slow.test
             try mx.slow.test 127.0.0.11
               fail banner them [internal] 451 4.4.2 no banner
               silent 300000",
            "smtp.greeting_timeout: mx.slow.test (127.0.0.11) accepted the connection but sent no greeting within 5 min.",
        );
    }

    #[test]
    fn a_port_that_does_not_answer_is_something_else() {
        check(
            "to a@slow.test\ntry mx.slow.test 127.0.0.11\ntimeout 30000\nfail connect path [internal] 451 4.4.1 x",
            "net.timeout",
        );
    }
}
