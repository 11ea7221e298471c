//! Greylisting: who is not known yet is asked to come back. Mail servers do (RFC 5321 4.5.4.1), most programs that only send spam do not.
//!
//! A client counts by its network, or by the sender's domain where SPF says that the domain permits it: retries of a large
//! sender come from other addresses of its pool, and must count as the same.

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use mail::{SpfCheck, SpfResult, Time};
use serde::{Deserialize, Serialize};
use std::net::IpAddr;
use std::time::Duration;

/// What the settings of a listener say of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Greylisting {
    /// Zero: off.
    pub delay: Duration,
    /// How long who has passed is remembered, since last seen.
    pub keep: Duration,
    /// After so many senders and recipients that have passed, the client's network or domain passes always. 0: never.
    pub known_after: u32,
}

/// Who comes back after this begins anew: servers give up after days (RFC 5321 4.5.4.1), and retry within hours.
pub const WINDOW: Duration = Duration::from_secs(2 * 86_400);
/// Addresses from which the same mail comes count as one pool's only within so long of the first.
const POOL: Duration = Duration::from_secs(4 * 3600);
/// Addresses remembered of one mail.
const ADDRESSES_MAX: usize = 10;

/// What is remembered under a key. Kept as JSON by the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    pub first: Time,
    /// When it may be forgotten.
    pub expires: Time,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub passed: bool,
    /// Of a client: senders and recipients that have passed.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub count: u32,
    /// Of a sender and a recipient: addresses that tried, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<IpAddr>,
}

fn is_zero(count: &u32) -> bool {
    *count == 0
}

/// One RCPT.
#[derive(Debug, Clone)]
pub struct Attempt<'a> {
    pub client: IpAddr,
    /// `<>` for the null sender.
    pub sender: &'a str,
    pub recipient: &'a str,
    pub spf: Option<&'a SpfCheck>,
    pub at: Time,
}

/// The answer to an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judged {
    /// How long it has to wait still; `None`: it passes.
    pub wait: Option<Duration>,
    /// What it counts as: `domain:pool.test`, `192.0.2.0/24`.
    pub origin: String,
    /// Addresses that the same mail has come from lately, this one included, if it did not pass at once.
    pub addresses: Vec<IpAddr>,
    /// What must be remembered from now on.
    pub learnt: Vec<(String, Entry)>,
}

/// Whether it passes. `known` gives what is remembered under a key.
pub fn judge(rules: &Greylisting, attempt: &Attempt<'_>, known: impl Fn(&str) -> Option<Entry>) -> Judged {
    let known = |key: &str| known(key).filter(|entry| entry.expires > attempt.at);
    let network = network(attempt.client);
    let domain = permitted(attempt.spf).map(|domain| format!("domain:{domain}"));
    let origin = domain.clone().unwrap_or_else(|| network.clone());
    let mut judged = Judged { wait: None, origin, addresses: Vec::new(), learnt: Vec::new() };
    // Who is known by its domain is known; so is who was by its network while SPF could not be asked.
    let origins: Vec<String> = domain.into_iter().chain([network]).collect();
    if let Some((key, client)) =
        origins.iter().find_map(|origin| Some((client_key(origin), known(&client_key(origin))?)))
        && rules.known_after > 0
        && client.count >= rules.known_after
    {
        judged.learnt.push((key, Entry { expires: attempt.at + rules.keep, ..client }));
        return judged;
    }
    let mail = (attempt.sender.to_ascii_lowercase(), attempt.recipient.to_ascii_lowercase());
    let key = |origin: &str| format!("{origin}\n{}\n{}", mail.0, mail.1);
    let found = origins.iter().find_map(|origin| Some((key(origin), known(&key(origin))?)));
    judged.addresses = pool(&mail, attempt, &known, &mut judged.learnt);
    let (key, entry) = found.unwrap_or_else(|| {
        let entry =
            Entry { first: attempt.at, expires: attempt.at + WINDOW, passed: false, count: 0, addresses: Vec::new() };
        (key(&judged.origin), entry)
    });
    let waited = attempt.at.since(entry.first);
    if !entry.passed && waited < rules.delay {
        judged.wait = Some(rules.delay - waited);
        judged.learnt.push((key, entry));
        return judged;
    }
    if !entry.passed {
        let client = client_key(&judged.origin);
        let count = known(&client).map_or(0, |client| client.count) + 1;
        let expires = attempt.at + rules.keep;
        let entry = Entry { first: entry.first, expires, passed: false, count, addresses: Vec::new() };
        judged.learnt.push((client, entry));
    }
    judged.learnt.push((key, Entry { passed: true, expires: attempt.at + rules.keep, ..entry }));
    judged
}

