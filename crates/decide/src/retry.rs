//! When to try again, when to tell the sender that it takes longer, when to give up.
//!
//! With the defaults: at once, then 15 m, 45 m, 1 h 45, 3 h 45, 7 h 45, 14 h 45, 21 h 45 … after reception.

use crate::settings::Retry;
use mail::{ReversePath, Time};
use std::time::Duration;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    At(Time),
    /// The mail is too old: bounce it, with the last real failure.
    Expired,
}

/// The next attempt after `attempts_made` attempts; those that an administrator's flush made do not count.
///
/// Times lie on the timetable, counted from reception. After a pause the times that have passed are skipped, not made
/// up for. The last attempt is made when the mail expires.
pub fn next(retry: &Retry, sender: &ReversePath, attempts_made: u32, received: Time, now: Time) -> Next {
    if attempts_made == 0 {
        return Next::At(now.max(received));
    }
    let expiry = expiry(retry, sender, received);
    if now >= expiry {
        return Next::Expired;
    }
    let later = |at: &Time| *at > now;
    let slot = timetable(retry, received).skip(attempts_made as usize).take_while(|at| *at < expiry).find(later);
    Next::At(slot.unwrap_or(expiry))
}

/// When mail from this sender is given up. Bounces live shorter: nobody waits for them.
pub fn expiry(retry: &Retry, sender: &ReversePath, received: Time) -> Time {
    received + if sender.is_null() { retry.expire_bounces } else { retry.expire }
}

/// The time of the delay notice after `sent` others; None when the mail expires first, and for bounces, which are
/// never answered (RFC 3464 2: no report about a report).
pub fn notice(retry: &Retry, sender: &ReversePath, sent: u32, received: Time) -> Option<Time> {
    if sender.is_null() {
        return None;
    }
    let listed = &retry.delay_notices;
    let further = (sent as usize + 1).saturating_sub(listed.len());
    let age = match listed.get(sent as usize) {
        Some(age) => *age,
        None => *listed.last()? + retry.delay_notice_every.saturating_mul(further as u32),
    };
    Some(received + age).filter(|at| *at < expiry(retry, sender, received))
}

/// How long a destination rests after this many failures to connect in a row: 1, 2, 4, 8, then 15 minutes. Mail that
/// falls due meanwhile waits without an attempt of its own; a flush tries at once.
pub fn marked_down(failures: u32) -> Duration {
    const MINUTES_MAX: u64 = 15;
    let minutes = failures.checked_sub(1).map_or(0, |doublings| 1u64.checked_shl(doublings).unwrap_or(MINUTES_MAX));
    Duration::from_secs(60 * minutes.min(MINUTES_MAX))
}

/// All attempts without end: reception, then waits that double up to the longest.
fn timetable(retry: &Retry, received: Time) -> impl Iterator<Item = Time> {
    // A wait of nothing would be an endless loop; no valid settings have one.
    let longest = retry.longest.max(Duration::from_secs(1));
    let first = retry.first.clamp(Duration::from_secs(1), longest);
    let waits = std::iter::successors(Some(first), move |wait| Some((*wait * 2).min(longest)));
    std::iter::once(received).chain(waits.scan(received, |at, wait| {
        *at = *at + wait;
        Some(*at)
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::time_words;

    const RECEIVED: Time = Time(1_800_000_000_000);

    fn sender(text: &str) -> ReversePath {
        if text == "<>" { ReversePath::Null } else { ReversePath::Address(text.parse().unwrap()) }
    }

    fn minutes(count: u64) -> Duration {
        Duration::from_secs(60 * count)
    }

    /// Attempts made, and the age in minutes at the last failure → the age at the next attempt.
    fn check(from: &str, attempts: u32, age: u64, expected: &str) {
        let found = match next(&Retry::default(), &sender(from), attempts, RECEIVED, RECEIVED + minutes(age)) {
            Next::At(at) => time_words(at.since(RECEIVED)),
            Next::Expired => "expired".to_owned(),
        };
        assert_eq!(found, expected, "{from}, {attempts} attempts, {age} minutes old");
    }

    #[test]
    fn the_timetable_is_the_one_administrators_know() {
        let mut age = RECEIVED;
        let mut ages = Vec::new();
        for attempts in 1.. {
            match next(&Retry::default(), &sender("a@x.test"), attempts, RECEIVED, age) {
                Next::At(at) => age = at,
                Next::Expired => break,
            }
            ages.push(time_words(age.since(RECEIVED)));
        }
        assert_eq!(ages[..7], ["15m", "45m", "1h45m", "3h45m", "7h45m", "14h45m", "21h45m"]);
        assert_eq!(ages.last().unwrap(), "5d");
        assert_eq!(ages.len(), 22);
    }

    #[test]
    fn times_that_have_passed_are_skipped() {
        check("a@x.test", 0, 0, "0s");
        check("a@x.test", 1, 5, "15m");
        check("a@x.test", 1, 24 * 60, "1d4h45m");
        check("a@x.test", 3, 50, "1h45m");
    }

    #[test]
    fn the_last_attempt_is_made_at_expiry() {
        check("a@x.test", 20, 5 * 24 * 60 - 1, "5d");
        check("a@x.test", 21, 5 * 24 * 60, "expired");
        check("<>", 4, 23 * 60, "1d");
        check("<>", 5, 24 * 60, "expired");
    }

    #[test]
    fn delay_notices_come_after_4_12_28_hours_then_every_16() {
        let at = |from: &str, sent| {
            notice(&Retry::default(), &sender(from), sent, RECEIVED).map(|at| at.since(RECEIVED).as_secs() / 3600)
        };
        let hours: Vec<_> = (0..8).map_while(|sent| at("a@x.test", sent)).collect();
        assert_eq!(hours, [4, 12, 28, 44, 60, 76, 92, 108]);
        assert_eq!(at("a@x.test", 8), None);
        assert_eq!(at("<>", 0), None);
        let silent = Retry { delay_notices: Vec::new(), ..Retry::default() };
        assert_eq!(notice(&silent, &sender("a@x.test"), 0, RECEIVED), None);
    }

    #[test]
    fn a_destination_rests_longer_each_time() {
        let rests: Vec<u64> =
            [0, 1, 2, 3, 4, 5, 6, 64, u32::MAX].iter().map(|failures| marked_down(*failures).as_secs() / 60).collect();
        assert_eq!(rests, [0, 1, 2, 4, 8, 15, 15, 15, 15]);
    }
}
