//! Door: what commands ask of a gateway, running or not; the one place where the world is changed from outside.
//!
//! A running gateway answers on a Unix socket in its data folder, one JSON line for the question, then lines of
//! `{"progress": n}` and a last line of `{"done": …}` or `{"error": "…"}`. Without one, the command itself opens the store.

use crate::accounts;
use crate::clock::now;
use crate::core::{Core, InForce};
use crate::deliver;
use crate::explain;
use crate::outcome::Extra;
use crate::queue::Reason;
use crate::view::scanners;
use decide::settings::{self, Complaint, Mode, Settings};
use mail::{Address, AuditId, Domain, ReversePath, Time};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, PoisonError};
use std::time::Duration;
use store::{Action, AuditFilter, Order, QueueEntry, Selection, State};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc;
use tokio::task::block_in_place;

/// A question's longest line: a settings document with long recipient lists.
const QUESTION_MAX: usize = 64 << 20;

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "kebab-case")]
pub(crate) enum Question {
    Status,
    /// How the gateway looks from outside, now; with a name: how it would under that name, before it is saved.
    Identity {
        hostname: Option<Domain>,
    },
    QueueList {
        which: Which,
        limit: usize,
    },
    QueueShow {
        id: AuditId,
    },
    Order {
        action: Deed,
        which: Which,
        dry_run: bool,
        by: String,
    },
    AuditSearch {
        term: Option<String>,
        from: Option<Time>,
        until: Option<Time>,
        limit: usize,
        #[serde(flatten)]
        only: Only,
    },
    AuditShow {
        id: AuditId,
    },
    Route {
        domain: Domain,
    },
    DiagnoseAddress {
        to: Address,
        from: Option<String>,
    },
    DiagnoseId {
        id: AuditId,
    },
    DiagnoseFrom {
        who: String,
    },
    DiagnoseBounce {
        text: String,
    },
    Incidents,
    SettingsExport {
        version: Option<u64>,
    },
    SettingsHistory,
    SettingsDiff {
        text: String,
    },
    SettingsApply {
        text: String,
        author: String,
        comment: String,
        /// The version that the text was made from: refused if another is in force.
        #[serde(default)]
        base: Option<i64>,
    },
    SettingsRollback {
        version: u64,
        author: String,
        #[serde(default)]
        base: Option<i64>,
    },
    /// Without a sender: from the postmaster.
    Send {
        from: Option<ReversePath>,
        to: Address,
        subject: String,
        body: String,
        by: String,
    },
    /// The first start's link, for who has the gateway's own folder.
    FirstStart,
    Administrators,
    /// A test alert.
    AlertTest {
        by: String,
    },
    /// Settings and accounts into a file of the gateway's machine.
    Backup {
        file: std::path::PathBuf,
        records: bool,
        by: String,
    },
    /// The other gateways of this Control Center.
    Scanners,
    /// A code for the Control Center that is to enrol this one.
    ScannerInvite {
        name: String,
        role: control::Role,
        by: String,
    },
    ScannerEnrol {
        name: String,
        code: String,
        by: String,
    },
    ScannerTest {
        name: String,
    },
    ScannerRemove {
        name: String,
        by: String,
    },
    /// A change of administrators or tokens.
    Account {
        by: String,
        change: control::Change,
    },
}

/// Which deliveries: all that is given must match.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Which {
    pub(crate) ids: Vec<AuditId>,
    /// Single deliveries of messages.
    pub(crate) keys: Vec<(AuditId, u32)>,
    pub(crate) sender: Option<String>,
    pub(crate) recipient: Option<String>,
    pub(crate) domain: Option<String>,
    /// Part of the status text.
    pub(crate) text: Option<String>,
    pub(crate) held: Option<bool>,
    pub(crate) older_than_ms: Option<u64>,
    /// Next hop, `host[:port]`: lanes whose destination names it.
    pub(crate) next_hop: Option<String>,
    /// Id of a finding.
    pub(crate) cause: Option<String>,
    /// What the finding is about.
    pub(crate) object: Option<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Deed {
    Retry,
    Hold { why: String },
    Release,
    Delete,
    Reroute { hop: String },
}

