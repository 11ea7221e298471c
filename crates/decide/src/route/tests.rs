use super::*;
use mail::dns::{Data, Kind, Outcome, Record};

/// A small DNS: `corp.test MX 10 mx.corp.test, 20 b.corp.test`, `x A 192.0.2.1`, `x CNAME y A 192.0.2.1`,
/// `x MX nxdomain | nodata | servfail`.
fn answer(line: &str) -> Answer {
    let mut words = line.splitn(3, ' ');
    let (name, mut kind, mut rest) = (words.next().unwrap(), words.next().unwrap(), words.next().unwrap());
    let mut records = Vec::new();
    if kind == "CNAME" {
        let mut words = rest.splitn(3, ' ');
        records.push(Record {
            name: name.to_owned(),
            kind: Kind::Cname,
            ttl: 60,
            data: Data::Name(words.next().unwrap().to_owned()),
        });
        (kind, rest) = (words.next().unwrap(), words.next().unwrap());
    }
    let kind = match kind {
        "MX" => Kind::Mx,
        "A" => Kind::A,
        _ => Kind::Aaaa,
    };
    let bare = |outcome| Answer::bare(Question::new(name, kind), outcome);
    match rest {
        "nxdomain" => return bare(Outcome::NoName),
        "nodata" => return bare(Outcome::NoData),
        "servfail" => return bare(Outcome::Failed("SERVFAIL".to_owned())),
        _ => {}
    }
    for data in rest.split(", ") {
        let data = match (kind, data.split_once(' ')) {
            (Kind::Mx, Some((preference, host))) => {
                Data::Mx { preference: preference.parse().unwrap(), host: host.trim_end_matches('.').to_owned() }
            }
            _ => Data::Address(data.parse().unwrap()),
        };
        records.push(Record { name: name.to_owned(), kind, ttl: 60, data });
    }
    Answer { records, ..bare(Outcome::Found) }
}

fn own() -> Identity {
    Identity {
        names: vec!["gw.corp.test".parse().unwrap()],
        addresses: vec!["198.51.100.1".parse().unwrap(), "198.51.100.9".parse().unwrap()],
        listening: vec!["127.0.0.2:2525".parse().unwrap(), "198.51.100.1:25".parse().unwrap()],
        ..Identity::default()
    }
}

/// Asks for what is needed until nothing is; A and AAAA that the zone does not name are NODATA.
fn route(settings: &str, domain: &str, zone: &[Answer], seed: u64) -> Route {
    let plan = plan(&Settings::read(settings).unwrap(), &own(), &domain.parse().unwrap());
    let mut known = Vec::new();
    for _ in 0..4 {
        for question in needs(&plan, &own(), &known) {
            let found = zone.iter().find(|answer| answer.question == question).cloned();
            known.push(found.unwrap_or(Answer::bare(question, Outcome::NoData)));
        }
    }
    assert_eq!(needs(&plan, &own(), &known), []);
    resolve(&plan, &own(), &known, seed)
}

fn shown(route: &Route) -> String {
    match &route.verdict {
        Verdict::Failed(status) => status.to_string(),
        Verdict::Ok => {
            let mut text = route
                .candidates
                .iter()
                .map(|candidate| format!("{} {} {}", candidate.preference, candidate.host, candidate.address))
                .collect::<Vec<_>>()
                .join(", ");
            for dropped in &route.dropped {
                text.push_str(&format!(" | {dropped}"));
            }
            for note in &route.notes {
                text.push_str(&format!(" | {note}"));
            }
            text
        }
    }
}

fn check_with(settings: &str, domain: &str, zone: &str, expected: &str) {
    let zone: Vec<Answer> = zone.split(" ; ").filter(|line| !line.is_empty()).map(answer).collect();
    assert_eq!(shown(&route(settings, domain, &zone, 7)), expected, "\n{domain} with {settings}");
}

fn check(zone: &str, expected: &str) {
    check_with("", "x.test", zone, expected);
}

