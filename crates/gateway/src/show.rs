//! Show: answers as text for people. The same values as with `--json`.

use crate::door::Question;
use crate::explain;
use mail::Time;
use serde_json::{Value, json};
use std::process::ExitCode;

/// Prints an answer.
pub(crate) fn answer(question: &Question, answer: &Value) {
    match question {
        Question::QueueList { .. } => queue(answer),
        Question::QueueShow { .. } => entries(answer),
        Question::Order { .. } => order(answer),
        Question::AuditSearch { .. } => search(answer),
        Question::AuditShow { .. } => trail(answer),
        Question::Route { .. } => route(answer),
        Question::DiagnoseAddress { .. } | Question::DiagnoseId { .. } | Question::DiagnoseFrom { .. } => {
            explain::print_diagnosis(answer);
        }
        Question::DiagnoseBounce { .. } => explain::print_bounce(answer),
        Question::Incidents => explain::print_incidents(answer),
        Question::SettingsExport { .. } => print!("{}", text(answer)),
        Question::SettingsHistory => history(answer),
        Question::SettingsDiff { .. } => changes(answer),
        Question::SettingsApply { .. } | Question::SettingsRollback { .. } => {
            println!("settings version {} is in force", answer["version"]);
            changes(&answer["changes"]);
        }
        Question::Send { .. } => {
            println!("accepted as {0}; follow it with `gatepost audit show {0}`", text(&answer["id"]))
        }
        Question::AlertTest { .. } => println!("{}", text(&answer["how"])),
        Question::Backup { file, .. } => println!("{}: {}", file.display(), backup(answer)),
        Question::FirstStart => println!("{}", text(&answer["link"])),
        Question::Administrators => administrators(answer),
        Question::Account { .. } if rows(&answer["secrets"]).is_empty() => println!("done"),
        Question::Account { .. } => rows(&answer["secrets"]).iter().for_each(|secret| println!("{}", text(secret))),
        Question::Scanners => scanners(answer),
        Question::ScannerInvite { .. } => println!("{}", text(&answer["code"])),
        Question::ScannerEnrol { .. } | Question::ScannerTest { .. } => contact(answer),
        Question::ScannerRemove { .. } => println!("done; remove its token on that gateway, too"),
        Question::Status => fields(answer),
        Question::Identity { .. } => identity(answer),
    }
}

fn rows(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(text).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}

fn fields(value: &Value) {
    for (name, value) in value.as_object().into_iter().flatten() {
        println!("{name:<18} {}", text(value));
    }
}

/// `2026-11-25T12:00:00Z by gatepost 0.1.0: settings.db, accounts.db`.
pub(crate) fn backup(backup: &Value) -> String {
    let names: Vec<String> = rows(&backup["files"]).iter().map(|file| text(&file["name"])).collect();
    let made = Time(backup["made_ms"].as_i64().unwrap_or_default()).rfc3339();
    format!("backup of {made} by gatepost {}: {}", text(&backup["version"]), names.join(", "))
}

fn administrators(all: &Value) {
    for one in rows(all) {
        let said = |name: &str, yes: &'static str, no: &'static str| if one[name] == json!(true) { yes } else { no };
        let seen = one["signed_in"].as_i64().map_or_else(|| "never".to_owned(), |at| Time(at).rfc3339());
        println!(
            "{:<20} {:<10} {:<12} {:<15} last sign-in {seen}",
            text(&one["name"]),
            text(&one["role"]),
            said("disabled", "disabled", "may sign in"),
            said("factor", "two steps", "password only")
        );
    }
}

fn scanners(all: &Value) {
    for one in rows(all) {
        let (report, trouble) = (&one["report"], &one["trouble"]);
        let state = match (trouble["what"].as_str(), report.is_null()) {
            (Some(what), _) => format!("unreachable: {what}"),
            (None, true) => "not asked yet".to_owned(),
            (None, false) => format!(
                "{}, {} queued, settings version {}, gatepost {}",
                text(&report["mode"]),
                report["queued"],
                report["settings_version"],
                text(&report["version"])
            ),
        };
        println!("{:<20} {:<35} {state}", text(&one["name"]), text(&one["url"]));
    }
}

fn contact(contact: &Value) {
    for went in rows(&contact["went"]) {
        println!("{:<12} {}", text(&went["stage"]), text(&went["said"]));
    }
    rows(&contact["notes"]).iter().for_each(|note| println!("{:<12} {}", "note", text(note)));
    println!("{} answers as it should", text(&contact["name"]));
}