impl Which {
    pub(crate) fn selection(&self, core: &Core) -> Selection {
        Selection {
            ids: self.ids.clone(),
            keys: self.keys.clone(),
            lanes: self.lanes(core),
            sender: self.sender.clone(),
            recipient: self.recipient.clone(),
            domain: self.domain.clone(),
            text: self.text.clone(),
            cause: self.cause.clone(),
            object: self.object.clone(),
            state: self.held.map(|held| if held { State::Held } else { State::Queued }),
            before: self
                .older_than_ms
                .map(|age| Time(now().ms().saturating_sub(i64::try_from(age).unwrap_or(i64::MAX)).max(0))),
            ..Selection::default()
        }
    }

    /// The spool knows lanes, not next hops: those that lead to the hop.
    fn lanes(&self, core: &Core) -> Vec<String> {
        let Some(hop) = &self.next_hop else { return Vec::new() };
        let in_force = core.in_force();
        let leads = |lane: &String| deliver::destination_of(&in_force, lane).contains(hop.as_str());
        let mut lanes: Vec<String> = core.store.lane_counts().into_keys().filter(leads).collect();
        if lanes.is_empty() {
            // No lane has this name, and an empty list would be all of them.
            lanes.push(String::new());
        }
        lanes
    }
}

/// Answers on the socket until the gateway stops.
pub(crate) async fn serve(core: Arc<Core>, path: &Path) -> std::io::Result<()> {
    // A socket left by a gateway that was killed; the store's lock has made sure that none is running.
    let _ = std::fs::remove_file(path);
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
    tokio::spawn(async move {
        let mut stopping = core.stopping.subscribe();
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                _ = stopping.wait_for(|stop| *stop) => return,
            };
            if let Ok((socket, _)) = accepted {
                let core = core.clone();
                tokio::spawn(async move {
                    let _ = talk(core, socket).await;
                });
            }
        }
    });
    Ok(())
}

async fn talk(core: Arc<Core>, socket: UnixStream) -> std::io::Result<()> {
    let (reader, mut writer) = socket.into_split();
    let mut reader = BufReader::new(tokio::io::AsyncReadExt::take(reader, QUESTION_MAX as u64));
    let mut line = String::new();
    reader.read_line(&mut line).await?;
    let question = match serde_json::from_str::<Question>(&line) {
        Ok(question) => question,
        Err(error) => {
            return writer
                .write_all(format!("{}\n", json!({ "error": format!("not a question: {error}") })).as_bytes())
                .await;
        }
    };
    let (progress, mut steps) = mpsc::unbounded_channel();
    let answering = tokio::spawn(async move { answer(&core, question, COMMAND, progress).await });
    while let Some(done) = steps.recv().await {
        writer.write_all(format!("{}\n", json!({ "progress": done })).as_bytes()).await?;
    }
    let last = match answering.await {
        Ok(Ok(value)) => json!({ "done": value }),
        Ok(Err(error)) => json!({ "error": error }),
        Err(error) => json!({ "error": error.to_string() }),
    };
    writer.write_all(format!("{last}\n").as_bytes()).await
}

/// What narrows a search of the trail, as on the page of the audit log.
#[derive(Clone, Debug, Default, Serialize, Deserialize, clap::Args)]
#[serde(default)]
pub(crate) struct Only {
    /// What happened to it, at any time of its way
    #[arg(long, value_parser = words(control::OUTCOMES))]
    pub(crate) outcome: Option<String>,
    /// By which listener it came; internal: the gateway's own reports
    #[arg(long, value_parser = words(control::LISTENERS))]
    pub(crate) listener: Option<String>,
    /// Words of the sender's address; <> for reports
    #[arg(long)]
    pub(crate) sender: Option<String>,
    /// Words of a recipient's address
    #[arg(long)]
    pub(crate) recipient: Option<String>,
    /// Words of the client's address or of the name that it gave
    #[arg(long)]
    pub(crate) client: Option<String>,
    /// A finding's id, such as peer.greylist, as `gatepost explain` lists them
    #[arg(long)]
    pub(crate) cause: Option<String>,
}

