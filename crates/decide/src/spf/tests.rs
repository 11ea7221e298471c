//! The kinds of cases of the openspf test suite, with a zone in text.

use super::*;
use crate::diagnose::testing::answer;
use std::collections::HashSet;

const CLIENT: &str = "1.2.3.4";

/// Evaluates for foo@DOMAIN from a client; what the zone does not have does not exist. Also checks that DNS is asked only what
/// is needed, and each question once.
fn evaluate(client: &str, domain: &str, zone: &[&str]) -> SpfCheck {
    let zone: Vec<Answer> = zone.iter().map(|line| answer(line)).collect();
    let mut known: Vec<Answer> = Vec::new();
    let mut put = HashSet::new();
    loop {
        let query = Query {
            client: client.parse().unwrap(),
            domain,
            local: "foo",
            helo: "mail.helo.test",
            receiver: "mx.here.test",
            now: Time(1_000_000_000_000),
        };
        match check(&query, &|question| known.iter().find(|answer| answer.question == *question)) {
            Step::Done(check) => return *check,
            Step::Ask(questions) => {
                assert!(!questions.is_empty());
                for question in questions {
                    assert!(put.insert(question.clone()), "asked again: {question}");
                    let told = zone.iter().find(|answer| answer.question == question).cloned();
                    known.push(told.unwrap_or_else(|| Answer::bare(question, Outcome::NoName)));
                }
            }
        }
    }
}

#[track_caller]
fn spf(zone: &[&str], expected: &str) {
    from(CLIENT, zone, expected);
}

#[track_caller]
fn from(client: &str, zone: &[&str], expected: &str) {
    assert_eq!(evaluate(client, "a.test", zone).to_string(), expected, "{zone:?}");
}

fn record(text: &str) -> String {
    format!("a.test TXT: \"v=spf1 {text}\"")
}

#[test]
fn the_term_that_decides_is_named() {
    spf(&[&record("ip4:1.2.3.0/24 -all")], "pass by \"ip4:1.2.3.0/24\" of a.test");
    spf(&[&record("-all")], "fail by \"-all\" of a.test");
    spf(&[&record("~all")], "softfail by \"~all\" of a.test");
    spf(&[&record("?all")], "neutral by \"?all\" of a.test");
    spf(&[&record("ip4:192.0.2.1")], "neutral: no term of a.test matches 1.2.3.4");
    spf(
        &[
            &record("include:b.test -all"),
            "b.test TXT: \"v=spf1 redirect=c.test\"",
            "c.test TXT: \"v=spf1 ip4:1.2.3.4 -all\"",
        ],
        "pass by \"ip4:1.2.3.4\" of c.test, redirected to by b.test, included by a.test",
    );
}

#[test]
fn without_a_record_there_is_no_result() {
    spf(&[], "none: a.test does not exist");
    spf(&["a.test TXT: NODATA"], "none: a.test has no SPF record");
    spf(&["a.test TXT: \"v=spf10 -all\", \"spf\""], "none: a.test has no SPF record");
    spf(&["a.test TXT: FAIL SERVFAIL"], "temperror: a.test TXT: failed: SERVFAIL");
    spf(&["a.test TXT: \"v=spf1 -all\", \"v=spf1\""], "permerror: a.test has 2 SPF records");
    spf(&["a.test TXT: \"other\", \"V=SPF1 -all\""], "fail by \"-all\" of a.test");
    for domain in ["localhost", "a..test", &format!("{}.test", "x".repeat(64)), "[1.2.3.4]", ""] {
        let found = evaluate(CLIENT, domain, &[]);
        assert_eq!((found.result, found.asked.len()), (SpfResult::None, 0), "{domain}");
    }
}

#[test]
fn an_error_anywhere_spoils_the_record() {
    spf(&[&record("ip4:1.2.3.4 nonsense")], "permerror: the SPF record of a.test: \"nonsense\" is no term of SPF");
    spf(
        &[&record("ip4:1.2.3.4 a:museum")],
        "permerror: the SPF record of a.test: \"a:museum\" has a domain without a top-level name",
    );
}

