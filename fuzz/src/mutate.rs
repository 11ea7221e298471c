//! Mutations without coverage, for the quick run: the same in every run and on every machine.

/// xorshift64.
#[derive(Debug)]
pub struct Random(u64);

impl Random {
    /// Seeded by octets (FNV-1a).
    pub fn of(octets: &[u8]) -> Random {
        let hash = octets.iter().fold(0xCBF2_9CE4_8422_2325_u64, |hash, octet| {
            (hash ^ u64::from(*octet)).wrapping_mul(0x0000_0100_0000_01B3)
        });
        Random(hash | 1)
    }

    /// Less than `end`; 0 if that is 0.
    pub fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % end.max(1) as u64) as usize
    }
}

/// No input grows beyond this: what needs more octets has an input in the corpus.
const LENGTH_MAX: usize = 8192;

/// Octets that mean something somewhere.
const SPECIAL: &[u8] = b"\r\n\0.\"\\<>()[]{}@:;,=+-/ \t%'#*_0129azAZ\x7f\x80\xc3\xff";

/// Another input, made of one or two of the corpus.
pub fn mutated(random: &mut Random, corpus: &[Vec<u8>], words: &[&str]) -> Vec<u8> {
    let mut made = corpus.get(random.below(corpus.len())).cloned().unwrap_or_default();
    for _ in 0..=random.below(4) {
        let (at, length) = (random.below(made.len() + 1), 1 + random.below(16));
        let end = (at + length).min(made.len());
        match random.below(8) {
            0 if at < made.len() => made[at] ^= 1 << random.below(8),
            1 if at < made.len() => made[at] = SPECIAL[random.below(SPECIAL.len())],
            2 => made.insert(at, SPECIAL[random.below(SPECIAL.len())]),
            3 => drop(made.drain(at..end)),
            // Again, once or often: limits lie behind repetitions.
            4 => {
                let times = [2, 2, 40][random.below(3)];
                let again = made[at..end].repeat(1 + random.below(times));
                made.splice(at..at, again);
            }
            5 if !words.is_empty() => drop(made.splice(at..at, words[random.below(words.len())].bytes())),
            6 => {
                let other = corpus.get(random.below(corpus.len())).map(Vec::as_slice).unwrap_or_default();
                let from = random.below(other.len() + 1);
                let to = (from + random.below(200)).min(other.len());
                made.splice(at..at, other[from..to].iter().copied());
            }
            _ => made.truncate(made.len().saturating_sub(random.below(32))),
        }
    }
    made.truncate(LENGTH_MAX);
    made
}
