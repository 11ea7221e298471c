//! Audit ID: one for each connection and each message, in every reply, log line, header and page about it.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;

/// 63 bits: 42 of time (ms, until 2109), 8 of Scanner, 13 of sequence. Sorts by time, fits an SQLite rowid, and is
/// written as 13 characters of Crockford's base 32, which nobody misreads over the telephone.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AuditId(i64);

const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
const SEQUENCE_BITS: u32 = 13;
const SCANNER_BITS: u32 = 8;

impl AuditId {
    /// How many IDs one Scanner can give in one millisecond.
    pub const SEQUENCE_MAX: u16 = (1 << SEQUENCE_BITS) - 1;

    /// An ID from its parts; each part is cut to its width.
    pub fn new(ms: i64, scanner: u8, sequence: u16) -> AuditId {
        let ms = ms & ((1 << 42) - 1);
        let sequence = i64::from(sequence & AuditId::SEQUENCE_MAX);
        AuditId(ms << (SEQUENCE_BITS + SCANNER_BITS) | i64::from(scanner) << SEQUENCE_BITS | sequence)
    }

    /// As it lies in the store: never negative.
    pub fn to_i64(self) -> i64 {
        self.0
    }

    /// From the store. `None` for a negative number, which no gateway ever wrote.
    pub fn from_i64(raw: i64) -> Option<AuditId> {
        (raw >= 0).then_some(AuditId(raw))
    }

    /// The millisecond (Unix time) in which it was given.
    pub fn ms(self) -> i64 {
        self.0 >> (SEQUENCE_BITS + SCANNER_BITS)
    }
}

impl fmt::Display for AuditId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = [0u8; 13];
        for (at, letter) in text.iter_mut().enumerate() {
            *letter = ALPHABET[(self.0 >> (5 * (12 - at)) & 31) as usize];
        }
        f.pad(std::str::from_utf8(&text).unwrap_or_default())
    }
}

impl fmt::Debug for AuditId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for AuditId {
    type Err = String;

    /// Case does not matter; `O` is read as 0, `I` and `L` as 1.
    fn from_str(text: &str) -> Result<AuditId, String> {
        let wrong = || format!("{text:?} is not an Audit ID (13 letters and digits, such as 01K8Z6T3WQM2V)");
        if text.len() != 13 {
            return Err(wrong());
        }
        let mut raw: u64 = 0;
        for letter in text.bytes() {
            let letter = match letter.to_ascii_uppercase() {
                b'O' => b'0',
                b'I' | b'L' => b'1',
                other => other,
            };
            let value = ALPHABET.iter().position(|&known| known == letter).ok_or_else(wrong)?;
            raw = raw << 5 | value as u64;
        }
        i64::try_from(raw).ok().and_then(AuditId::from_i64).ok_or_else(wrong)
    }
}

impl Serialize for AuditId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for AuditId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<AuditId, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_survives_text_and_store() {
        let id = AuditId::new(1_800_000_000_123, 7, 4242);
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(AuditId::from_i64(id.to_i64()), Some(id));
        assert_eq!(id.ms(), 1_800_000_000_123);
        assert_eq!(id.to_string().to_lowercase().parse(), Ok(id));
    }

    #[test]
    fn ids_sort_by_time_then_sequence() {
        assert!(AuditId::new(5, 9, 9) < AuditId::new(6, 0, 0));
        assert!(AuditId::new(5, 1, 1) < AuditId::new(5, 1, 2));
    }

    #[test]
    fn what_is_no_id_is_told_so() {
        for wrong in ["", "01K8", "ZZZZZZZZZZZZZ", "01K8Z6T3WQM2!"] {
            assert!(wrong.parse::<AuditId>().is_err(), "{wrong}");
        }
    }
}
