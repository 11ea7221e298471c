//! Scanners: the other gateways of this Control Center. Each is asked every few seconds how it is; what it said last is kept.

pub(crate) mod client;

use crate::clock::now;
use crate::core::Core;
use axum::http::StatusCode;
use client::Target;
use control::{Call, Contact, Report, Stage, Trouble, Went};
use mail::Time;
use serde_json::json;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;
use store::Scanner;
use tokio::sync::Notify;

/// How often one that answers is asked.
const EVERY_MS: i64 = 15_000;
/// One that does not is asked less and less often, up to this.
const EVERY_MAX_MS: i64 = 120_000;
/// Clocks that differ by so much put mail in the wrong order, and codes of the second step fail.
const CLOCK_MS: i64 = 5_000;
/// Where a Scanner says how it is.
const REPORT: &str = "/api/v1/scanner";
/// Octets of an answer: a settings document with lists of 100,000 entries.
const ANSWER_MAX: usize = 64 << 20;
/// Characters kept of a name that another program chose.
const WORD_MAX: usize = 100;

/// Those that are enrolled, and what is known of them.
#[derive(Debug)]
pub(crate) struct Book {
    /// Chance, by which a gateway knows itself in what another one says.
    pub(crate) instance: String,
    known: RwLock<Vec<Scanner>>,
    seen: Mutex<HashMap<String, Seen>>,
    wake: Notify,
    /// The mark of the settings in force, with their version.
    mark: Mutex<Option<(i64, String)>>,
}

/// What is known of one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) report: Option<Report>,
    pub(crate) heard: Option<Time>,
    pub(crate) silent_since: Option<Time>,
    pub(crate) trouble: Option<Trouble>,
    pub(crate) notes: Vec<String>,
    failures: u32,
    next: Time,
}

impl Book {
    pub(crate) fn open(store: &store::Store) -> Book {
        let octets: [u8; 16] = rand::random();
        Book {
            instance: octets.iter().map(|octet| format!("{octet:02x}")).collect(),
            known: RwLock::new(store.accounts().scanners().unwrap_or_default()),
            seen: Mutex::default(),
            wake: Notify::new(),
            mark: Mutex::default(),
        }
    }

    pub(crate) fn all(&self) -> Vec<Scanner> {
        self.known.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn find(&self, name: &str) -> Option<Scanner> {
        self.all().into_iter().find(|scanner| scanner.name == name)
    }

    pub(crate) fn seen(&self, name: &str) -> Seen {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned().unwrap_or_default()
    }

    /// The list has changed on disk; what was known of one that changed is forgotten.
    pub(crate) fn renew(&self, all: Vec<Scanner>, changed: &str) {
        *self.known.write().unwrap_or_else(PoisonError::into_inner) = all;
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).remove(changed);
        self.wake.notify_one();
    }

    /// Which are due now; they are not due again while they are asked. And when the next one will be.
    fn due(&self, now: Time) -> (Vec<Scanner>, Time) {
        let all = self.all();
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let mut due = Vec::new();
        for scanner in &all {
            let seen = seen.entry(scanner.name.clone()).or_default();
            if seen.next <= now {
                seen.next = Time(now.ms() + EVERY_MS);
                due.push(scanner.clone());
            }
        }
        let next = all.iter().filter_map(|scanner| seen.get(&scanner.name)).map(|seen| seen.next).min();
        (due, next.unwrap_or(Time(now.ms() + EVERY_MAX_MS)))
    }

    /// What came of asking one. Gives whether that is news: it fell silent, or speaks again.
    fn note(&self, asked: &Scanner, found: Result<(Report, Vec<String>), Trouble>, now: Time) -> bool {
        // Meanwhile it may have been removed, or given another address.
        if self.find(&asked.name).as_ref() != Some(asked) {
            return false;
        }
        let mut all = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let seen = all.entry(asked.name.clone()).or_default();
        let was_silent = seen.silent_since.is_some();
        match found {
            Ok((report, notes)) => {
                *seen = Seen {
                    report: Some(report),
                    heard: Some(now),
                    notes,
                    next: Time(now.ms() + EVERY_MS),
                    ..Seen::default()
                };
            }
            Err(trouble) => {
                seen.trouble = Some(trouble);
                seen.silent_since = seen.silent_since.or(Some(now));
                seen.next = Time(now.ms() + (EVERY_MS << seen.failures.min(8)).min(EVERY_MAX_MS));
                seen.failures += 1;
            }
        }
        was_silent != seen.silent_since.is_some()
    }
}