#[test]
fn includes() {
    let with = |included: &str, expected: &str| spf(&[&record("include:b.test ~all"), included], expected);
    with("b.test TXT: \"v=spf1 ip4:1.2.3.4 -all\"", "pass by \"ip4:1.2.3.4\" of b.test, included by a.test");
    with("b.test TXT: \"v=spf1 -all\"", "softfail by \"~all\" of a.test");
    with("b.test TXT: \"v=spf1 ?ip4:1.2.3.4\"", "softfail by \"~all\" of a.test");
    with("b.test TXT: \"v=spf1\"", "softfail by \"~all\" of a.test");
    with("b.test TXT: NODATA", "permerror: a.test includes a domain without a record: b.test has no SPF record");
    with("b.test TXT: FAIL timed out", "temperror: b.test TXT: failed: timed out");
    with("b.test TXT: \"v=spf1 x:y\"", "permerror: the SPF record of b.test: \"x:y\" is no term of SPF");
    spf(
        &[&record("-include:b.test all"), "b.test TXT: \"v=spf1 +all\""],
        "fail by \"+all\" of b.test, included by a.test",
    );
}

#[test]
fn redirects() {
    let with = |target: &str, expected: &str| spf(&[&record("redirect=b.test ip4:192.0.2.1"), target], expected);
    with("b.test TXT: \"v=spf1 -all\"", "fail by \"-all\" of b.test, redirected to by a.test");
    with("b.test TXT: \"v=spf1\"", "neutral: no term of b.test matches 1.2.3.4");
    with("b.test TXT: NODATA", "permerror: a.test redirects to a domain without a record: b.test has no SPF record");
    with("b.test TXT: FAIL x", "temperror: b.test TXT: failed: x");
    // `all` leaves nothing for it.
    spf(&[&record("redirect=b.test ~all")], "softfail by \"~all\" of a.test");
}

#[test]
fn addresses_and_their_families() {
    let a = &record("a -all");
    spf(&[a, "a.test A: 192.0.2.1, 1.2.3.4"], "pass by \"a\" of a.test");
    spf(&[a, "a.test A: NODATA"], "fail by \"-all\" of a.test");
    spf(&[a, "a.test A: FAIL x"], "temperror: a.test A: failed: x");
    spf(&[&record("a/24 -all"), "a.test A: 1.2.3.99"], "pass by \"a/24\" of a.test");
    spf(&[&record("a/0 -all"), "a.test A: 192.0.2.9"], "pass by \"a/0\" of a.test");
    spf(&[&record("a/0 -all"), "a.test A: NODATA"], "fail by \"-all\" of a.test");
    // IPv4 in IPv6's clothes is IPv4 (RFC 7208 5).
    from("::ffff:1.2.3.4", &[a, "a.test A: 1.2.3.4"], "pass by \"a\" of a.test");
    from("2001:db8::1", &[&record("a//64 -all"), "a.test AAAA: 2001:db8::9"], "pass by \"a//64\" of a.test");
    from("2001:db8::1", &[&record("ip4:0.0.0.0/0 ip6:2001:db8::/32 -all")], "pass by \"ip6:2001:db8::/32\" of a.test");
    spf(&[&record("ip6:::/0 -all")], "fail by \"-all\" of a.test");
    spf(&[&record("ip6:::ffff:1.2.3.4 -all")], "fail by \"-all\" of a.test");
}

#[test]
fn mx_hosts() {
    let mx = &record("mx -all");
    spf(&[mx, "a.test MX: 10 m.test, 20 n.test", "n.test A: 1.2.3.4"], "pass by \"mx\" of a.test");
    spf(&[mx, "a.test MX: NODATA", "a.test A: 1.2.3.4"], "fail by \"-all\" of a.test");
    spf(&[mx, "a.test MX: 0 ."], "fail by \"-all\" of a.test");
    spf(&[mx, "a.test MX: FAIL x"], "temperror: a.test MX: failed: x");
    spf(&[mx, "a.test MX: 10 m.test", "m.test A: FAIL x"], "temperror: m.test A: failed: x");
    spf(&[mx, "a.test MX: 10 m.test, 20 n.test", "m.test A: 1.2.3.4", "n.test A: FAIL x"], "pass by \"mx\" of a.test");
    let hosts: Vec<String> = (0..11).map(|n| format!("{n} m{n}.test")).collect();
    spf(&[mx, &format!("a.test MX: {}", hosts.join(", "))], "permerror: a.test has 11 MX hosts, 10 are allowed");
}

