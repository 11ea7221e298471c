//! Facts in, lines out. A zone is lines of answers; what is not in it does not exist.

use super::*;
use crate::diagnose::testing::answer;
use mail::Distrust;

const NOW: Time = Time(1_800_000_000_000);

/// A gateway on the Internet at 203.0.113.5, called gw.corp.test, and what DNS says of it when all is right.
struct World {
    settings: String,
    zone: Vec<String>,
    hostname: String,
    proposed: bool,
    interfaces: Vec<&'static str>,
    chosen: Vec<&'static str>,
    listening: Vec<(Listener, &'static str)>,
    shown: Vec<Shown>,
    port25: Outward,
}

const RIGHT: &[&str] = &[
    "gw.corp.test A: 203.0.113.5",
    "5.113.0.203.in-addr.arpa PTR: gw.corp.test",
    "corp.test MX: 10 gw.corp.test",
    "corp.test TXT: \"v=spf1 ip4:203.0.113.5 -all\"",
    "2.0.0.127.list.test A: 127.0.0.2",
];

fn right() -> World {
    World {
        settings:
            "[[domain]]\nname = \"corp.test\"\nnext_hops = [\"10.0.0.20\"]\n[identity]\ndnsbl = [\"list.test\"]\n"
                .to_owned(),
        zone: RIGHT.iter().map(|line| (*line).to_owned()).collect(),
        hostname: "gw.corp.test".to_owned(),
        proposed: false,
        interfaces: vec!["203.0.113.5"],
        chosen: vec!["203.0.113.5"],
        listening: vec![(Listener::Inbound, "0.0.0.0:25"), (Listener::Outbound, "127.0.0.1:26")],
        shown: vec![shown(Listener::Inbound, &["gw.corp.test"], 90, &[])],
        port25: Outward::Tried(vec![reach("a.test", "192.0.2.1", Connect::Made { ms: 20 })]),
    }
}

fn shown(listener: Listener, names: &[&str], days: i64, problems: &[Distrust]) -> Shown {
    let certificate = Certificate {
        names: names.iter().map(|name| (*name).to_owned()).collect(),
        not_after: Some(Time(NOW.ms() + days * 86_400_000)),
        problems: problems.to_vec(),
        ..Certificate::default()
    };
    Shown { listener, certificate: Ok(certificate), own_making: false }
}

fn reach(domain: &str, address: &str, connect: Connect) -> Reach {
    let address = SocketAddr::new(address.parse().unwrap(), 25);
    Reach { domain: domain.to_owned(), host: format!("mx.{domain}"), address, connect }
}

impl World {
    /// The line of the zone for the same question is replaced, or one more is there.
    fn zone(mut self, line: &str) -> World {
        let question = line.split_once(':').unwrap().0;
        self.zone.retain(|old| old.split_once(':').unwrap().0 != question);
        self.zone.push(line.to_owned());
        self
    }

    fn settings(mut self, more: &str) -> World {
        self.settings = format!("{more}\n{}", self.settings);
        self
    }

    /// With what a domain's reader would not take at the top of the document.
    fn tables(mut self, more: &str) -> World {
        self.settings = format!("{}\n{more}", self.settings);
        self
    }

