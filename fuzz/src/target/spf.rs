//! SPF: any record is read or refused with a reason; an evaluation ends, within the RFC's limits, and comes to the same however
//! the answers come in; what it writes into the message is two fields and nothing else.

use crate::octets::readable;
use decide::spf::{self, Query, Record, Step};
use mail::dns::{Answer, Data, Kind, Outcome, Question, Record as DnsRecord};
use mail::{Address, Headers, SpfResult, Time};
use std::collections::HashMap;
use std::net::IpAddr;

/// Lines: client address, sender, EHLO name, then the records of `a.test`, and of all that it includes, in turn.
pub(crate) fn check(input: &[u8]) {
    let text = readable(input);
    let mut lines = text.lines();
    let client: IpAddr = lines.next().and_then(|line| line.parse().ok()).unwrap_or([192, 0, 2, 7].into());
    // As the server's machine lets them through: a word, and an address.
    let (sender, helo) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
    if helo.contains(|c: char| c.is_control() || c == ' ') || !sender.is_empty() && sender.parse::<Address>().is_err() {
        return;
    }
    let records: Vec<&str> = lines.collect();
    let own = records.first().copied().unwrap_or_default();
    if let Err(why) = Record::read(own) {
        assert!(!why.is_empty(), "refused without a reason: {own:?}");
    }
    let (local, domain) = sender.rsplit_once('@').unwrap_or(("", sender));
    let domain = if domain.is_empty() { helo } else { domain };
    let query = Query { client, domain, local, helo, receiver: "gw.test", now: Time(1_000_000) };

    let mut known: HashMap<Question, Answer> = HashMap::new();
    let mut rounds = 0;
    let found = loop {
        match spf::check(&query, &|question| known.get(question)) {
            Step::Done(found) => break found,
            Step::Ask(questions) => {
                assert!(!questions.is_empty() && rounds < 300, "it asks for ever: {questions:?}");
                let before = known.len();
                for question in questions {
                    let place = known.len();
                    known.entry(question).or_insert_with_key(|question| answer(question, &records, domain, place));
                }
                assert!(known.len() > before, "it asks again what it knows");
                rounds += 1;
            }
        }
    };
    assert!(found.lookups <= spf::LOOKUPS_MAX + 1, "{} lookups", found.lookups);
    match spf::check(&query, &|question| known.get(question)) {
        Step::Done(again) => assert_eq!(again, found, "answers known beforehand make another result"),
        Step::Ask(questions) => panic!("it asks anew: {questions:?}"),
    }
    let fields = spf::fields(&query, sender, &found);
    assert_eq!(Headers::of(fields.as_bytes()).count(), 2, "{fields:?}");
    assert!(
        fields.ends_with("\r\n") && !fields.replace("\r\n", "").contains(['\r', '\n']) && !fields.contains("\r\n\r\n"),
        "{fields:?}"
    );
    // One result, in one comment that is closed where we close it and holds nothing that parts results.
    let comments: Vec<&str> =
        fields.split('(').skip(1).map(|rest| rest.split(')').next().unwrap_or_default()).collect();
    assert!(comments.len() == 2 && fields.matches(')').count() == 2, "{fields:?}");
    assert!(comments.iter().all(|comment| !comment.contains([';', '\\', '"'])), "{fields:?}");
    let bare = comments.iter().fold(fields.clone(), |text, comment| text.replace(*comment, ""));
    assert_eq!(bare.matches("\tspf=").count() + bare.matches(";spf=").count(), 1, "{fields:?}");
    permits(own, client, &query);
}

/// The record that is recommended lets the address pass, if the one before could be read.
fn permits(record: &str, client: IpAddr, query: &Query<'_>) {
    if !spf::is_record(record) || Record::read(record).is_err() || query.domain != "a.test" {
        return;
    }
    let better = spf::with_addresses(Some(record), &[client]);
    let txt = Question::new("a.test", Kind::Txt);
    let told = Answer { records: vec![data(&txt, Data::Text(better.clone()))], ..Answer::bare(txt, Outcome::Found) };
    match spf::check(query, &|question| (question.kind == Kind::Txt && question.name == "a.test").then_some(&told)) {
        Step::Done(found) => assert_eq!(found.result, SpfResult::Pass, "{better}: {found:?}"),
        Step::Ask(questions) => panic!("{better} asks {questions:?}"),
    }
}

/// What such a DNS says: the records in turn, addresses that hold the client or do not, names that lead on.
fn answer(question: &Question, records: &[&str], domain: &str, place: usize) -> Answer {
    let found = |all: Vec<Data>| Answer {
        records: all.into_iter().map(|one| data(question, one)).collect(),
        ..Answer::bare(question.clone(), Outcome::Found)
    };
    match question.kind {
        Kind::Txt if question.name == domain => {
            found(records.first().map(|text| Data::Text((*text).to_owned())).into_iter().collect())
        }
        Kind::Txt if records.is_empty() => Answer::bare(question.clone(), Outcome::NoName),
        Kind::Txt => found(vec![Data::Text(records[place % records.len()].to_owned())]),
        Kind::A => found(vec![Data::Address([192, 0, 2, place as u8].into())]),
        Kind::Aaaa => Answer::bare(question.clone(), Outcome::NoData),
        Kind::Mx => {
            found((0..place as u16 % 12).map(|n| Data::Mx { preference: n, host: format!("m{n}.test") }).collect())
        }
        Kind::Ptr => found(vec![Data::Name("client.a.test".to_owned())]),
        _ => Answer::failed(question.clone(), "silence"),
    }
}

fn data(question: &Question, data: Data) -> DnsRecord {
    DnsRecord { name: question.name.clone(), kind: question.kind, ttl: 60, data }
}