#[test]
fn better_preferences_come_first() {
    check(
        "x.test MX 20 b.test, 10 a.test ; a.test A 192.0.2.1 ; b.test A 192.0.2.2",
        "10 a.test 192.0.2.1:25, 20 b.test 192.0.2.2:25",
    );
}

#[test]
fn a_domain_without_mx_is_its_own_mail_host() {
    check(
        "x.test A 192.0.2.1",
        "0 x.test 192.0.2.1:25 | x.test has no MX record: its own addresses count (RFC 5321 5.1)",
    );
}

#[test]
fn nxdomain_for_the_mx_of_a_name_that_has_an_address_is_not_believed() {
    check(
        "x.test MX nxdomain ; x.test A 192.0.2.1 ; x.test AAAA nxdomain",
        "0 x.test 192.0.2.1:25 | x.test MX: NXDOMAIN, but x.test has an address: the negative answer is wrong (RFC 2308, RFC 8020), its own addresses count",
    );
    check(
        "x.test MX nxdomain ; x.test A servfail ; x.test AAAA nxdomain",
        "421 4.4.4 [internal] domain does not resolve (resolver failed): x.test MX: NXDOMAIN, x.test A: SERVFAIL",
    );
    check(
        "x.test MX nxdomain ; x.test A 10.0.0.1",
        "551 5.4.6 [internal] private or loopback address: x.test: x.test [10.0.0.1] (preference 0): private or loopback address",
    );
}

#[test]
fn an_mx_that_leads_nowhere_is_no_reason_to_try_the_domain_itself() {
    check(
        "x.test MX 10 a.test ; a.test A nxdomain ; a.test AAAA nxdomain ; x.test A 192.0.2.1",
        "550 5.4.4 [internal] no MX, A or AAAA record: x.test: a.test (preference 10): a.test A: NXDOMAIN, a.test AAAA: NXDOMAIN",
    );
}

#[test]
fn no_is_permanent() {
    check("x.test MX nxdomain", "550 5.1.2 [internal] domain does not exist: x.test MX: NXDOMAIN");
    check(
        "",
        "550 5.4.4 [internal] no MX, A or AAAA record: x.test: x.test (preference 0): x.test A: NODATA, x.test AAAA: NODATA",
    );
    check("x.test MX 0 .", "550 5.1.10 [internal] domain does not accept mail (null MX): x.test");
}

#[test]
fn unknown_is_not_no() {
    check("x.test MX servfail", "421 4.4.4 [internal] domain does not resolve (resolver failed): x.test MX: SERVFAIL");
    check(
        "x.test MX 10 a.test ; a.test A servfail",
        "421 4.4.4 [internal] domain does not resolve (resolver failed): a.test (preference 10): lookup failed: a.test A: SERVFAIL",
    );
    check(
        "x.test MX 10 a.test, 20 b.test ; a.test A nxdomain ; b.test A servfail",
        "421 4.4.4 [internal] domain does not resolve (resolver failed): b.test (preference 20): lookup failed: b.test A: SERVFAIL",
    );
}

#[test]
fn a_failed_lookup_of_one_host_leaves_the_others() {
    check(
        "x.test MX 10 a.test, 20 b.test ; a.test A servfail ; b.test A 192.0.2.2",
        "20 b.test 192.0.2.2:25 | a.test (preference 10): lookup failed: a.test A: SERVFAIL",
    );
    check(
        "x.test MX 10 a.test ; a.test A 192.0.2.1 ; a.test AAAA servfail",
        "10 a.test 192.0.2.1:25 | a.test (preference 10): lookup failed: a.test AAAA: SERVFAIL",
    );
}

#[test]
fn what_is_not_asked_is_not_known() {
    let plan = plan(&Settings::default(), &own(), &"x.test".parse().unwrap());
    assert_eq!(
        shown(&resolve(&plan, &own(), &[], 1)),
        "421 4.4.4 [internal] domain does not resolve (resolver failed): x.test MX was not asked"
    );
    let mx = answer("x.test MX 10 a.test");
    assert_eq!(
        needs(&plan, &own(), &[mx]).iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["a.test A", "a.test AAAA"]
    );
}

