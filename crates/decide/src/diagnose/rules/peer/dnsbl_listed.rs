//! Our address is on a block list.

use crate::diagnose::rules::said::{self, Said};
use crate::diagnose::words::{self, Topic};
use crate::diagnose::{Answer, Case, Experiment, rule};
use mail::dns::{Data, Kind, Outcome};
use mail::{Actor, Confidence, Finding};
use std::net::{IpAddr, Ipv4Addr};

rule! {
    /// Our address is on a block list
    ///
    /// The host refuses this gateway's address because a DNS block list, or one of the host's own, has it. The list's answer
    /// tells why: 127.0.0.2 to 9 a source of spam or an exploited host, 127.0.0.10 and 11 a policy list: an address range that
    /// its provider declares as dynamic or as not for mail servers (Spamhaus' numbers, which others follow).
    ///
    /// Known by the host's words, and confirmed by asking the list itself for the address. An answer in 127.255.255.0/24 is an
    /// error of the question (a public resolver, a limit), not a listing.
    ///
    /// Spam list: find and stop the cause first (a compromised account, forwarded spam), then ask for removal at the list's
    /// page. Policy list: send from a static address with reverse DNS, ask for removal as its page describes, or use a relay
    /// host.
    "peer.dnsbl_listed", find
}

/// What the list says when asked.
enum Listing {
    Listed {
        codes: Vec<Ipv4Addr>,
    },
    /// Not there, or no more.
    Absent,
    /// The list refuses the question, or could not be asked.
    Unknown(String),
}

fn find(case: &Case<'_>) -> Answer {
    let Some(said) = said::about(case, Topic::BlockList).filter(|_| !said::is_backend(case)) else { return Answer::No };
    let Some(address) = said.our_address() else { return Answer::No };
    let Some(zone) = words::dnsbl_zone(said.reply) else { return own_list(case, &said, address).into() };
    let question = words::zone_question(address, &zone, Kind::A);
    let text = words::zone_question(address, &zone, Kind::Txt);
    let asked = [Experiment::ask(question.clone()), Experiment::ask(text.clone())];
    if asked.iter().any(|experiment| case.look(experiment).is_none()) {
        return Answer::Ask(asked.into());
    }
    let listing = listing(case, &question.name);
    let place = said.place();
    let (sentence, confidence, actor) = match &listing {
        Listing::Listed { codes } => (
            format!(
                "{address} is on {zone} with code {}, confirmed by an own look-up; {place} refuses it for that ({}).",
                said::list(&codes.iter().map(|code| format!("{code} ({})", meaning(*code))).collect::<Vec<_>>()),
                said.code(),
            ),
            Confidence::Proven,
            Actor::OurReputation,
        ),
        Listing::Absent => (
            format!(
                "{place} refuses {address} as listed on {zone} ({}), but {zone} has no entry for it now: removed by now and \
                 not yet noticed there, or a mistake there.",
                said.code(),
            ),
            Confidence::Likely,
            Actor::TheirHost,
        ),
        Listing::Unknown(why) => (
            format!(
                "{place} refuses {address} as listed on {zone} ({}); an own look-up told nothing ({why}).",
                said.code(),
            ),
            Confidence::Likely,
            Actor::OurReputation,
        ),
    };
    let mut finding = Finding::new("peer.dnsbl_listed", actor, sentence)
        .severity(said::severity(case, &said))
        .confidence(confidence)
        .evidence(said.quote())
        .disproof(format!("an answer of {zone} other than the one shown, asked from another resolver"));
    finding
        .evidence
        .extend([Kind::A, Kind::Txt].iter().filter_map(|kind| Some(case.dns(&question.name, *kind)?.summary())));
    match listing {
        Listing::Listed { codes } if codes.iter().all(|code| is_policy(*code)) => finding
            .fix(format!("Ask for {address}'s removal at the page of {zone}: a mail server with a static address may leave a policy list."))
            .fix("Or send through the provider's relay host: route.other.next_hops."),
        Listing::Absent => finding
            .fix(format!("Wait some hours for caches; then write to the postmaster of {}.", said.tried.host)),
        _ => finding
            .fix(format!("Find what sent spam from {address} and stop it; look at the largest senders of the last days."))
            .fix(format!("Then ask for removal at the page of {zone}.")),
    }
    .into()
}

/// A list that has no zone to ask.
fn own_list(case: &Case<'_>, said: &Said<'_>, address: IpAddr) -> Option<Finding> {
    let quoted = words::quotes(said.reply, &address.to_string());
    let confidence = if quoted { Confidence::Likely } else { Confidence::Possible };
    let sentence = format!(
        "{} refuses this gateway's address {address} by a block list that its words do not name ({}).",
        said.place(),
        said.code(),
    );
    let finding = Finding::new("peer.dnsbl_listed", Actor::OurReputation, sentence)
        .severity(said::severity(case, said))
        .confidence(confidence)
        .evidence(said.quote())
        .disproof(format!("mail from {address} that {} accepts at the same time", said.tried.host))
        .fix(format!(
            "Follow the link in the reply, if there is one, and ask {} for removal of {address}.",
            said.tried.host
        ))
        .fix(format!("Find what gave {address} its name: compromised accounts, forwarded spam."));
    Some(finding)
}

