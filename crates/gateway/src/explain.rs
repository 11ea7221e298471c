//! Explain: `gatepost diagnose`, `gatepost explain`, `gatepost incidents`: the cause on demand, with what was seen.

use crate::clock::now;
use crate::core::{Core, InForce};
use crate::outcome::{Extra, tell};
use crate::{deliver, diagnose, door, probe};
use decide::diagnose::{Bounce, Experiment, Result as Seen};
use mail::{Address, Attempt, AuditId, Finding, Severity, Time};
use serde_json::{Value, json};
use std::sync::Arc;
use store::{AuditFilter, Event, Incident, IncidentCursor, Selection};
use tokio::task::block_in_place;

/// Incidents told of, the largest.
const INCIDENTS_MAX: usize = 200;
/// Past ones told of, the latest.
const PAST_MAX: usize = 100;
/// Hosts greeted for one question.
const GREETED_MAX: usize = 3;
/// Trail entries looked at for one sender or client.
const ENTRIES_MAX: usize = 20;

/// The finding of an event that has none yet: a smooth delivery is explained only when somebody asks.
pub(crate) fn events(core: &Core, events: &[Event]) -> Value {
    let in_force = core.in_force();
    let one = |event: &Event| {
        let mut fields = event.fields.clone();
        if event.kind == "delivered"
            && fields["finding"].is_null()
            && let Ok(attempt) = serde_json::from_value::<Attempt>(fields["attempt"].clone())
        {
            tell(&diagnose::of_record(core, &in_force, &attempt), &mut fields);
        }
        if event.kind == "delivered" {
            came_back(events, &mut fields);
        }
        json!({ "time": event.at.rfc3339(), "at": event.at, "event": event.kind, "fields": fields })
    };
    events.iter().map(one).collect()
}

/// What was delivered and came back is told by its return first: whatever else was odd about the delivery matters less.
fn came_back(events: &[Event], delivered: &mut Value) {
    let is_return = |event: &&Event| {
        let addresses = event.fields["addresses"].as_array();
        event.kind == "returned" && addresses.is_some_and(|addresses| addresses.contains(&delivered["address"]))
    };
    let Some(returned) = events.iter().find(is_return).filter(|event| !event.fields["finding"].is_null()) else {
        return;
    };
    let finding = returned.fields["finding"].clone();
    let mut all = vec![finding.clone()];
    match delivered["findings"].as_array() {
        Some(others) => all.extend(others.iter().cloned()),
        None => all.extend(Some(delivered["finding"].clone()).filter(|other| !other.is_null())),
    }
    delivered["finding"] = finding;
    delivered["findings"] = json!(all);
}

/// Mail to this address, now: its route, a conversation as far as RCPT with each host in turn, and what that comes to.
pub(crate) async fn address(core: &Arc<Core>, to: &Address, from: Option<&str>) -> Result<Value, String> {
    let in_force = core.in_force();
    core.resolver.forget();
    let lane = decide::route::lane(to.domain());
    let plan = deliver::plan_of(&in_force, &lane);
    let (route, answers) = deliver::find_route(core, &in_force, &plan).await;
    let sender = from.map_or_else(|| in_force.postmaster.to_string(), str::to_owned);
    let sender = if sender == "<>" { String::new() } else { sender };
    let mut attempt = deliver::blank_attempt(&in_force, &plan, &lane);
    attempt.sender.clone_from(&sender);
    attempt.recipients = vec![to.to_string()];
    attempt.dns = answers;
    attempt.dropped = route.dropped;
    attempt.notes = route.notes;
    if let decide::route::Verdict::Failed(status) = route.verdict {
        attempt.no_route = Some(status);
    }
    let mut unmade = Vec::new();
    for candidate in route.candidates.iter().take(GREETED_MAX) {
        let greet = Experiment::Greet {
            address: candidate.address,
            host: candidate.host.clone(),
            source: None,
            ehlo: None,
            tls: plan.tls != decide::settings::Tls::Off,
            sender: Some(sender.clone()),
            recipient: Some(to.to_string()),
        };
        for look in probe::look(core, &in_force, &[greet]).await {
            match look.result {
                Seen::Talk(tried) => attempt.tries.push(*tried),
                Seen::NotMade(why) => unmade.push(why),
                _ => {}
            }
        }
        let accepted = |said: &mail::RcptSaid| said.reply.is_positive();
        if attempt.tries.last().is_some_and(|tried| tried.rcpt.iter().any(accepted)) {
            break;
        }
    }
    attempt.ended = now();
    Ok(told(core, &in_force, attempt, &unmade).await)
}

