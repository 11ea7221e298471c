//! Steps about the gateway's own account of things: its queue, findings, log and command line.

use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::{
    queue::{self, Entry},
    runner::Stage,
    step::{ExpectFinding, OneOrMany, Run, WaitLog, WaitQueue},
    wording::{contains, lacks},
};

/// Each look at the queue starts a program.
const POLL: Duration = Duration::from_millis(150);
/// A command of the gateway that takes longer hangs.
const COMMAND_MAX: Duration = Duration::from_secs(20);

impl Stage {
    pub(super) async fn wait_queue(&self, step: &WaitQueue) -> Result<(), String> {
        until_ok(step.within.0, async || {
            let entry = self.queue(&step.recipient).await?;
            let Some(entry) = right_state(entry, step.state.as_deref(), &step.recipient)? else { return Ok(()) };
            contains("the status", &entry.status(), &step.status_contains)?;
            lacks("the status", &entry.status(), &step.status_lacks)?;
            let attempts = entry.attempts();
            if attempts < step.attempts { Err(format!("{attempts} of {} attempts", step.attempts)) } else { Ok(()) }
        })
        .await
    }

    pub(super) async fn expect_finding(&self, step: &ExpectFinding) -> Result<(), String> {
        until_ok(step.within.0, async || {
            let entry = self.queue(&step.recipient).await?;
            let gone = entry.is_none();
            let entry = right_state(entry, step.state.as_deref().or(gone.then_some("gone")), &step.recipient)?;
            match entry {
                Some(entry) => found_in_queue(step, &entry),
                None => self.found_in_audit(step).await,
            }
        })
        .await?;
        let copies = self.copies(None, Some(&step.recipient)).len();
        match step.copies {
            Some(wanted) if wanted != copies => {
                Err(format!("the peers got {copies} copies for {}, not {wanted}", step.recipient))
            }
            _ => Ok(()),
        }
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

    async fn queue(&self, recipient: &str) -> Result<Option<Entry>, String> {
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

    /// A message that is no longer queued has its finding in the audit trail.
    async fn found_in_audit(&self, step: &ExpectFinding) -> Result<(), String> {
        let to_it = |(recipients, _): &&(Vec<String>, String)| {
            recipients.iter().any(|r| r.eq_ignore_ascii_case(&step.recipient))
        };
        let Some((_, id)) = self.sent.iter().rev().find(to_it) else {
            return Err(format!("{} is not queued, and no reply named an Audit ID to look for", step.recipient));
        };
        let args = ["audit", "show", id].map(str::to_owned);
        let output = self.program.run(&self.config, &args, COMMAND_MAX).await?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let what = format!("audit show {id}");
        contains(&what, &text, &OneOrMany::One(step.cause.clone()))?;
        contains(&what, &text, &step.sentence_contains)?;
        lacks(&what, &text, &step.not_contains)
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

fn found_in_queue(step: &ExpectFinding, entry: &Entry) -> Result<(), String> {
    let (cause, sentence) = (entry.cause(), entry.sentence());
    if cause != step.cause {
        return Err(format!(
            "the finding is \"{cause}\" ({sentence}), not \"{}\"; status: {}",
            step.cause,
            entry.status()
        ));
    }
    contains("the sentence", &sentence, &step.sentence_contains)?;
    lacks("the sentence", &sentence, &step.not_contains)?;
    lacks("the status", &entry.status(), &step.not_contains)
}