fn words(known: &'static [(&'static str, &'static str)]) -> clap::builder::PossibleValuesParser {
    known.iter().map(|(word, _)| *word).collect::<Vec<_>>().into()
}

/// Asks the running gateway. `None`: none is running.
pub(crate) async fn ask(
    path: &Path,
    question: &Question,
    mut progress: impl FnMut(u64),
) -> Option<Result<Value, String>> {
    let socket = UnixStream::connect(path).await.ok()?;
    let (reader, mut writer) = socket.into_split();
    let asked = async {
        writer.write_all(format!("{}\n", serde_json::to_string(question)?).as_bytes()).await?;
        let mut lines = BufReader::new(reader).lines();
        while let Some(line) = lines.next_line().await? {
            let mut answer: Value = serde_json::from_str(&line)?;
            if let Some(done) = answer["progress"].as_u64() {
                progress(done);
            } else if let Some(error) = answer["error"].as_str() {
                return Ok(Err(error.to_owned()));
            } else {
                return Ok(Ok(answer["done"].take()));
            }
        }
        Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof))
    };
    Some(asked.await.unwrap_or_else(|error| Err(format!("the running gateway did not answer: {error}"))))
}

/// From where acts of the command line come.
pub(crate) const COMMAND: &str = "command line";

/// Answers a question, in the gateway or in a command of its own. What it changes is written down as an act of who
/// asked, from `place`; this is the one way in, so no page and no command can forget it.
pub(crate) async fn answer(
    core: &Arc<Core>,
    question: Question,
    place: &str,
    progress: mpsc::UnboundedSender<u64>,
) -> Result<Value, String> {
    let Some((who, what, mut fields)) = act(&question) else { return reply(core, question, progress).await };
    let answer = reply(core, question, progress).await;
    match &answer {
        Ok(done) => ["count", "id", "version"].iter().for_each(|name| fields[*name] = done[*name].clone()),
        Err(error) => fields["refused"] = json!(error.chars().take(REFUSAL_MAX).collect::<String>()),
    }
    accounts::act(core, &who, place, &what, fields).await;
    answer
}

/// Characters kept of why something was refused.
const REFUSAL_MAX: usize = 300;

/// Who wants to change what. `None`: nothing is changed, or it is written down where it is done.
fn act(question: &Question) -> Option<(String, String, Value)> {
    let (who, what, fields) = match question {
        Question::Order { dry_run: true, .. } => return None,
        Question::Order { action, which, by, .. } => {
            let (what, how) = match action {
                Deed::Retry => ("retry", None),
                Deed::Hold { why } => ("hold", Some(why)),
                Deed::Release => ("release", None),
                Deed::Delete => ("delete", None),
                Deed::Reroute { hop } => ("reroute", Some(hop)),
            };
            (by, what, json!({ "which": which, "how": how }))
        }
        Question::SettingsApply { author, comment, .. } => (author, "settings", json!({ "comment": comment })),
        Question::SettingsRollback { author, version, .. } => {
            (author, "settings rollback", json!({ "to version": version }))
        }
        Question::Send { by, to, subject, .. } => (by, "test message", json!({ "to": to, "subject": subject })),
        Question::AlertTest { by } => (by, "test alert", json!({})),
        Question::Backup { by, records, .. } => (by, "backup", json!({ "with records": records })),
        _ => return None,
    };
    Some((who.clone(), what.to_owned(), fields))
}

