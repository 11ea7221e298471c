//! A host refuses a long path as a loop, and it is none.

use crate::diagnose::words::Topic;
use crate::diagnose::{Answer, Case, rule};
use mail::{Actor, Confidence, Finding, Retry};
use std::collections::HashMap;

rule! {
    /// Many hops, but no loop
    ///
    /// A host refused the message because it has too many Received fields. No host stands in them so often that the message
    /// could have gone round: each was passed on the way, as scanners, lists and relays add their own. The limit of the host
    /// that refused is too low for this path. RFC 5321 6.3 advises at least 100.
    ///
    /// Raise the hop limit there, or let internal scanners leave no Received fields.
    "loop.false.many_hops", find
}

/// Fewer are no long path: the refusal means something else.
const MANY: usize = 10;
/// A host that stands there so often was passed more than out and back.
const ROUND: usize = 3;

fn find(case: &Case<'_>) -> Answer {
    let Some(content) = case.content.filter(|content| content.received.len() >= MANY) else { return Answer::No };
    let refusal = case.refusal_about(Topic::Hops).or_else(|| case.refusal_about(Topic::Loop));
    let Some((tried, stage, reply)) = refusal else { return Answer::No };
    let mut times: HashMap<String, usize> = HashMap::new();
    let mut ids: HashMap<(String, &str), usize> = HashMap::new();
    let mut last = String::new();
    for hop in &content.received {
        let by = hop.by.to_ascii_lowercase();
        if !hop.id.is_empty() {
            *ids.entry((by.clone(), hop.id.as_str())).or_default() += 1;
        }
        // Products on one machine hand to each other.
        if !by.is_empty() && by != "localhost" && by != last {
            *times.entry(by.clone()).or_default() += 1;
        }
        last = by;
    }
    if times.values().any(|times| *times >= ROUND) || ids.values().any(|times| *times > 1) {
        return Answer::No;
    }
    // The same address delivered twice is a ring of forwards.
    let mut reached: Vec<String> = content.delivered_to.iter().map(|address| address.to_ascii_lowercase()).collect();
    reached.sort();
    if reached.windows(2).any(|pair| pair[0] == pair[1]) {
        return Answer::No;
    }
    let hops = content.received.len();
    let who = if case.attempt().is_some_and(|attempt| attempt.local) { "Backend " } else { "" };
    let host = if tried.host == tried.address.to_string() {
        tried.host.clone()
    } else {
        format!("{} ({})", tried.host, tried.address)
    };
    let hosts: Vec<&str> = content.received.iter().map(|hop| hop.by.as_str()).take(12).collect();
    Finding::new(
        "loop.false.many_hops",
        if who.is_empty() { Actor::TheirPolicy } else { Actor::OurServer },
        format!(
            "{who}{host} refuses {hops} hops ({} {}), but no host repeats in the trace: its hop limit is too low for this path, \
             there is no loop.",
            reply.code,
            reply.status()
        ),
    )
    .confidence(Confidence::Likely)
    .retry(Retry::AfterFix)
    .evidence(format!("{host} answered {reply} at {stage}"))
    .evidence(format!("{hops} Received fields, newest first by {}{}", hosts.join(", "), if hops > 12 { ", …" } else { "" }))
    .disproof("a host that stands three times in the Received fields")
    .fix(format!("Raise the hop limit on {host} (RFC 5321 6.3 advises at least 100), or merge the Received fields of internal scanners."))
    .into()
}

#[cfg(test)]
mod tests {
    use crate::diagnose::testing::scene;
    use crate::diagnose::{ContentFacts, content};

    fn check(hosts: &[&str], expected: bool) {
        let mut scene = scene(
            "to u@corp.test
             local
             try 127.0.0.20 127.0.0.20
               rcpt u@corp.test 250 2.1.5 ok
               final 554 5.4.14 hop count exceeded - possible mail loop",
        );
        let hop = |host: &&str| content::Hop { by: (*host).to_owned(), ..content::Hop::default() };
        scene.content = Some(ContentFacts { received: hosts.iter().map(hop).collect(), ..ContentFacts::default() });
        let found = scene.nothing_more().diagnose();
        let found = found
            .findings
            .iter()
            .find(|finding| finding.cause == "loop.false.many_hops")
            .map(|finding| finding.sentence.clone());
        let sentence = format!(
            "Backend 127.0.0.20 refuses {} hops (554 5.4.14), but no host repeats in the trace: its hop limit is too low for \
             this path, there is no loop.",
            hosts.len()
        );
        assert_eq!(found, expected.then_some(sentence));
    }

    #[test]
    fn a_long_path_is_told_from_a_circle() {
        let names: Vec<String> = (0..28).map(|at| format!("h{at}.test")).collect();
        check(&names.iter().map(String::as_str).collect::<Vec<_>>(), true);
        check(&["a.test", "b.test"].repeat(14), false);
        check(&["a.test", "b.test"], false);
    }
}
