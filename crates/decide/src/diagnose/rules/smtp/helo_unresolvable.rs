//! A peer refuses our EHLO name.

use crate::diagnose::face::{self, Known};
use crate::diagnose::words::{self, Topic};
use crate::diagnose::{Answer, Case, Experiment, Result, connected, rule};
use mail::dns::{Answer as DnsAnswer, Kind, Outcome, Question};
use mail::{Actor, Confidence, End, Finding, HostTry, Reply, Retry, Severity, Stage};
use std::net::{IpAddr, SocketAddr};

rule! {
    /// Our EHLO name does not resolve
    ///
    /// The peer asks that the name which this gateway says in EHLO is a fully qualified host name with an address in DNS, and
    /// it is not: a container's id, a short name, `localhost`, an internal name. Some peers say so at once, many only in answer to
    /// RCPT TO, and some close the connection after EHLO without a word, which looks like "no HELO/EHLO response".
    ///
    /// Known from the peer's words and our own lookup of the name; where the peer only closed, from a second greeting with a
    /// name that does resolve. Set the MTA host name (`hostname`), or the source's `ehlo`, to a name with an A or AAAA record.
    "smtp.helo_unresolvable", find
}

/// What the peer did about our name.
enum Refused<'a> {
    /// It said so.
    Said { stage: Stage, reply: &'a Reply, plain: bool },
    /// It closed the connection, or said nothing plain, at EHLO.
    Closed,
}

fn find(case: &Case<'_>) -> Answer {
    let Some((tried, refused)) = refused(case) else { return Answer::No };
    let name = tried.ehlo.as_str();
    if name.is_empty() || name.starts_with('[') {
        return Answer::No;
    }
    let (mut answers, mut wanted): (Vec<&DnsAnswer>, Vec<Experiment>) = (Vec::new(), Vec::new());
    for kind in [Kind::A, Kind::Aaaa] {
        match face::answer(case, Question::new(name, kind)) {
            Known::Yes(answer) => answers.push(answer),
            Known::Ask(experiments) => wanted.extend(experiments),
            Known::Never => return Answer::No,
        }
    }
    if !wanted.is_empty() {
        return Answer::Ask(wanted);
    }
    let is_none = |answer: &&DnsAnswer| matches!(answer.outcome, Outcome::NoName | Outcome::NoData);
    let has_none = answers.iter().all(is_none);
    let short = !name.trim_end_matches('.').contains('.');
    if !has_none && !short {
        return Answer::No;
    }
    let (confidence, said) = match refused {
        Refused::Said { stage, reply, plain } => {
            let fact = format!("{} [{}] at {stage}: {reply}", tried.host, tried.address);
            (if plain { Confidence::Proven } else { Confidence::Likely }, fact)
        }
        Refused::Closed => match another_name(case, tried) {
            Known::Yes(Some(fact)) => (Confidence::Proven, fact),
            Known::Yes(None) => return Answer::No,
            Known::Ask(experiments) => return Answer::Ask(experiments),
            Known::Never => (
                Confidence::Possible,
                format!("{} [{}] closed the connection after EHLO {name}", tried.host, tried.address),
            ),
        },
    };
    let lacks = match (short, has_none, answers[0].outcome == Outcome::NoName) {
        (true, true, _) => "is not a fully qualified name with an address record",
        (true, false, _) => "is not a fully qualified name",
        (false, _, true) => "does not exist in DNS (NXDOMAIN), so that it has no address record",
        (false, _, false) => "has neither an A nor an AAAA record (NODATA)",
    };
    let how = match refused {
        Refused::Said { .. } => "refuses",
        Refused::Closed => "closes the connection at EHLO because of",
    };
    let sentence = format!("{} {how} this gateway's EHLO name {name:?}, which {lacks}.", tried.host);
    let mut finding = Finding::new("smtp.helo_unresolvable", Actor::OurSettings, sentence).confidence(confidence);
    if case.delivered() {
        finding = finding.severity(Severity::Warning).retry(Retry::NotNeeded);
    }
    finding.evidence.push(said);
    finding.evidence.extend(answers.iter().map(|answer| answer.summary()));
    let source = face::seen_as(case, tried, None);
    let (key, was) = setting(case, tried);
    let example = if short { "a fully qualified name".to_owned() } else { format!("`{name}`") };
    let record = source.map_or("… A …".to_owned(), |source| {
        format!(
            "{}. {} {source}",
            if short { "gw.example.org" } else { name },
            if source.is_ipv4() { "A" } else { "AAAA" }
        )
    });
    finding
        .disproof(format!(
            "an A or AAAA record of {name} in public DNS, or the same answer of {} to a name that has one",
            tried.host
        ))
        .fix(format!("Set {key} (now {was}) to the gateway's public name, fully qualified."))
        .fix(format!("Publish an address record for {example}: `{record}`."))
        .into()
}