fn listing(case: &Case<'_>, name: &str) -> Listing {
    let Some(answer) = case.dns(name, Kind::A) else { return Listing::Unknown("not asked".to_owned()) };
    match &answer.outcome {
        Outcome::NoName | Outcome::NoData => Listing::Absent,
        Outcome::Failed(why) => Listing::Unknown(why.clone()),
        Outcome::Found => {
            let codes: Vec<Ipv4Addr> = answer
                .data()
                .filter_map(|data| match data {
                    Data::Address(IpAddr::V4(code)) => Some(*code),
                    _ => None,
                })
                .collect();
            let refused = codes.iter().find(|code| code.octets()[..3] == [127, 255, 255]);
            match refused {
                Some(code) => Listing::Unknown(format!("{code}: {}", meaning(*code))),
                // RFC 5782 2.1: entries are in 127.0.0.0/8; anything else is a parked zone or a lying resolver.
                None if codes.iter().any(|code| code.octets()[0] != 127) => {
                    Listing::Unknown(format!("it answers {}, which no list does", said::list(&strings(&codes))))
                }
                None => Listing::Listed { codes },
            }
        }
    }
}

fn strings(codes: &[Ipv4Addr]) -> Vec<String> {
    codes.iter().map(ToString::to_string).collect()
}

fn is_policy(code: Ipv4Addr) -> bool {
    matches!(code.octets(), [127, 0, 0, 10 | 11])
}

/// Spamhaus' codes (spamhaus.org/faq: "return codes"), which other lists follow more or less.
fn meaning(code: Ipv4Addr) -> &'static str {
    match code.octets() {
        [127, 255, 255, 252] => "an error code: the list's name is mistyped",
        [127, 255, 255, 254] => "an error code: asked through a public resolver",
        [127, 255, 255, 255] => "an error code: too many questions",
        [127, 255, 255, _] => "an error code",
        [127, 0, 0, 2] => "a source of spam",
        [127, 0, 0, 3] => "a source of snowshoe spam",
        [127, 0, 0, 4..=7] => "an exploited or infected host",
        [127, 0, 0, 9] => "a hijacked network",
        [127, 0, 0, 10 | 11] => "policy list for dynamic addresses",
        [127, ..] => "listed",
        _ => "no code of a list",
    }
}

#[cfg(test)]
mod tests {
    use crate::diagnose::testing::{check, scene};
    use crate::diagnose::{Experiment, words};
    use mail::dns::Kind;
    use mail::{Actor, Confidence};

    const REFUSED: &str = "to a@dest.test
        dns dest.test MX: 10 mx.dest.test
        try mx.dest.test 127.0.0.11
          banner 220 mx.dest.test
          rcpt a@dest.test 550 5.7.1 client [127.0.0.2] blocked using zen.dnsbl.test
          fail rcpt them 550 5.7.1 client [127.0.0.2] blocked using zen.dnsbl.test";

    #[test]
    fn the_list_is_asked_and_its_code_is_read() {
        let scene = scene(REFUSED);
        let question = words::zone_question("127.0.0.2".parse().unwrap(), "zen.dnsbl.test", Kind::A);
        scene.asks(&Experiment::ask(question));
        scene
            .answer("2.0.0.127.zen.dnsbl.test A: 127.0.0.10")
            .answer("2.0.0.127.zen.dnsbl.test TXT: \"policy list: dynamic range\"")
            .check(
                "peer.dnsbl_listed: 127.0.0.2 is on zen.dnsbl.test with code 127.0.0.10 (policy list for dynamic addresses), \
                 confirmed by an own look-up; mx.dest.test (127.0.0.11) refuses it for that (550 5.7.1).",
            );
    }

    #[test]
    fn an_error_code_of_the_list_is_no_listing() {
        let scene = scene(REFUSED)
            .answer("2.0.0.127.zen.dnsbl.test A: 127.255.255.254")
            .answer("2.0.0.127.zen.dnsbl.test TXT: NODATA");
        let first = scene.diagnose().findings.remove(0);
        assert_eq!(first.confidence, Confidence::Likely);
        assert!(first.sentence.contains("told nothing (127.255.255.254"), "{}", first.sentence);
    }

    #[test]
    fn a_list_that_has_no_entry_is_quoted_so() {
        let scene = scene(REFUSED)
            .answer("2.0.0.127.zen.dnsbl.test A: NXDOMAIN")
            .answer("2.0.0.127.zen.dnsbl.test TXT: NXDOMAIN");
        let first = scene.diagnose().findings.remove(0);
        assert_eq!((first.confidence, first.actor), (Confidence::Likely, Actor::TheirHost));
    }

    #[test]
    fn a_list_without_a_name_is_taken_at_its_word() {
        check(
            "to a@dest.test
             try mx.dest.test 127.0.0.11
               banner 554 5.7.606 Access denied, banned sending IP [127.0.0.2]
               fail banner them 554 5.7.606 Access denied, banned sending IP [127.0.0.2]",
            "peer.dnsbl_listed: mx.dest.test (127.0.0.11) refuses this gateway's address 127.0.0.2 by a block list that its \
             words do not name (554 5.7.606).",
        );
    }

    #[test]
    fn without_the_budget_the_words_count_less() {
        let scene = scene(REFUSED).nothing_more();
        assert_eq!(scene.diagnose().findings[0].confidence, Confidence::Likely);
    }
}
