//! TOTP: the six digits of an authenticator application (RFC 6238), the second factor of administrators.

use aws_lc_rs::{constant_time, hmac};
use mail::Time;

/// RFC 4226 4 asks for 16 octets or more and recommends 20.
pub(crate) const SECRET_LENGTH: usize = 20;
/// RFC 6238 5.2.
const STEP_MS: i64 = 30_000;
/// Steps before and after that are taken as well: clocks differ (RFC 6238 5.2 recommends one).
const SKEW: u64 = 1;

/// Checks a code; gives the time step it is of, which must be later than `last`: none is taken twice.
pub(crate) fn check(secret: &[u8], code: &str, now: Time, last: u64) -> Option<u64> {
    let typed: String = code.chars().filter(|letter| !letter.is_whitespace()).collect();
    let step = u64::try_from(now.ms() / STEP_MS).unwrap_or(0);
    let steps = (step.saturating_sub(SKEW)..=step + SKEW).rev();
    // All are compared, so that the time tells nothing.
    let fits =
        |step: u64| constant_time::verify_slices_are_equal(digits(secret, step).as_bytes(), typed.as_bytes()).is_ok();
    steps.filter(|step| fits(*step)).fold(None, |first, step| first.or(Some(step))).filter(|step| *step > last)
}

/// The code of a time step (RFC 4226 5.3).
fn digits(secret: &[u8], step: u64) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret);
    let tag = hmac::sign(&key, &step.to_be_bytes());
    let octets = tag.as_ref();
    let at = usize::from(octets[octets.len() - 1] & 0xf);
    let number = u32::from_be_bytes([octets[at] & 0x7f, octets[at + 1], octets[at + 2], octets[at + 3]]);
    format!("{:06}", number % 1_000_000)
}

const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// RFC 4648 6, without padding, as authenticators read it.
pub(crate) fn base32(octets: &[u8]) -> String {
    let (mut text, mut bits, mut left) = (String::new(), 0_u32, 0);
    for octet in octets {
        bits = bits << 8 | u32::from(*octet);
        left += 8;
        while left >= 5 {
            left -= 5;
            text.push(char::from(ALPHABET[(bits >> left & 31) as usize]));
        }
    }
    if left > 0 {
        text.push(char::from(ALPHABET[(bits << (5 - left) & 31) as usize]));
    }
    text
}

/// Blanks, hyphens and case aside. `None`: it is none.
pub(crate) fn from_base32(text: &str) -> Option<Vec<u8>> {
    let (mut octets, mut bits, mut left) = (Vec::new(), 0_u32, 0);
    for letter in text.bytes().filter(|byte| !matches!(byte, b' ' | b'-' | b'=')) {
        let value = ALPHABET.iter().position(|known| *known == letter.to_ascii_uppercase())?;
        bits = bits << 5 | value as u32;
        left += 5;
        if left >= 8 {
            left -= 8;
            octets.push((bits >> left & 0xff) as u8);
        }
    }
    Some(octets)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6238 appendix B, cut to six digits.
    #[test]
    fn codes_are_those_of_the_rfc() {
        let secret = b"12345678901234567890";
        for (seconds, code) in
            [(59, "287082"), (1_111_111_109, "081804"), (1_111_111_111, "050471"), (20_000_000_000, "353130")]
        {
            assert!(check(secret, code, Time(seconds * 1000), 0).is_some(), "{code}");
        }
    }

    #[test]
    fn no_code_is_taken_twice_and_none_of_another_time() {
        let secret = b"12345678901234567890";
        let step = check(secret, "287 082", Time(59_000), 0).unwrap();
        assert_eq!(check(secret, "287082", Time(59_000), step), None);
        assert!(check(secret, "287082", Time(59_000 + 30_000), 0).is_some());
        assert_eq!(check(secret, "287082", Time(59_000 + 61_000), 0), None);
        assert_eq!(check(secret, "", Time(59_000), 0), None);
        assert_eq!(check(secret, "2870820", Time(59_000), 0), None);
    }

    #[test]
    fn base32_is_read_as_it_is_written() {
        assert_eq!(base32(b"foobar"), "MZXW6YTBOI");
        assert_eq!(base32(b"f"), "MY");
        assert_eq!(from_base32("mzxw 6ytb-oi"), Some(b"foobar".to_vec()));
        assert_eq!(from_base32("MZ1"), None);
        for length in 0..30 {
            let octets: Vec<u8> = (0..length).map(|n: u8| n.wrapping_mul(37)).collect();
            assert_eq!(from_base32(&base32(&octets)), Some(octets));
        }
    }
}
