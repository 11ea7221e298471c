//! The content scanner cannot be asked.

use crate::diagnose::{Answer, Case, rule};
use mail::{Actor, Confidence, Finding, Retry, ScanWord, Severity, Time};

rule! {
    /// The content scanner is not available
    ///
    /// Every message is handed to the scanner before it is taken. If that is down, reloads its signatures or is overloaded, mail cannot be
    /// scanned: it is deferred with 451, so that senders keep it (`scanner.accept_unscanned = false`), or taken unscanned.
    ///
    /// Known by what the connection to the scanner came to. All messages are affected, whoever sends them.
    ///
    /// Start or mend the scanner. Deferred mail comes again by itself.
    "own.filter_unavailable", find
}

fn find(case: &Case<'_>) -> Answer {
    let Some(visit) = case.visit() else { return Answer::No };
    let Some(scan) = visit.scan.as_ref().filter(|scan| scan.word == ScanWord::Failed) else { return Answer::No };
    let detail = scan.detail.to_lowercase();
    let state = if detail.contains("refused") {
        "refuses connections".to_owned()
    } else if detail.contains("no answer within") || detail.contains("no connection within") {
        "does not answer".to_owned()
    } else {
        format!("fails ({})", scan.detail)
    };
    let since = scan.since.map_or(String::new(), |since| format!(" since {}", hour(since)));
    let (result, severity) = if scan.unscanned {
        ("incoming mail is taken unscanned (fail-open policy)", Severity::Warning)
    } else {
        ("incoming mail is deferred (fail-closed policy)", Severity::Failure)
    };
    let answered = visit.refused("scanner-failed").map(|refusal| format!("answered: {}", refusal.reply));
    let mut finding = Finding::new(
        "own.filter_unavailable",
        Actor::OurServer,
        format!("Content scanner {} {state}{since}; {result}.", scan.address),
    )
    .severity(severity)
    .confidence(Confidence::Proven)
    .retry(Retry::Helps { after_s: None })
    .evidence(format!("{}: {} after {} ms", scan.address, scan.detail, scan.ms))
    .evidence(format!("scanner.accept_unscanned = {}", scan.unscanned))
    .disproof(format!("an answer of {} at the same time", scan.address))
    .fix(format!("Start or mend the scanner at {}; it may be reloading its signatures.", scan.address));
    finding.evidence.extend(answered);
    finding.fix("To take mail meanwhile: `scanner.accept_unscanned = true`, or leave `scanner.address` out.").into()
}

/// `10:02 UTC`.
fn hour(at: Time) -> String {
    format!("{} UTC", at.rfc3339().get(11..16).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use crate::diagnose::testing::scene;
    use mail::{Scan, ScanWord, Time};

    #[test]
    fn a_dead_scanner_is_named_with_what_becomes_of_mail() {
        let mut scene = scene(
            "visit inbound 127.0.1.10
             deal a@out.test: u@corp.test
             vanished
             refuse body scanner-failed - 451 4.3.0 content could not be scanned",
        );
        scene.visit.as_mut().unwrap().scan = Some(Scan {
            address: "127.0.0.70:3310".to_owned(),
            word: ScanWord::Failed,
            detail: "Connection refused (os error 111)".to_owned(),
            since: Some(Time(36_120_000)),
            ..Scan::default()
        });
        scene.check(
            "own.filter_unavailable: Content scanner 127.0.0.70:3310 refuses connections since 10:02 UTC; incoming mail is deferred \
             (fail-closed policy).",
        );
    }
}
