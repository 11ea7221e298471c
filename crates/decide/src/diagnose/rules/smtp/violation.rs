//! What the rules about clients that break the protocol share.

use mail::{Severity, Speaker, Visit};

/// The client's last line before our last words, and those words.
pub(super) fn last_words(visit: &Visit) -> (Option<&str>, Option<&str>) {
    let last =
        |speaker| visit.transcript.iter().rev().find(|said| said.speaker == speaker).map(|said| said.text.as_str());
    (last(Speaker::Client), last(Speaker::Server))
}

/// A failure if a message was on its way; what never came as far as MAIL has cost nobody a message.
pub(super) fn severity(visit: &Visit) -> Severity {
    let is_under_way = visit.deals.last().is_some_and(|deal| !deal.taken);
    if is_under_way { Severity::Failure } else { Severity::Warning }
}

/// So much of a client's line as a sentence holds.
pub(super) fn short(line: &str) -> String {
    line.chars().take(60).collect()
}