async fn reply(core: &Arc<Core>, question: Question, progress: mpsc::UnboundedSender<u64>) -> Result<Value, String> {
    let plain = |error: std::io::Error| error.to_string();
    match question {
        Question::Status => Ok(status(core)),
        Question::Identity { hostname } => {
            serde_json::to_value(crate::identity::check(core, hostname).await).map_err(|error| error.to_string())
        }
        Question::QueueList { which, limit } => {
            let entries = list(core, &which, limit).await?;
            Ok(entries.iter().map(|entry| entry_json(core, entry, false)).collect())
        }
        Question::QueueShow { id } => {
            let which = Which { ids: vec![id], ..Which::default() };
            let entries = list(core, &which, usize::MAX >> 1).await?;
            if entries.is_empty() {
                return Err(format!("{id} is not in the queue. `gatepost audit show {id}` tells what became of it."));
            }
            Ok(entries.iter().map(|entry| entry_json(core, entry, true)).collect())
        }
        Question::Order { action, which, dry_run, by } => order(core, action, which, dry_run, by, progress).await,
        Question::AuditSearch { term, from, until, limit, only } => {
            let Only { outcome, listener, sender, recipient, client, cause } = only;
            let class = outcome.map(|outcome| outcome.parse().map_err(|_| format!("there is no outcome {outcome}")));
            let class = class.transpose()?;
            let filter = AuditFilter {
                term,
                from,
                until,
                class,
                listener,
                sender,
                recipient,
                client,
                cause,
                ..AuditFilter::default()
            };
            let entries = block_in_place(|| core.store.audit_search(&filter, limit)).map_err(plain)?;
            let line = |entry: &store::AuditEntry| {
                json!({ "id": entry.id, "time": entry.at.rfc3339(), "sender": entry.sender, "recipients": entry.recipients, "subject": entry.subject,
                        "message_id": entry.message_id, "client": entry.client, "status": entry.status })
            };
            Ok(entries.iter().map(line).collect())
        }
        Question::AuditShow { id } => {
            let events = block_in_place(|| core.store.audit_show(id)).map_err(plain)?;
            if events.is_empty() {
                return Err(format!("nothing is known of {id}"));
            }
            Ok(block_in_place(|| explain::events(core, &events)))
        }
        Question::Route { domain } => Ok(route(core, &domain).await),
        Question::DiagnoseAddress { to, from } => explain::address(core, &to, from.as_deref()).await,
        Question::DiagnoseId { id } => explain::id(core, id).await,
        Question::DiagnoseFrom { who } => explain::from(core, &who).await,
        Question::DiagnoseBounce { text } => Ok(explain::bounce(core, &text).await),
        Question::Incidents => block_in_place(|| explain::incidents(core)),
        Question::SettingsExport { version } => {
            let version = match version {
                None => core.store.settings_current().map_err(plain)?,
                Some(number) => Some(
                    core.store
                        .settings_version(number)
                        .map_err(plain)?
                        .ok_or_else(|| format!("there is no settings version {number}"))?,
                ),
            };
            Ok(version.map_or_else(|| json!(core.in_force().settings.export()), |version| json!(version.text)))
        }
        Question::SettingsHistory => {
            let versions = core.store.settings_history().map_err(plain)?;
            let line = |version: &store::Version| json!({ "version": version.number, "time": version.at.rfc3339(), "author": version.author, "comment": version.comment });
            Ok(versions.iter().map(line).collect())
        }
        Question::SettingsDiff { text } => {
            let next = read(core, &text).await?;
            Ok(changes(&core.in_force().settings, &next))
        }
        Question::SettingsApply { text, author, comment, base } => apply(core, &text, &author, &comment, base).await,
        Question::SettingsRollback { version, author, base } => {
            let old = core
                .store
                .settings_version(version)
                .map_err(plain)?
                .ok_or_else(|| format!("there is no settings version {version}"))?;
            apply(core, &old.text, &author, &format!("rollback to version {version}"), base).await
        }
        Question::FirstStart => match accounts::first_path(core).await {
            None => Err("there is an administrator already; `gatepost admin list` shows who".to_owned()),
            Some(path) => {
                let base = core.accounts.address.get().ok_or("gatepost.toml has no control.listen")?;
                Ok(json!({ "link": format!("{base}{path}") }))
            }
        },
        Question::AlertTest { by } => Ok(json!({ "how": crate::alarms::test(core, &by).await })),
        Question::Backup { file, records, .. } => block_in_place(|| {
            let version = env!("CARGO_PKG_VERSION");
            let made = store::backup::create(core.store.folder(), &file, records, version, now().ms());
            made.map(|backup| json!(backup)).map_err(|error| format!("{}: {error}", file.display()))
        }),
        Question::Administrators => {
            accounts::administrators(core).await.map(|all| json!(all)).map_err(|problem| problem.what().to_owned())
        }
        Question::Account { by, change } => {
            let done = accounts::change(core, &commander(by), None, change).await;
            done.map(|given| json!({ "secrets": given.secrets })).map_err(|problem| problem.what().to_owned())
        }
        Question::Scanners => Ok(json!(scanners::all(core))),
        Question::ScannerInvite { name, role, by } => {
            let code = scanners::invite(core, &commander(by), &name, role).await;
            code.map(|code| json!({ "code": code })).map_err(|problem| problem.what().to_owned())
        }
        Question::ScannerEnrol { name, code, by } => {
            let read = control::invitation(&code)
                .ok_or("this is no whole code: copy all that `gatepost scanner invite` printed")?;
            let wanted = control::Enrolment { name, ..read };
            let done = scanners::enrol(core, &commander(by), wanted).await;
            done.map_err(|problem| problem.what().to_owned()).and_then(scanners::told)
        }
        Question::ScannerTest { name } => {
            scanners::test(core, &name).await.map_err(|problem| problem.what().to_owned()).and_then(scanners::told)
        }
        Question::ScannerRemove { name, by } => {
            let done = scanners::remove(core, &commander(by), &name).await;
            done.map(|()| json!({})).map_err(|problem| problem.what().to_owned())
        }
        Question::Send { from, to, subject, body, .. } => send(core, from, to, &subject, &body).await,
    }
}