/// The worst first; what is in order in one line each.
fn identity(answer: &Value) {
    use decide::identity::{Line, State};
    let as_if = if answer["proposed"] == true { " (proposed)" } else { "" };
    println!("{}{as_if}, looked at from outside at {}", text(&answer["hostname"]), text(&answer["time"]));
    let mut lines: Vec<Line> = serde_json::from_value(answer["lines"].clone()).unwrap_or_default();
    lines.sort_by_key(|line| std::cmp::Reverse(line.state));
    for line in &lines {
        println!("{:<11}  {:<12}  {}", line.state.name(), line.check.name(), line.sentence);
        if line.state == State::Ok {
            continue;
        }
        for fact in &line.evidence {
            println!("{:13}seen  {fact}", "");
        }
        for step in &line.fix {
            println!("{:13}fix   {step}", "");
        }
        if let Some(finding) = &line.finding {
            println!("{:13}page  gatepost explain {}", "", finding.cause);
        }
    }
    let states = [State::Problem, State::Warning, State::NotChecked, State::Note, State::Ok];
    println!("{}", crate::identity::counts(&lines, &states));
}

/// `1 delivery`, `2 deliveries`.
fn deliveries(count: u64) -> String {
    if count == 1 { "1 delivery".to_owned() } else { format!("{count} deliveries") }
}

/// `3h 20m`, `5d 2h`, `12s`.
fn span(ms: i64) -> String {
    let seconds = ms.max(0) / 1000;
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m {}s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{}h {}m", seconds / 3600, seconds / 60 % 60),
        _ => format!("{}d {}h", seconds / 86_400, seconds / 3600 % 24),
    }
}

fn queue(answer: &Value) {
    let entries = rows(answer);
    if entries.is_empty() {
        println!("nothing is queued");
        return;
    }
    let now = crate::clock::now().ms();
    println!("{:<13}  {:<6}  {:>7}  {:>3}  {:>8}  sender → recipients", "Audit ID", "state", "age", "try", "next in");
    for entry in entries {
        let age = span(now - entry["received_ms"].as_i64().unwrap_or(now));
        // While its destination is down, mail waits for that as well.
        let down_until = entry["down_until_ms"].as_i64().unwrap_or(0);
        let next = entry["next_attempt_ms"]
            .as_i64()
            .map(|next| next.max(down_until))
            .filter(|next| *next < Time::NEVER.ms() / 2)
            .map_or_else(|| "-".to_owned(), |next| span(next - now));
        println!(
            "{:<13}  {:<6}  {age:>7}  {:>3}  {next:>8}  {} → {}",
            text(&entry["id"]),
            text(&entry["state"]),
            text(&entry["attempts"]),
            text(&entry["sender"]),
            text(&entry["recipients"])
        );
        let status = text(&entry["status"]);
        if !status.is_empty() {
            println!("{:15}{status}", "");
        }
        if let Some(cause) = entry["finding"]["cause"].as_str() {
            println!("{:15}{cause}: {}", "", text(&entry["finding"]["sentence"]));
        }
    }
    println!("{}", deliveries(entries.len() as u64));
}

fn entries(answer: &Value) {
    for entry in rows(answer) {
        for name in ["id", "state", "sender", "recipients", "domain", "attempts", "status"] {
            println!("{name:<12} {}", text(&entry[name]));
        }
        explain::print(&entry["finding"]);
        for change in rows(&entry["changed"]) {
            println!("  changed  {}", text(change));
        }
        attempt(&entry["last_attempt"]);
        println!();
    }
}

/// The transcript of an attempt: DNS, hosts, every line said.
pub(crate) fn attempt(attempt: &Value) {
    if attempt.is_null() {
        return;
    }
    println!(
        "attempt {} by {} (settings version {})",
        attempt["number"],
        text(&attempt["rule"]),
        attempt["settings_version"]
    );
    questions(&attempt["dns"]);
    for dropped in rows(&attempt["dropped"]) {
        match serde_json::from_value::<mail::Dropped>(dropped.clone()) {
            Ok(dropped) => println!("  dropped {dropped}"),
            Err(_) => println!("  dropped {}", text(dropped)),
        }
    }
    for note in rows(&attempt["notes"]) {
        println!("  note    {}", text(note));
    }
    for tried in rows(&attempt["tries"]) {
        let source = tried["source"].as_str().map(|source| format!(" from {source}")).unwrap_or_default();
        println!(
            "  {} at {}, port {}{source} as {}",
            text(&tried["host"]),
            text(&tried["address"]),
            tried["port"],
            text(&tried["ehlo"])
        );
        transcript(&tried["transcript"]);
        if let Some(status) = tried["failure"]["status"]["text"].as_str() {
            println!("    failed at {}: {status}", text(&tried["failure"]["stage"]));
        }
    }
}

fn questions(answers: &Value) {
    for answer in rows(answers) {
        if let Ok(answer) = serde_json::from_value::<mail::dns::Answer>(answer.clone()) {
            println!(
                "  DNS     {} (from {}, {} ms)",
                answer.summary(),
                if answer.cached { "the cache" } else { &answer.server },
                answer.elapsed_ms
            );
        }
    }
}

fn transcript(lines: &Value) {
    for said in rows(lines) {
        let arrow = match text(&said["speaker"]).as_str() {
            "client" => "→",
            "server" => "←",
            _ => "·",
        };
        let at = said["at"].as_i64().map(|at| Time(at).rfc3339()).unwrap_or_default();
        println!("    {} {arrow} {}", at.get(11..23).unwrap_or_default(), text(&said["text"]));
    }
}

