//! DNS: any octets as a server's answer: read or refused; only records that belong to the question are believed.

use crate::octets::{Octets, readable};
use crate::private::{answer as read, hosts};
use hickory_proto::op::Message;
use mail::dns::{Answer, Kind, Outcome, Question};

const KINDS: [Kind; 8] = [Kind::A, Kind::Aaaa, Kind::Mx, Kind::Ptr, Kind::Txt, Kind::Cname, Kind::Tlsa, Kind::Any];

/// Which kind is asked for, at `a.test`; then the message. And the same octets as a hosts file.
pub(crate) fn check(input: &[u8]) {
    let mut octets = Octets(input);
    let question = Question::new("a.test", KINDS[usize::from(octets.octet() & 7)]);
    if let Ok(message) = Message::from_vec(octets.0) {
        let answer = read(&question, &message);
        belongs(&answer);
        let json = serde_json::to_string(&answer).unwrap();
        assert_eq!(serde_json::from_str::<Answer>(&json).unwrap(), answer);
        let _ = (answer.summary(), answer.names(), answer.addresses());
        // What the codec reads, it writes, and reads again.
        if let Ok(octets) = message.to_vec() {
            let again = Message::from_vec(&octets).unwrap_or_else(|error| panic!("not read again: {error}"));
            assert_eq!(read(&question, &again).outcome, answer.outcome);
        }
    }
    for (name, addresses) in hosts(readable(octets.0)) {
        assert!(!addresses.is_empty() && !name.contains(char::is_whitespace) && !name.contains('#'), "{name:?}");
    }
}

/// Each record is of the name asked for, or of one that a CNAME before it leads to.
fn belongs(answer: &Answer) {
    let mut names = vec![answer.question.name.clone()];
    for record in &answer.records {
        assert!(names.contains(&record.name), "{} is nobody's: {names:?}", record.name);
        if record.kind == Kind::Cname {
            names.push(record.data.to_string());
        }
    }
    if answer.outcome == Outcome::Found {
        let fits = |kind: Kind| answer.question.kind == Kind::Any || kind == answer.question.kind;
        assert!(answer.records.iter().any(|record| fits(record.kind)), "{answer:?}");
    }
}