/// What became of a message or a connection, looked at anew.
pub(crate) async fn id(core: &Arc<Core>, id: AuditId) -> Result<Value, String> {
    let in_force = core.in_force();
    let plain = |error: std::io::Error| error.to_string();
    let selection = Selection { ids: vec![id], ..Selection::default() };
    let queued = block_in_place(|| core.store.list(&selection, 100, None)).map_err(plain)?;
    if let Some(attempt) = queued.iter().find_map(|entry| Extra::of(&entry.extra).attempt) {
        return Ok(told(core, &in_force, attempt, &[]).await);
    }
    let events = block_in_place(|| core.store.audit_show(id)).map_err(plain)?;
    if events.is_empty() && queued.is_empty() {
        return Err(format!("nothing is known of {id}"));
    }
    for event in events.iter().rev() {
        if let Ok(attempt) = serde_json::from_value::<Attempt>(event.fields["attempt"].clone()) {
            return Ok(told(core, &in_force, attempt, &[]).await);
        }
        if let Ok(visit) = serde_json::from_value::<mail::Visit>(event.fields["visit"].clone()) {
            let findings = diagnose::of_visit(core, &in_force, &visit).await;
            return Ok(answer(&findings, json!({ "visit": visit }), &[]));
        }
        if !event.fields["finding"].is_null() {
            return Ok(json!({ "finding": event.fields["finding"], "event": event.fields }));
        }
    }
    Ok(answer(&[], json!({ "event": events.last().map(|event| event.fields.clone()) }), &[]))
}

/// The latest refusal of mail from this client or sender.
pub(crate) async fn from(core: &Arc<Core>, who: &str) -> Result<Value, String> {
    let filter = AuditFilter { term: Some(who.to_owned()), ..AuditFilter::default() };
    let found = block_in_place(|| core.store.audit_search(&filter, ENTRIES_MAX)).map_err(|error| error.to_string())?;
    for entry in &found {
        let events = block_in_place(|| core.store.audit_show(entry.id)).map_err(|error| error.to_string())?;
        if events.iter().any(|event| !event.fields["visit"].is_null() || !event.fields["finding"].is_null()) {
            return id(core, entry.id).await;
        }
    }
    match found.first() {
        Some(entry) => id(core, entry.id).await,
        None => Err(format!(
            "no connection or message from {who} is in the audit trail: it never came as far as this gateway, or longer ago than the trail is kept"
        )),
    }
}

/// Another server's bounce about mail to us: looked at from here, since no session of it exists.
pub(crate) async fn bounce(core: &Arc<Core>, text: &str) -> Value {
    let in_force = core.in_force();
    let bounce = Bounce::read(text, &in_force.settings);
    let findings = diagnose::of_bounce(core, &in_force, &bounce).await;
    let mut value = answer(&findings, json!({ "domains": bounce.domains }), &[]);
    if let (true, Ok(page)) = (findings.is_empty(), explain(text)) {
        value["page"] = page;
    }
    value
}

/// Words that mean something only together with what DNS says of our domains.
pub(crate) fn wants_a_look(text: &str) -> bool {
    decide::diagnose::manual(text.trim()).is_none() && Bounce::is_qmail_cname(text)
}

/// Findings on an attempt that was recorded or just made, with the record.
async fn told(core: &Arc<Core>, in_force: &InForce, attempt: Attempt, unmade: &[String]) -> Value {
    let mut findings = diagnose::of_attempt(core, in_force, None, &attempt).await;
    if findings.is_empty() {
        findings = diagnose::of_record(core, in_force, &attempt);
    }
    answer(&findings, json!({ "attempt": attempt }), unmade)
}

fn answer(findings: &[Finding], record: Value, unmade: &[String]) -> Value {
    let mut value = record;
    tell(findings, &mut value);
    if !unmade.is_empty() {
        value["not_looked_at"] = json!(unmade);
    }
    value
}

/// Stuck mail and refusals of the last day, grouped by cause: how much, since when, what changed then, what to do.
pub(crate) fn incidents(core: &Core) -> Result<Value, String> {
    let (mut incidents, _) = open_incidents(core, INCIDENTS_MAX, None)?;
    incidents.extend(past_incidents(core)?);
    Ok(Value::Array(incidents))
}

