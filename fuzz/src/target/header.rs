//! Headers: fields and the header's end agree; masquerading and our own marks change nothing else; the facts of a message do
//! not depend on pieces.

use crate::pieces::{cuts, pieces};
use decide::Settings;
use decide::diagnose::{ContentFacts, Reader};
use decide::{loops, rewrite, spf};
use mail::{Headers, header_end};
use std::sync::LazyLock;

static SETTINGS: LazyLock<Settings> = LazyLock::new(|| {
    Settings::read("[[masquerade]]\nfrom = \"@in.test\"\nto = \"@out.test\"\n[[masquerade]]\nfrom = \"root@out.test\"\nto = \"admin@out.test\"").unwrap()
});

/// A message.
pub(crate) fn check(input: &[u8]) {
    fields(input);
    facts(input);
    let header = &input[..header_end(input)];
    masquerade(header);
    // Who reads headers of strangers.
    let key = loops::Key::new([7; 32]);
    assert!(key.traces(header).is_empty(), "a trace that nobody wrote");
    let _ = (loops::between(&key, header), loops::repeats(header), loops::delivered_to(header));
    assert!(loops::delivered_to(header).len() <= 20);
    Headers::of(header).for_each(|field| drop((spf::is_forged(&field, "gw.test"), field.text())));
}

/// The fields one after another are the header; where lines end with CRLF, both agree where it ends.
fn fields(content: &[u8]) {
    let mut length = 0;
    for field in Headers::of(content) {
        assert!(content[length..].starts_with(field.raw) && !field.raw.is_empty());
        length += field.raw.len();
        assert!(!field.text().contains(['\r', '\n']));
    }
    assert!(content[length..].is_empty() || content[length..].starts_with(b"\r\n"));
    let text: String = content.iter().copied().map(char::from).collect();
    if !text.replace("\r\n", "").contains(['\r', '\n']) {
        let end = if length == content.len() { length } else { length + 2 };
        assert_eq!(header_end(content), end);
        assert_eq!(ContentFacts::read(content).header_size, end as u64);
    }
}

fn facts(content: &[u8]) {
    let whole = ContentFacts::read(content);
    assert_eq!(whole.size, content.len() as u64);
    assert_eq!(whole.nul.count, content.iter().filter(|octet| **octet == 0).count() as u64);
    for cuts in cuts(content) {
        let mut reader = Reader::default();
        pieces(content.len(), &cuts, &[]).into_iter().for_each(|piece| reader.feed(&content[piece]));
        assert_eq!(reader.finish(), whole, "cut at {cuts:?}");
    }
    let json = serde_json::to_string(&whole).unwrap();
    assert_eq!(serde_json::from_str::<ContentFacts>(&json).unwrap(), whole);
}

/// Fields other than the three stay as they are, and all of them stay what they are.
fn masquerade(header: &[u8]) {
    let Some(changed) = rewrite::masquerade_header(&SETTINGS, header) else { return };
    let names = |header: &[u8]| Headers::of(header).map(|field| field.name.to_ascii_lowercase()).collect::<Vec<_>>();
    assert_eq!(names(&changed), names(header));
    for (before, after) in Headers::of(header).zip(Headers::of(&changed)) {
        let masked = ["from", "sender", "reply-to"].iter().any(|name| before.is(name));
        assert!(masked || before.raw == after.raw, "{:?}", String::from_utf8_lossy(after.raw));
    }
    assert_eq!(
        rewrite::masquerade_header(&SETTINGS, &changed),
        None,
        "a second pass finds more: {:?}",
        String::from_utf8_lossy(&changed)
    );
}