/// Who has the gateway's own folder, and so may everything.
fn commander(name: String) -> control::Account {
    control::Account { name, role: control::Role::Full, token: None, on_behalf: None, from: COMMAND.to_owned() }
}

/// MTA operation, as the settings say it.
pub(crate) fn mode(mode: Mode) -> &'static str {
    match mode {
        Mode::AcceptAndDeliver => "accept-and-deliver",
        Mode::PauseDelivery => "pause-delivery",
        Mode::Drain => "drain",
    }
}

fn status(core: &Arc<Core>) -> Value {
    let (usage, in_force) = (core.store.usage(), core.in_force());
    json!({ "hostname": in_force.hostname, "mode": mode(in_force.settings.mode), "settings_version": in_force.version, "queued": usage.queued,
            "held": usage.held, "in_flight": core.queue.in_flight(), "disk_free": usage.disk_free, "disk_reserve": usage.disk_reserve,
            "listening": core.listening, "addresses": in_force.identity.addresses, "identity": core.desk.summary(), "sandbox": crate::sandbox::state(),
            "alerts": core.store.alerts().iter().map(|alert| alert.what.clone()).collect::<Vec<_>>() })
}

async fn list(core: &Arc<Core>, which: &Which, limit: usize) -> Result<Vec<QueueEntry>, String> {
    let (asked, selection) = (core.clone(), which.selection(core));
    let found = tokio::task::spawn_blocking(move || asked.store.list(&selection, limit, None))
        .await
        .map_err(|error| error.to_string())?;
    found.map_err(|error| error.to_string())
}

/// Why it is still here: the last attempt's end, or what it waits for.
pub(crate) fn status_of(core: &Core, entry: &QueueEntry) -> String {
    match core.queue.down(&entry.lane) {
        _ if deliver::is_paused(&core.in_force(), &entry.lane) => {
            format!("{} (delivery to this domain is paused: queue.paused)", entry.status).trim().to_owned()
        }
        Some(down) if entry.status.is_empty() => {
            let detail = format!(
                "since {}, until {}; last failure: {}",
                down.since.rfc3339(),
                down.until.rfc3339(),
                down.last_failure
            );
            mail::status::MARKED_DOWN.with(detail).to_string()
        }
        _ => entry.status.clone(),
    }
}

