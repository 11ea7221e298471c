//! The message was handed over: the proof.

use crate::diagnose::rules::said;
use crate::diagnose::words;
use crate::diagnose::{Answer, Case, delivered, rule};
use mail::{Actor, Confidence, Finding, Retry, Severity};

rule! {
    /// Handed over
    ///
    /// The next host took responsibility for the message: it answered the content with 250. Filters, quarantine, forwarding or
    /// a wrong mailbox behind it can be seen only there.
    ///
    /// Known by the answer to the final dot, with the host's own queue id where it gave one.
    ///
    /// Ask that host's administrator with the queue id, the time and the address. Sending it again makes a second copy.
    "diag.delivered_elsewhere", find
}

fn find(case: &Case<'_>) -> Answer {
    let Some(attempt) = case.attempt() else { return Answer::No };
    let Some(tried) = case.tries().iter().rev().find(|tried| delivered(tried)) else { return Answer::No };
    let Some(reply) = &tried.final_reply else { return Answer::No };
    let tls = match &tried.tls {
        Some(tls) => format!("over {}", tls.version.replacen("TLSv", "TLS ", 1).replace('_', ".")),
        None => "in the clear".to_owned(),
    };
    let time = attempt.ended.rfc5322();
    let mut finding = Finding::new(
        "diag.delivered_elsewhere",
        Actor::Nobody,
        format!(
            "{} accepted the message at {time} {tls}: \"{reply}\"; what happened afterwards can be seen only there.",
            said::place(tried),
        ),
    )
    .severity(Severity::Info)
    // That it was taken is proven; that nothing else is to be told of this delivery is not.
    .confidence(Confidence::Likely)
    .retry(Retry::NotNeeded)
    .evidence(format!("{} answered the content with \"{reply}\"", said::place(tried)))
    .evidence(format!("at {time}, from {} to {}:{}", source(tried), tried.address, tried.port))
    .disproof("a bounce from that host");
    if let Some(id) = words::queue_id(reply) {
        finding = finding.evidence(format!("its queue id: {id}"));
    }
    let id =
        words::queue_id(reply).map_or_else(|| "the time".to_owned(), |id| format!("its queue id {id} and the time"));
    finding
        .fix(format!(
            "Ask the administrator of {} with {id}. Do not send it again: that makes a second copy.",
            tried.host
        ))
        .into()
}

fn source(tried: &mail::HostTry) -> String {
    tried.source.map_or_else(|| "this gateway".to_owned(), |source| source.to_string())
}

#[cfg(test)]
mod tests {
    use crate::diagnose::testing::{check, scene};

    const TAKEN: &str = "to a@dest.test
        try mx.dest.test 127.0.0.11
          tls TLSv1.3
          rcpt a@dest.test 250 ok
          final 250 2.0.0 Ok: queued as ABC123";

    #[test]
    fn the_proof_names_host_time_and_queue_id() {
        let findings = scene(TAKEN).diagnose().findings;
        let sentence = &findings[0].sentence;
        assert!(sentence.starts_with("mx.dest.test (127.0.0.11) accepted the message at "), "{sentence}");
        assert!(sentence.contains("over TLS 1.3: \"250 2.0.0 Ok: queued as ABC123\"; what happened"), "{sentence}");
        assert!(findings[0].evidence.iter().any(|fact| fact.ends_with("ABC123")));
    }

    #[test]
    fn only_what_was_delivered_is_proven() {
        check(
            "to a@dest.test\ntry mx.dest.test 127.0.0.11\nfinal 450 4.3.0 x\nfail final-reply them 450 4.3.0 x",
            "peer.deferred",
        );
    }
}