#[test]
fn odd_mx_records_are_noted() {
    check(
        "x.test MX 10 192.0.2.9, 20 b.test ; b.test A 192.0.2.2",
        "20 b.test 192.0.2.2:25 | 192.0.2.9 (preference 10): no host name | MX 10 192.0.2.9 is no host name, which RFC 5321 5.1 forbids",
    );
    check(
        "x.test MX 10 a.test ; a.test CNAME c.test A 192.0.2.1",
        "10 a.test 192.0.2.1:25 | a.test is a CNAME of c.test, which RFC 5321 5.1 forbids for an MX host",
    );
    check(
        "x.test MX 0 ., 10 a.test ; a.test A 192.0.2.1",
        "10 a.test 192.0.2.1:25 | a null MX stands beside other MX records, which RFC 7505 3 forbids: it is not counted",
    );
}

#[test]
fn own_hosts_take_with_them_what_is_not_better() {
    check(
        "x.test MX 10 a.test, 20 gw.corp.test, 20 b.test, 30 c.test ; a.test A 192.0.2.1",
        "10 a.test 192.0.2.1:25 | gw.corp.test (preference 20): this gateway itself, known by its name | b.test (preference 20): not better than this gateway itself | c.test (preference 30): not better than this gateway itself",
    );
    check(
        "x.test MX 10 a.test, 20 b.test ; a.test A 192.0.2.1, 198.51.100.1 ; b.test A 192.0.2.2",
        "554 5.4.6 [internal] mail loop: x.test → MX 10 a.test [198.51.100.1] → this gateway → x.test",
    );
}

#[test]
fn mail_to_ourselves_is_a_loop_with_the_cycle_named() {
    check(
        "x.test MX 10 gw.corp.test, 20 b.test ; b.test A 192.0.2.2",
        "554 5.4.6 [internal] mail loop: x.test → MX 10 gw.corp.test → this gateway → x.test",
    );
    check(
        "x.test A 198.51.100.1",
        "554 5.4.6 [internal] mail loop: x.test → MX 0 x.test [198.51.100.1] → this gateway → x.test",
    );
    // A public address that NAT leads to another port of ours.
    check(
        "x.test A 198.51.100.9",
        "554 5.4.6 [internal] mail loop: x.test → MX 0 x.test [198.51.100.9] → this gateway → x.test",
    );
    check_with(
        "[[domain]]\nname = \"x.test\"\nnext_hops = [\"127.0.0.2:2525\"]",
        "x.test",
        "",
        "554 5.4.6 [internal] mail loop: x.test → 127.0.0.2:2525 (domain x.test (settings line 1)) → this gateway → x.test",
    );
    check_with(
        "[[domain]]\nname = \"x.test\"\nnext_hops = [\"inside.test:2525\"]",
        "x.test",
        "inside.test A 127.0.0.2",
        "554 5.4.6 [internal] mail loop: x.test → inside.test [127.0.0.2] (domain x.test (settings line 1)) → this gateway → x.test",
    );
    check_with(
        "[route.other]\nnext_hops = [\"gw.corp.test\"]",
        "x.test",
        "",
        "554 5.4.6 [internal] mail loop: x.test → gw.corp.test:25 (route.other) → this gateway → x.test",
    );
}

#[test]
fn a_better_host_that_is_not_known_makes_a_loop_temporary() {
    check(
        "x.test MX 10 a.test, 20 gw.corp.test ; a.test A servfail",
        "421 4.4.4 [internal] domain does not resolve (resolver failed): a.test (preference 10): lookup failed: a.test A: SERVFAIL",
    );
    check(
        "x.test MX 10 a.test, 20 b.test ; a.test A 198.51.100.1 ; b.test A servfail",
        "554 5.4.6 [internal] mail loop: x.test → MX 10 a.test [198.51.100.1] → this gateway → x.test",
    );
}