fn entry_json(core: &Core, entry: &QueueEntry, whole: bool) -> Value {
    let (down, status) = (core.queue.down(&entry.lane), status_of(core, entry));
    let domain = entry.lane.split('>').next().unwrap_or_default();
    let mut line = json!({
        "id": entry.id, "n": entry.n, "sender": entry.sender.to_string(), "recipients": entry.recipients.iter().map(|recipient| recipient.address.to_string()).collect::<Vec<_>>(),
        "domain": domain, "lane": entry.lane, "state": format!("{:?}", entry.state).to_lowercase(), "attempts": entry.attempts, "next_attempt_ms": entry.next,
        "received_ms": entry.received, "size": entry.size, "status": status,
        "down_until_ms": down.as_ref().map(|down| down.until),
    });
    let extra = Extra::of(&entry.extra);
    // Without an attempt of its own, all that is known of it is that its destination is down.
    let waits = down
        .filter(|_| entry.status.is_empty())
        .map(|down| decide::diagnose::marked_down(domain, down.since, down.until, &down.last_failure, now()));
    line["finding"] = json!(extra.finding.clone().or(waits));
    if whole {
        line["changed"] = json!(extra.changed);
        line["last_attempt"] = json!(extra.attempt);
    }
    line
}

async fn order(
    core: &Arc<Core>,
    deed: Deed,
    which: Which,
    dry_run: bool,
    by: String,
    progress: mpsc::UnboundedSender<u64>,
) -> Result<Value, String> {
    let reason = if matches!(deed, Deed::Retry | Deed::Release) { Reason::TryAgain } else { Reason::Changed };
    if reason == Reason::TryAgain {
        // What DNS said a second ago may be what was mended.
        core.resolver.forget();
        core.queue.flush();
    }
    let (name, shown) = (format!("{deed:?}"), json!(which));
    let action = match deed {
        Deed::Retry => Action::Retry,
        Deed::Hold { why } => Action::Hold { why },
        Deed::Release => Action::Release,
        Deed::Delete => Action::Delete,
        Deed::Reroute { hop } => return reroute(core, &which, &hop, dry_run, &by, progress).await,
    };
    let order = Order { action, selection: which.selection(core), by: by.clone(), at: now(), dry_run };
    let count = carry_out(core, order, &progress, 0).await?;
    if !dry_run {
        core.record(core.ids.next(), "order", json!({ "order": name, "which": shown, "by": by, "count": count }));
        block_in_place(|| core.queue.reload(core, reason)).map_err(|error| error.to_string())?;
    }
    Ok(json!({ "count": count, "dry_run": dry_run }))
}

async fn carry_out(
    core: &Arc<Core>,
    order: Order,
    progress: &mpsc::UnboundedSender<u64>,
    before: u64,
) -> Result<u64, String> {
    let steps = progress.clone();
    let told = move |done| {
        // Whoever asked may have gone; the order is carried out all the same.
        let _ = steps.send(before + done);
    };
    core.store.order(order, told).await.map_err(|error| error.to_string())
}

/// Each lane keeps its domain and gets the hop behind it, so that statuses and limits still speak of the domain.
async fn reroute(
    core: &Arc<Core>,
    which: &Which,
    hop: &str,
    dry_run: bool,
    by: &str,
    progress: mpsc::UnboundedSender<u64>,
) -> Result<Value, String> {
    let hop = hop.trim();
    if !hop.is_empty() {
        check_hop(hop)?;
    }
    let selection = which.selection(core);
    let lanes: BTreeSet<String> = match (which.ids.is_empty() && which.keys.is_empty(), selection.lanes.is_empty()) {
        (false, _) => list(core, which, usize::MAX >> 1).await?.into_iter().map(|entry| entry.lane).collect(),
        (true, false) => selection.lanes.iter().cloned().collect(),
        (true, true) => core.store.lane_counts().into_keys().collect(),
    };
    let mut count = 0;
    for lane in lanes {
        let (domain, detour) = lane.split_once('>').map_or((lane.as_str(), None), |(domain, hop)| (domain, Some(hop)));
        if hop.is_empty() && detour.is_none() {
            continue;
        }
        let to = if hop.is_empty() { domain.to_owned() } else { format!("{domain}>{hop}") };
        // What lies there already, or was moved there just now.
        if to == lane {
            continue;
        }
        let selection = Selection { lane: Some(lane.clone()), ..selection.clone() };
        let order = Order { action: Action::Reroute { lane: to }, selection, by: by.to_owned(), at: now(), dry_run };
        count += carry_out(core, order, &progress, count).await?;
    }
    if !dry_run {
        core.record(
            core.ids.next(),
            "order",
            json!({ "order": format!("reroute to {}", if hop.is_empty() { "the way of the settings" } else { hop }), "which": json!(which), "by": by, "count": count }),
        );
        block_in_place(|| core.queue.reload(core, Reason::TryAgain)).map_err(|error| error.to_string())?;
    }
    Ok(json!({ "count": count, "dry_run": dry_run }))
}