/// Asks them all, until the gateway stops.
pub(crate) async fn run(core: Arc<Core>) {
    let mut stopping = core.stopping.subscribe();
    loop {
        let (due, next) = core.scanners.due(now());
        for scanner in due {
            let core = core.clone();
            tokio::spawn(async move { ask(&core, &scanner).await });
        }
        let wait = next.since(now()).max(Duration::from_millis(100));
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = core.scanners.wake.notified() => {}
            _ = stopping.wait_for(|stop| *stop) => return,
        }
    }
}

/// Asks one how it is, and keeps the answer. A change from silence to speech, or back, stands in the log.
pub(crate) async fn ask(core: &Arc<Core>, scanner: &Scanner) -> Contact {
    let mut way = Contact::default();
    let found = report(core, &Target::of(scanner), &mut way).await;
    way.trouble = found.as_ref().err().cloned();
    if let Ok((_, notes)) = &found {
        way.notes.clone_from(notes);
    }
    if core.scanners.note(scanner, found, now()) {
        let why = way.trouble.as_ref().map(|trouble| trouble.what.as_str()).unwrap_or_default();
        let status = if way.trouble.is_some() { "silent" } else { "answers" };
        core.record(core.ids.next(), "scanner", json!({ "name": scanner.name, "status": status, "what": why }));
    }
    way
}

/// How a Scanner is, and what should be known besides.
pub(crate) async fn report(
    core: &Arc<Core>,
    target: &Target,
    way: &mut Contact,
) -> Result<(Report, Vec<String>), Trouble> {
    let trouble = |stage, what: String, fix: &str| Trouble { stage, what, fix: fix.to_owned() };
    let begun = now();
    let answer = client::call(core, target, &Call::get(REPORT.to_owned()), None, way).await?;
    let ended = now();
    let said = answer.json();
    let words = said["what"].as_str().unwrap_or_default();
    match StatusCode::from_u16(answer.code).unwrap_or_default() {
        StatusCode::OK => {}
        StatusCode::UNAUTHORIZED => {
            let what = "it does not know the token, or the token has expired (401)".to_owned();
            return Err(trouble(
                Stage::Token,
                what,
                "Make a new token on that Scanner (gatepost scanner invite) and enter it here.",
            ));
        }
        StatusCode::FORBIDDEN => {
            let what = format!("the token may not see how it is (403): {}", short(words));
            return Err(trouble(
                Stage::Token,
                what,
                "Make a token there whose role is full, or read-only to see and never to change.",
            ));
        }
        StatusCode::NOT_FOUND => {
            let what = format!("it answers, but has no {REPORT} (404): it is no gatepost, or an older one");
            return Err(trouble(
                Stage::Gateway,
                what,
                "Correct the address, or install this version of gatepost there.",
            ));
        }
        code => {
            let what = format!("it answered {code} {}", short(words));
            return Err(trouble(Stage::Answer, what, "Is that the address of its Control Center?"));
        }
    }
    way.went.push(Went {
        stage: Stage::Answer,
        said: format!("{}, after {} ms", answer.code, ended.since(begun).as_millis()),
    });
    let report: Report = serde_json::from_value(said).map_err(|error| {
        let fix = "Install the same version of gatepost on both.";
        trouble(Stage::Gateway, format!("it answers in words that this version does not know ({error})"), fix)
    })?;
    let report = bounded(report);
    if report.instance == core.scanners.instance {
        let what = format!("that is this gateway itself, {}", report.name);
        return Err(trouble(Stage::Gateway, what, "Enrol the others only."));
    }
    let other = |scanner: &Scanner| {
        scanner.name != target.name
            && core.scanners.seen(&scanner.name).report.is_some_and(|known| known.instance == report.instance)
    };
    if let Some(twice) = core.scanners.all().into_iter().find(other) {
        let what = format!("that is {}, which is enrolled already as {} ({})", report.name, twice.name, twice.url);
        return Err(trouble(Stage::Gateway, what, "Remove one of the two."));
    }
    way.went.push(Went { stage: Stage::Gateway, said: format!("{}, gatepost {}", report.name, report.version) });
    let notes = notes(&report, begun, ended);
    Ok((report, notes))
}

