//! The card of a finding: one sentence, who must act, the evidence, the fix, and how it could be wrong.

use crate::part::shell::badge;
use mail::{Actor, Confidence, Finding, Retry, Severity};
use maud::{Markup, html};

/// The whole card.
pub(crate) fn card(finding: &Finding) -> Markup {
    with_evidence(finding, true)
}

/// The card for a list of many: its evidence is one click away.
pub(crate) fn short(finding: &Finding) -> Markup {
    with_evidence(finding, false)
}

fn with_evidence(finding: &Finding, open: bool) -> Markup {
    html! {
        section class=(format!("finding {}", kind(finding.severity))) {
            p.sentence { (finding.sentence) }
            p.labels {
                (badge(sureness(finding.confidence), finding.confidence.name()))
                " " span.quiet { "must act: " strong { (actor(finding.actor)) } }
                " " span.quiet { (retry(&finding.retry)) }
                " " a.cause href=(format!("/explain?q={}", super::encode(&finding.cause))) { (finding.cause) }
            }
            @if !finding.fix.is_empty() { h3 { "What to do" } ol { @for step in &finding.fix { li { (step) } } } }
            @if !finding.evidence.is_empty() { details open[open] { summary { "Evidence" } ul.evidence { @for line in &finding.evidence { li { code { (line) } } } } } }
            @if !finding.disproof.is_empty() { p.quiet { "It would be wrong if: " (finding.disproof) } }
        }
    }
}

/// The sentence alone, for what unfolds to the card.
pub(crate) fn summary(finding: &Finding) -> Markup {
    html! { (finding.sentence) }
}

/// The sentence alone, for tables.
pub(crate) fn line(finding: &Finding) -> Markup {
    html! { span class=(format!("cause-line {}", kind(finding.severity))) { (finding.sentence) } }
}

/// Who must act, in a sentence.
fn actor(actor: Actor) -> &'static str {
    match actor {
        Actor::OurSettings => "you, in the settings",
        Actor::OurNetwork => "you, in your network",
        Actor::OurReputation => "you, for your reputation",
        Actor::OurDns => "you, in your DNS",
        Actor::OurServer => "your mail server behind",
        Actor::TheirDns => "the other side, in its DNS",
        Actor::TheirHost => "the other side, at its host",
        Actor::TheirPolicy => "the other side, by its policy",
        Actor::TheSender => "the sender",
        Actor::TheContent => "the sender, about the content",
        Actor::Nobody => "nobody, only wait",
    }
}

fn kind(severity: Severity) -> &'static str {
    match severity {
        Severity::Failure => "bad",
        Severity::Warning => "warn",
        Severity::Info => "info",
    }
}

fn sureness(confidence: Confidence) -> &'static str {
    match confidence {
        Confidence::Proven => "good",
        Confidence::Likely => "info",
        Confidence::Possible => "plain",
    }
}

fn retry(retry: &Retry) -> String {
    match retry {
        Retry::Helps { after_s: Some(after) } => {
            format!("a retry helps, after {}", super::time::length(*after as i64 * 1000))
        }
        Retry::Helps { after_s: None } => "a retry helps".to_owned(),
        Retry::AfterFix => "a retry helps only after the fix".to_owned(),
        Retry::Useless => "a retry does not help".to_owned(),
        Retry::NotNeeded => "no retry is needed".to_owned(),
    }
}