/// Whether a text can be a next hop: a host name or an address, with a port or without.
pub(crate) fn check_hop(hop: &str) -> Result<(), String> {
    let wrong = || format!("{hop:?} is not a next hop such as mx2.example.test:25, 192.0.2.5 or [2001:db8::5]:25");
    let hop = hop.trim();
    if hop.parse::<std::net::SocketAddr>().is_ok() || hop.parse::<std::net::IpAddr>().is_ok() {
        return Ok(());
    }
    let (name, port) = hop.rsplit_once(':').map_or((hop, "25"), |(name, port)| (name, port));
    let port: u16 = port.parse().map_err(|_| wrong())?;
    let is_name = name.parse::<Domain>().is_ok() && !name.chars().any(|c| c.is_whitespace() || c == '>');
    if is_name && port > 0 { Ok(()) } else { Err(wrong()) }
}

/// An answer of DNS in one line.
pub(crate) fn dns_line(answer: &mail::dns::Answer) -> String {
    let server = if answer.cached { "the cache" } else { &answer.server };
    let validated = if answer.authentic { ", validated" } else { "" };
    format!("{} (from {server}, {} ms{validated})", answer.summary(), answer.elapsed_ms)
}

async fn route(core: &Arc<Core>, domain: &Domain) -> Value {
    route_with(core, &core.in_force(), domain).await
}

/// The way of a domain's mail with settings that need not be in force.
pub(crate) async fn route_with(core: &Arc<Core>, in_force: &InForce, domain: &Domain) -> Value {
    let plan = deliver::plan_of(in_force, &decide::route::lane(domain));
    let (route, answers) = deliver::find_route(core, in_force, &plan).await;
    let verdict = match &route.verdict {
        decide::route::Verdict::Ok => "deliver".to_owned(),
        decide::route::Verdict::Failed(status) => status.to_string(),
    };
    json!({
        "domain": domain, "rule": route.rule, "settings_version": in_force.version, "destination": decide::route::destination(&plan), "verdict": verdict,
        "dns": answers.iter().map(dns_line).collect::<Vec<_>>(),
        "candidates": route.candidates.iter().map(|candidate| json!({ "host": candidate.host, "address": candidate.address, "preference": candidate.preference })).collect::<Vec<_>>(),
        "dropped": route.dropped.iter().map(|dropped| json!({ "host": dropped.host, "address": dropped.address, "preference": dropped.preference, "why": dropped.why.to_string() })).collect::<Vec<_>>(),
        "notes": route.notes,
    })
}

/// Reads and checks a document, loops included; all complaints in one text.
pub(crate) async fn read(core: &Core, text: &str) -> Result<Settings, String> {
    examine(core, text).await.map_err(|complaints| complain(&complaints))
}

