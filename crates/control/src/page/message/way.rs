//! Way: what became of a message as steps in the order of time, from its connection to the last attempt; as HTML and as text.

use crate::part::{self, finding, shell, time};
use crate::reader::{Happening, Message};
use mail::{Attempt, Connect, Finding, HostTry, Said, Speaker, Time, Visit};
use maud::{Markup, html};
use serde_json::Value;

/// Something that happened, with all that was seen at it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Step {
    pub(crate) at: Time,
    /// `accepted`, `deferred`, …: gives the colour.
    pub(crate) kind: String,
    pub(crate) words: String,
    pub(crate) lines: Vec<Line>,
    pub(crate) findings: Vec<Finding>,
    raw: String,
}

/// A line of a step.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Line {
    /// A name and its value.
    Fact(String, String),
    Dns(String),
    Note(String),
    /// Where a conversation begins.
    Host(String),
    Said(Said),
}

/// Fields that have a place of their own, or say nothing to people.
const SHOWN_ELSEWHERE: &[&str] = &[
    "attempt",
    "visit",
    "finding",
    "findings",
    "recorded_under",
    "ids",
    "changed",
    "returns",
    "elapsed_ms",
    "connection",
];

/// The steps of a message.
pub(crate) fn steps(message: &Message) -> Vec<Step> {
    let mut steps: Vec<Step> = message.events.iter().map(step).collect();
    steps.sort_by_key(|step| step.at);
    steps
}

/// The findings of a message, those of its newest events first, each once.
pub(crate) fn findings(steps: &[Step]) -> Vec<&Finding> {
    let mut found: Vec<&Finding> = Vec::new();
    for finding in steps.iter().rev().flat_map(|step| &step.findings) {
        if !found.iter().any(|known| known.cause == finding.cause && known.sentence == finding.sentence) {
            found.push(finding);
        }
    }
    found
}

fn step(event: &Happening) -> Step {
    let fields = &event.fields;
    let attempt = serde_json::from_value::<Attempt>(fields["attempt"].clone()).ok();
    let visit = serde_json::from_value::<Visit>(fields["visit"].clone()).ok();
    let mut lines = facts(fields);
    if let Some(visit) = &visit {
        lines.extend(visited(visit));
    }
    if let Some(attempt) = &attempt {
        lines.extend(attempted(attempt));
    }
    lines.extend(list(&fields["changed"]).map(|change| Line::Note(format!("differs from before: {change}"))));
    let others = fields["findings"].as_array().into_iter().flatten();
    let findings = std::iter::once(&fields["finding"]).chain(others);
    let mut findings: Vec<Finding> = findings.filter_map(|value| serde_json::from_value(value.clone()).ok()).collect();
    findings.dedup();
    // A connection is told where it began, not where it was written down.
    let at = visit.as_ref().map(|visit| visit.started).or(attempt.as_ref().map(|attempt| attempt.started));
    Step {
        at: at.unwrap_or(event.at),
        kind: event.kind.clone(),
        words: words(event, attempt.as_ref(), visit.as_ref()),
        lines,
        findings,
        raw: serde_json::to_string_pretty(fields).unwrap_or_default(),
    }
}

/// What happened, in one line.
fn words(event: &Happening, attempt: Option<&Attempt>, visit: Option<&Visit>) -> String {
    let text = |name: &str| plain(&event.fields[name]);
    let whom = || match list(&event.fields["recipients"]).count() {
        0 => text("recipient"),
        1..=3 => text("recipients"),
        count => format!("{count} recipients"),
    };
    let tried = |how: &str| {
        let number = attempt.map(|attempt| format!("Attempt {}: ", attempt.number)).unwrap_or_default();
        let host =
            Some(text("host")).filter(|host| !host.is_empty()).map(|host| format!(" by {host}")).unwrap_or_default();
        format!("{number}{how}{host} for {}", whom())
    };
    match event.kind.as_str() {
        "accepted" if text("client").is_empty() => format!("Made by this gateway, for {}", whom()),
        "accepted" => format!("Taken from {} [{}], for {}", text("helo"), text("client"), whom()),
        "refused" => match text("recipient") {
            none if none.is_empty() => format!("Refused at {}", text("stage")),
            recipient => format!("Recipient {recipient} refused"),
        },
        "delivered" => tried("taken"),
        "deferred" => tried("put off"),
        "bounced" | "loop" if attempt.is_some() => tried("returned to its sender, refused"),
        "bounced" => format!("Returned to its sender, for {}", whom()),
        "visit" => match visit {
            Some(visit) => format!("Connection of {} [{}], {}", visit.helo, visit.client, visit.listener.name()),
            None => format!("Part of connection {}", text("recorded_under")),
        },
        "hold" => format!("Held by {}", text("by")),
        "release" => format!("Released by {}", text("by")),
        "retry" => format!("Tried at once by order of {}", text("by")),
        "delete" => format!("Deleted by {}", text("by")),
        "reroute" => format!("Rerouted by {} to {}", text("by"), text("lane")),
        "set-aside" => format!("Set aside as damaged: {}", text("why")),
        "alert" => text("what"),
        other => other.to_owned(),
    }
}

