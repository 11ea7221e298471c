//! What must hold for every input. Each target is a function that takes octets, as a stranger sends them, and panics if a
//! parser panics, if two ways to the same thing disagree, or if the same octets in other pieces come to something else.
//!
//! [`TARGETS`] is the list. `src/main.rs` replays the kept corpus and some mutations of it (`make fuzz-quick`, part of
//! `make test`); `libfuzzer/` looks for new inputs, led by coverage, for as long as one likes (`make fuzz`).
//! To panic is how a target says what it found.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a find is a panic")]

pub mod mutate;
mod octets;
mod pieces;
mod private;
mod target;

/// One parser, or one pair of ways that must agree.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Also the name of its folder in `corpus/`.
    pub name: &'static str,
    pub check: fn(&[u8]),
    /// Words that mutations put in, for what chance alone would hardly find.
    pub words: &'static [&'static str],
    /// Mutations of a quick run: so many that it stays within a second or two.
    pub quick: usize,
}

/// All of them; the table in the book's chapter says what each covers.
pub const TARGETS: &[Target] = target::ALL;

/// The target of a name.
pub fn target(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}
