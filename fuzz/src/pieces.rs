//! Cuts: the same octets in other pieces.

use std::ops::Range;

/// So long an input is also cut in two at every place.
const EVERY_MAX: usize = 24;

/// Ways to cut `length` octets: whole, in halves, in pieces of a few sizes, and, if they are few, in two at every place. The
/// same for the same octets, so that an input that once failed fails again.
pub(crate) fn cuts(octets: &[u8]) -> Vec<Vec<usize>> {
    let length = octets.len();
    let mut ways = vec![Vec::new(), vec![length / 2]];
    let mut random = crate::mutate::Random::of(octets);
    for size_max in [3, 40, 1500] {
        let mut way = Vec::new();
        let mut at = 0;
        while at < length {
            at += 1 + random.below(size_max);
            way.push(at);
        }
        ways.push(way);
    }
    if length <= EVERY_MAX {
        ways.extend((1..length).map(|at| vec![at]));
    }
    ways
}

/// The pieces between the cuts, and between those at `musts`, where the conversation has to wait.
pub(crate) fn pieces(length: usize, cuts: &[usize], musts: &[usize]) -> Vec<Range<usize>> {
    let mut all: Vec<usize> = cuts.iter().chain(musts).copied().filter(|at| (1..length).contains(at)).collect();
    all.push(length);
    all.sort_unstable();
    all.dedup();
    let starts = std::iter::once(0).chain(all.iter().copied());
    starts.zip(all.iter().copied()).map(|(start, end)| start..end).collect()
}