/// Which setting the name came from.
fn setting(case: &Case<'_>, tried: &HostTry) -> (&'static str, String) {
    let of_source = case.settings.delivery.sources.iter().find(|source| Some(source.address) == tried.source);
    match of_source.and_then(|source| source.ehlo.as_ref()) {
        Some(ehlo) => ("ehlo of [[delivery.source]]", format!("{:?}", ehlo.as_str())),
        None => match &case.settings.hostname {
            Some(name) => ("hostname, the MTA host name,", format!("{:?}", name.as_str())),
            None => ("hostname, the MTA host name,", format!("not set: the machine's own name {:?}", tried.ehlo)),
        },
    }
}

fn refused<'a>(case: &Case<'a>) -> Option<(&'a HostTry, Refused<'a>)> {
    let refusals = case.refusals();
    let about = |reply: &Reply| words::topics(reply).contains(&Topic::Helo);
    if let Some((tried, stage, reply)) = refusals.iter().find(|(_, _, reply)| about(reply)).copied() {
        let plain = words::topics(reply).first() == Some(&Topic::Helo) || words::quotes(reply, &tried.ehlo);
        return Some((tried, Refused::Said { stage, reply, plain }));
    }
    // "<25aea30808b2>: Host not found": our name, and no other reason; or RFC 5321's code for a bad parameter, in answer to a
    // short name.
    let hints = |tried: &HostTry, stage: Stage, reply: &Reply| {
        let topics = words::topics(reply);
        let unexplained = topics.iter().all(|topic| matches!(topic, Topic::ReverseDns | Topic::Busy));
        let is_short = !tried.ehlo.is_empty() && !tried.ehlo.contains('.');
        unexplained
            && ((words::quotes(reply, &tried.ehlo) && !is_own_name_of(reply, tried))
                || (is_short && matches!(reply.code, 501 | 504) && stage >= Stage::Ehlo))
    };
    if let Some((tried, stage, reply)) =
        refusals.iter().find(|(tried, stage, reply)| hints(tried, *stage, reply)).copied()
    {
        return Some((tried, Refused::Said { stage, reply, plain: false }));
    }
    let (tried, failure) = case.failed()?;
    let closed = matches!(tried.end, End::Closed | End::Broken(_));
    let greeted_well = tried.banner.as_ref().is_some_and(Reply::is_positive);
    (failure.stage == Stage::Ehlo && connected(tried) && greeted_well && tried.greeted.is_none() && closed)
        .then_some((tried, Refused::Closed))
}

/// A peer of our own name speaks of itself when it begins with its name.
fn is_own_name_of(reply: &Reply, tried: &HostTry) -> bool {
    tried.host.eq_ignore_ascii_case(&tried.ehlo)
        || reply.lines.first().is_some_and(|line| line.starts_with(&tried.ehlo))
}

/// Greets the peer with a name that resolves: what that showed if it was received better; `None` if it was not.
fn another_name(case: &Case<'_>, tried: &HostTry) -> Known<Option<String>> {
    let Some(source) = tried.source else { return Known::Never };
    let name = match resolving_name(case, source) {
        Known::Yes(name) => name,
        Known::Ask(experiments) => return Known::Ask(experiments),
        Known::Never => literal(source),
    };
    let greet = Experiment::Greet {
        address: SocketAddr::new(tried.address, tried.port),
        host: tried.host.clone(),
        source: Some(source),
        ehlo: Some(name.clone()),
        tls: false,
        sender: None,
        recipient: None,
    };
    match case.look(&greet) {
        None => Known::Ask(vec![greet]),
        Some(Result::Talk(talk)) => match &talk.greeted {
            Some(reply) if reply.is_positive() => Known::Yes(Some(format!(
                "EHLO {} from {source}: closed by {}; EHLO {name} from there at once after: {reply}",
                tried.ehlo, tried.host
            ))),
            _ => Known::Yes(None),
        },
        Some(_) => Known::Never,
    }
}

/// The name of the source's PTR record, if it leads back.
fn resolving_name(case: &Case<'_>, source: IpAddr) -> Known<String> {
    match face::answer(case, Question::reverse(source)) {
        Known::Yes(ptr) => {
            let Some(name) = ptr.names().first().copied() else { return Known::Never };
            match face::forward(case, name, source) {
                Known::Yes((addresses, _)) if !addresses.is_empty() => Known::Yes(name.to_owned()),
                Known::Ask(experiments) => Known::Ask(experiments),
                Known::Yes(_) | Known::Never => Known::Never,
            }
        }
        Known::Ask(experiments) => Known::Ask(experiments),
        Known::Never => Known::Never,
    }
}

