//! Greylist: the book of who came before, in memory for speed and in the store for the next start.

use crate::core::Core;
use decide::greylist::{self, Attempt, Entry, Greylisting, Judged};
use mail::Time;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use store::{Remembered, Store};

/// Entries kept, in memory as on disk: some 20 MB.
pub(crate) const KEPT_MAX: usize = 100_000;

#[derive(Debug, Default)]
pub(crate) struct Greylist {
    book: Mutex<HashMap<String, Entry>>,
}

impl Greylist {
    /// With what was remembered before the last stop.
    pub(crate) fn open(store: &Store, at: Time) -> std::io::Result<Greylist> {
        let rows = store.remembered(at, KEPT_MAX)?;
        let read = |row: Remembered| Some((row.key, serde_json::from_str(&row.value).ok()?));
        Ok(Greylist { book: Mutex::new(rows.into_iter().filter_map(read).collect()) })
    }

    /// Judges, and remembers what follows.
    pub(crate) fn judge(&self, core: &Core, rules: &Greylisting, attempt: &Attempt<'_>) -> Judged {
        let mut book = self.book.lock().unwrap_or_else(PoisonError::into_inner);
        let judged = greylist::judge(rules, attempt, |key| book.get(key).cloned());
        let row = |(key, entry): &(String, Entry)| Remembered {
            key: key.clone(),
            expires: entry.expires,
            value: serde_json::to_string(entry).unwrap_or_default(),
        };
        // Only what is new goes to disk: a client that is known says nothing new with each message.
        let changed = |learnt: &&(String, Entry)| book.get(&learnt.0).is_none_or(|known| is_news(known, &learnt.1));
        let rows: Vec<Remembered> = judged.learnt.iter().filter(changed).map(row).collect();
        if book.len() >= KEPT_MAX {
            shrink(&mut book, attempt.at);
        }
        book.extend(judged.learnt.iter().cloned());
        drop(book);
        if !rows.is_empty() {
            core.store.remember(rows);
        }
        judged
    }

    /// Lets go of what has expired.
    pub(crate) fn sweep(&self, core: &Core, at: Time) {
        let mut book = self.book.lock().unwrap_or_else(PoisonError::into_inner);
        let before = book.len();
        book.retain(|_, entry| entry.expires > at);
        let is_used = before > 0;
        drop(book);
        if is_used {
            core.store.forget_remembered(at, KEPT_MAX);
        }
    }
}

/// Another fact, or a time that moved by more than a day.
fn is_news(known: &Entry, learnt: &Entry) -> bool {
    let same = Entry { expires: known.expires, ..learnt.clone() } == *known;
    !same || (learnt.expires.ms() - known.expires.ms()).abs() > 86_400_000
}

/// Makes room: first what has expired, then the tenth that would expire next. Those who never came back go before those who did.
fn shrink(book: &mut HashMap<String, Entry>, at: Time) {
    book.retain(|_, entry| entry.expires > at);
    if book.len() < KEPT_MAX {
        return;
    }
    let mut ends: Vec<i64> = book.values().map(|entry| entry.expires.ms()).collect();
    ends.sort_unstable();
    let end = ends[ends.len() / 10];
    book.retain(|_, entry| entry.expires.ms() > end);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_book_lets_those_go_who_would_go_next() {
        let entry =
            |expires| Entry { first: Time(0), expires: Time(expires), passed: false, count: 0, addresses: vec![] };
        let mut book: HashMap<String, Entry> = (0..KEPT_MAX as i64).map(|n| (n.to_string(), entry(1000 + n))).collect();
        shrink(&mut book, Time(0));
        assert!(book.len() < KEPT_MAX && book.len() >= KEPT_MAX * 8 / 10, "{}", book.len());
        assert!(!book.contains_key("0") && book.contains_key(&(KEPT_MAX - 1).to_string()));
    }

    #[test]
    fn a_known_client_is_written_once_a_day() {
        let entry =
            |expires| Entry { first: Time(0), expires: Time(expires), passed: true, count: 0, addresses: vec![] };
        assert!(!is_news(&entry(0), &entry(80_000_000)));
        assert!(is_news(&entry(0), &entry(90_000_000)));
        assert!(is_news(&entry(0), &Entry { count: 1, ..entry(0) }));
    }
}
