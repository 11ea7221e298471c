//! DNS validation of clients: four checks, each of its own, of what a client's address and names are worth in DNS.
//!
//! Each check asks until it knows: [`Judged::Ask`] names the questions, the gateway puts them, and asks the check again with
//! the answers. Unknown is not no: a lookup that failed defers, it never refuses.

use crate::diagnose::words::{self, Topic};
use crate::settings::{Check, Door, Settings};
use mail::dns::{Answer, Data, Kind, Outcome, Question};
use mail::{ListWord, Listener, Reply, ReversePath, status};
use std::net::IpAddr;

/// What a check comes to.
#[derive(Debug, Clone, PartialEq)]
pub enum Judged {
    Pass,
    /// DNS must be asked this first.
    Ask(Vec<Question>),
    /// The status that says why, and the reply.
    Refuse(&'static status::Kind, Reply),
}

/// Names in the reverse zone that are looked at: some addresses have hundreds.
const NAMES_MAX: usize = 5;

/// Checks of the address: a reverse name, and one that leads back.
pub fn connect(settings: &Settings, listener: Listener, client: IpAddr, known: &[Answer]) -> Judged {
    let Some(door) = settings.door(listener) else { return Judged::Pass };
    let wanted = door.require_reverse_name.on || door.require_confirmed_reverse_name.on;
    if !wanted || settings.is_internal(client) {
        return Judged::Pass;
    }
    let client = client.to_canonical();
    let question = Question::reverse(client);
    let Some(ptr) = find(known, &question) else { return Judged::Ask(vec![question]) };
    match &ptr.outcome {
        Outcome::Failed(_) => unknown(&[ptr]),
        Outcome::NoName | Outcome::NoData if door.require_reverse_name.on => {
            refuse(&status::NO_REVERSE_NAME, &door.require_reverse_name, format!("{client} ({})", ptr.summary()))
        }
        Outcome::Found if door.require_confirmed_reverse_name.on => confirmed(door, client, ptr, known),
        _ => Judged::Pass,
    }
}

/// Whether one of the names has the address.
fn confirmed(door: &Door, client: IpAddr, ptr: &Answer, known: &[Answer]) -> Judged {
    let names: Vec<&str> = ptr
        .data()
        .filter_map(|data| if let Data::Name(name) = data { Some(name.as_str()) } else { None })
        .take(NAMES_MAX)
        .collect();
    let questions: Vec<Question> = names.iter().map(|name| Question::forward(name, client)).collect();
    let answers: Vec<&Answer> = questions.iter().filter_map(|question| find(known, question)).collect();
    if answers.iter().any(|answer| answer.addresses().iter().any(|address| address.to_canonical() == client)) {
        return Judged::Pass;
    }
    if answers.len() < questions.len() {
        return Judged::Ask(questions.into_iter().filter(|question| find(known, question).is_none()).collect());
    }
    let failed: Vec<&Answer> = answers.iter().copied().filter(|answer| is_failed(answer)).collect();
    if !failed.is_empty() {
        return unknown(&failed);
    }
    let found: Vec<String> = answers.iter().map(|answer| answer.summary()).collect();
    let detail = format!("{client} is called {}, but {}", names.join(", "), found.join("; "));
    refuse(&status::REVERSE_NAME_MISMATCH, &door.require_confirmed_reverse_name, detail)
}

/// Check of the name in HELO or EHLO. An address literal is no name (RFC 5321 4.1.4).
pub fn helo(settings: &Settings, listener: Listener, name: &str, known: &[Answer]) -> Judged {
    let Some(door) = settings.door(listener).filter(|door| door.require_resolvable_helo.on) else {
        return Judged::Pass;
    };
    if name.starts_with('[') {
        return Judged::Pass;
    }
    match resolves(name, known, false) {
        Resolves::Yes => Judged::Pass,
        Resolves::Ask(questions) => Judged::Ask(questions),
        Resolves::Unknown(answers) => unknown(&answers),
        Resolves::No(why) => {
            refuse(&status::HELO_UNRESOLVABLE, &door.require_resolvable_helo, format!("{name} ({why})"))
        }
    }
}

/// Check of the MAIL FROM domain: could a bounce be returned? Bounces themselves have none.
pub fn sender(settings: &Settings, listener: Listener, sender: &ReversePath, known: &[Answer]) -> Judged {
    let Some(door) = settings.door(listener).filter(|door| door.require_resolvable_sender.on) else {
        return Judged::Pass;
    };
    let Some(domain) = sender.address().map(mail::Address::domain) else { return Judged::Pass };
    if domain.literal().is_some() || settings.local_domain(domain).is_some() {
        return Judged::Pass;
    }
    match resolves(&domain.ascii(), known, true) {
        Resolves::Yes => Judged::Pass,
        Resolves::Ask(questions) => Judged::Ask(questions),
        Resolves::Unknown(answers) => unknown(&answers),
        Resolves::No(why) => {
            refuse(&status::SENDER_DOMAIN_UNRESOLVABLE, &door.require_resolvable_sender, format!("{domain} ({why})"))
        }
    }
}

/// The question about a client at a block list (RFC 5782 2.1, 2.4).
pub fn list_question(zone: &str, client: IpAddr) -> Question {
    let reverse = Question::reverse(client).name;
    let reversed = reverse.trim_end_matches(".in-addr.arpa").trim_end_matches(".ip6.arpa");
    Question::new(&format!("{reversed}.{zone}"), Kind::A)
}

/// What a block list's answer means: codes are addresses in 127.0.0.0/8, but 127.0.0.1 is none (RFC 5782 2.1, 5), and what lies
/// in 127.255.255.0/24 tells of an error. Any other address comes from somebody who answers for names that do not exist.
pub fn list_word(answer: &Answer) -> ListWord {
    match &answer.outcome {
        Outcome::Failed(_) => ListWord::NoAnswer,
        Outcome::NoName | Outcome::NoData => ListWord::Clean,
        Outcome::Found => {
            let is_code = |address: &IpAddr| match address {
                IpAddr::V4(v4) => {
                    let [a, b, c, d] = v4.octets();
                    a == 127 && [b, c] != [255, 255] && [b, c, d] != [0, 0, 1]
                }
                IpAddr::V6(_) => false,
            };
            if answer.addresses().iter().all(is_code) { ListWord::Listed } else { ListWord::Error }
        }
    }
}

/// Whether a refusal at RCPT says that there is no such mailbox (RFC 3463 3.2, 3.3). A refusal for the sender's sake, or one
/// that names no reason, does not: remembered as one, it would shut out mail that is welcome.
pub fn says_unknown(reply: &Reply) -> bool {
    if !reply.is_permanent() {
        return false;
    }
    let topics = words::topics(reply);
    let about_sender = [Topic::Callout, Topic::SenderDomain, Topic::SenderNotAllowed, Topic::NullSender];
    if topics.iter().any(|topic| about_sender.contains(topic)) {
        return false;
    }
    match reply.enhanced.map(|status| (status.class, status.subject, status.detail)) {
        Some((5, 1, 0 | 1 | 3 | 6)) | Some((5, 2, 1)) => true,
        None | Some((5, 0, 0)) => topics.contains(&Topic::NoSuchUser),
        Some(_) => false,
    }
}

enum Resolves<'k> {
    Yes,
    Ask(Vec<Question>),
    Unknown(Vec<&'k Answer>),
    No(String),
}

/// Whether a name has MX, A or AAAA. With a null MX alone (RFC 7505) its addresses do not count as mail hosts.
fn resolves<'k>(name: &str, known: &'k [Answer], for_mail: bool) -> Resolves<'k> {
    let questions = [Kind::Mx, Kind::A, Kind::Aaaa].map(|kind| Question::new(name, kind));
    let answers: Vec<&Answer> = questions.iter().filter_map(|question| find(known, question)).collect();
    if answers.len() < questions.len() {
        return Resolves::Ask(questions.into_iter().filter(|question| find(known, question).is_none()).collect());
    }
    let mx = answers[0];
    let null_mx = mx.outcome == Outcome::Found
        && mx.data().all(|data| matches!(data, Data::Mx { host, .. } if host.trim_end_matches('.').is_empty()));
    if for_mail && null_mx {
        return Resolves::No(format!("null MX: {}", mx.summary()));
    }
    if answers.iter().any(|answer| answer.outcome == Outcome::Found) {
        return Resolves::Yes;
    }
    if answers.iter().any(|answer| is_failed(answer)) {
        return Resolves::Unknown(answers.into_iter().filter(|answer| is_failed(answer)).collect());
    }
    Resolves::No(answers.iter().map(|answer| answer.summary()).collect::<Vec<_>>().join("; "))
}