    fn lines(&self) -> Vec<Line> {
        let settings = Settings::read(&self.settings).unwrap_or_else(|complaints| panic!("{complaints:?}"));
        let address = |text: &&str| text.parse::<IpAddr>().unwrap();
        let mut addresses: Vec<IpAddr> = self.interfaces.iter().map(address).collect();
        addresses.extend(&settings.public_addresses);
        let hostname: Domain = self.hostname.parse().unwrap();
        let identity = Identity { names: vec![hostname.clone()], addresses, ..Identity::default() };
        let chosen: Vec<IpAddr> = self.chosen.iter().map(address).collect();
        let listening: Vec<_> = self.listening.iter().map(|(role, at)| (*role, at.parse().unwrap())).collect();
        let zone: Vec<Answer> = self.zone.iter().map(|line| answer(line)).collect();
        let mut known: Vec<Answer> = Vec::new();
        for _ in 0..20 {
            let facts = Facts {
                settings: &settings,
                identity: &identity,
                hostname: &hostname,
                proposed: self.proposed,
                chosen: &chosen,
                dns: &known,
                listening: &listening,
                shown: &self.shown,
                port25: &self.port25,
                now: NOW,
            };
            match judge(&facts) {
                Judged::Lines(lines) => return lines,
                Judged::Ask(questions) => {
                    assert!(!questions.iter().any(|question| known.iter().any(|old| old.question == *question)));
                    known.extend(questions.into_iter().map(|question| {
                        let told = zone.iter().find(|answer| answer.question == question).cloned();
                        let below = |answer: &Answer| answer.question.name == question.name;
                        let outcome = if zone.iter().any(below) { Outcome::NoData } else { Outcome::NoName };
                        told.unwrap_or_else(|| Answer::bare(question, outcome))
                    }));
                }
            }
        }
        panic!("it asks for ever");
    }