/// Addresses that this mail has come from, within a few hours of its first deferral.
fn pool(
    mail: &(String, String),
    attempt: &Attempt<'_>,
    known: &impl Fn(&str) -> Option<Entry>,
    learnt: &mut Vec<(String, Entry)>,
) -> Vec<IpAddr> {
    let key = format!("mail\n{}\n{}", mail.0, mail.1);
    let mut entry = known(&key).unwrap_or_else(|| Entry {
        first: attempt.at,
        expires: attempt.at + POOL,
        passed: false,
        count: 0,
        addresses: Vec::new(),
    });
    let client = attempt.client.to_canonical();
    if !entry.addresses.contains(&client) && entry.addresses.len() < ADDRESSES_MAX {
        entry.addresses.push(client);
        learnt.push((key, entry.clone()));
    }
    entry.addresses
}

/// Servers of one sender mostly stand side by side: /24, /64.
fn network(client: IpAddr) -> String {
    let network = match client.to_canonical() {
        IpAddr::V4(v4) => Ipv4Net::new(v4, 24).map(IpNet::V4),
        IpAddr::V6(v6) => Ipv6Net::new(v6, 64).map(IpNet::V6),
    };
    network.map_or_else(|_| client.to_string(), |network| network.trunc().to_string())
}

/// The domain that permits the client.
fn permitted(spf: Option<&SpfCheck>) -> Option<&str> {
    // Who permits everybody says nothing about anybody.
    let is_everybody = |check: &SpfCheck| {
        check.term().is_some_and(|link| {
            link.term.trim_start_matches('+').eq_ignore_ascii_case("all") || link.term.ends_with("/0")
        })
    };
    spf.filter(|check| check.result == SpfResult::Pass && !is_everybody(check)).map(|check| check.domain.as_str())
}