fn order(answer: &Value) {
    let verb = match (answer["dry_run"] == true, answer["count"] == 1) {
        (true, _) => "would be",
        (false, true) => "is",
        (false, false) => "are",
    };
    println!("{} {verb} concerned", deliveries(answer["count"].as_u64().unwrap_or(0)));
}

fn search(answer: &Value) {
    if rows(answer).is_empty() {
        println!("nothing found");
    }
    for entry in rows(answer) {
        println!(
            "{}  {}  {} → {}  {}",
            text(&entry["time"]),
            text(&entry["id"]),
            text(&entry["sender"]),
            text(&entry["recipients"]),
            text(&entry["subject"])
        );
        println!("{:26}{}", "", text(&entry["status"]));
    }
}

fn trail(answer: &Value) {
    for event in rows(answer) {
        println!("{}  {}", text(&event["time"]), text(&event["event"]));
        for (name, value) in event["fields"].as_object().into_iter().flatten() {
            let value_text = text(value);
            if !matches!(name.as_str(), "attempt" | "visit" | "finding" | "findings") && !value_text.is_empty() {
                println!("    {name:<14} {value_text}");
            }
        }
        explain::print(&event["fields"]["finding"]);
        for other in rows(&event["fields"]["findings"]) {
            explain::print(other);
        }
        attempt(&event["fields"]["attempt"]);
        visit(&event["fields"]["visit"]);
    }
}

/// The transcript of a client's connection.
pub(crate) fn visit(visit: &Value) {
    if visit.is_null() {
        return;
    }
    println!("  client {} at {} said it is {}", text(&visit["client"]), text(&visit["local"]), text(&visit["helo"]));
    questions(&visit["dns"]);
    transcript(&visit["transcript"]);
    println!("    ended: {}", text(&visit["end"]));
}

fn route(answer: &Value) {
    println!(
        "domain     {}\nrule       {}\nsettings   version {}",
        text(&answer["domain"]),
        text(&answer["rule"]),
        answer["settings_version"]
    );
    for line in rows(&answer["dns"]) {
        println!("DNS        {}", text(line));
    }
    for candidate in rows(&answer["candidates"]) {
        println!(
            "try        {} at {} (preference {})",
            text(&candidate["host"]),
            text(&candidate["address"]),
            candidate["preference"]
        );
    }
    for dropped in rows(&answer["dropped"]) {
        println!("dropped    {} {}: {}", text(&dropped["host"]), text(&dropped["address"]), text(&dropped["why"]));
    }
    for note in rows(&answer["notes"]) {
        println!("note       {}", text(note));
    }
    println!("verdict    {}", text(&answer["verdict"]));
}

fn history(answer: &Value) {
    for version in rows(answer) {
        println!(
            "{:>5}  {}  {}  {}",
            version["version"],
            text(&version["time"]),
            text(&version["author"]),
            text(&version["comment"])
        );
    }
}

fn changes(answer: &Value) {
    if rows(answer).is_empty() {
        println!("nothing changes");
    }
    for change in rows(answer) {
        let side = |value: &Value| if value.is_null() { "(none)".to_owned() } else { text(value) };
        println!("{}: {} → {}", text(&change["path"]), side(&change["old"]), side(&change["new"]));
    }
}

/// The table of statuses, which is the manual's page as well.
pub(crate) fn statuses(as_json: bool) -> ExitCode {
    if as_json {
        let line = |kind: &&mail::status::Kind| json!({ "id": kind.id, "code": kind.code, "text": kind.text, "stage": kind.stage, "meaning": kind.meaning, "causes": kind.causes, "fix": kind.fix });
        println!("{}", mail::status::TABLE.iter().map(line).collect::<Value>());
        return ExitCode::SUCCESS;
    }
    for kind in mail::status::TABLE {
        println!(
            "{}\n    stage    {}\n    meaning  {}\n    causes   {}\n    fix      {}\n",
            kind.with(""),
            kind.stage,
            kind.meaning,
            kind.causes,
            kind.fix
        );
    }
    ExitCode::SUCCESS
}

/// Every setting.
pub(crate) fn reference(as_json: bool) -> ExitCode {
    let docs = decide::settings::reference();
    if as_json {
        let line = |doc: &decide::settings::SettingDoc| json!({ "path": doc.path, "default": doc.default, "range": doc.range, "doc": doc.doc });
        println!("{}", docs.iter().map(line).collect::<Value>());
        return ExitCode::SUCCESS;
    }
    for doc in docs {
        println!("{} = {}\n    {}. {}\n", doc.path, doc.default, doc.range, doc.doc);
    }
    ExitCode::SUCCESS
}

/// The result of a check: complaints if it is not good, else what is worth knowing.
pub(crate) fn remarks(good: bool, remarks: &[decide::settings::Complaint]) -> Value {
    let line = |remark: &decide::settings::Complaint| json!({ "path": remark.path, "line": remark.line, "value": remark.value, "problem": remark.problem, "suggestion": remark.suggestion });
    json!({ "good": good, "remarks": remarks.iter().map(line).collect::<Vec<_>>() })
}