/// Reads and checks a document: itself, loops through this host by what it says and by what DNS says now, files that it
/// names.
pub(crate) async fn examine(core: &Core, text: &str) -> Result<Settings, Vec<Complaint>> {
    let settings = block_in_place(|| Settings::read(text))?;
    // By the names and addresses that the document itself gives.
    let would_be = core.would_be(Arc::new(settings.clone()));
    let mut complaints = settings.loops(&would_be.identity);
    if complaints.is_empty() {
        complaints = crate::loops::leading_back(core, &would_be).await;
    }
    for (name, door) in
        [("inbound", &settings.inbound), ("outbound", &settings.outbound), ("submission", &settings.submission)]
    {
        if let Err(error) = block_in_place(|| crate::tls::check(door)) {
            complaints.push(Complaint {
                path: format!("listener.{name}.certificate"),
                line: None,
                value: String::new(),
                problem: error,
                suggestion: String::new(),
            });
        }
    }
    if complaints.is_empty() { Ok(settings) } else { Err(complaints) }
}

/// Complaints as lines for people.
pub(crate) fn complain(complaints: &[Complaint]) -> String {
    complaints.iter().map(Complaint::to_string).collect::<Vec<_>>().join("\n")
}

fn changes(old: &Settings, new: &Settings) -> Value {
    settings::diff(old, new)
        .iter()
        .map(|change| json!({ "path": change.path, "old": change.old, "new": change.new }))
        .collect()
}

/// Puts a document in force, as a new version.
pub(crate) async fn apply(
    core: &Arc<Core>,
    text: &str,
    author: &str,
    comment: &str,
    base: Option<i64>,
) -> Result<Value, String> {
    let next = read(core, text).await?;
    block_in_place(|| put(core, next, text, author, comment, base))
}

fn put(
    core: &Arc<Core>,
    next: Settings,
    text: &str,
    author: &str,
    comment: &str,
    base: Option<i64>,
) -> Result<Value, String> {
    let _one_at_a_time = core.applying.lock().unwrap_or_else(PoisonError::into_inner);
    let now_in_force = core.in_force().version;
    if let Some(base) = base.filter(|base| *base != now_in_force) {
        return Err(format!(
            "version {now_in_force} came in force meanwhile, and the change was made from version {base}: look at it again"
        ));
    }
    let changes = changes(&core.in_force().settings, &next);
    let version = core
        .store
        .settings_put(text, author, comment, now())
        .map_err(|error| format!("the version could not be stored: {error}"))?;
    core.put_in_force(i64::try_from(version).unwrap_or(i64::MAX), next);
    core.record(
        core.ids.next(),
        "settings",
        json!({ "version": version, "by": author, "comment": comment, "changes": changes }),
    );
    core.queue.reload(core, Reason::TryAgain).map_err(|error| error.to_string())?;
    Ok(json!({ "version": version, "changes": changes }))
}

/// A test message, through the same commit and queue as all mail.
async fn send(
    core: &Arc<Core>,
    from: Option<ReversePath>,
    to: Address,
    subject: &str,
    body: &str,
) -> Result<Value, String> {
    let in_force = core.in_force();
    let id = core.ids.next();
    let clean = |text: &str| text.chars().filter(|c| !c.is_control()).collect::<String>();
    let from = from.unwrap_or_else(|| ReversePath::Address(in_force.postmaster.clone()));
    let author = from.address().map_or_else(|| in_force.postmaster.to_string(), Address::to_string);
    let body = body.replace("\r\n", "\n").replace(['\r'], "\n").replace('\n', "\r\n");
    let text = format!(
        "From: <{author}>\r\nTo: <{to}>\r\nSubject: {}\r\nDate: {}\r\nMessage-ID: <{id}@{}>\r\n\r\n{body}\r\n",
        clean(subject),
        now().rfc5322(),
        in_force.hostname
    );
    let smtputf8 =
        to.is_international() || from.address().is_some_and(Address::is_international) || !subject.is_ascii();
    let fields = json!({ "sender": from.to_string(), "recipients": [to.to_string()], "subject": clean(subject), "listener": "internal", "status": "accepted" });
    crate::outcome::submit(core, &in_force, id, from, mail::Recipient::plain(to), text.as_bytes(), smtputf8, fields)
        .await?;
    // So that a command without a running gateway leaves nothing half done.
    tokio::time::sleep(Duration::from_millis(1)).await;
    Ok(json!({ "id": id }))
}
