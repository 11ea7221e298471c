//! A block list does not answer and delays every session.

use crate::diagnose::{Answer, Case, rule};
use mail::{Actor, Confidence, Finding, ListWord, Severity};

rule! {
    /// The block list does not answer
    ///
    /// Each client waits while block lists are asked. One that does not answer costs each of them the whole time that is allowed
    /// (2 s), and says nothing. After five failures in a row the gateway leaves the list out for ten minutes, then tries it again.
    ///
    /// Known by the failures themselves, while other names resolve.
    ///
    /// If the list is closed for good, take it out of `listener.*.dnsbl`; if not, see why the resolver cannot reach it.
    "own.dnsbl_timeout", find
}

fn find(case: &Case<'_>) -> Answer {
    let Some(visit) = case.visit() else { return Answer::No };
    let failed = |listing: &&mail::Listing| listing.word == ListWord::NoAnswer && listing.skipped_s > 0;
    let Some(listing) = visit.lists.iter().find(failed) else { return Answer::No };
    let zone = &listing.zone;
    let took = f64::from(listing.elapsed_ms) / 1000.0;
    let others: Vec<&str> = visit
        .lists
        .iter()
        .filter(|other| matches!(other.word, ListWord::Clean | ListWord::Listed))
        .map(|other| other.zone.as_str())
        .collect();
    let mut finding = Finding::new(
        "own.dnsbl_timeout",
        Actor::OurSettings,
        format!(
            "{zone} has not answered any of the last {} queries ({took:.0} s each) and delays each session; it is skipped for {} min.",
            listing.failed_in_a_row,
            listing.skipped_s / 60
        ),
    )
    .severity(Severity::Warning)
    .confidence(Confidence::Proven)
    .evidence(format!("{zone}: {} failures in a row, the last after {} ms", listing.failed_in_a_row, listing.elapsed_ms))
    .disproof(format!("an answer of {zone} through the same resolver at that time"));
    if !others.is_empty() {
        finding = finding.evidence(format!("meanwhile answered: {}", others.join(", ")));
    }
    finding
        .fix(format!("Take {zone} out of `listener.{}.dnsbl` if it is closed.", visit.listener.name()))
        .fix(format!("Else see why the resolver cannot reach it: `dig 2.0.0.127.{zone} A`."))
        .into()
}

#[cfg(test)]
mod tests {
    use crate::diagnose::testing::{Scene, scene};
    use mail::{ListWord, Listing};

    fn with(failed_in_a_row: u32, skipped_s: u32) -> Scene {
        let mut scene = scene("visit inbound 127.0.1.10");
        scene.visit.as_mut().unwrap().lists.push(Listing {
            zone: "slow.dnsbl.test".to_owned(),
            word: ListWord::NoAnswer,
            elapsed_ms: 2001,
            failed_in_a_row,
            skipped_s,
            ..Listing::default()
        });
        scene
    }

    #[test]
    fn five_failures_in_a_row_are_told_and_one_is_not() {
        with(5, 600).check(
            "own.dnsbl_timeout: slow.dnsbl.test has not answered any of the last 5 queries (2 s each) and delays each session; it \
             is skipped for 10 min.",
        );
        with(1, 0).check("unknown");
    }
}
