//! How facts look in sentences.

/// Octets for people: lines with ` / ` between, what is no text as `\xNN`, at most 80 characters.
pub(super) fn octets(octets: &[u8]) -> String {
    let text = String::from_utf8_lossy(octets);
    let is_text =
        !text.contains('\u{fffd}') && !text.chars().any(|c| c.is_control() && !matches!(c, '\r' | '\n' | '\t'));
    if !is_text {
        return octets.iter().take(20).map(|octet| format!("{octet:02X}")).collect::<Vec<_>>().join(" ");
    }
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    lines.join(" / ").chars().take(80).collect()
}

/// `9.0 GiB`, `512 octets`.
pub(super) fn size(octets: u64) -> String {
    const UNITS: [(&str, u64); 4] = [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    match UNITS.iter().find(|(_, unit)| octets >= *unit) {
        Some((name, unit)) => format!("{:.1} {name}", octets as f64 / *unit as f64),
        None => format!("{octets} octets"),
    }
}

/// `500 ms`, `12 s`.
pub(super) fn span(ms: u64) -> String {
    if ms < 1000 { format!("{ms} ms") } else { format!("{} s", ms / 1000) }
}

#[test]
fn octets_are_shown_as_what_they_are() {
    assert_eq!(octets(b"EHLO probe\r\nQUIT\r\n"), "EHLO probe / QUIT");
    assert_eq!(octets(b"\x16\x03\x01"), "16 03 01");
    assert_eq!((size(9 << 30), size(100)), ("9.0 GiB".to_owned(), "100 octets".to_owned()));
    assert_eq!((span(999), span(12_500)), ("999 ms".to_owned(), "12 s".to_owned()));
}