/// Stuck mail alone, the largest incidents first, and where the list goes on.
pub(crate) fn open_incidents(
    core: &Core,
    limit: usize,
    after: Option<&IncidentCursor>,
) -> Result<(Vec<Value>, Option<IncidentCursor>), String> {
    let in_force = core.in_force();
    let open = core.store.incidents(limit, after).map_err(|error| error.to_string())?;
    let cursor = |last: &Incident| {
        let (cause, object) = (last.cause.clone(), last.object.clone());
        IncidentCursor { count: last.count, cause, object }
    };
    let next = open.last().filter(|_| open.len() == limit).map(cursor);
    Ok((open.iter().map(|incident| told_of(&in_force, incident)).collect(), next))
}

/// What refused or returned mail in the last day, and keeps none waiting; the latest first.
pub(crate) fn past_incidents(core: &Core) -> Result<Vec<Value>, String> {
    let mut incidents = Vec::new();
    for trouble in core.around.troubles() {
        let (cause, sentence) = (&trouble.finding.cause, &trouble.finding.sentence);
        if core.store.incident_says(cause, sentence).map_err(|error| error.to_string())? {
            continue;
        }
        incidents.push(json!({
            "state": "past", "cause": cause, "sentence": sentence, "count": trouble.count,
            "since": trouble.first.rfc3339(), "last": trouble.last.rfc3339(), "recipients": trouble.who, "id": trouble.id,
            "changed": trouble.changed, "finding": trouble.finding,
        }));
        if incidents.len() >= PAST_MAX {
            break;
        }
    }
    Ok(incidents)
}

fn told_of(in_force: &InForce, incident: &Incident) -> Value {
    let finding = &incident.detail["finding"];
    let domains: Vec<&str> =
        incident.lanes.iter().map(|(lane, _)| lane.split('>').next().unwrap_or_default()).collect();
    let destinations: Vec<Value> =
        incident.lanes.iter().map(|(lane, count)| json!({ "lane": lane, "count": count })).collect();
    let recipients: Vec<String> = incident.recipients.iter().map(|recipient| recipient.address.to_string()).collect();
    json!({
        "state": "open", "cause": incident.cause, "object": incident.object, "sentence": finding["sentence"], "count": incident.count,
        "recipients": recipients, "domains": domains, "destinations": destinations, "destination_count": incident.lane_count,
        "oldest": Time(incident.oldest.ms()).rfc3339(), "id": incident.oldest, "next_attempt_ms": incident.next,
        "first_expiry": first_expiry(in_force, incident).map(Time::rfc3339), "changed": incident.detail["changed"], "finding": finding,
    })
}

/// When the first message of an incident is given up; bounces are given up sooner than mail.
fn first_expiry(in_force: &InForce, incident: &Incident) -> Option<Time> {
    let retry = &in_force.settings.retry;
    let after = |oldest: Option<AuditId>, age| oldest.map(|id| Time(id.ms()) + age);
    let bounce = after(incident.oldest_bounce, retry.expire_bounces);
    let mail = after(incident.oldest_mail, retry.expire);
    bounce.into_iter().chain(mail).min()
}

/// A cause's manual page, or what is known of a status or a log line.
pub(crate) fn explain(text: &str) -> Result<Value, String> {
    let text = text.trim();
    if let Some(manual) = decide::diagnose::manual(text) {
        return Ok(json!({ "cause": text, "manual": manual }));
    }
    if let Some(kind) = mail::status::TABLE.iter().find(|kind| kind.id == text) {
        return Ok(status_page(kind));
    }
    let named = decide::diagnose::rules::all().find(|rule| {
        (rule.cause == "dns.any_query_peer" && Bounce::is_qmail_cname(text))
            || text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '.' || c == '_')).any(|word| word == rule.cause)
    });
    let ours = text.contains("[internal]").then(|| longest_kind(text)).flatten();
    let reply = reply_in(text);
    if named.is_none() && ours.is_none() && reply.is_none() {
        return Err(format!(
            "{text:?} is neither the id of a finding or a status, nor does it hold an SMTP reply such as `450 4.7.1 …`"
        ));
    }
    let mut value = json!({});
    if let Some(rule) = named {
        value["cause"] = json!(rule.cause);
        value["manual"] = json!(rule.manual);
    }
    if let Some(kind) = ours {
        value["status"] = status_page(kind);
    }
    if let Some(reply) = reply {
        let topics: Vec<String> =
            decide::diagnose::words::topics(&reply).iter().map(|topic| format!("{topic:?}")).collect();
        value["reply"] = json!({ "code": reply.code, "enhanced": reply.status(), "class": class(reply.code), "about": topics, "text": reply.text() });
    }
    Ok(value)
}