#[test]
fn mail_for_the_internet_goes_to_no_private_address() {
    for address in [
        "10.0.0.1",
        "127.0.0.1",
        "192.168.1.1",
        "169.254.1.1",
        "0.0.0.0",
        "100.64.0.1",
        "100.127.0.1",
        "224.0.0.1",
        "255.255.255.255",
    ] {
        check(
            &format!("x.test A {address}"),
            &format!(
                "551 5.4.6 [internal] private or loopback address: x.test: x.test [{address}] (preference 0): private or loopback address"
            ),
        );
    }
    for address in ["::1", "fd00::1", "fe80::1", "ff02::1", "::", "::ffff:10.0.0.1"] {
        let expected = format!(
            "551 5.4.6 [internal] private or loopback address: x.test: x.test [{address}] (preference 0): private or loopback address"
        );
        check(&format!("x.test AAAA {address}"), &expected);
    }
    check_with(
        "",
        "[198.51.100.1]",
        "",
        "554 5.4.6 [internal] mail loop: [198.51.100.1] → MX 0 198.51.100.1 → this gateway → [198.51.100.1]",
    );
    check_with(
        "",
        "[10.0.0.1]",
        "",
        "551 5.4.6 [internal] private or loopback address: [10.0.0.1]: 10.0.0.1 (preference 0): private or loopback address",
    );
    check_with("", "[192.0.2.1]", "", "0 192.0.2.1 192.0.2.1:25");
}

#[test]
fn next_hops_and_laboratories_may_be_private() {
    check_with(
        "[delivery]\nallow_private_addresses = true",
        "x.test",
        "x.test MX 10 a.test ; a.test A 10.0.0.1",
        "10 a.test 10.0.0.1:25",
    );
    let leak = "x.test MX 10 a.test ; a.test A 127.0.0.11 ; a.test AAAA fe80::1";
    check_with(
        "[delivery]\nallow_private_addresses = true",
        "x.test",
        leak,
        "10 a.test 127.0.0.11:25 | a.test [fe80::1] (preference 10): private or loopback address",
    );
    check_with(
        "[delivery]\nallow_private_addresses = [\"127.0.0.0/8\"]",
        "x.test",
        "x.test MX 10 a.test ; a.test A 127.0.0.11, 10.0.0.1",
        "10 a.test 127.0.0.11:25 | a.test [10.0.0.1] (preference 10): private or loopback address",
    );
    check_with(
        "[[domain]]\nname = \"x.test\"\nnext_hops = [\"127.0.0.20:2525\"]",
        "a.x.test",
        "",
        "0 127.0.0.20 127.0.0.20:2525",
    );
    check_with(
        "[route.other]\nnext_hops = [\"relay.test:587\"]",
        "x.test",
        "relay.test A 10.0.0.1",
        "0 relay.test 10.0.0.1:587",
    );
}

#[test]
fn of_next_hops_only_those_that_are_ourselves_are_left_out() {
    check_with(
        "[route.other]\nnext_hops = [\"127.0.0.2:2525\", \"127.0.0.3:2525\"]",
        "x.test",
        "",
        "0 127.0.0.3 127.0.0.3:2525 | 127.0.0.2 (preference 0): this gateway itself, known by one of its listeners",
    );
}

#[test]
fn a_next_hop_that_does_not_exist_is_the_settings_fault_and_waits() {
    check_with(
        "[route.other]\nnext_hops = [\"relay.test\"]",
        "x.test",
        "relay.test A nxdomain ; relay.test AAAA nxdomain",
        "421 4.4.4 [internal] domain does not resolve (resolver failed): next hop of route.other: relay.test (preference 0): relay.test A: NXDOMAIN, relay.test AAAA: NXDOMAIN",
    );
}

#[test]
fn families_come_in_the_order_of_the_settings() {
    let zone = "x.test MX 10 a.test ; a.test A 192.0.2.1 ; a.test AAAA 2001:db8::1";
    let with = |family: &str, expected: &str| {
        check_with(&format!("[delivery]\naddress_family = \"{family}\""), "x.test", zone, expected)
    };
    with("any", "10 a.test [2001:db8::1]:25, 10 a.test 192.0.2.1:25");
    with("ipv6-first", "10 a.test [2001:db8::1]:25, 10 a.test 192.0.2.1:25");
    with("ipv4-first", "10 a.test 192.0.2.1:25, 10 a.test [2001:db8::1]:25");
    with("ipv4", "10 a.test 192.0.2.1:25");
    with("ipv6", "10 a.test [2001:db8::1]:25");
}

