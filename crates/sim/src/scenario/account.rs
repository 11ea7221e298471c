//! Steps about the gateway's own account of things: its queue, findings, log and command line.

use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::time::sleep;

use super::{
    finding::Finding,
    queue::{self, Entry},
    runner::Stage,
    score::Mark,
    step::{ExpectFinding, ExpectNoAlarm, Place, Run, WaitLog, WaitQueue},
    wording::{contains, lacks},
};

/// Each look at the queue starts a program.
const POLL: Duration = Duration::from_millis(150);
/// A command of the gateway that takes longer hangs.
const COMMAND_MAX: Duration = Duration::from_secs(20);

impl Stage {
    pub(super) async fn wait_queue(&self, step: &WaitQueue) -> Result<(), String> {
        until_ok(step.within.0, async || {
            let entry = self.queued(&step.recipient).await?;
            let Some(entry) = right_state(entry, step.state.as_deref(), &step.recipient)? else { return Ok(()) };
            contains("the status", &entry.status(), &step.status_contains)?;
            lacks("the status", &entry.status(), &step.status_lacks)?;
            let attempts = entry.attempts();
            if attempts < step.attempts { Err(format!("{attempts} of {} attempts", step.attempts)) } else { Ok(()) }
        })
        .await
    }

    /// Looks until all is right; the last look gives the mark.
    pub(super) async fn expect_finding(&mut self, step: &ExpectFinding) -> Result<(), String> {
        let deadline = Instant::now() + step.within.0;
        let (mark, result) = loop {
            let (mark, result) = match self.look(step).await {
                Ok(seen) => seen.judge(step),
                Err(why) => (Mark::default(), Err(why)),
            };
            if result.is_ok() || Instant::now() >= deadline {
                break (mark, result);
            }
            sleep(POLL).await;
        };
        self.marks.push(mark);
        result.map_err(|why| format!("{why} (waited {})", step.within))
    }

    pub(super) async fn expect_no_alarm(&self, step: &ExpectNoAlarm) -> Result<(), String> {
        sleep(step.settle.0).await;
        let mut found = match &step.recipient {
            Some(recipient) => self.queued(recipient).await?.map(|entry| entry.findings()).unwrap_or_default(),
            None => Vec::new(),
        };
        found.extend(self.in_audit(step.recipient.as_deref(), step.client.as_deref()).await?);
        if step.recipient.is_none() && step.client.is_none() {
            found.extend(self.ask(&["incidents", "--json"]).await?);
        }
        let causes = step.causes.all();
        let alarm = |finding: &&Finding| finding.is_alarm() && (causes.is_empty() || causes.contains(&finding.cause));
        match found.iter().find(alarm) {
            Some(alarm) => Err(format!("a false alarm: {}: {}", alarm.cause, alarm.sentence)),
            None => Ok(()),
        }
    }

    async fn look(&self, step: &ExpectFinding) -> Result<Seen, String> {
        let entry = match &step.recipient {
            Some(recipient) => self.queued(recipient).await?,
            None => None,
        };
        let mut found = Vec::new();
        for place in [Place::Queue, Place::Audit, Place::Incidents, Place::Identity] {
            // What is wrong with our own names is asked for only when the step says so.
            let asked = step.place == place || (step.place == Place::Any && place != Place::Identity);
            // A mere note in one place does not hide a failure that stands in another.
            if !asked || found.iter().any(Finding::is_alarm) {
                continue;
            }
            found.extend(match place {
                Place::Queue => entry.as_ref().map(Entry::findings).unwrap_or_default(),
                Place::Audit => self.in_audit(step.recipient.as_deref(), step.client.as_deref()).await?,
                Place::Identity => self.ask(&["identity", "--json"]).await?,
                _ => self.in_incidents(step.recipient.as_deref().or(step.client.as_deref())).await?,
            });
        }
        found.sort_by_key(|finding| !finding.is_alarm());
        let state = entry.as_ref().map_or_else(|| "gone".to_owned(), Entry::state);
        let status = entry.as_ref().map(Entry::status).unwrap_or_default();
        let copies = step.recipient.as_deref().map_or(0, |recipient| self.copies(None, Some(recipient)).len());
        // Many things may be amiss at once in the list of incidents; a delivery or a visit has one first cause.
        let right = |finding: &&Finding| step.cause.all().contains(&finding.cause);
        let first = if step.place == Place::Incidents || step.place == Place::Identity {
            found.iter().find(right).or(found.first())
        } else {
            found.first()
        };
        Ok(Seen { finding: first.cloned(), state, status, copies })
    }