fn status_page(kind: &mail::status::Kind) -> Value {
    json!({ "id": kind.id, "status": kind.with("").to_string(), "stage": kind.stage, "meaning": kind.meaning, "causes": kind.causes, "fix": kind.fix })
}

fn longest_kind(text: &str) -> Option<&'static mail::status::Kind> {
    mail::status::TABLE.iter().copied().filter(|kind| text.contains(kind.text)).max_by_key(|kind| kind.text.len())
}

/// The first `NNN X.Y.Z words` or `NNN words` in a line.
fn reply_in(text: &str) -> Option<mail::Reply> {
    let is_code =
        |word: &str| word.len() == 3 && word.starts_with(['2', '4', '5']) && word.bytes().all(|b| b.is_ascii_digit());
    let start = text.split_whitespace().find(|word| is_code(word.trim_matches(|c: char| !c.is_ascii_digit())))?;
    let at = start.as_ptr() as usize - text.as_ptr() as usize;
    let rest = text[at..].trim_start_matches(|c: char| !c.is_ascii_digit());
    mail::Reply::parse(&[rest]).ok()
}

fn class(code: u16) -> &'static str {
    match code / 100 {
        2 => "accepted",
        4 => "temporary: the message is tried again",
        _ => "permanent: the message is returned",
    }
}

/// A finding as text.
pub(crate) fn print(finding: &Value) {
    let Ok(finding) = serde_json::from_value::<Finding>(finding.clone()) else { return };
    println!("  finding  {} ({}, {})", finding.cause, finding.confidence.name(), finding.actor.name());
    println!("           {}", finding.sentence);
    for fact in &finding.evidence {
        println!("  seen     {fact}");
    }
    for (number, step) in finding.fix.iter().enumerate() {
        println!("  fix {}    {step}", number + 1);
    }
    println!(
        "  retry    {}",
        match &finding.retry {
            mail::Retry::Helps { after_s: Some(seconds) } => format!("helps, after {seconds} s"),
            mail::Retry::Helps { after_s: None } => "helps, by itself".to_owned(),
            mail::Retry::AfterFix => "only after the fix".to_owned(),
            mail::Retry::Useless => "useless for this message".to_owned(),
            mail::Retry::NotNeeded => "not needed".to_owned(),
        }
    );
    if !finding.disproof.is_empty() {
        println!("  wrong if {}", finding.disproof);
    }
    if finding.severity == Severity::Info {
        println!("           (for your information; nothing is wrong)");
    }
}