#[test]
fn names_of_the_client() {
    let ptr = &record("ptr -all");
    spf(&[ptr, "4.3.2.1.in-addr.arpa PTR: x.A.test.", "x.a.test A: 1.2.3.4"], "pass by \"ptr\" of a.test");
    spf(&[ptr, "4.3.2.1.in-addr.arpa PTR: x.a.test", "x.a.test A: 192.0.2.9"], "fail by \"-all\" of a.test");
    spf(
        &[ptr, "4.3.2.1.in-addr.arpa PTR: a.test.evil.test", "a.test.evil.test A: 1.2.3.4"],
        "fail by \"-all\" of a.test",
    );
    spf(&[ptr, "4.3.2.1.in-addr.arpa PTR: xa.test", "xa.test A: 1.2.3.4"], "fail by \"-all\" of a.test");
    // What fails here does not match; the rest is not spoiled (RFC 7208 5.5).
    spf(&[ptr, "4.3.2.1.in-addr.arpa PTR: FAIL x"], "fail by \"-all\" of a.test");
    spf(
        &[ptr, "4.3.2.1.in-addr.arpa PTR: y.a.test, x.a.test", "y.a.test A: FAIL x", "x.a.test A: 1.2.3.4"],
        "pass by \"ptr\" of a.test",
    );
    spf(
        &[&record("ptr:b.test -all"), "4.3.2.1.in-addr.arpa PTR: b.test", "b.test A: 1.2.3.4"],
        "pass by \"ptr:b.test\" of a.test",
    );
}

#[test]
fn macros_in_names() {
    let exists = |spec: &str, asked: &str| {
        let zone = [record(&format!("exists:{spec} -all")), format!("{asked} A: 127.0.0.2")];
        spf(&[&zone[0], &zone[1]], &format!("pass by \"exists:{spec}\" of a.test"));
    };
    exists("%{i}.x.test", "1.2.3.4.x.test");
    exists("%{ir}.%{v}._spf.%{d2}", "4.3.2.1.in-addr._spf.a.test");
    exists("%{l}.%{o}.%{d1}.test", "foo.a.test.test.test");
    exists("%{s}.x.test", "foo@a.test.x.test");
    exists("%{h1}.x.test", "test.x.test");
    exists("%{p}.x.test", "unknown.x.test");
    exists("%{L}-%%.x.test", "foo-%.x.test");
    let v6 = "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.x.test A: 127.0.0.2";
    from(
        "2001:db8::1",
        &[&record("exists:%{ir}.%{v}.x.test -all"), v6],
        "pass by \"exists:%{ir}.%{v}.x.test\" of a.test",
    );
    // A name too long loses labels from the left; one that cannot be asked for matches nothing.
    let long = format!("exists:%{{d}}.{}.x.test -all", ["y".repeat(60).as_str(); 4].join("."));
    let cut = format!("{}.x.test A: 127.0.0.2", ["y".repeat(60).as_str(); 4].join("."));
    let found = evaluate(CLIENT, "a.test", &[&record(&long), &cut]);
    assert_eq!(found.result, SpfResult::Pass);
    spf(&[&record(&format!("exists:{}.test a:b..test -all", "x".repeat(64)))], "fail by \"-all\" of a.test");
    // %{d} is the domain of the record at hand, %{o} that of the sender.
    spf(
        &[
            &record("include:b.test -all"),
            "b.test TXT: \"v=spf1 exists:%{d}.%{o}.x.test\"",
            "b.test.a.test.x.test A: 127.0.0.2",
        ],
        "pass by \"exists:%{d}.%{o}.x.test\" of b.test, included by a.test",
    );
    spf(
        &[
            &record("exists:%{p}.x.test -all"),
            "4.3.2.1.in-addr.arpa PTR: z.test, m.a.test, a.test",
            "z.test A: 1.2.3.4",
            "m.a.test A: 1.2.3.4",
            "m.a.test.x.test A: 127.0.0.2",
        ],
        "pass by \"exists:%{p}.x.test\" of a.test",
    );
}

