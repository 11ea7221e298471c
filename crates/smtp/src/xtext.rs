//! xtext: how DSN and AUTH parameters carry what may not stand in a command line (RFC 3461 4).

/// The decoded text; `None` if it is not xtext or not UTF-8, or hides a control character, which no name needs.
pub(crate) fn decode(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut octets = text.bytes();
    while let Some(octet) = octets.next() {
        match octet {
            b'+' => out.push(upper_hex(octets.next()?)? << 4 | upper_hex(octets.next()?)?),
            b'=' => return None,
            b'!'..=b'~' => out.push(octet),
            _ => return None,
        }
    }
    String::from_utf8(out).ok().filter(|text| !text.contains(char::is_control))
}

/// RFC 3461 4: hexchar is a `+` and two digits in capitals.
fn upper_hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn xtext_is_decoded_or_refused() {
        assert_eq!(decode("a+2Bb+3D").as_deref(), Some("a+b="));
        for wrong in ["a=b", "a b", "+2", "+2b", "ü", "+FF", "+0D+0A"] {
            assert_eq!(decode(wrong), None, "{wrong:?}");
        }
    }
}
