//! What an evaluation leaves in the message: Received-SPF (RFC 7208 9.1) and Authentication-Results (RFC 8601).

use super::Query;
use mail::{Field, SpfCheck, SpfResult};

/// Both fields, CRLF at their ends, for the top of the message. `sender` empty: the null sender, whose EHLO name was judged.
pub fn fields(query: &Query<'_>, sender: &str, check: &SpfCheck) -> String {
    let (ours, client) = (query.receiver, query.client.to_canonical());
    // With the null sender it is the EHLO name: any word that the client likes.
    let domain = plain(&check.domain).filter(|domain| !domain.contains(['=', '`'])).unwrap_or("its EHLO name");
    let verdict = match check.result {
        SpfResult::Pass => format!("{domain} permits {client}"),
        SpfResult::Fail | SpfResult::SoftFail => format!("{domain} does not permit {client}"),
        SpfResult::Neutral => format!("{domain} says neither yes nor no of {client}"),
        SpfResult::None => format!("{domain} has no SPF record"),
        SpfResult::TempError | SpfResult::PermError => clean(&check.why),
    };
    let (identity, property, value) = match sender {
        "" => ("helo", "smtp.helo", plain(query.helo).unwrap_or("unknown").to_owned()),
        sender => ("mailfrom", "smtp.mailfrom", plain(sender).or(plain(&check.domain)).unwrap_or("unknown").to_owned()),
    };
    let mechanism = match check.term() {
        Some(link) if check.why.is_empty() => format!("\r\n\tmechanism=\"{}\";", clean(&link.term)),
        _ => String::new(),
    };
    let result = check.result;
    format!(
        "Authentication-Results: {ours};\r\n\tspf={result} ({verdict})\r\n\t{property}={value}\r\n\
         Received-SPF: {result} ({ours}: {verdict})\r\n\tclient-ip={client}; envelope-from=\"{}\";\r\n\thelo={};{mechanism}\r\n\treceiver={ours}; identity={identity}\r\n",
        plain(sender).unwrap_or_default(),
        plain(query.helo).unwrap_or("unknown"),
    )
}

/// Whether the field claims to hold results of ours: whoever is not one of us must not say so (RFC 8601 5).
pub fn is_forged(field: &Field<'_>, ours: &str) -> bool {
    if !field.is("Authentication-Results") {
        return false;
    }
    let text = field.text();
    let mut rest = text.trim_start();
    while let Some(comment) = rest.strip_prefix('(') {
        let mut depth = 1;
        let end = comment.find(|c| {
            depth += i32::from(c == '(') - i32::from(c == ')');
            depth == 0
        });
        rest = end.map_or("", |end| comment[end + 1..].trim_start());
    }
    let id = match rest.strip_prefix('"') {
        Some(quoted) => quoted.split('"').next().unwrap_or_default(),
        None => rest.split([';', ' ', '\t', '(']).next().unwrap_or_default(),
    };
    id.trim().trim_end_matches('.').eq_ignore_ascii_case(ours)
}

/// An address or name that needs no quotes; else none.
fn plain(text: &str) -> Option<&str> {
    let is_atom = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~.@[]:".contains(&byte);
    (!text.is_empty() && text.len() <= 320 && text.bytes().all(is_atom)).then_some(text)
}

/// Words that may stand in a comment, also for those who part results at `;` before they read comments.
fn clean(text: &str) -> String {
    let is_allowed = |c: &char| (' '..='~').contains(c) && !"()\\;\"".contains(*c);
    text.chars().filter(is_allowed).take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use mail::{Headers, SpfLink, Time};

    fn query() -> Query<'static> {
        Query {
            client: "::ffff:1.2.3.4".parse().unwrap(),
            domain: "a.test",
            local: "foo",
            helo: "mail.a.test",
            receiver: "gw.corp.test",
            now: Time(0),
        }
    }

    fn check(result: SpfResult, term: &str, why: &str) -> SpfCheck {
        let path = match term {
            "" => Vec::new(),
            term => vec![SpfLink { domain: "a.test".to_owned(), term: term.to_owned() }],
        };
        SpfCheck {
            result,
            domain: "a.test".to_owned(),
            record: None,
            path,
            why: why.to_owned(),
            explanation: None,
            asked: Vec::new(),
            lookups: 0,
        }
    }

    #[test]
    fn both_fields_say_who_was_judged_and_by_what() {
        assert_eq!(
            fields(&query(), "foo@a.test", &check(SpfResult::Fail, "-all", "")),
            "Authentication-Results: gw.corp.test;\r\n\tspf=fail (a.test does not permit 1.2.3.4)\r\n\tsmtp.mailfrom=foo@a.test\r\n\
             Received-SPF: fail (gw.corp.test: a.test does not permit 1.2.3.4)\r\n\tclient-ip=1.2.3.4; envelope-from=\"foo@a.test\";\r\n\
             \thelo=mail.a.test;\r\n\tmechanism=\"-all\";\r\n\treceiver=gw.corp.test; identity=mailfrom\r\n"
        );
        let null = fields(&query(), "", &check(SpfResult::TempError, "a", "a.test A: failed: (x)"));
        assert!(null.contains("\tspf=temperror (a.test A: failed: x)\r\n\tsmtp.helo=mail.a.test\r\n"), "{null}");
        assert!(null.ends_with("\thelo=mail.a.test;\r\n\treceiver=gw.corp.test; identity=helo\r\n"), "{null}");
    }

    #[test]
    fn nothing_of_the_client_breaks_out_of_its_place() {
        let odd = Query { helo: "x;\r\nSubject: y", ..query() };
        let text = fields(&odd, "\"a b\"@a.test", &check(SpfResult::PermError, "", "\"x\r\nY: (z\" is no term"));
        assert_eq!(Headers::of(text.as_bytes()).count(), 2, "{text}");
        assert!(text.contains("smtp.mailfrom=a.test\r\n") && text.contains("helo=unknown;"), "{text}");
        assert!(!text.contains("Subject"), "{text}");
        for helo in ["a);dkim=pass;spf=pass(b", "a\\", "a;spf=pass"] {
            let named = SpfCheck { domain: helo.to_owned(), ..check(SpfResult::None, "", "") };
            let text = fields(&Query { helo, domain: helo, ..query() }, "", &named);
            assert!(!text.contains("pass") && !text.contains('\\'), "{text}");
            assert!(text.contains("\tspf=none (its EHLO name has no SPF record)\r\n\tsmtp.helo=unknown\r\n"), "{text}");
        }
    }

    #[test]
    fn results_in_our_name_are_told_from_those_of_others() {
        let ours = |text: &str| {
            let text = format!("{text}\r\n\r\n");
            is_forged(&Headers::of(text.as_bytes()).next().unwrap(), "gw.corp.test")
        };
        assert!(ours("Authentication-Results: gw.corp.test; spf=pass"));
        assert!(ours("authentication-results:\r\n\tGW.Corp.Test 1;\r\n none"));
        assert!(ours("Authentication-Results: (a (b) c) gw.corp.test. ; none"));
        assert!(ours("Authentication-Results: \"gw.corp.test\"; none"));
        assert!(ours("Authentication-Results: gw.corp.test(x); none"));
        assert!(!ours("Authentication-Results: mx.gw.corp.test; spf=pass"));
        assert!(!ours("Authentication-Results: other.test; spf=pass smtp.helo=gw.corp.test"));
        assert!(!ours("Authentication-Results: (gw.corp.test"));
        assert!(!ours("Subject: gw.corp.test"));
    }
}
