//! A partner's qmail asks for type ANY and gets no answer that it can use.

use crate::diagnose::{Answer, Bounce, Case, Experiment, How, Result, rule};
use mail::dns::{Answer as DnsAnswer, Data, Kind, Outcome, Question, Trouble};
use mail::{Actor, Confidence, Finding};

rule! {
    /// The partner's qmail asks for type ANY
    ///
    /// A partner's bounce says "CNAME lookup failed temporarily (#4.4.3)", and this gateway has no trace of a connection. These are
    /// qmail's words: before it sends, qmail asks DNS for type ANY of the recipient's domain. Name servers of today refuse such
    /// questions, or give a minimal answer (RFC 8482), or one that does not fit into the 512 octets that qmail reads without a patch.
    /// Then qmail never comes to ask for the MX, which may be in perfect order.
    ///
    /// Known by those words and by asking as qmail does: ANY without EDNS, beside MX and the hosts' addresses.
    ///
    /// The partner patches qmail (any-to-cname, netqmail, notqmail) or uses another mail server. As a stop-gap the name servers of the
    /// domain may answer ANY with a small set of records.
    "dns.any_query_peer", find
}

/// What fits into a UDP answer without EDNS (RFC 1035 2.3.4), and into qmail's buffer.
const QMAIL_MAX: u32 = 512;

fn find(case: &Case<'_>) -> Answer {
    let Some(bounce) = case.bounce().filter(|bounce| Bounce::is_qmail_cname(&bounce.text)) else { return Answer::No };
    let mut wanted = Vec::new();
    let mut found = None;
    for domain in &bounce.domains {
        match of_domain(case, domain) {
            Answer::Ask(experiments) => wanted.extend(experiments),
            Answer::Found(finding) if found.is_none() => found = Some(finding),
            _ => {}
        }
    }
    match found {
        Some(finding) => Answer::Found(finding),
        None if wanted.is_empty() => Answer::No,
        None => Answer::Ask(wanted),
    }
}

fn of_domain(case: &Case<'_>, domain: &str) -> Answer {
    let any = Experiment::Ask { question: Question::new(domain, Kind::Any), how: How::NoEdns };
    let mx = Experiment::ask(Question::new(domain, Kind::Mx));
    let (Some(any_look), Some(mx_look)) = (case.look(&any), case.look(&mx)) else { return Answer::Ask(vec![any, mx]) };
    let (Result::Answer(any), Result::Answer(mx)) = (any_look, mx_look) else { return Answer::No };
    let host = mx.data().find_map(|data| match data {
        Data::Mx { host, .. } if !host.is_empty() => Some(host.trim_end_matches('.').to_owned()),
        _ => None,
    });
    // Without MX the address of the domain itself counts (RFC 5321 5.1).
    let host = match (&mx.outcome, host) {
        (Outcome::Found, Some(host)) => host,
        (Outcome::NoData, _) => domain.to_owned(),
        // Then mail is kept away by more than ANY.
        _ => return Answer::No,
    };
    let address = Experiment::ask(Question::new(&host, Kind::A));
    let address = match case.look(&address) {
        None => return Answer::Ask(vec![address]),
        Some(Result::Answer(answer)) => answer,
        Some(_) => return Answer::No,
    };
    let Some(first) = address.addresses().first().copied() else { return Answer::No };
    let Some(trouble) = unusable(any) else { return Answer::No };
    let records = match &mx.outcome {
        Outcome::Found => "MX and A",
        _ => "A",
    };
    Finding::new(
        "dns.any_query_peer",
        Actor::TheirHost,
        format!(
            "The sender runs qmail, which asks DNS for type ANY first; {domain}'s name server {trouble}, so qmail never connects. \
             {records} of {domain} are correct ({host}, {first})."
        ),
    )
    .confidence(Confidence::Likely)
    .evidence("\"CNAME lookup failed\" are qmail-remote's own words".to_owned())
    .evidence(format!("asked without EDNS, as qmail asks: {}", any.summary()))
    .evidence(mx.summary())
    .evidence(address.summary())
    .disproof(format!("a session of that sender with this gateway at the time of the bounce, or an answer to {domain} ANY of less than {QMAIL_MAX} octets"))
    .fix("The partner patches qmail (the any-to-cname patch, netqmail 1.06 with it, notqmail) or uses another mail server.")
    .fix(format!("As a stop-gap: let the name servers of {domain} answer ANY with a small set of records (below {QMAIL_MAX} octets)."))
    .into()
}