#[test]
fn equal_preferences_share_the_load_and_a_seed_is_a_verdict_that_can_be_replayed() {
    let zone = [
        answer("x.test MX 10 a.test, 10 b.test, 5 z.test"),
        answer("a.test A 192.0.2.1"),
        answer("b.test A 192.0.2.2"),
        answer("z.test A 192.0.2.3"),
    ];
    let mut first = [0, 0];
    for seed in 0..1000 {
        let route = route("", "x.test", &zone, seed);
        assert_eq!(route.candidates[0].host, "z.test");
        first[usize::from(route.candidates[1].host == "b.test")] += 1;
        assert_eq!(route, super::tests::route("", "x.test", &zone, seed));
    }
    assert!(first.iter().all(|count| (400..600).contains(count)), "{first:?}");
}

#[test]
fn what_may_share_a_connection_is_one_destination() {
    let to = |settings: &str, domain: &str| {
        destination(&plan(&Settings::read(settings).unwrap(), &own(), &domain.parse().unwrap()))
    };
    let hops = "[[domain]]\nname = \"a.test\"\nnext_hops = [\"192.0.2.1\"]\n[[domain]]\nname = \"b.test\"\nnext_hops = [\"192.0.2.1\"]";
    assert_eq!(to(hops, "a.test"), "0 192.0.2.1:25 tls offer");
    assert_eq!(to(hops, "a.test"), to(hops, "b.test"));
    assert_ne!(to(hops, "x.test"), to(hops, "y.test"));
    let relay = "[route.other]\nnext_hops = [\"192.0.2.1\"]\nuser = \"u\"\npassword_file = \"/p\"\ntls = \"require\"";
    assert_eq!(to(relay, "x.test"), "relay 0 192.0.2.1:25 as \"u\" tls require");
    assert_eq!(to(relay, "x.test"), to(relay, "y.test"));
}

#[test]
fn a_flood_of_mx_records_is_cut() {
    let hosts: Vec<String> = (0..40).map(|number| format!("{number} h{number}.test")).collect();
    let zone = format!("x.test MX {}", hosts.join(", "));
    let plan = plan(&Settings::default(), &own(), &"x.test".parse().unwrap());
    assert_eq!(needs(&plan, &own(), &[answer(&zone)]).len(), 2 * HOSTS_MAX);
}

#[test]
fn rules_are_named_as_the_settings_name_them() {
    let settings = Settings::read("[route.local]\nnext_hops = [\"127.0.0.9\"]\n[[domain]]\nname = \"a.test\"\nnext_hops = \"mx\"\n[[domain]]\nname = \"b.test\"").unwrap();
    let rule = |domain: &str| plan(&settings, &own(), &domain.parse().unwrap()).rule;
    assert_eq!(rule("x.a.test"), "domain a.test (settings line 3)");
    assert_eq!(rule("b.test"), "route.local for domain b.test (settings line 6)");
    assert_eq!(rule("c.test"), "route.other");
    assert_eq!(lane(&"Bücher.test".parse().unwrap()), "xn--bcher-kva.test");
}

#[test]
fn a_host_with_our_name_and_another_address_is_dialled() {
    check(
        "x.test MX 10 gw.corp.test ; gw.corp.test A 192.0.2.7",
        "10 gw.corp.test 192.0.2.7:25 | gw.corp.test has this gateway's own name, but an address that is not its own",
    );
    check(
        "x.test MX 10 gw.corp.test ; gw.corp.test A 198.51.100.1",
        "554 5.4.6 [internal] mail loop: x.test → MX 10 gw.corp.test [198.51.100.1] → this gateway → x.test",
    );
}
