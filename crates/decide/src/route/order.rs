//! In what order addresses are tried: better preference first, equal ones shuffled, families as the settings say.

use super::Candidate;
use crate::settings::AddressFamily;

/// A small generator (splitmix64): chance is an argument here, and the same seed gives the same order.
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Dice {
        Dice(seed)
    }

    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Fisher and Yates.
    fn shuffle<T>(&mut self, items: &mut [T]) {
        for at in (1..items.len()).rev() {
            let other = (self.roll() % (at as u64 + 1)) as usize;
            items.swap(at, other);
        }
    }
}

/// All addresses of all hosts, each once, in the order in which to dial them.
pub(super) fn candidates(mut hosts: Vec<Vec<Candidate>>, family: AddressFamily, dice: &mut Dice) -> Vec<Candidate> {
    hosts.retain(|host| !host.is_empty());
    dice.shuffle(&mut hosts);
    // A stable sort: equal preferences stay as shuffled (RFC 5321 5.1).
    hosts.sort_by_key(|host| host[0].preference);
    let mut ordered: Vec<Candidate> = Vec::new();
    for host in hosts {
        for candidate in families(host, family, dice) {
            if !ordered.iter().any(|known| known.address == candidate.address) {
                ordered.push(candidate);
            }
        }
    }
    ordered
}

/// One host's addresses. With `any` the families take turns, so that a dead one costs a single try (as RFC 8305 4).
fn families(mut host: Vec<Candidate>, family: AddressFamily, dice: &mut Dice) -> Vec<Candidate> {
    dice.shuffle(&mut host);
    let (v6, v4): (Vec<_>, Vec<_>) = host.into_iter().partition(|candidate| candidate.address.is_ipv6());
    match family {
        AddressFamily::Any => turns(v6, v4),
        AddressFamily::Ipv6First | AddressFamily::Ipv6 => v6.into_iter().chain(v4).collect(),
        AddressFamily::Ipv4First | AddressFamily::Ipv4 => v4.into_iter().chain(v6).collect(),
    }
}

fn turns(first: Vec<Candidate>, second: Vec<Candidate>) -> Vec<Candidate> {
    let (mut first, mut second) = (first.into_iter(), second.into_iter());
    let mut all = Vec::new();
    loop {
        let round: Vec<Candidate> = [first.next(), second.next()].into_iter().flatten().collect();
        if round.is_empty() {
            return all;
        }
        all.extend(round);
    }
}