/// What is wrong with the answer to ANY for a qmail; `None`: nothing.
fn unusable(any: &DnsAnswer) -> Option<String> {
    let truncated = any.tried.iter().any(|tried| tried.trouble == Trouble::Truncated) || any.over_tcp;
    let words = match (&any.outcome, any.trouble) {
        _ if truncated => {
            let tcp = any.tcp_trouble().filter(|_| !any.is_known());
            let tcp = tcp.map_or(String::new(), |tried| format!(", and nothing over TCP: {}", tried.trouble));
            format!("answers ANY with more than {QMAIL_MAX} octets (TC=1{tcp})")
        }
        (Outcome::Failed(_), Some(trouble @ (Trouble::NotImp | Trouble::Refused | Trouble::FormErr))) => {
            format!("refuses ANY ({trouble})")
        }
        (Outcome::Failed(_), Some(trouble)) if !matches!(trouble, Trouble::NotAsked) => {
            format!("does not answer ANY ({trouble})")
        }
        (Outcome::Found, _) if any.size > QMAIL_MAX => {
            format!("answers ANY with {} octets, more than {QMAIL_MAX}", any.size)
        }
        // HINFO "RFC8482", or nothing: RFC 8482 4.
        (Outcome::Found | Outcome::NoData, _) if any.records.is_empty() => {
            "gives ANY a minimal answer (RFC 8482)".to_owned()
        }
        _ => return None,
    };
    Some(words)
}

#[cfg(test)]
mod tests {
    use crate::diagnose::testing::{Scene, scene};
    use crate::diagnose::{Bounce, Experiment, How};
    use mail::dns::{Kind, Question};

    const SETTINGS: &str = "settings
[[domain]]
name = \"corp.test\"
next_hops = [\"127.0.0.20\"]";

    fn bounced(text: &str, facts: &str) -> Scene {
        let mut scene = scene(&format!("{facts}\n{SETTINGS}"));
        scene.bounce = Some(Bounce::read(text, &scene.settings));
        scene
    }

    const QMAIL: &str = "<u@corp.test>:\nCNAME lookup failed temporarily. (#4.4.3)";
    const WELL: &str = "ask usual corp.test MX: 10 gw.corp.test\nask usual gw.corp.test A: 192.0.2.1";

    #[test]
    fn a_name_server_that_refuses_any_keeps_qmail_away() {
        let any = Experiment::Ask { question: Question::new("corp.test", Kind::Any), how: How::NoEdns };
        bounced(QMAIL, "").asks(&any);
        bounced(QMAIL, &format!("{WELL}\nask no-edns corp.test ANY: FAIL NOTIMP [plain-udp not-imp]")).check(
            "dns.any_query_peer: The sender runs qmail, which asks DNS for type ANY first; corp.test's name server refuses ANY \
             (NOTIMP), so qmail never connects. MX and A of corp.test are correct (gw.corp.test, 192.0.2.1).",
        );
        for any in ["FAIL no [plain-udp truncated] [tcp no-listener]", "FAIL no [plain-udp timed-out]", "NODATA"] {
            bounced(QMAIL, &format!("{WELL}\nask no-edns corp.test ANY: {any}")).check("dns.any_query_peer");
        }
    }

    #[test]
    fn a_good_answer_and_other_words_say_nothing() {
        bounced(QMAIL, &format!("{WELL}\nask no-edns corp.test ANY: gw.corp.test")).check("unknown");
        bounced(QMAIL, "ask usual corp.test MX: FAIL no\nask no-edns corp.test ANY: FAIL NOTIMP [plain-udp not-imp]")
            .check("unknown");
        let text = "Sorry, I couldn't find any host named corp.test. (#5.1.2)";
        bounced(text, &format!("{WELL}\nask no-edns corp.test ANY: FAIL NOTIMP [plain-udp not-imp]")).check("unknown");
    }
}
