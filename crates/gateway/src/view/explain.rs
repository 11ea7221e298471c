//! Explain for pages: what `gatepost explain` says.

use super::View;
use crate::explain;
use control::{Explained, FindingPage, Problem, ReplyPage, StatusPage};
use mail::AuditId;
use serde_json::Value;

impl control::ExplainReader for View {
    fn explain(&self, text: &str) -> Result<Explained, Problem> {
        let audit_id = text.split(|c: char| !c.is_ascii_alphanumeric()).find(|word| word.len() == 13 && is_id(word));
        let found = explain::explain(text);
        let value = match (found, audit_id) {
            (Ok(value), _) => value,
            (Err(_), Some(_)) => Value::Null,
            (Err(what), None) => return Err(Problem::Unknown { what }),
        };
        let status = if value["status"].is_object() { &value["status"] } else { &value };
        Ok(Explained {
            finding: value["manual"].as_str().map(|manual| finding(&text_of(&value["cause"]), manual)),
            status: status["meaning"].is_string().then(|| StatusPage {
                id: text_of(&status["id"]),
                status: text_of(&status["status"]),
                stage: text_of(&status["stage"]),
                meaning: text_of(&status["meaning"]),
                causes: text_of(&status["causes"]),
                fix: text_of(&status["fix"]),
            }),
            reply: value["reply"].is_object().then(|| reply(&value["reply"])),
            audit_id: audit_id.map(str::to_owned),
        })
    }
}

/// An ID of this decade's mail, and not a word of thirteen letters.
fn is_id(word: &str) -> bool {
    word.bytes().any(|byte| byte.is_ascii_digit())
        && !word.bytes().any(|byte| byte.is_ascii_lowercase())
        && word.parse::<AuditId>().is_ok()
}

fn text_of(value: &Value) -> String {
    value.as_str().map_or_else(String::new, str::to_owned)
}

fn finding(cause: &str, manual: &str) -> FindingPage {
    let (title, rest) = manual.trim().split_once('\n').unwrap_or((manual.trim(), ""));
    let lines: Vec<&str> = rest.lines().map(|line| line.strip_prefix(' ').unwrap_or(line)).collect();
    FindingPage { cause: cause.to_owned(), title: title.trim().to_owned(), manual: lines.join("\n").trim().to_owned() }
}

fn reply(value: &Value) -> ReplyPage {
    let enhanced = text_of(&value["enhanced"]);
    ReplyPage {
        code: value["code"].as_u64().and_then(|code| u16::try_from(code).ok()).unwrap_or(0),
        class: text_of(&value["class"]),
        meaning: enhanced.split_once('.').and_then(|(_, rest)| meaning(rest)).unwrap_or_default().to_owned(),
        about: value["about"].as_array().into_iter().flatten().filter_map(Value::as_str).map(words).collect(),
        text: text_of(&value["text"]),
        enhanced,
    }
}

/// `NoSuchUser` as people write it: `no such user`.
fn words(topic: &str) -> String {
    let mut words = String::new();
    for letter in topic.chars() {
        if letter.is_ascii_uppercase() && !words.is_empty() {
            words.push(' ');
        }
        words.push(letter.to_ascii_lowercase());
    }
    words
}

/// What subject and detail stand for (RFC 3463 3, and the codes that RFC 5248's registry has added).
fn meaning(subject_detail: &str) -> Option<&'static str> {
    let table = [
        ("0.0", "no more is said"),
        ("1.0", "something about the address"),
        ("1.1", "no such mailbox"),
        ("1.2", "no such host: the address's domain"),
        ("1.3", "the address is not written as one"),
        ("1.4", "the mailbox is ambiguous"),
        ("1.6", "the mailbox has moved"),
        ("1.7", "the sender's address is not written as one"),
        ("1.8", "the sender's domain cannot be answered to"),
        ("1.10", "the domain takes no mail (null MX)"),
        ("2.0", "something about the mailbox"),
        ("2.1", "the mailbox is disabled"),
        ("2.2", "the mailbox is full"),
        ("2.3", "the message is longer than the mailbox takes"),
        ("2.4", "a mailing list could not be expanded"),
        ("3.0", "something about the mail system"),
        ("3.1", "the mail system's disk is full"),
        ("3.2", "the system does not take messages now"),
        ("3.3", "the system lacks what was asked for"),
        ("3.4", "the message is longer than the system takes"),
        ("3.5", "the system is set up wrongly"),
        ("4.0", "something about network or routing"),
        ("4.1", "no answer from the host"),
        ("4.2", "a bad connection"),
        ("4.3", "a directory (DNS) failed"),
        ("4.4", "no route"),
        ("4.5", "the system is congested"),
        ("4.6", "a mail loop"),
        ("4.7", "the time for delivery is over"),
        ("5.0", "something about the protocol"),
        ("5.1", "a command that is not valid here"),
        ("5.2", "a syntax error"),
        ("5.3", "too many recipients"),
        ("5.4", "arguments that are not valid"),
        ("5.6", "a line is too long"),
        ("6.0", "something about the content"),
        ("6.1", "the content's form is not supported"),
        ("6.2", "a conversion is forbidden"),
        ("6.3", "a conversion is needed and not supported"),
        ("6.7", "international addresses are not supported"),
        ("7.0", "security or policy"),
        ("7.1", "delivery not authorized: refused by policy"),
        ("7.2", "the mailing list does not take it from this sender"),
        ("7.4", "a security feature is not supported"),
        ("7.5", "encryption failed"),
        ("7.7", "the message was altered"),
        ("7.8", "wrong user name or password"),
        ("7.9", "the way of signing in is too weak"),
        ("7.10", "encryption is needed"),
        ("7.11", "encryption is needed for this way of signing in"),
        ("7.20", "no valid DKIM signature"),
        ("7.23", "SPF fails"),
        ("7.24", "SPF could not be evaluated"),
        ("7.25", "reverse DNS fails"),
        ("7.26", "several checks of the sender fail"),
        ("7.27", "the sender's domain takes no mail (null MX)"),
        ("7.28", "too much mail at once"),
    ];
    table.into_iter().find(|(number, _)| *number == subject_detail).map(|(_, words)| words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_topics_are_put_into_words() {
        assert_eq!(meaning("2.2"), Some("the mailbox is full"));
        assert_eq!(words("NoSuchUser"), "no such user");
        assert!(is_id("38GJ3X6RR0000") && !is_id("authorization") && !is_id("4111111111111x"));
    }
}
