//! Words: by what a mail can be found. A mail is found by any text that begins where a run of letters and digits begins
//! in one of its words: `ann.lee@mail.corp.test` by `ann`, `ann.lee@`, `lee`, `mail.corp.test`, `corp.test`, `corp`, `test`.
//!
//! So each word is kept with its endings (`ann.lee@mail.corp.test`, `lee@mail.corp.test`, `mail.corp.test`, `corp.test`,
//! `test`), and a search is one for beginnings. Trigrams, which would find the middle of a run as well, were measured:
//! see `examples/trail.rs`.

use std::ops::Range;

/// Characters kept of a word, in the index and in a question alike: enough for a Message-ID of any mail program.
const WORD_MAX: usize = 80;
/// Endings kept of one word.
const ENDINGS_MAX: usize = 12;
/// Words kept of one text.
const WORDS_MAX: usize = 4000;
/// A shorter question is answered by whole words only.
const BEGINNING_MIN: usize = 3;

/// Characters besides letters and digits that stay what they are; [`super::search`] tells the tokeniser of them. All other
/// ASCII is written as `_`, which is as good for finding.
pub(crate) const MARKS: &str = "@.-_+=:/";

/// The words of a text with their endings, as the index takes them: small letters, a space between.
pub(crate) fn index<'a>(texts: impl IntoIterator<Item = &'a str>) -> String {
    // All words one behind the other; what is found by are parts of this.
    let mut text = String::new();
    let mut found: Vec<Range<usize>> = Vec::new();
    for word in texts.into_iter().flat_map(str::split_whitespace) {
        let start = text.len();
        clean(word, &mut text);
        endings(&text[start..], |at| found.push(start + at..text.len()));
        if found.len() >= 2 * WORDS_MAX {
            once(&text, &mut found);
            if found.len() >= WORDS_MAX {
                break;
            }
        }
    }
    once(&text, &mut found);
    let mut index = String::with_capacity(found.iter().map(|part| part.len() + 1).sum());
    for part in found {
        if !index.is_empty() {
            index.push(' ');
        }
        index.push_str(&text[part]);
    }
    index
}

/// Sorted, and each word once.
fn once(text: &str, found: &mut Vec<Range<usize>>) {
    found.sort_unstable_by(|a, b| text[a.clone()].cmp(&text[b.clone()]));
    found.dedup_by(|a, b| text[a.clone()] == text[b.clone()]);
}

/// Where in a clean word a search may begin.
fn endings(word: &str, mut begin: impl FnMut(usize)) {
    let mut count = 0;
    let mut before = None;
    for (at, c) in word.char_indices() {
        let begins = c.is_alphanumeric() && before.is_none_or(|c: char| !c.is_alphanumeric());
        // The inner numbers of an address or a status (192.0.2.7, 5.1.1) and a last letter tell nothing.
        let is_number = || {
            before == Some('.') && word[at..].chars().take_while(|c| c.is_alphanumeric()).all(|c| c.is_ascii_digit())
        };
        if begins && (at == 0 || (word.len() - at > 1 && !is_number())) && count < ENDINGS_MAX {
            begin(at);
            count += 1;
        }
        before = Some(c);
    }
}

/// What is asked for: each word must be there, as the beginning of one in the index if it is long enough.
pub(crate) fn question(text: &str) -> impl Iterator<Item = String> {
    let clean = |word| {
        let mut text = String::new();
        clean(word, &mut text);
        text
    };
    text.split_whitespace().map(clean).filter(|word| !word.is_empty()).map(|word| match word.chars().count() {
        ..BEGINNING_MIN => format!("\"{word}\""),
        _ => format!("\"{word}\"*"),
    })
}

/// Writes a word in small letters, without brackets and stops around, and with only those marks that the tokeniser knows.
fn clean(word: &str, to: &mut String) {
    let word = word.trim_start_matches(|c: char| !c.is_alphanumeric());
    let word = word.trim_end_matches(|c: char| !c.is_alphanumeric() && c != '@');
    if word.is_ascii() {
        let small = word.bytes().map(|octet| char::from(octet.to_ascii_lowercase())).filter(|c| !c.is_ascii_control());
        return to.extend(small.take(WORD_MAX).map(keep));
    }
    to.extend(word.chars().flat_map(char::to_lowercase).filter(|c| !c.is_control()).take(WORD_MAX).map(keep));
}

fn keep(c: char) -> char {
    match c {
        '@' | '.' | '-' | '_' | '+' | '=' | ':' | '/' => c,
        _ if c.is_ascii_alphanumeric() || !c.is_ascii() => c,
        _ => '_',
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_kept_with_its_endings() {
        let check = |text: &str, words: &str| assert_eq!(index([text]), words, "{text}");
        check("Ann.Lee@Mail.corp.test", "ann.lee@mail.corp.test corp.test lee@mail.corp.test mail.corp.test test");
        check("<x1$y@mx.example>", "example mx.example x1_y@mx.example y@mx.example");
        check("ann@x.test", "ann@x.test test x.test");
        check("192.0.2.7", "192.0.2.7");
        check("2001:db8::7", "2001:db8::7 db8::7");
        check("550 5.1.1 [mx.example] no such user; sorry.", "5.1.1 550 example mx.example no sorry such user");
        check("Grüße aus Köln", "aus grüße köln");
        check("", "");
        check("\"*\" ***", "");
    }

    #[test]
    fn the_tokeniser_knows_the_marks_that_are_kept() {
        let kept: String = (0u8..128).map(char::from).filter(|&c| keep(c) == c && !c.is_ascii_alphanumeric()).collect();
        let sorted = |text: &str| text.chars().collect::<std::collections::BTreeSet<_>>();
        assert_eq!(sorted(&kept), sorted(MARKS));
    }

    #[test]
    fn many_recipients_of_one_domain_are_all_found() {
        let addresses: Vec<String> = (0..2_000).map(|n| format!("user{n}@corp.test")).collect();
        let index = index(addresses.iter().map(String::as_str));
        assert!(index.split(' ').any(|word| word == "user1999@corp.test"));
        assert_eq!(index.split(' ').filter(|word| *word == "corp.test").count(), 1);
    }

    #[test]
    fn a_question_cannot_break_out_of_its_quotes() {
        let check = |text: &str, asked: &[&str]| assert_eq!(question(text).collect::<Vec<_>>(), asked, "{text}");
        check("corp.test", &["\"corp.test\"*"]);
        check("<ann@", &["\"ann@\"*"]);
        check("no OR \"such\" NOT (user)*", &["\"no\"", "\"or\"", "\"such\"*", "\"not\"*", "\"user\"*"]);
        check("a\"b*c", &["\"a_b_c\"*"]);
        check("=orefused", &["\"orefused\"*"]);
        check(" * ", &[]);
    }

    #[test]
    fn long_words_are_cut_alike_in_index_and_question() {
        let long = "x".repeat(300);
        assert_eq!(question(&long).next().unwrap(), format!("\"{}\"*", index([long.as_str()])));
    }
}