    /// The findings in the trails of messages to this recipient, of this client's refusals, or of the last refusal.
    async fn in_audit(&self, recipient: Option<&str>, client: Option<&str>) -> Result<Vec<Finding>, String> {
        let same = |said: &&super::runner::Heard| match (recipient, client) {
            (Some(recipient), _) if said.recipients.iter().any(|r| r.eq_ignore_ascii_case(recipient)) => true,
            (_, Some(client)) => said.client == client,
            (None, None) => said.refused,
            _ => false,
        };
        let mut ids: Vec<String> = self.heard.iter().rev().filter(same).map(|said| said.id.clone()).collect();
        ids.dedup();
        if let Some(client) = client {
            ids.extend(self.searched(client).await);
        }
        let mut found = Vec::new();
        for id in ids.iter().take(20) {
            found.extend(self.ask(&["audit", "show", id, "--json"]).await.unwrap_or_default());
        }
        Ok(found)
    }

    /// The Audit IDs of everything that the audit trail has about a client.
    async fn searched(&self, client: &str) -> Vec<String> {
        let args = ["audit", "search", client, "--json"].map(str::to_owned);
        let Ok(output) = self.program.run(&self.config, &args, COMMAND_MAX).await else { return Vec::new() };
        let Ok(Value::Array(rows)) = serde_json::from_slice(&output.stdout) else { return Vec::new() };
        let mut ids: Vec<String> = rows.iter().filter_map(|row| Some(row.get("id")?.as_str()?.to_owned())).collect();
        ids.dedup();
        ids
    }

    /// The findings of incidents; if somebody is named, only of those that concern him.
    async fn in_incidents(&self, who: Option<&str>) -> Result<Vec<Finding>, String> {
        let args = ["incidents", "--json"].map(str::to_owned);
        let output = self.program.run(&self.config, &args, COMMAND_MAX).await?;
        let Ok(Value::Array(mut incidents)) = serde_json::from_slice(&output.stdout) else { return Ok(Vec::new()) };
        let concerns = |incident: &Value, who: &str| {
            let named = incident.get("recipients").and_then(Value::as_array);
            let same = |name: &Value| name.as_str().is_some_and(|name| name.eq_ignore_ascii_case(who));
            // A gateway that does not say whom an incident concerns is taken at its word.
            named.is_none_or(|named| named.iter().any(same))
        };
        incidents.retain(|incident| who.is_none_or(|who| concerns(incident, who)));
        Ok(Finding::all(&Value::Array(incidents)))
    }

    /// The findings in what a command prints. A gateway that does not know the command has none.
    async fn ask(&self, args: &[&str]) -> Result<Vec<Finding>, String> {
        let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
        let output = self.program.run(&self.config, &args, COMMAND_MAX).await?;
        Ok(serde_json::from_slice(&output.stdout).map(|document| Finding::all(&document)).unwrap_or_default())
    }

    pub(super) async fn wait_log(&self, step: &WaitLog) -> Result<(), String> {
        let log = self.log_file();
        until_ok(step.within.0, async || {
            let text = std::fs::read_to_string(&log).unwrap_or_default();
            let holds = |line: &&str| step.contains.all().iter().all(|word| line.contains(word));
            let found = text.lines().any(|line| holds(&line));
            if found { Ok(()) } else { Err(format!("no line of {} has {:?}", log.display(), step.contains.all())) }
        })
        .await
    }

