//! Diagnose: gathers what a case needs, asks the rules, makes the experiments that they want, and asks again.

use crate::clock::now;
use crate::core::{Core, InForce};
use decide::diagnose::{Around, Bounce, Case, ContentFacts, Experiment, Look, Reader, What, delivered, diagnose};
use mail::{Attempt, Finding, Stage, Visit};
use std::sync::Arc;
use std::time::Duration;
use store::Stored;
use tokio::time::{Instant, timeout_at};

/// All experiments of one case together: a finding that comes later helps nobody.
const EXPERIMENTS_MAX: Duration = Duration::from_secs(14);
/// Rules ask, learn, and may ask once more.
const ROUNDS_MAX: usize = 4;
/// A greeting later than this is worth a note, though the mail went through.
const LATE_GREETING_MS: u64 = 10_000;

/// What an attempt comes to. Nothing for one that went well and smoothly.
pub(crate) async fn of_attempt(
    core: &Arc<Core>,
    in_force: &InForce,
    message: Option<&Stored>,
    attempt: &Attempt,
) -> Vec<Finding> {
    if !is_worth_a_look(attempt) {
        return Vec::new();
    }
    let content = match message.filter(|_| is_about_content(attempt)) {
        Some(message) => content(core, message).await,
        None => None,
    };
    rounds(core, in_force, What::Attempt(attempt), content.as_ref()).await
}

/// What a client's visit comes to.
pub(crate) async fn of_visit(core: &Arc<Core>, in_force: &InForce, visit: &Visit) -> Vec<Finding> {
    rounds(core, in_force, What::Visit(visit), None).await
}

/// What another server's bounce comes to, about mail that never came here.
pub(crate) async fn of_bounce(core: &Arc<Core>, in_force: &InForce, bounce: &Bounce) -> Vec<Finding> {
    rounds(core, in_force, What::Bounce(bounce), None).await
}

/// What the record alone says: no experiment, no content.
pub(crate) fn of_record(core: &Core, in_force: &InForce, attempt: &Attempt) -> Vec<Finding> {
    let around = around(core);
    diagnose(&case(in_force, What::Attempt(attempt), None, &around, &[])).findings
}

/// What a message that came back comes to, as far as that is known while its client waits for an answer: no experiment, and
/// nothing if one is wanted.
pub(crate) fn of_return(core: &Core, in_force: &InForce, visit: &Visit) -> Option<Finding> {
    if !in_force.settings.diagnosis.enabled {
        return None;
    }
    let around = around(core);
    let diagnosis = diagnose(&case(in_force, What::Visit(visit), None, &around, &[]));
    if diagnosis.wanted.is_empty() { diagnosis.findings.into_iter().next() } else { None }
}

fn around(core: &Core) -> Around {
    Around { resolvers: core.resolver.health(), ..core.around.snapshot() }
}

fn case<'a>(
    in_force: &'a InForce,
    what: What<'a>,
    content: Option<&'a ContentFacts>,
    around: &'a Around,
    looks: &'a [Look],
) -> Case<'a> {
    Case { what, identity: &in_force.identity, settings: &in_force.settings, content, around, looks, now: now() }
}

/// Asks, looks, asks again, until nothing more is wanted or the time is up.
async fn rounds(core: &Arc<Core>, in_force: &InForce, what: What<'_>, content: Option<&ContentFacts>) -> Vec<Finding> {
    let around = around(core);
    let mut looks: Vec<Look> = Vec::new();
    let until = Instant::now() + EXPERIMENTS_MAX;
    for _ in 0..ROUNDS_MAX {
        let diagnosis = diagnose(&case(in_force, what, content, &around, &looks));
        if diagnosis.wanted.is_empty() {
            return diagnosis.findings;
        }
        looks.extend(look(core, in_force, diagnosis.wanted, until).await);
    }
    diagnose(&case(in_force, what, content, &around, &looks)).findings
}

/// Every experiment comes back, made or not: a rule that is told "not made" must decide.
async fn look(core: &Arc<Core>, in_force: &InForce, wanted: Vec<Experiment>, until: Instant) -> Vec<Look> {
    match timeout_at(until, crate::probe::look(core, in_force, &wanted)).await {
        Ok(looks) => looks,
        Err(_) => {
            let why = || format!("the {} s for looking are over", EXPERIMENTS_MAX.as_secs());
            let not_made =
                |experiment| Look { experiment, at: now(), result: decide::diagnose::Result::NotMade(why()) };
            wanted.into_iter().map(not_made).collect()
        }
    }
}

/// Whether rules could have something to say: it failed, or it went through with a stumble. All that is known of a smooth
/// delivery is in the record itself; asking the rules for each would cost the fast path.
pub(crate) fn is_worth_a_look(attempt: &Attempt) -> bool {
    let [tried] = attempt.tries.as_slice() else { return true };
    !delivered(tried)
        || tried.failure.is_some()
        || attempt.no_route.is_some()
        || !attempt.dropped.is_empty()
        || tried.rcpt.iter().any(|said| said.reply.code >= 400)
        || tried.helo_only
        || tried.starttls.as_ref().is_some_and(|reply| reply.code >= 400)
        || tried.banner_ms.is_some_and(|ms| ms > LATE_GREETING_MS)
        // A connection was opened for it: what DNS and the greeting said is new.
        || (tried.reused_after_ms.is_none() && !attempt.dns.iter().all(|answer| answer.cached))
}

/// Whether the content can be the reason: it was sent, or its size or needs were refused.
fn is_about_content(attempt: &Attempt) -> bool {
    attempt.tries.iter().any(|tried| {
        tried.content_sent > 0
            || tried.mail_reply.as_ref().is_some_and(|reply| reply.code >= 400)
            || tried.failure.as_ref().is_some_and(|failure| failure.stage >= Stage::Mail)
    }) && !attempt.tries.iter().any(delivered)
}

/// What the content looks like, read piece by piece: large messages are those that size limits refuse.
async fn content(core: &Arc<Core>, message: &Stored) -> Option<ContentFacts> {
    const PIECE: usize = 65_536;
    let (core, message) = (core.clone(), message.clone());
    let read = move || {
        let content = core.store.content(&message).ok()?;
        if let Some(memory) = content.memory() {
            return Some(ContentFacts::read(memory));
        }
        let (mut reader, mut piece, mut offset) = (Reader::default(), vec![0; PIECE], 0);
        loop {
            match content.read_at(offset, &mut piece).ok()? {
                0 => return Some(reader.finish()),
                length => {
                    reader.feed(&piece[..length]);
                    offset += length as u64;
                }
            }
        }
    };
    tokio::task::spawn_blocking(read).await.ok().flatten()
}
