//! Words: by what a mail can be found. A mail is found by any text that begins where a run of letters and digits begins
//! in one of its words: `ann.lee@mail.corp.test` by `ann`, `ann.lee@`, `lee`, `mail.corp.test`, `corp.test`, `corp`, `test`.
//!
//! So each word is kept with its endings (`ann.lee@mail.corp.test`, `lee@mail.corp.test`, `mail.corp.test`, `corp.test`,
//! `test`), and a search is one for beginnings. Trigrams, which would find the middle of a run as well, were measured:
//! see `examples/trail.rs`.

use std::collections::BTreeSet;

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
    let mut words = BTreeSet::new();
    for word in texts.into_iter().flat_map(str::split_whitespace) {
        if words.len() >= WORDS_MAX {
            break;
        }
        let word = clean(word);
        let mut endings = 0;
        let mut before = None;
        let mut run = 0;
        for (at, c) in word.char_indices() {
            let begins = c.is_alphanumeric() && before.is_none_or(|c: char| !c.is_alphanumeric());
            if begins {
                run = word[at..].chars().take_while(|c| c.is_alphanumeric()).count();
            }
            // The inner numbers of an address or a status (192.0.2.7, 5.1.1) and a last letter tell nothing.
            let is_number = || before == Some('.') && word[at..].chars().take(run).all(|c| c.is_ascii_digit());
            if begins && (at == 0 || (word.len() - at > 1 && !is_number())) && endings < ENDINGS_MAX {
                words.insert(word[at..].to_owned());
                endings += 1;
            }
            before = Some(c);
        }
    }
    words.into_iter().collect::<Vec<_>>().join(" ")
}

/// What is asked for: each word must be there, as the beginning of one in the index if it is long enough.
pub(crate) fn question(text: &str) -> impl Iterator<Item = String> {
    text.split_whitespace().map(clean).filter(|word| !word.is_empty()).map(|word| match word.chars().count() {
        ..BEGINNING_MIN => format!("\"{word}\""),
        _ => format!("\"{word}\"*"),
    })
}

/// Small letters, no brackets and stops around, only marks that the tokeniser knows.
fn clean(word: &str) -> String {
    let word = word.trim_start_matches(|c: char| !c.is_alphanumeric());
    let word = word.trim_end_matches(|c: char| !c.is_alphanumeric() && c != '@');
    let keep = |c: char| if c.is_ascii_alphanumeric() || MARKS.contains(c) || !c.is_ascii() { c } else { '_' };
    word.chars().flat_map(char::to_lowercase).filter(|c| !c.is_control()).take(WORD_MAX).map(keep).collect()
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