/// What is not in the way.
fn notes(report: &Report, begun: Time, ended: Time) -> Vec<String> {
    let mut notes = Vec::new();
    let own = env!("CARGO_PKG_VERSION");
    if report.version != own {
        notes.push(format!(
            "It runs gatepost {}, this one {own}: a setting that one of them does not know is refused there.",
            report.version
        ));
    }
    // It looked at its clock between our asking and its answer.
    let ahead = (report.at.ms() - ended.ms()).max(begun.ms() - report.at.ms()).max(0);
    if ahead >= CLOCK_MS {
        let which = if report.at > ended { "ahead of" } else { "behind" };
        notes.push(format!(
            "Its clock is {} s {which} this one's: set both by NTP, or times in searches do not fit together.",
            ahead / 1000
        ));
    }
    match report.role {
        Some(control::Role::Full) => {}
        Some(role) => notes.push(format!(
            "Its token's role is {}: it can be seen from here, its settings cannot be changed.",
            role.name()
        )),
        None => {}
    }
    if report.settings_of_file {
        notes.push("A file owns its settings (settings_file): they cannot be changed from here.".to_owned());
    }
    notes
}

/// What another program says is kept within bounds.
fn bounded(report: Report) -> Report {
    Report {
        instance: short(&report.instance),
        name: short(&report.name),
        version: short(&report.version),
        mode: short(&report.mode),
        settings_mark: short(&report.settings_mark),
        ..report
    }
}

fn short(text: &str) -> String {
    text.chars().take(WORD_MAX).map(|letter| if letter.is_control() { '?' } else { letter }).collect()
}

/// How this gateway is.
pub(crate) fn own(core: &Core) -> std::io::Result<Report> {
    let (usage, in_force) = (core.store.usage(), core.in_force());
    let oldest = core.store.list(&store::Selection::default(), 1, None)?.pop();
    Ok(Report {
        instance: core.scanners.instance.clone(),
        name: in_force.hostname.to_string(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        at: now(),
        accepting: is_accepting(core),
        mode: crate::door::mode(in_force.settings.mode).to_owned(),
        queued: usage.queued,
        held: usage.held,
        oldest: oldest.map(|entry| entry.received),
        incidents: core.store.incidents(INCIDENTS_MAX, None)?.len() as u64,
        identity_problems: core.desk.last().map(|_| core.desk.problems() as u64),
        disk_free: usage.disk_free,
        disk_reserve: usage.disk_reserve,
        settings_version: in_force.version,
        settings_of_file: core.settings_file.get().is_some(),
        settings_mark: mark(core, &in_force),
        role: None,
    })
}

/// Counted up to this: more are as bad.
const INCIDENTS_MAX: usize = 1000;

/// Mail is accepted: not draining, not stopping, disk above its reserve.
pub(crate) fn is_accepting(core: &Core) -> bool {
    core.in_force().settings.mode != decide::settings::Mode::Drain && !core.is_stopping() && core.store.room().is_ok()
}

/// Made once for each version: lists of 100,000 entries take a moment.
fn mark(core: &Core, in_force: &crate::core::InForce) -> String {
    let mut known = core.scanners.mark.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, mark)) = known.as_ref().filter(|(version, _)| *version == in_force.version) {
        return mark.clone();
    }
    let mark = crate::certificate::fingerprint(decide::settings::shared(&in_force.settings).as_bytes());
    *known = Some((in_force.version, mark.clone()));
    mark
}