/// RFC 5321 4.1.3: needs no DNS.
fn literal(address: IpAddr) -> String {
    match address {
        IpAddr::V4(v4) => format!("[{v4}]"),
        IpAddr::V6(v6) => format!("[IPv6:{v6}]"),
    }
}

#[cfg(test)]
mod tests {
    use super::{Experiment, Result};
    use crate::diagnose::testing::{Scene, reply, scene};
    use mail::{HostTry, Time};

    const NONE: &str = "\ndns 25aea30808b2 A: NXDOMAIN\ndns 25aea30808b2 AAAA: NXDOMAIN";

    fn refused(stage: &str, words: &str) -> String {
        format!(
            "to a@dest.test
             try mx.dest.test 127.0.0.11 ehlo 25aea30808b2
               banner 220 mx.dest.test ESMTP
               {stage} {words}
               fail {} them {}",
            stage.split(' ').next().unwrap(),
            words
        )
    }

    #[track_caller]
    fn check(stage: &str, words: &str, expected: &str) {
        scene(&(refused(stage, words) + NONE)).nothing_more().check(expected);
    }

    #[test]
    fn a_container_id_is_refused_at_any_stage() {
        let expected = "smtp.helo_unresolvable: mx.dest.test refuses this gateway's EHLO name \"25aea30808b2\", which is not a \
                        fully qualified name with an address record.";
        check(
            "rcpt a@dest.test",
            "504 5.5.2 <25aea30808b2>: Helo command rejected: need fully-qualified hostname",
            expected,
        );
        check("rcpt a@dest.test", "450 4.7.1 <25aea30808b2>: Helo command rejected: Host not found", expected);
        check("rcpt a@dest.test", "450 4.7.1 <25aea30808b2>: Host not found", expected);
        check("ehlo", "501 5.5.2 invalid EHLO name", expected);
        check("mail", "504 5.5.2 not understood", expected);
    }

    #[test]
    fn a_full_name_without_address() {
        let text =
            refused("mail", "550 5.7.1 Helo command rejected: Host not found").replace("25aea30808b2", "gw.corp.test");
        scene(&format!("{text}\ndns gw.corp.test A: NXDOMAIN\ndns gw.corp.test AAAA: NXDOMAIN")).nothing_more().check(
            "smtp.helo_unresolvable: mx.dest.test refuses this gateway's EHLO name \"gw.corp.test\", which does not exist in DNS \
             (NXDOMAIN), so that it has no address record.",
        );
        let with = |facts: &str| scene(&format!("{text}\n{facts}")).nothing_more().check("unknown");
        with("dns gw.corp.test A: 127.0.0.2\ndns gw.corp.test AAAA: NODATA");
        with("dns gw.corp.test A: FAIL SERVFAIL\ndns gw.corp.test AAAA: NXDOMAIN");
    }

    #[test]
    fn another_reason_is_another_cause() {
        let scene = scene(&(refused("rcpt a@dest.test", "550 5.1.1 no such user") + NONE)).nothing_more();
        assert!(!scene.diagnose().findings.iter().any(|finding| finding.cause == "smtp.helo_unresolvable"));
    }

    fn closed() -> Scene {
        let closed = "to a@dest.test
             dns 2.0.0.127.in-addr.arpa PTR: NXDOMAIN
             try mx.dest.test 127.0.0.11 ehlo 25aea30808b2
               banner 220 mx.dest.test ESMTP
               fail ehlo path [internal] 451 4.4.2 no HELO/EHLO response
               closed";
        scene(&format!("{closed}{NONE}"))
    }

    fn greet(answer: Option<&str>) -> (Experiment, Result) {
        let experiment = Experiment::Greet {
            address: "127.0.0.11:25".parse().unwrap(),
            host: "mx.dest.test".to_owned(),
            source: Some("127.0.0.2".parse().unwrap()),
            ehlo: Some("[127.0.0.2]".to_owned()),
            tls: false,
            sender: None,
            recipient: None,
        };
        let mut talk = HostTry::new("mx.dest.test", "127.0.0.11".parse().unwrap(), 25, Time(0));
        talk.greeted = answer.map(reply);
        (experiment, Result::Talk(Box::new(talk)))
    }

    #[test]
    fn a_peer_that_hangs_up_is_greeted_with_another_name() {
        closed().asks(&greet(None).0);
        let (experiment, result) = greet(Some("250 mx.dest.test"));
        closed().look(experiment, result).check(
            "smtp.helo_unresolvable: mx.dest.test closes the connection at EHLO because of this gateway's EHLO name \
             \"25aea30808b2\", which is not a fully qualified name with an address record.",
        );
    }

    #[test]
    fn a_peer_that_hangs_up_on_any_name_has_another_reason() {
        let (experiment, result) = greet(None);
        let scene = closed().look(experiment, result);
        assert!(!scene.diagnose().findings.iter().any(|finding| finding.cause == "smtp.helo_unresolvable"));
    }
}