    pub(super) async fn run(&self, step: &Run) -> Result<(), String> {
        let id = self.sent.last().map_or("", |(_, id)| id);
        let args: Vec<String> = step.args.iter().map(|arg| arg.replace("{id}", id)).collect();
        let output = self.program.run(&self.config, &args, step.within.0).await?;
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        if output.status.code() != Some(step.expect_exit) {
            return Err(format!("{}: {}, not {}\n{out}{err}", args.join(" "), output.status, step.expect_exit));
        }
        contains("standard output", &out, &step.stdout_contains)?;
        lacks("standard output", &out, &step.stdout_lacks)?;
        contains("standard error", &err, &step.stderr_contains)
    }

    async fn queued(&self, recipient: &str) -> Result<Option<Entry>, String> {
        let args = ["queue", "list", "--json"].map(str::to_owned);
        let output = self.program.run(&self.config, &args, COMMAND_MAX).await?;
        if !output.status.success() {
            return Err(format!(
                "queue list failed ({}): {}",
                output.status,
                String::from_utf8_lossy(&output.stderr).trim()
            ));
        }
        Ok(queue::parse(&output.stdout)?.into_iter().find(|entry| entry.is_to(recipient)))
    }
}

/// Tries until it is right; the last reason is the failure.
async fn until_ok(within: Duration, attempt: impl AsyncFn() -> Result<(), String>) -> Result<(), String> {
    let deadline = Instant::now() + within;
    loop {
        let Err(why) = attempt().await else { return Ok(()) };
        if Instant::now() >= deadline {
            return Err(format!("{why} (waited {within:?})"));
        }
        sleep(POLL).await;
    }
}

/// The entry, if it is in the wanted state; none if the message is gone and may be.
fn right_state(entry: Option<Entry>, wanted: Option<&str>, recipient: &str) -> Result<Option<Entry>, String> {
    match (entry, wanted) {
        (None, Some("gone")) => Ok(None),
        (None, _) => Err(format!("{recipient} is not in the queue")),
        (Some(entry), Some(wanted)) if entry.state() != wanted => {
            Err(format!("{recipient} is {}, not {wanted}; status: {}", entry.state(), entry.status()))
        }
        (Some(entry), _) => Ok(Some(entry)),
    }
}

/// What one look saw.
#[derive(Debug)]
struct Seen {
    finding: Option<Finding>,
    state: String,
    status: String,
    copies: usize,
}

impl Seen {
    fn judge(self, step: &ExpectFinding) -> (Mark, Result<(), String>) {
        let Self { finding, state, status, copies } = self;
        let found = finding.clone().unwrap_or_default();
        let cause = finding.as_ref().map_or(Err(format!("there is no finding; {state}, status: {status}")), |found| {
            if step.cause.all().contains(&found.cause) {
                return Ok(());
            }
            let wanted = step.cause.all().join(" or ");
            Err(format!("the finding is \"{}\" ({}), not \"{wanted}\"; status: {status}", found.cause, found.sentence))
        });
        let names = contains("the sentence", &found.sentence, &step.names)
            .and_then(|()| contains("the sentence", &found.sentence, &step.sentence_contains));
        let said = [("the sentence", &found.sentence), ("the status", &status)];
        let naive = said.iter().try_for_each(|(what, text)| {
            lacks(what, text, &step.naive).and_then(|()| lacks(what, text, &step.not_contains))
        });
        let is = |what: &str, wanted: &Option<String>, is: &str| match wanted {
            Some(wanted) if wanted != is => Err(format!("the {what} is {is}, not {wanted}; status: {status}")),
            _ => Ok(()),
        };
        let sure = is("confidence", &step.confidence, &found.confidence)
            .and_then(|()| is("severity", &step.severity, &found.severity));
        let copied = match step.copies {
            Some(wanted) if wanted != copies => Err(format!("the peers got {copies} copies, not {wanted}")),
            _ => Ok(()),
        };
        let fate = is("state", &step.state, &state).and(copied);
        let mark = Mark {
            cause: cause.is_ok(),
            names: finding.is_some() && cause.is_ok() && names.is_ok(),
            naive_absent: finding.is_some() && naive.is_ok(),
            fate: fate.is_ok(),
            wrong_proven: finding.is_some() && cause.is_err() && found.confidence == "proven",
            finding,
        };
        (mark, cause.and(names).and(naive).and(sure).and(fate))
    }
}