fn facts(fields: &Value) -> Vec<Line> {
    let fields = fields.as_object().into_iter().flatten();
    let fields = fields.filter(|(name, _)| !SHOWN_ELSEWHERE.contains(&name.as_str()));
    let fields = fields.map(|(name, value)| (name, plain(value))).filter(|(_, value)| !value.is_empty());
    fields.map(|(name, value)| Line::Fact(name.replace('_', " "), value)).collect()
}

fn visited(visit: &Visit) -> Vec<Line> {
    let mut lines: Vec<Line> = visit.dns.iter().map(dns).collect();
    let proxy = visit.proxy.map(|proxy| format!(", through {proxy}")).unwrap_or_default();
    lines.push(Line::Host(format!("{} at {}{proxy}", visit.client, visit.local)));
    lines.extend(visit.transcript.iter().cloned().map(Line::Said));
    lines.push(Line::Note(format!("ended: {}", end(&visit.end))));
    lines
}

fn end(end: &mail::End) -> String {
    match end {
        mail::End::Open => "still open".to_owned(),
        mail::End::Quit => "with QUIT".to_owned(),
        mail::End::Ours => "closed by this gateway".to_owned(),
        mail::End::Closed => "closed by the other side without QUIT".to_owned(),
        mail::End::Broken(how) => format!("broken: {how}"),
        mail::End::TimedOut { waited_ms } => {
            format!("the other side was silent for {}", time::length(*waited_ms as i64))
        }
    }
}

fn attempted(attempt: &Attempt) -> Vec<Line> {
    let mut lines = vec![Line::Fact(
        "route".to_owned(),
        format!("{} (settings version {})", attempt.rule, attempt.settings_version),
    )];
    lines.extend(attempt.dns.iter().map(dns));
    lines.extend(attempt.dropped.iter().map(|dropped| Line::Note(format!("not tried: {dropped}"))));
    lines.extend(attempt.notes.iter().cloned().map(Line::Note));
    lines.extend(attempt.no_route.iter().map(|status| Line::Note(format!("no route: {status}"))));
    lines.extend(attempt.tries.iter().flat_map(tried));
    lines
}

fn tried(tried: &HostTry) -> Vec<Line> {
    let source = tried.source.map(|source| format!(" from {source}")).unwrap_or_default();
    let name = if tried.ehlo.is_empty() { String::new() } else { format!(" as {}", tried.ehlo) };
    let mut lines = vec![Line::Host(format!(
        "{} [{}]:{}{source}{name}, {}",
        tried.host,
        tried.address,
        tried.port,
        connect(&tried.connect)
    ))];
    if let Some(tls) = &tried.tls {
        let doubt =
            tls.unverified.as_ref().map(|why| format!("; its certificate is not verified: {why}")).unwrap_or_default();
        lines.push(Line::Note(format!("{} {}{doubt}", tls.version, tls.cipher)));
    }
    lines.extend(tried.transcript.iter().cloned().map(Line::Said));
    lines.extend(
        tried.failure.iter().map(|failure| Line::Note(format!("failed at {}: {}", failure.stage, failure.status))),
    );
    lines
}

fn connect(connect: &Connect) -> String {
    match connect {
        Connect::NotTried => "on a connection that was open".to_owned(),
        Connect::Made { ms } => format!("connected after {ms} ms"),
        Connect::Refused => "connection refused".to_owned(),
        Connect::TimedOut { after_ms } => format!("no answer within {after_ms} ms"),
        Connect::NetworkUnreachable => "network unreachable".to_owned(),
        Connect::HostUnreachable => "host unreachable".to_owned(),
        Connect::Reset => "connection reset".to_owned(),
        Connect::NoSource => "our source address is not on this host".to_owned(),
        Connect::Failed(why) => why.clone(),
    }
}

fn dns(answer: &mail::dns::Answer) -> Line {
    let by = if answer.cached { "the cache" } else { &answer.server };
    let validated = if answer.authentic { ", validated" } else { "" };
    Line::Dns(format!("{} (from {by}, {} ms{validated})", answer.summary(), answer.elapsed_ms))
}

