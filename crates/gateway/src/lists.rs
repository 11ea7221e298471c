//! Lists: DNS block lists (RFC 5782), asked for each client, and which of them are out of use because they fail.

use crate::core::{Core, InForce};
use crate::deliver::join_all;
use decide::validate;
use mail::dns::{Answer, Question};
use mail::{Domain, ListWord, Listing};
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::time::timeout;

/// A client is not kept waiting longer for a list.
const ANSWER_MAX: Duration = Duration::from_secs(2);
/// Failures in a row after which a list is left out, and for how long.
const FAILURES_MAX: u32 = 5;
const SKIPPED: Duration = Duration::from_secs(600);
/// A list that answers with an error code does so until somebody acts.
const OFF: Duration = Duration::from_secs(3600);

#[derive(Debug, Default)]
pub(crate) struct Lists {
    book: Mutex<HashMap<String, Health>>,
}

#[derive(Debug, Default)]
struct Health {
    failed_in_a_row: u32,
    off_until: Option<Instant>,
}

impl Lists {
    fn is_off(&self, zone: &str, at: Instant) -> bool {
        let book = self.book.lock().unwrap_or_else(PoisonError::into_inner);
        book.get(zone).and_then(|health| health.off_until).is_some_and(|until| at < until)
    }

    /// Books what a list said; the failures in a row, and for how long it is left out from now on.
    fn heard(&self, zone: &str, word: ListWord, at: Instant) -> (u32, Duration) {
        let mut book = self.book.lock().unwrap_or_else(PoisonError::into_inner);
        let health = book.entry(zone.to_owned()).or_default();
        let off = match word {
            ListWord::NoAnswer => {
                health.failed_in_a_row += 1;
                if health.failed_in_a_row >= FAILURES_MAX { SKIPPED } else { Duration::ZERO }
            }
            ListWord::Error => OFF,
            ListWord::Clean | ListWord::Listed | ListWord::Skipped => Duration::ZERO,
        };
        if word != ListWord::NoAnswer {
            health.failed_in_a_row = 0;
        }
        health.off_until = (!off.is_zero()).then(|| at + off);
        let failed = health.failed_in_a_row;
        // After the pause it has as many tries again.
        if !off.is_zero() {
            health.failed_in_a_row = 0;
        }
        (failed, off)
    }
}

/// What the lists say of a client, all asked at once.
pub(crate) async fn ask(core: &Core, in_force: &InForce, zones: &[Domain], client: IpAddr) -> Vec<Listing> {
    join_all(zones.iter().map(|zone| one(core, in_force, zone, client))).await
}

async fn one(core: &Core, in_force: &InForce, zone: &Domain, client: IpAddr) -> Listing {
    let name = zone.ascii();
    let mut listing = Listing { zone: name.clone(), ..Listing::default() };
    let started = Instant::now();
    if core.lists.is_off(&name, started) {
        return Listing { word: ListWord::Skipped, ..listing };
    }
    let question: Question = validate::list_question(&name, client);
    let asked = timeout(ANSWER_MAX, core.resolver.ask(&in_force.dns, question.clone())).await;
    let answer =
        asked.unwrap_or_else(|_| Answer::failed(question, format!("no answer within {} s", ANSWER_MAX.as_secs())));
    listing.elapsed_ms = u32::try_from(started.elapsed().as_millis()).unwrap_or(u32::MAX);
    listing.codes = answer.addresses();
    listing.word = validate::list_word(&answer);
    let (failed, off) = core.lists.heard(&name, listing.word, Instant::now());
    listing.failed_in_a_row = failed;
    listing.skipped_s = u32::try_from(off.as_secs()).unwrap_or(u32::MAX);
    listing
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_that_fails_five_times_is_left_out_for_ten_minutes() {
        let lists = Lists::default();
        let start = Instant::now();
        for n in 1..5 {
            assert_eq!(lists.heard("slow.test", ListWord::NoAnswer, start), (n, Duration::ZERO));
        }
        assert!(!lists.is_off("slow.test", start));
        assert_eq!(lists.heard("slow.test", ListWord::NoAnswer, start), (5, SKIPPED));
        assert!(lists.is_off("slow.test", start) && !lists.is_off("other.test", start));
        assert!(!lists.is_off("slow.test", start + SKIPPED));
        assert_eq!(lists.heard("slow.test", ListWord::NoAnswer, start + SKIPPED), (1, Duration::ZERO));
    }

    #[test]
    fn an_answer_ends_the_row_and_an_error_code_the_use() {
        let lists = Lists::default();
        let start = Instant::now();
        lists.heard("a.test", ListWord::NoAnswer, start);
        lists.heard("a.test", ListWord::Clean, start);
        assert_eq!(lists.heard("a.test", ListWord::NoAnswer, start).0, 1);
        assert_eq!(lists.heard("a.test", ListWord::Error, start), (0, OFF));
        assert!(lists.is_off("a.test", start));
    }
}
