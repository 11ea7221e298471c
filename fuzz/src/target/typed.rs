//! What people type into pages: times, words to look for, the manual's Markdown.

use crate::octets::readable;
use crate::private::words;
use crate::private::{markdown, time};
use mail::Time;

const NOW: Time = Time(1_795_608_000_000);

/// A text, as each of them.
pub(crate) fn check(input: &[u8]) {
    let text = readable(input);
    times(text);
    search(text);
    html(&markdown::blocks(text).into_string());
}

/// What is read is written and read again; the end of a day is not before its beginning.
fn times(text: &str) {
    let (begin, end) = (time::read(text, NOW, false), time::read(text, NOW, true));
    assert_eq!(begin.is_ok(), end.is_ok(), "{text:?}");
    if let (Ok(begin), Ok(end)) = (begin, end) {
        assert!(begin <= end && end.ms() - begin.ms() <= 86_400_000, "{text:?}");
        // Years of four digits; further back than 1970 nobody's trail reaches.
        if (0..253_402_300_800_000).contains(&begin.ms()) {
            assert_eq!(time::read(&begin.rfc3339(), NOW, false), Ok(begin), "{text:?}");
        }
        let _ = (time::ago(begin, NOW), time::exact(end));
    }
}

/// Every word of a text is found by itself, and no question breaks out of its quotes.
fn search(text: &str) {
    let index = words::index([text]);
    let index: Vec<&str> = index.split(' ').collect();
    for asked in words::question(text) {
        let word = asked.strip_suffix('*').unwrap_or(&asked);
        let inner = word.strip_prefix('"').and_then(|word| word.strip_suffix('"'));
        let inner = inner.unwrap_or_else(|| panic!("{asked:?} is not quoted"));
        assert!(!inner.is_empty() && !inner.contains(['"', '\0', ' ']), "{asked:?}");
        assert!(index.contains(&inner), "{inner:?} is not in the index: {index:?}");
    }
}

/// Tags of ours, each closed; everything else escaped.
fn html(text: &str) {
    let mut open: Vec<&str> = Vec::new();
    for (at, _) in text.match_indices('<') {
        let tag = text[at + 1..].split('>').next().unwrap_or_default();
        match tag.strip_prefix('/') {
            Some(name) => assert_eq!(open.pop(), Some(name), "{text}"),
            None => {
                assert!(["p", "ul", "li", "pre", "code", "strong"].contains(&tag), "{tag:?} in {text}");
                open.push(tag);
            }
        }
    }
    assert!(open.is_empty(), "{open:?} stay open in {text}");
}