    /// All lines that are not in order, as `state: check: sentence`.
    #[track_caller]
    fn check(&self, expected: &[&str]) -> Vec<Line> {
        let lines = self.lines();
        let found: Vec<String> = lines.iter().filter(|line| line.state != State::Ok).map(ToString::to_string).collect();
        assert_eq!(found, expected);
        lines.into_iter().filter(|line| line.state != State::Ok).collect()
    }
}

fn fixes(lines: &[Line]) -> String {
    lines.iter().flat_map(|line| line.fix.iter()).cloned().collect::<Vec<_>>().join("\n")
}

fn cause(lines: &[Line]) -> Vec<(&str, Severity)> {
    let findings = lines.iter().filter_map(|line| line.finding.as_ref());
    findings.map(|finding| (finding.cause.as_ref(), finding.severity)).collect()
}

#[test]
fn a_right_identity_is_all_ok() {
    right().settings("hostname = \"gw.corp.test\"").check(&[]);
    let lines = right().lines();
    assert_eq!(lines.iter().filter(|line| line.state == State::Note).count(), 1, "the host name is the machine's own");
    assert!(lines.iter().any(|line| line.sentence == "203.0.113.5 is called gw.corp.test, which leads back to it"));
    let checks: Vec<Check> = lines.iter().map(|line| line.check).collect();
    assert!(checks.is_sorted());
}

fn set() -> World {
    right().settings("hostname = \"gw.corp.test\"")
}

#[test]
fn a_missing_ptr_is_a_problem_and_a_failed_lookup_is_not() {
    let lines = set()
        .zone("5.113.0.203.in-addr.arpa PTR: NXDOMAIN")
        .check(&["problem: reverse name: 203.0.113.5 has no PTR record (NXDOMAIN): many servers refuse mail from it"]);
    assert!(fixes(&lines).contains("`203.0.113.5 → PTR gw.corp.test.`"), "{}", fixes(&lines));
    assert_eq!(cause(&lines), [("dns.own_no_ptr", Severity::Failure)]);
    assert_eq!(lines[0].evidence, ["5.113.0.203.in-addr.arpa PTR: NXDOMAIN"]);
    set()
        .zone("5.113.0.203.in-addr.arpa PTR: FAIL SERVFAIL")
        .check(&["not checked: reverse name: the reverse name of 203.0.113.5 is not known: the lookup failed"]);
}

#[test]
fn a_ptr_that_leads_elsewhere() {
    let world = || set().zone("5.113.0.203.in-addr.arpa PTR: host7.provider.test");
    let lines = world().zone("host7.provider.test A: 198.51.100.7").check(&[
        "problem: reverse name: 203.0.113.5 is called host7.provider.test, but host7.provider.test leads to 198.51.100.7: many \
         servers refuse mail from it",
    ]);
    assert_eq!(cause(&lines), [("dns.fcrdns_mismatch", Severity::Failure)]);
    world().check(&[
        "problem: reverse name: 203.0.113.5 is called host7.provider.test, but host7.provider.test has no A record (NXDOMAIN): many \
         servers refuse mail from it",
    ]);
    world().zone("host7.provider.test A: FAIL timed out").check(&[
        "not checked: reverse name: 203.0.113.5 is called host7.provider.test; whether that leads back is not known: the lookup failed",
    ]);
    // One of several names is enough.
    set().zone("5.113.0.203.in-addr.arpa PTR: gw.corp.test, old.corp.test").check(&[]);
}

#[test]
fn the_reverse_name_may_be_another_than_the_ehlo_name() {
    let lines = set()
        .zone("5.113.0.203.in-addr.arpa PTR: host7.provider.test")
        .zone("host7.provider.test A: 203.0.113.5")
        .check(&[
            "note: EHLO name: PTR host7.provider.test of 203.0.113.5 is forward-confirmed and gw.corp.test resolves to the same \
             address; the different names are allowed",
        ]);
    assert_eq!(cause(&lines), [("diag.helo_ptr_not_required", Severity::Info)]);
    // A name that nobody can look up is no mere difference.
    let lines = set()
        .zone("5.113.0.203.in-addr.arpa PTR: host7.provider.test")
        .zone("host7.provider.test A: 203.0.113.5")
        .zone("gw.corp.test A: NXDOMAIN")
        .zone("corp.test MX: 10 mx.corp.test")
        .zone("mx.corp.test A: 203.0.113.5");
    let lines = lines.lines();
    assert!(!lines.iter().any(|line| line.check == Check::EhloName));
}

#[test]
fn a_generic_reverse_name_is_a_note() {
    set()
        .zone("5.113.0.203.in-addr.arpa PTR: 203-0-113-5.dsl.provider.test")
        .zone("203-0-113-5.dsl.provider.test A: 203.0.113.5")
        .check(&[
            "note: reverse name: 203.0.113.5 is called 203-0-113-5.dsl.provider.test, which leads back; a name made of the address \
             looks like a dial-up line to some servers",
            "note: EHLO name: PTR 203-0-113-5.dsl.provider.test of 203.0.113.5 is forward-confirmed and gw.corp.test resolves to the \
             same address; the different names are allowed",
        ]);
}

#[test]
fn the_host_name_must_resolve_to_where_others_can_come() {
    let gone = set()
        .zone("gw.corp.test A: NXDOMAIN")
        .zone("5.113.0.203.in-addr.arpa PTR: h.test")
        .zone("h.test A: 203.0.113.5");
    let lines = gone.lines();
    let line = lines.iter().find(|line| line.check == Check::Address).unwrap();
    assert_eq!(line.sentence, "gw.corp.test has no A or AAAA record (NXDOMAIN): many servers refuse it in EHLO");
    assert_eq!(line.fix, ["Publish `gw.corp.test. A 203.0.113.5`."]);
    assert_eq!(line.finding.as_ref().unwrap().cause, "smtp.helo_unresolvable");
    let of = |world: World| {
        let lines = world.lines();
        let line = lines.iter().find(|line| line.check == Check::Address).unwrap();
        (line.state, line.sentence.clone())
    };
    assert_eq!(of(set().zone("gw.corp.test A: FAIL SERVFAIL")).0, State::NotChecked);
    // The v6 lookup failed, but there is an IPv4 address.
    assert_eq!(of(set().zone("gw.corp.test AAAA: FAIL SERVFAIL")).0, State::Ok);
    let private = || set().zone("gw.corp.test A: 10.0.0.5");
    assert_eq!(of(private()).0, State::Warning, "it may be the view from inside");
    let (state, what) = of(private().tables("[dns]\npublic_servers = [\"192.0.2.53\"]"));
    assert_eq!(
        (state, what.as_str()),
        (State::Problem, "gw.corp.test resolves to 10.0.0.5, which is not reachable from the Internet")
    );
    let (state, what) = of(set().zone("gw.corp.test A: 198.51.100.9"));
    assert_eq!(
        (state, what.as_str()),
        (State::Warning, "gw.corp.test resolves to 198.51.100.9, which is no address of this gateway")
    );
    let (state, _) = of(set().zone("gw.corp.test A: CNAME host.corp.test, 203.0.113.5"));
    assert_eq!(state, State::Warning);
}

#[test]
fn a_closed_network_is_its_own_outside() {
    let mut world = set()
        .tables("[delivery]\nallow_private_addresses = [\"10.0.0.0/8\"]")
        .zone("gw.corp.test A: 10.0.0.5")
        .zone("5.0.0.10.in-addr.arpa PTR: gw.corp.test")
        .zone("corp.test TXT: \"v=spf1 ip4:10.0.0.0/8 -all\"");
    (world.interfaces, world.chosen) = (vec!["10.0.0.5"], vec!["10.0.0.5"]);
    world.check(&[]);
}

#[test]
fn behind_nat_the_declared_address_counts() {
    let mut world = set();
    (world.interfaces, world.chosen) = (vec!["10.0.0.5"], vec!["10.0.0.5"]);
    let lines = world.lines();
    let source = lines.iter().find(|line| line.check == Check::Source).unwrap();
    assert_eq!(source.state, State::Warning, "{source}");
    assert!(lines.iter().all(|line| line.check != Check::ReverseName));
    world.settings = world.settings.replace("[identity]", "[identity]\npublic_addresses = [\"203.0.113.5\"]");
    world.check(&[]);
    assert!(
        world.lines().iter().any(|line| line.sentence.starts_with("mail leaves from 203.0.113.5 (10.0.0.5 by NAT"))
    );
}

#[test]
fn each_source_of_the_settings_has_its_name() {
    let mut world = set().tables("[[delivery.source]]\naddress = \"203.0.113.6\"\nehlo = \"out.corp.test\"");
    world.interfaces.push("203.0.113.6");
    let lines = world
        .zone("out.corp.test A: 203.0.113.6")
        .check(&[
            "problem: reverse name: 203.0.113.6 has no PTR record (NXDOMAIN): many servers refuse mail from it",
            "problem: SPF: the SPF record of corp.test does not let this gateway send: 203.0.113.6 fail by \"-all\" of corp.test",
        ]);
    assert!(fixes(&lines).contains("`203.0.113.6 → PTR out.corp.test.`"));
    assert!(
        fixes(&lines).contains("`corp.test. TXT \"v=spf1 ip4:203.0.113.6 ip4:203.0.113.5 -all\"`"),
        "{}",
        fixes(&lines)
    );
}

#[test]
fn ipv6_is_right_or_off() {
    let both = || {
        let mut world = set()
            .zone("gw.corp.test AAAA: 2001:db8::5")
            .zone("corp.test TXT: \"v=spf1 ip4:203.0.113.5 ip6:2001:db8::5 -all\"");
        world.interfaces.push("2001:db8::5");
        world.chosen.push("2001:db8::5");
        world.listening.push((Listener::Inbound, "[::]:25"));
        world
    };
    let ptr = "5.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa PTR: gw.corp.test";
    both().zone(ptr).check(&[]);
    let lines = both()
        .check(&["problem: reverse name: 2001:db8::5 has no PTR record (NXDOMAIN): many servers refuse mail from it"]);
    assert_eq!(cause(&lines), [("dns.own_v6_no_ptr", Severity::Failure)]);
    assert!(fixes(&lines).contains("delivery.address_family"));
    // Switched off, nobody sees it.
    both().tables("[delivery]\naddress_family = \"ipv4\"").check(&[]);
    let mut deaf = both().zone(ptr);
    deaf.listening.pop();
    deaf.check(&[
        "warning: IPv6: gw.corp.test has the address 2001:db8::5, but no inbound listener is there: who tries IPv6 first loses time or \
         gives up",
    ]);
}

#[test]
fn spf_must_hold_the_sources() {
    let with = |record: &str, expected: &[&str]| set().zone(&format!("corp.test TXT: {record}")).check(expected);
    let lines = with(
        "\"v=spf1 mx:other.test -all\"",
        &[
            "problem: SPF: the SPF record of corp.test does not let this gateway send: 203.0.113.5 fail by \"-all\" of corp.test",
        ],
    );
    assert_eq!(fixes(&lines), "Publish `corp.test. TXT \"v=spf1 ip4:203.0.113.5 mx:other.test -all\"`.");
    with(
        "\"v=spf1 ip4:203.0.113.50 ~all\"",
        &[
            "warning: SPF: the SPF record of corp.test does not let this gateway send: 203.0.113.5 softfail by \"~all\" of corp.test",
        ],
    );
    with("\"v=spf1 mx -all\"", &[]);
    with("\"v=spf1 a:gw.corp.test -all\"", &[]);
    with("FAIL SERVFAIL", &["not checked: SPF: whether corp.test lets 203.0.113.5 send is not known: a lookup failed"]);
    let lines = set().zone("corp.test TXT: NODATA").lines();
    let line = lines.iter().find(|line| line.check == Check::Spf).unwrap();
    assert_eq!(line.state, State::Warning);
    assert_eq!(line.fix, ["Publish `corp.test. TXT \"v=spf1 ip4:203.0.113.5 ~all\"`."]);
    let twice = set().zone("corp.test TXT: \"v=spf1 -all\", \"v=spf1 mx -all\"").lines();
    assert_eq!(twice.iter().find(|line| line.check == Check::Spf).unwrap().state, State::Problem);
}

#[test]
fn the_ehlo_name_has_an_spf_record_of_its_own_or_none() {
    set().zone("gw.corp.test TXT: \"v=spf1 a -all\"").check(&[]);
    let lines = set().zone("gw.corp.test TXT: \"v=spf1 ip4:203.0.113.77 -all\"").check(&[
        "warning: SPF: the SPF record of the EHLO name gw.corp.test does not let 203.0.113.5 send, and bounces are judged by it: fail by \
         \"-all\" of gw.corp.test",
    ]);
    assert_eq!(fixes(&lines), "Publish `gw.corp.test. TXT \"v=spf1 ip4:203.0.113.5 ip4:203.0.113.77 -all\"`.");
}

#[test]
fn with_relay_hosts_their_face_is_what_the_world_sees() {
    let world =
        set().tables("[route.other]\nnext_hops = [\"relay.test:587\"]").zone("5.113.0.203.in-addr.arpa PTR: NXDOMAIN");
    world.check(&[
        "warning: reverse name: 203.0.113.5 has no PTR record (NXDOMAIN): many servers refuse mail from it (mail leaves by relay.test: \
         only they see it)",
        "not checked: SPF: mail leaves by relay.test: their addresses must be in the SPF records of your domains, and only they know \
         them all",
        "not checked: port 25: mail leaves by relay.test: port 25 of others is not used",
    ]);
}

#[test]
fn a_gateway_that_only_takes_mail_in_need_not_be_in_spf() {
    let mut world = set().zone("corp.test TXT: \"v=spf1 -all\"");
    world.listening.pop();
    let lines = world.lines();
    assert_eq!(lines.iter().find(|line| line.check == Check::Spf).unwrap().state, State::Note);
}

#[test]
fn a_listing_and_a_refused_question_are_two_things() {
    let lines = set()
        .zone("5.113.0.203.list.test A: 127.0.0.4")
        .zone("5.113.0.203.list.test TXT: \"see https://list.test/5\"")
        .check(&[
            "problem: block list: 203.0.113.5 is on the block list list.test (127.0.0.4): see https://list.test/5",
        ]);
    assert_eq!(cause(&lines), [("peer.dnsbl_listed", Severity::Failure)]);
    let lines = set().zone("5.113.0.203.list.test A: 127.255.255.254").check(&[
        "not checked: block list: list.test gave no answer that counts (127.255.255.254): it refuses questions that come by a public \
         resolver; whether 203.0.113.5 is listed is not known",
    ]);
    assert_eq!(cause(&lines), [("own.dnsbl_query_error", Severity::Info)]);
    set()
        .zone("5.113.0.203.list.test A: FAIL REFUSED")
        .check(&["not checked: block list: list.test did not answer: whether 203.0.113.5 is listed is not known"]);
    // A list that does not even know its test entry says nothing.
    set().zone("2.0.0.127.list.test A: NXDOMAIN").check(&[
        "not checked: block list: list.test does not list 203.0.113.5, but not its own test entry 127.0.0.2 either: it may be dead, or \
         the resolver is kept from it",
    ]);
}

#[test]
fn a_closed_port_25_needs_more_than_one_witness() {
    let silent = |domain: &str, address: &str| reach(domain, address, Connect::TimedOut { after_ms: 8000 });
    let with = |tried: Vec<Reach>| {
        let mut world = set();
        world.port25 = Outward::Tried(tried);
        let lines = world.lines();
        let line = lines.into_iter().find(|line| line.check == Check::Port25).unwrap();
        (line.state, line.finding.map(|finding| finding.confidence))
    };
    let closed = (State::Problem, Some(Confidence::Likely));
    assert_eq!(with(vec![silent("a.test", "192.0.2.1"), silent("b.test", "198.51.100.1")]), closed);
    assert_eq!(with(vec![silent("a.test", "192.0.2.1"), silent("a.test", "192.0.2.2")]), (State::Warning, None));
    let refused = reach("b.test", "198.51.100.1", Connect::Refused);
    assert_eq!(with(vec![silent("a.test", "192.0.2.1"), refused]), (State::Warning, None));
    let open = reach("b.test", "198.51.100.1", Connect::Made { ms: 3 });
    assert_eq!(with(vec![silent("a.test", "192.0.2.1"), open]), (State::Ok, None));
    let mut world = set();
    world.port25 = Outward::NotTried("no mail went out lately".to_owned());
    world.check(&["not checked: port 25: no mail server was tried: no mail went out lately"]);
}

#[test]
fn mail_for_own_domains_must_find_the_way_here() {
    let with = |mx: &str, more: &[&str]| {
        let world = more.iter().fold(set().zone(&format!("corp.test MX: {mx}")), |world, line| world.zone(line));
        let lines = world.lines();
        let line = lines.into_iter().find(|line| line.check == Check::Mx).unwrap();
        (line.state, line.sentence)
    };
    let (state, what) = with("10 mx.filter.test", &["mx.filter.test A: 198.51.100.7"]);
    assert_eq!(
        (state, what.as_str()),
        (State::Warning, "the MX of corp.test does not lead here, but to mx.filter.test (198.51.100.7)")
    );
    assert_eq!(with("10 mx.filter.test, 20 gw.corp.test", &["mx.filter.test A: 198.51.100.7"]).0, State::Ok);
    assert_eq!(with("10 mail.corp.test", &["mail.corp.test A: 203.0.113.5"]).0, State::Ok);
    assert_eq!(with("10 mx.filter.test", &["mx.filter.test A: FAIL SERVFAIL"]).0, State::NotChecked);
    assert_eq!(with("FAIL SERVFAIL", &[]).0, State::NotChecked);
    assert_eq!(with("0 .", &[]).0, State::Warning);
    assert_eq!(with("NODATA", &["corp.test A: 203.0.113.5"]).0, State::Ok);
}

#[test]
fn certificates_must_fit_the_name_by_which_one_comes() {
    let with = |one: Shown, more: &[&str]| {
        let mut world = more.iter().fold(set(), |world, line| world.zone(line));
        world.shown = vec![one];
        let lines = world.lines();
        let line = lines.into_iter().find(|line| line.check == Check::Certificate).unwrap();
        (line.state, line.sentence)
    };
    let (state, what) = with(shown(Listener::Inbound, &["other.test"], 90, &[]), &[]);
    assert_eq!(
        (state, what.as_str()),
        (State::Warning, "the certificate of the inbound listener is for other.test, not for gw.corp.test")
    );
    assert_eq!(with(shown(Listener::Submission, &["other.test"], 90, &[]), &[]).0, State::Problem);
    assert_eq!(with(shown(Listener::Inbound, &["*.corp.test"], 90, &[]), &[]).0, State::Ok);
    assert_eq!(with(shown(Listener::Inbound, &["*.test"], 90, &[]), &[]).0, State::Warning, "a wildcard is one label");
    // The name in the MX record is the one that counts for mail.
    let mx = ["corp.test MX: 10 mx.corp.test", "mx.corp.test A: 203.0.113.5"];
    assert_eq!(with(shown(Listener::Inbound, &["mx.corp.test"], 90, &[]), &mx).0, State::Ok);
    assert_eq!(with(shown(Listener::Inbound, &["gw.corp.test"], 90, &[]), &mx).0, State::Warning);
    assert_eq!(with(shown(Listener::Submission, &["gw.corp.test"], 90, &[]), &mx).0, State::Ok);
    assert_eq!(with(shown(Listener::Inbound, &["gw.corp.test"], -1, &[Distrust::Ended]), &[]).0, State::Problem);
    assert_eq!(with(shown(Listener::Inbound, &["gw.corp.test"], 5, &[]), &[]).0, State::Warning);
    assert_eq!(with(shown(Listener::Inbound, &["gw.corp.test"], 20, &[]), &[]).0, State::Ok);
    let unknown = [Distrust::Untrusted("unknown issuer".to_owned())];
    assert_eq!(with(shown(Listener::Inbound, &["gw.corp.test"], 90, &unknown), &[]).0, State::Note);
    let mut own = shown(Listener::Submission, &["gw.corp.test"], 90, &unknown);
    own.own_making = true;
    assert_eq!(with(own, &[]).0, State::Warning);
}

#[test]
fn a_proposed_name_is_looked_at_before_it_is_saved() {
    let propose = |name: &str| {
        let mut world = set();
        (world.hostname, world.proposed) = (name.to_owned(), true);
        let lines = world.lines();
        lines.into_iter().filter(|line| line.state != State::Ok).map(|line| line.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(
        propose("mail.corp.test")[0],
        "problem: address: mail.corp.test has no A or AAAA record (NXDOMAIN): many servers refuse it in EHLO"
    );
    assert!(propose("gw")[0].starts_with("problem: host name: \"gw\" is not fully qualified"));
    assert!(propose("gw.corp.local")[0].starts_with("warning: host name: gw.corp.local ends in .local"));
    assert!(propose("gw.corp.test").is_empty());
}

#[test]
fn what_is_not_known_is_no_change() {
    let line = |state, about: &str| Line::new(Check::ReverseName, about, state, "x");
    let before = [line(State::Ok, "a"), line(State::Problem, "b")];
    let silent = [line(State::NotChecked, "a"), line(State::NotChecked, "b")];
    assert_eq!(changes(&before, &silent), []);
    let kept = remembered(&before, &silent);
    assert_eq!(kept, before);
    let after =
        [line(State::Problem, "a"), line(State::Problem, "b"), line(State::Note, "c"), line(State::Warning, "d")];
    let told: Vec<_> = changes(&kept, &after).iter().map(|(was, line)| (*was, line.about.as_str())).collect();
    assert_eq!(told, [(Some(State::Ok), "a"), (None, "d")]);
}