fn is_failed(answer: &Answer) -> bool {
    matches!(answer.outcome, Outcome::Failed(_))
}

fn find<'k>(known: &'k [Answer], question: &Question) -> Option<&'k Answer> {
    known.iter().find(|answer| answer.question == *question)
}

/// In the administrator's own words, if there are some.
fn refuse(kind: &'static status::Kind, check: &Check, detail: String) -> Judged {
    let mut reply = kind.reply(detail);
    if let Some(text) = &check.text {
        reply.lines = vec![text.clone()];
    }
    Judged::Refuse(kind, reply)
}

fn unknown(failed: &[&Answer]) -> Judged {
    let why: Vec<String> = failed.iter().map(|answer| answer.summary()).collect();
    Judged::Refuse(&status::DNS_UNAVAILABLE, status::DNS_UNAVAILABLE.reply(why.join("; ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnose::testing::answer;

    /// One check with all that DNS says; `pass`, or the reply.
    fn check(setting: &str, what: &str, dns: &[&str], expected: &str) {
        let settings = format!(
            "internal_hosts = [\"127.0.0.1\", \"10.0.0.0/8\"]\n[[domain]]\nname = \"corp.test\"\nnext_hops = [\"127.0.0.20\"]\n[listener.inbound]\n{setting}\n"
        );
        let settings = Settings::read(&settings).unwrap();
        let all: Vec<Answer> = dns.iter().map(|text| answer(text)).collect();
        let mut known: Vec<Answer> = Vec::new();
        let found = loop {
            let judged = match what.split_once(' ').unwrap() {
                ("client", client) => connect(&settings, Listener::Inbound, client.parse().unwrap(), &known),
                ("helo", name) => helo(&settings, Listener::Inbound, name, &known),
                (_, from) => {
                    let from = match from.trim_matches(['<', '>']) {
                        "" => ReversePath::Null,
                        address => ReversePath::Address(address.parse().unwrap()),
                    };
                    sender(&settings, Listener::Inbound, &from, &known)
                }
            };
            match judged {
                Judged::Pass => break "pass".to_owned(),
                Judged::Refuse(_, reply) => break reply.to_string(),
                Judged::Ask(questions) => known.extend(questions.into_iter().map(|question| {
                    let told = all.iter().find(|answer| answer.question == question).cloned();
                    told.unwrap_or_else(|| panic!("{what} asked for {question}"))
                })),
            }
        };
        assert_eq!(found, expected, "{what} {dns:?}");
    }

    #[test]
    fn an_address_without_a_name_is_refused_and_an_unknown_one_deferred() {
        let on = "require_reverse_name = true";
        let ptr = "9.2.0.192.in-addr.arpa PTR: ";
        let with = |data: &str, expected: &str| check(on, "client 192.0.2.9", &[&format!("{ptr}{data}")], expected);
        with("mail.out.test", "pass");
        with("NXDOMAIN", "550 5.7.25 no reverse name: 192.0.2.9 (9.2.0.192.in-addr.arpa PTR: NXDOMAIN)");
        with("NODATA", "550 5.7.25 no reverse name: 192.0.2.9 (9.2.0.192.in-addr.arpa PTR: NODATA)");
        with(
            "FAIL SERVFAIL",
            "421 4.4.0 unable to connect to DNS, try again later: 9.2.0.192.in-addr.arpa PTR: failed: SERVFAIL",
        );
        check(on, "client ::ffff:192.0.2.9", &[&format!("{ptr}mail.out.test")], "pass");
        check(on, "client 10.1.2.3", &[], "pass");
        check(on, "client 127.0.0.1", &[], "pass");
        check("", "client 192.0.2.9", &[], "pass");
        check(
            "require_reverse_name = \"Go away: see https://corp.test/ptr\"",
            "client 192.0.2.9",
            &[&format!("{ptr}NXDOMAIN")],
            "550 5.7.25 Go away: see https://corp.test/ptr",
        );
    }

    #[test]
    fn a_reverse_name_must_lead_back_if_asked_for() {
        let with = |dns: &[&str], expected: &str| {
            check("require_confirmed_reverse_name = true", "client 192.0.2.9", dns, expected);
        };
        let ptr = "9.2.0.192.in-addr.arpa PTR: a.test, b.test";
        with(&[ptr, "a.test A: 192.0.2.1", "b.test A: 192.0.2.8, 192.0.2.9"], "pass");
        with(
            &[ptr, "a.test A: 192.0.2.1", "b.test A: NXDOMAIN"],
            "550 5.7.25 reverse name does not lead back: 192.0.2.9 is called a.test, b.test, but a.test A: 192.0.2.1; b.test A: \
             NXDOMAIN",
        );
        with(
            &[ptr, "a.test A: 192.0.2.1", "b.test A: FAIL timed out"],
            "421 4.4.0 unable to connect to DNS, try again later: b.test A: failed: timed out",
        );
        // Without a name there is none that could lead elsewhere: that is the other check.
        with(&["9.2.0.192.in-addr.arpa PTR: NXDOMAIN"], "pass");
    }

    #[test]
    fn only_documented_codes_are_listings() {
        let question = list_question("list.test", "192.0.2.9".parse().unwrap());
        assert_eq!(question.name, "9.2.0.192.list.test");
        let word = |data: &str| list_word(&answer(&format!("9.2.0.192.list.test A: {data}")));
        assert_eq!(word("127.0.0.2"), ListWord::Listed);
        assert_eq!(word("127.0.0.10, 127.0.0.4"), ListWord::Listed);
        assert_eq!(word("NXDOMAIN"), ListWord::Clean);
        assert_eq!(word("FAIL timed out"), ListWord::NoAnswer);
        assert_eq!(word("127.255.255.254"), ListWord::Error);
        assert_eq!(word("127.0.0.1"), ListWord::Error);
        assert_eq!(word("192.0.2.80"), ListWord::Error);
    }

    #[test]
    fn only_a_missing_mailbox_makes_a_recipient_unknown() {
        let says = |text: &str| says_unknown(&crate::diagnose::testing::reply(text));
        assert!(says("550 5.1.1 no such user here"));
        assert!(says("550 5.1.1"));
        assert!(says("550 No such user here"));
        assert!(!says("550 Sender verify failed"));
        assert!(!says("550 5.7.1 rejected by policy"));
        assert!(!says("550 5.1.8 bad sender"));
        assert!(!says("450 4.1.1 try later"));
        assert!(!says("550 rejected"));
    }

    #[test]
    fn a_helo_name_needs_an_address_or_an_mx() {
        let with = |name: &str, dns: &[&str], expected: &str| {
            check("require_resolvable_helo = true", &format!("helo {name}"), dns, expected);
        };
        let none = ["web1 MX: NXDOMAIN", "web1 A: NXDOMAIN", "web1 AAAA: NXDOMAIN"];
        with(
            "web1",
            &none,
            "550 5.7.1 EHLO name does not resolve: web1 (web1 MX: NXDOMAIN; web1 A: NXDOMAIN; web1 AAAA: NXDOMAIN)",
        );
        with("a.test", &["a.test MX: NODATA", "a.test A: NODATA", "a.test AAAA: 2001:db8::1"], "pass");
        with("a.test", &["a.test MX: 10 mx.a.test", "a.test A: NODATA", "a.test AAAA: FAIL x"], "pass");
        with(
            "a.test",
            &["a.test MX: NODATA", "a.test A: NODATA", "a.test AAAA: FAIL x"],
            "421 4.4.0 unable to connect to DNS, try again later: a.test AAAA: failed: x",
        );
        with("[192.0.2.9]", &[], "pass");
    }

    #[test]
    fn a_sender_must_be_able_to_get_bounces() {
        let with = |from: &str, dns: &[&str], expected: &str| {
            check("require_resolvable_sender = true", &format!("from {from}"), dns, expected);
        };
        with("<>", &[], "pass");
        with("<a@corp.test>", &[], "pass");
        with("<a@b.test>", &["b.test MX: NODATA", "b.test A: 192.0.2.1", "b.test AAAA: NODATA"], "pass");
        with(
            "<a@b.test>",
            &["b.test MX: NODATA", "b.test A: NODATA", "b.test AAAA: NODATA"],
            "550 5.1.8 sender's domain takes no mail: b.test (b.test MX: NODATA; b.test A: NODATA; b.test AAAA: NODATA)",
        );
        with(
            "<a@b.test>",
            &["b.test MX: 0 .", "b.test A: 192.0.2.1", "b.test AAAA: NODATA"],
            "550 5.1.8 sender's domain takes no mail: b.test (null MX: b.test MX: 0 .)",
        );
    }
}