fn client_key(origin: &str) -> String {
    format!("client\n{origin}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use mail::SpfLink;
    use std::collections::HashMap;

    const RULES: Greylisting =
        Greylisting { delay: Duration::from_secs(300), keep: Duration::from_secs(36 * 86_400), known_after: 3 };

    fn pass(term: &str) -> SpfCheck {
        SpfCheck {
            result: SpfResult::Pass,
            domain: "pool.test".to_owned(),
            record: None,
            path: vec![SpfLink { domain: "pool.test".to_owned(), term: term.to_owned() }],
            why: String::new(),
            explanation: None,
            asked: Vec::new(),
            lookups: 0,
        }
    }

    #[derive(Default)]
    struct Book(HashMap<String, Entry>);

    impl Book {
        /// `wait 300`, or `pass`, at so many seconds; then how many addresses there were.
        fn at(&mut self, seconds: i64, client: &str, spf: Option<&SpfCheck>, sender: &str) -> String {
            let attempt = Attempt {
                client: client.parse().unwrap(),
                sender,
                recipient: "u@corp.test",
                spf,
                at: Time(1_000_000 + seconds * 1000),
            };
            let judged = judge(&RULES, &attempt, |key| self.0.get(key).cloned());
            self.0.extend(judged.learnt);
            let word = judged.wait.map_or("pass".to_owned(), |wait| format!("wait {}", wait.as_secs()));
            format!("{word} {} {}", judged.origin, judged.addresses.len())
        }
    }

    #[test]
    fn who_comes_back_after_the_delay_passes() {
        let mut book = Book::default();
        assert_eq!(book.at(0, "192.0.2.1", None, "a@x.test"), "wait 300 192.0.2.0/24 1");
        assert_eq!(book.at(299, "::ffff:192.0.2.9", None, "A@x.test"), "wait 1 192.0.2.0/24 2");
        assert_eq!(book.at(300, "192.0.2.1", None, "a@x.test"), "pass 192.0.2.0/24 2");
        assert_eq!(book.at(301, "192.0.2.1", None, "a@x.test"), "pass 192.0.2.0/24 2");
        assert_eq!(book.at(302, "192.0.3.1", None, "a@x.test"), "wait 300 192.0.3.0/24 3");
        assert_eq!(book.at(303, "192.0.2.1", None, "b@x.test"), "wait 300 192.0.2.0/24 1");
        assert_eq!(book.at(304, "2001:db8::1:0:0:1", None, "a@x.test"), "wait 300 2001:db8::/64 4");
    }

    #[test]
    fn who_comes_back_too_late_begins_anew_and_who_passed_is_kept() {
        let mut book = Book::default();
        let window = WINDOW.as_secs() as i64;
        book.at(0, "192.0.2.1", None, "a@x.test");
        assert_eq!(book.at(window, "192.0.2.1", None, "a@x.test"), "wait 300 192.0.2.0/24 1");
        assert_eq!(book.at(window + 300, "192.0.2.1", None, "a@x.test"), "pass 192.0.2.0/24 1");
        let later = window + 300 + 35 * 86_400;
        assert_eq!(book.at(later, "192.0.2.1", None, "a@x.test"), "pass 192.0.2.0/24 1");
        assert_eq!(book.at(later + 37 * 86_400, "192.0.2.1", None, "a@x.test"), "wait 300 192.0.2.0/24 1");
    }

    #[test]
    fn a_pool_that_its_domain_permits_counts_as_one() {
        let mut book = Book::default();
        let spf = pass("ip4:198.51.0.0/16");
        assert_eq!(book.at(0, "198.51.1.1", Some(&spf), "a@pool.test"), "wait 300 domain:pool.test 1");
        assert_eq!(book.at(360, "198.51.2.1", Some(&spf), "a@pool.test"), "pass domain:pool.test 2");
        assert_eq!(book.at(720, "198.51.3.1", Some(&spf), "a@pool.test"), "pass domain:pool.test 3");
        // A domain that permits everybody vouches for nobody.
        let mut book = Book::default();
        assert_eq!(book.at(0, "198.51.1.1", Some(&pass("+all")), "a@pool.test"), "wait 300 198.51.1.0/24 1");
        assert_eq!(book.at(0, "198.51.1.1", Some(&pass("ip4:0.0.0.0/0")), "a@pool.test"), "wait 300 198.51.1.0/24 1");
        // SPF could not be asked the first time, or the second.
        let mut book = Book::default();
        book.at(0, "198.51.1.1", None, "a@pool.test");
        assert_eq!(book.at(300, "198.51.1.1", Some(&spf), "a@pool.test"), "pass domain:pool.test 1");
    }

    #[test]
    fn after_some_that_passed_the_client_is_known() {
        let mut book = Book::default();
        for sender in ["a@x.test", "b@x.test", "c@x.test"] {
            book.at(0, "192.0.2.1", None, sender);
        }
        book.at(300, "192.0.2.1", None, "a@x.test");
        book.at(300, "192.0.2.1", None, "b@x.test");
        assert_eq!(book.at(301, "192.0.2.1", None, "d@x.test"), "wait 300 192.0.2.0/24 1");
        book.at(301, "192.0.2.1", None, "c@x.test");
        assert_eq!(book.at(302, "192.0.2.1", None, "e@x.test"), "pass 192.0.2.0/24 0");
        assert_eq!(book.at(302, "192.0.3.1", None, "e@x.test"), "wait 300 192.0.3.0/24 1");
    }
}
