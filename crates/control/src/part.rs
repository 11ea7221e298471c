//! Parts: pieces that pages share.

pub(crate) mod chart;
pub(crate) mod finding;
pub(crate) mod form;
pub(crate) mod live;
pub(crate) mod markdown;
pub(crate) mod qr;
pub(crate) mod setting;
pub(crate) mod shell;
pub(crate) mod time;
pub(crate) mod upload;

/// Percent-encodes for one value of a query.
pub(crate) fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => encoded.push(byte as char),
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

/// Octets for people.
pub(crate) fn bytes(count: u64) -> String {
    match count {
        0..1_000 => format!("{count} B"),
        1_000..1_000_000 => format!("{:.1} kB", count as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MB", count as f64 / 1e6),
        _ => format!("{:.1} GB", count as f64 / 1e9),
    }
}

/// A count with separators between thousands.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_by_people() {
        assert_eq!((count(0), count(999), count(1_234_567)), ("0".into(), "999".into(), "1,234,567".into()));
        assert_eq!((bytes(12), bytes(1_500), bytes(10_485_760)), ("12 B".into(), "1.5 kB".into(), "10.5 MB".into()));
    }

    #[test]
    fn a_query_value_stays_one_value() {
        assert_eq!(encode("/queue?a=b&c=ü"), "%2Fqueue%3Fa%3Db%26c%3D%C3%BC");
    }
}
