//! Verify: asks the server behind, during the client's session, whether it knows a recipient; never with content.
//!
//! The question is put with the null sender, so that no answer about somebody else's sender is taken for one about the
//! recipient; and only an answer that says "no such user" counts as no. Everything else leaves the recipient accepted.

use crate::core::{Core, InForce};
use crate::{deliver, probe};
use decide::diagnose::{Experiment, Result as Seen};
use decide::{route, validate};
use mail::{Address, Known, Reply, Verified};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long an answer is believed. What is not known is asked for again soon, but not for each RCPT.
const YES_KEPT: Duration = Duration::from_secs(3600);
const NO_KEPT: Duration = Duration::from_secs(600);
const UNDECIDED_KEPT: Duration = Duration::from_secs(60);
const KEPT_MAX: usize = 20_000;
/// Questions at a time, and servers asked for one recipient.
const AT_ONCE: usize = 20;
const HOSTS_MAX: usize = 2;

#[derive(Debug)]
pub(crate) struct Verifier {
    book: Mutex<HashMap<String, (Instant, Verified)>>,
    turns: tokio::sync::Semaphore,
}

impl Default for Verifier {
    fn default() -> Verifier {
        Verifier { book: Mutex::default(), turns: tokio::sync::Semaphore::new(AT_ONCE) }
    }
}

impl Verifier {
    fn kept(&self, key: &str, at: Instant) -> Option<Verified> {
        let book = self.book.lock().unwrap_or_else(PoisonError::into_inner);
        let (until, verified) = book.get(key)?;
        (at < *until).then(|| Verified { cached: true, ..verified.clone() })
    }

    fn keep(&self, key: String, verified: &Verified, at: Instant) {
        let lasting = match verified.known {
            Known::Yes => YES_KEPT,
            Known::No => NO_KEPT,
            Known::Undecided => UNDECIDED_KEPT,
        };
        let mut book = self.book.lock().unwrap_or_else(PoisonError::into_inner);
        if book.len() >= KEPT_MAX {
            book.retain(|_, (until, _)| at < *until);
        }
        if book.len() >= KEPT_MAX {
            book.clear();
        }
        book.insert(key, (at + lasting, verified.clone()));
    }

    /// Forgets everything: after a change of settings.
    pub(crate) fn forget(&self) {
        self.book.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

/// Whether the next hop knows this recipient.
pub(crate) async fn recipient(core: &Arc<Core>, in_force: &InForce, address: &Address) -> Verified {
    let key = address.key();
    if let Some(verified) = core.verifier.kept(&key, Instant::now()) {
        return verified;
    }
    let Ok(_turn) = core.verifier.turns.acquire().await else { return Verified::of(address) };
    let verified = ask(core, in_force, address).await;
    core.verifier.keep(key, &verified, Instant::now());
    verified
}

async fn ask(core: &Arc<Core>, in_force: &InForce, address: &Address) -> Verified {
    let mut verified = Verified::of(address);
    let plan = deliver::plan_of(in_force, &route::lane(address.domain()));
    let (route, _) = deliver::find_route(core, in_force, &plan).await;
    for candidate in route.candidates.iter().take(HOSTS_MAX) {
        let experiment = Experiment::Greet {
            address: candidate.address,
            host: candidate.host.clone(),
            source: None,
            ehlo: None,
            tls: false,
            sender: Some(String::new()),
            recipient: Some(address.to_string()),
        };
        let Seen::Talk(tried) = probe::made(core, in_force, &experiment).await else { continue };
        verified.host.clone_from(&candidate.host);
        verified.address = Some(candidate.address.ip());
        if let Some(said) = tried.rcpt.first() {
            verified.known = known(&said.reply);
            verified.reply = Some(said.reply.clone());
            return verified;
        }
        verified.reply = tried.failure.map(|failure| failure.status.reply());
    }
    verified
}

fn known(reply: &Reply) -> Known {
    if reply.is_positive() {
        Known::Yes
    } else if validate::says_unknown(reply) {
        Known::No
    } else {
        Known::Undecided
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_no_is_believed_for_minutes_and_a_yes_for_an_hour() {
        let verifier = Verifier::default();
        let start = Instant::now();
        let address: Address = "a@corp.test".parse().unwrap();
        let of = |known| Verified { known, ..Verified::of(&address) };
        verifier.keep(address.key(), &of(Known::No), start);
        assert!(verifier.kept("a@corp.test", start).is_some_and(|verified| verified.cached));
        assert!(verifier.kept("a@corp.test", start + NO_KEPT).is_none());
        verifier.keep(address.key(), &of(Known::Yes), start);
        assert!(verifier.kept("a@corp.test", start + NO_KEPT).is_some());
    }
}