#[test]
fn explanations_of_a_failure() {
    let with = |text: &str| {
        let zone = [record("exp=why.%{d} -all"), format!("why.a.test TXT: {text}")];
        evaluate(CLIENT, "a.test", &[&zone[0], &zone[1]]).explanation
    };
    assert_eq!(
        with("\"%{i} may not send for %{o} %{s}; see %{r} %{c} %{t} %{H}\"").as_deref(),
        Some("1.2.3.4 may not send for a.test foo@a.test; see mx.here.test 1.2.3.4 1000000000 mail.helo.test")
    );
    assert_eq!(with("NODATA"), None);
    assert_eq!(with("FAIL x"), None);
    assert_eq!(with("\"one\", \"two\""), None);
    assert_eq!(with("\"%{z}\""), None);
    assert_eq!(with("\"caf\u{e9}\""), None);
    // That of an included record does not count, that of a redirect does (RFC 7208 6.2).
    let zone = ["b.test TXT: \"v=spf1 exp=why.b.test -all\"", "why.b.test TXT: \"no\""];
    assert_eq!(evaluate(CLIENT, "a.test", &[&record("-include:b.test -all"), zone[0], zone[1]]).explanation, None);
    assert_eq!(
        evaluate(CLIENT, "a.test", &[&record("redirect=b.test"), zone[0], zone[1]]).explanation.as_deref(),
        Some("no")
    );
    // Nothing is asked for what is no failure.
    assert_eq!(evaluate(CLIENT, "a.test", &[&record("exp=why.a.test all")]).asked.len(), 1);
}

#[test]
fn limits() {
    let too_many = "permerror: more than 10 terms need DNS, counting from a.test";
    spf(&[&record("include:a.test -all")], too_many);
    spf(&[&record("redirect=b.test"), "b.test TXT: \"v=spf1 redirect=a.test\""], too_many);
    spf(&[&record("include:b.test -all"), "b.test TXT: \"v=spf1 include:a.test ?all\""], too_many);
    let hosts = |count: usize| -> Vec<String> { (0..count).map(|n| format!("h{n}.test A: 192.0.2.9")).collect() };
    let terms = |count: usize| (0..count).map(|n| format!("a:h{n}.test ")).collect::<String>();
    let with = |count: usize| {
        let mut zone = vec![record(&format!("{}-all", terms(count)))];
        zone.extend(hosts(count));
        evaluate(CLIENT, "a.test", &zone.iter().map(String::as_str).collect::<Vec<_>>()).to_string()
    };
    assert_eq!(with(10), "fail by \"-all\" of a.test");
    assert_eq!(with(11), too_many);
    // Who is known before the limit is known.
    let mut zone = vec![record(&format!("ip4:1.2.3.4 {}-all", terms(11)))];
    zone.extend(hosts(11));
    let zone: Vec<&str> = zone.iter().map(String::as_str).collect();
    assert_eq!(evaluate(CLIENT, "a.test", &zone).asked.len(), 1);
    // Two questions may come to nothing.
    spf(&[&record("a:x.test exists:y.test -all")], "fail by \"-all\" of a.test");
    spf(
        &[&record("a:x.test exists:y.test mx:z.test -all")],
        "permerror: more than 2 questions came to nothing, the last one z.test MX: NXDOMAIN",
    );
}

/// Terms are asked for together, and what stands behind a match is not.
#[test]
fn questions_of_one_record_are_put_at_once() {
    let query =
        Query { client: CLIENT.parse().unwrap(), domain: "a.test", local: "foo", helo: "", receiver: "", now: Time(0) };
    let txt = answer(&record("a mx include:b.test ip4:1.2.3.4 a:c.test -all"));
    let known = |question: &Question| (*question == txt.question).then_some(&txt);
    let names = |step: Step| match step {
        Step::Ask(questions) => questions.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
        Step::Done(check) => check.to_string(),
    };
    assert_eq!(names(check(&query, &|_| None)), "a.test TXT");
    assert_eq!(names(check(&query, &known)), "a.test A, a.test MX, b.test TXT");
}

#[test]
fn the_record_that_would_do() {
    let of =
        |record: Option<&str>| with_addresses(record, &["192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap()]);
    assert_eq!(of(None), "v=spf1 ip4:192.0.2.1 ip6:2001:db8::1 ~all");
    assert_eq!(of(Some("v=spf1 mx -all")), "v=spf1 ip4:192.0.2.1 ip6:2001:db8::1 mx -all");
    assert_eq!(of(Some("v=spf1")), "v=spf1 ip4:192.0.2.1 ip6:2001:db8::1");
}