/// Prints the answer to `diagnose --bounce`.
pub(crate) fn print_bounce(value: &Value) {
    if !value["finding"].is_null() {
        return print(&value["finding"]);
    }
    if value["page"].is_object() {
        print_page(&value["page"]);
        println!();
    }
    let domains: Vec<&str> = value["domains"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    println!(
        "not known: the text alone does not tell, and no session with this gateway is named in it (looked at for: {}).",
        domains.join(", ")
    );
    println!(
        "What is missing: the address of the server that wrote it, and the time: `gatepost diagnose --from ADDRESS`."
    );
}

/// Prints the answer to `diagnose`.
pub(crate) fn print_diagnosis(value: &Value) {
    if value["finding"].is_null() {
        let accepted = value["attempt"]["tries"].as_array().is_some_and(|tries| {
            tries.iter().any(|tried| {
                tried["rcpt"]
                    .as_array()
                    .is_some_and(|rcpt| rcpt.iter().any(|said| said["reply"]["code"].as_u64() == Some(250)))
            })
        });
        println!(
            "{}",
            if accepted {
                "nothing is wrong: the next host accepts this sender and recipient (no content was sent)"
            } else {
                "not known: no rule explains this. What was seen:"
            }
        );
    }
    print(&value["finding"]);
    for other in value["findings"].as_array().into_iter().flatten() {
        println!();
        print(other);
    }
    for why in value["not_looked_at"].as_array().into_iter().flatten() {
        println!("  not looked at: {}", why.as_str().unwrap_or_default());
    }
    crate::show::attempt(&value["attempt"]);
    crate::show::visit(&value["visit"]);
}

/// Prints the answer to `incidents`.
pub(crate) fn print_incidents(value: &Value) {
    let incidents = value.as_array().map_or(&[][..], Vec::as_slice);
    if incidents.is_empty() {
        println!("no incident: no mail is stuck, and nothing was refused for a reason within a day");
    }
    for incident in incidents {
        let text = |name: &str| incident[name].as_str().unwrap_or_default().to_owned();
        let list = |name: &str| {
            incident[name].as_array().into_iter().flatten().filter_map(Value::as_str).collect::<Vec<_>>().join(", ")
        };
        let open = incident["state"] == "open";
        let count = incident["count"].as_u64().unwrap_or(0);
        println!("{} {}", if open { "open" } else { "past" }, text("cause"));
        println!("  {}", text("sentence"));
        if open {
            println!(
                "  {count} deliveries wait ({}{}); the oldest since {} ({}); the first expires {}",
                list("domains"),
                match incident["destination_count"].as_u64() {
                    Some(more @ 11..) => format!(" and {} more", more - 10),
                    _ => String::new(),
                },
                text("oldest"),
                text("id"),
                text("first_expiry")
            );
        } else {
            println!("  {count} times since {}; the last at {} ({})", text("since"), text("last"), text("id"));
        }
        for change in incident["changed"].as_array().into_iter().flatten() {
            println!("  changed  {}", change.as_str().unwrap_or_default());
        }
        print(&incident["finding"]);
        println!();
    }
}

/// Prints all manual pages.
pub(crate) fn print_all(as_json: bool) -> std::process::ExitCode {
    let pages: Vec<Value> =
        decide::diagnose::rules::all().map(|rule| json!({ "cause": rule.cause, "manual": rule.manual })).collect();
    match as_json {
        true => println!("{}", Value::Array(pages)),
        false => pages.iter().for_each(print_page),
    }
    std::process::ExitCode::SUCCESS
}

/// Prints the answer to `explain`.
pub(crate) fn print_page(value: &Value) {
    if let Some(manual) = value["manual"].as_str() {
        println!("{}\n", value["cause"].as_str().unwrap_or_default());
        manual.lines().for_each(|line| println!("{}", line.strip_prefix(' ').unwrap_or(line)));
    }
    let status = if value["status"].is_object() { &value["status"] } else { value };
    for name in ["status", "stage", "meaning", "causes", "fix"] {
        if let Some(text) = status[name].as_str() {
            println!("{name:<9} {text}");
        }
    }
    if let Some(reply) = value["reply"].as_object() {
        println!("code      {}: {}", reply["code"], reply["class"].as_str().unwrap_or_default());
        println!("enhanced  {}", reply["enhanced"].as_str().unwrap_or_default());
        let about: Vec<&str> = reply["about"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        println!(
            "about     {}",
            if about.is_empty() { "not known from its words".to_owned() } else { about.join(", ") }
        );
        println!(
            "\nThe words alone prove nothing. `gatepost diagnose AUDIT-ID` or `gatepost diagnose user@domain` looks at the facts."
        );
    }
}

/// What is asked about: an Audit ID, an address, or a client.
pub(crate) fn question(what: Option<String>, from: Option<String>) -> Result<door::Question, String> {
    match (what, from) {
        (Some(what), from) => {
            if from.is_none()
                && let Ok(id) = what.parse::<AuditId>()
            {
                return Ok(door::Question::DiagnoseId { id });
            }
            let to = what.parse::<Address>().map_err(|error| {
                format!("{what:?} is neither an Audit ID nor an address such as user@example.test: {error}")
            })?;
            Ok(door::Question::DiagnoseAddress { to, from })
        }
        (None, Some(who)) => Ok(door::Question::DiagnoseFrom { who }),
        (None, None) => Err("say what: an address, an Audit ID, or --from a client's address or a sender".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_line_is_taken_apart() {
        let line = "2019 Mar 29 18:51:24 PDT (info) ML-TRANSFAIL: Detail: 451 4.4.2 [internal] no HELO/EHLO response";
        assert_eq!(explain(line).unwrap()["reply"]["code"], 451);
        let greylisted = explain("450 4.2.0 Greylisted, try again later").unwrap();
        assert_eq!(greylisted["reply"]["class"], class(450));
        assert!(explain("hello").is_err());
    }

    #[test]
    fn every_cause_has_a_page() {
        for rule in decide::diagnose::rules::all() {
            assert!(explain(rule.cause).unwrap()["manual"].is_string(), "{}", rule.cause);
        }
    }
}