fn list(value: &Value) -> impl Iterator<Item = String> {
    value.as_array().into_iter().flatten().map(plain)
}

fn plain(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(plain).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}

/// `14:03:07.123`.
fn clock(at: Time) -> String {
    at.rfc3339().get(11..23).unwrap_or_default().to_owned()
}

fn arrow(speaker: Speaker) -> &'static str {
    match speaker {
        Speaker::Client => "→",
        Speaker::Server => "←",
        Speaker::Note => "·",
    }
}

fn colour(kind: &str) -> &'static str {
    match kind {
        "delivered" => "good",
        "deferred" | "hold" | "set-aside" => "warn",
        "refused" | "bounced" | "loop" | "alert" | "delete" => "bad",
        _ => "info",
    }
}

/// The steps as a list; what was said is one click away.
pub(crate) fn list_of(steps: &[Step], now: Time) -> Markup {
    html! {
        ol.way { @for step in steps {
            li class=(colour(&step.kind)) {
                p.when { (time::exact(step.at)) " · " span.quiet { (time::ago(step.at, now)) } }
                p.what { strong { (step.words) } " " (shell::badge(colour(&step.kind), &step.kind)) }
                @let facts: Vec<_> = step.lines.iter().filter_map(|line| if let Line::Fact(name, value) = line { Some((name, value)) } else { None }).collect();
                @for finding in &step.findings { p { (finding::line(finding)) } }
                @if !facts.is_empty() { dl.facts { @for (name, value) in &facts { div { dt { (name) } dd { (value) } } } } }
                @if step.lines.len() > facts.len() {
                    details open { summary { "DNS answers and what was said" } (talk(&step.lines)) }
                }
                @if step.raw != "{}" && step.raw != "null" { details { summary { "Raw record" } pre { (step.raw) } } }
            }
        } }
    }
}

fn talk(lines: &[Line]) -> Markup {
    html! {
        div.talk { @for line in lines { @match line {
            Line::Fact(..) => {}
            Line::Dns(text) => p.dns { b { "DNS" } " " code { (text) } }
            Line::Note(text) => p.note { (text) }
            Line::Host(text) => p.host { (text) }
            Line::Said(said) => p class=(format!("said {}", side(said.speaker))) { time datetime=(said.at.rfc3339()) { (clock(said.at)) } " " (arrow(said.speaker)) " " code { (said.text) } }
        } } }
    }
}

fn side(speaker: Speaker) -> &'static str {
    match speaker {
        Speaker::Client => "client",
        Speaker::Server => "server",
        Speaker::Note => "note",
    }
}

/// The steps as text, to be copied.
pub(crate) fn text_of(message: &Message, steps: &[Step]) -> String {
    let row = &message.row;
    let sender = if row.sender.is_empty() { "<>" } else { &row.sender };
    let mut text = format!("{}  {} → {}\n", row.id, sender, row.recipients.join(", "));
    for (name, value) in [("subject", &row.subject), ("message-id", &row.message_id), ("status", &row.status)] {
        if !value.is_empty() {
            text.push_str(&format!("{name}: {value}\n"));
        }
    }
    for finding in findings(steps) {
        text.push_str(&finding_text(finding));
    }
    for step in steps {
        text.push_str(&format!("\n{}  {}\n", step.at.rfc3339(), step.words));
        step.lines.iter().for_each(|line| text.push_str(&line_text(line)));
    }
    text
}

/// A finding for people who cannot see this page.
pub(crate) fn finding_text(finding: &Finding) -> String {
    let mut text = format!("\n{} ({}): {}\n", finding.cause, finding.confidence.name(), finding.sentence);
    finding.evidence.iter().for_each(|fact| text.push_str(&format!("  seen: {fact}\n")));
    finding.fix.iter().for_each(|step| text.push_str(&format!("  to do: {step}\n")));
    text
}

pub(crate) fn line_text(line: &Line) -> String {
    match line {
        Line::Fact(name, value) => format!("    {name}: {value}\n"),
        Line::Dns(text) => format!("    DNS {text}\n"),
        Line::Note(text) => format!("    {text}\n"),
        Line::Host(text) => format!("    {text}\n"),
        Line::Said(said) => format!("    {} {} {}\n", clock(said.at), arrow(said.speaker), said.text),
    }
}

/// Octets, or nothing if they are not known.
pub(crate) fn size(octets: u64) -> String {
    if octets == 0 { String::new() } else { part::bytes(octets) }
}
