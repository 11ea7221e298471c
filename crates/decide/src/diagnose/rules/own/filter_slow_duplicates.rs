//! The scanner takes longer than the client waits.

use crate::diagnose::rules::shown::span;
use crate::diagnose::{Answer, Case, rule};
use mail::{Actor, Confidence, Finding};

rule! {
    /// The scanner is slower than the client's patience
    ///
    /// A client waits for the answer after the final dot: ten minutes (RFC 5321 4.5.3.2.6), many programs much less. If scanning takes
    /// longer, the client hangs up and sends the message again. A gateway that takes the first copy all the same delivers twice.
    /// This one notices that the client has gone and does not take it; but the next try may end in the same way.
    ///
    /// Known by the client's closing the connection while the scanner was at work.
    ///
    /// Make scanning faster: limits for archives in the scanner, a shorter `scanner.timeout`.
    "own.filter_slow_duplicates", find
}

fn find(case: &Case<'_>) -> Answer {
    let Some(visit) = case.visit() else { return Answer::No };
    let Some((scan, gone)) = visit.scan.as_ref().and_then(|scan| Some((scan, scan.gone_ms?))) else {
        return Answer::No;
    };
    let Some(deal) = visit.deals.iter().rev().find(|deal| deal.unanswered) else { return Answer::No };
    let message = if deal.message_id.is_empty() { "the message".to_owned() } else { deal.message_id.clone() };
    // The same message from the same client before: it is at its second try.
    let before = case.around.sent.iter().any(|sent| {
        sent.incoming && !sent.message_id.is_empty() && sent.message_id == deal.message_id && sent.peer == visit.client
    });
    let mut finding = Finding::new(
        "own.filter_slow_duplicates",
        Actor::OurServer,
        format!(
            "Scanning lasted longer than the client {} waited: it gave up after {} and will send the message again; {message} was \
             not taken, so that no duplicate is made.",
            visit.client,
            span(gone)
        ),
    )
    .confidence(Confidence::Proven)
    .evidence(format!("content of {} octets went to {}; no answer yet after {}", deal.size, scan.address, span(gone)))
    .evidence(format!("from <{}>, Message-ID {message}", deal.sender))
    .disproof("an answer of the scanner before the client closed");
    if before {
        finding = finding.evidence("the same message was taken from this client before");
    }
    finding
        .fix("Make scanning faster: limits for archives and sizes in the scanner (clamd: MaxScanTime, MaxScanSize).")
        .fix(format!(
            "Or give up sooner: `scanner.timeout` below {}, with `scanner.accept_unscanned` as you decide.",
            span(gone)
        ))
        .into()
}

#[cfg(test)]
mod tests {
    use crate::diagnose::testing::scene;
    use mail::Scan;

    #[test]
    fn a_client_that_did_not_wait_for_the_scanner_is_named() {
        let mut scene = scene("visit inbound 127.0.1.10\ndeal a@a.test: u@corp.test\nvanished\nclosed");
        let visit = scene.visit.as_mut().unwrap();
        visit.deals[0].unanswered = true;
        visit.deals[0].message_id = "<m1@a.test>".to_owned();
        visit.scan =
            Some(Scan { address: "127.0.0.70:3310".to_owned(), gone_ms: Some(30_000), ms: 30_000, ..Scan::default() });
        scene.check(
            "own.filter_slow_duplicates: Scanning lasted longer than the client 127.0.1.10 waited: it gave up after 30 s and will \
             send the message again; <m1@a.test> was not taken, so that no duplicate is made.",
        );
    }
}
