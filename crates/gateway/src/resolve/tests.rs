//! The resolver against a scripted DNS server on loopback.

use super::{Resolver, Servers};
use decide::diagnose::How;
use mail::dns::{Answer, Kind, Outcome, Question, Trouble};
use sim::dns::Server;
use std::time::Duration;

async fn serve(zone: &str) -> Server {
    let zone = zone.parse().unwrap_or_else(|error| panic!("the zone: {error:?}"));
    Server::start("127.0.0.53:0".parse().unwrap(), zone).await.unwrap()
}

/// Silence is waited for no longer than a busy machine needs for an answer.
fn servers(server: &Server) -> Servers {
    Servers { addresses: vec![server.address()], timeout: Duration::from_millis(700), hosts_file: None }
}

fn mx(name: &str) -> Question {
    Question::new(name, Kind::Mx)
}

/// What was tried before, in short.
fn course(answer: &Answer) -> Vec<String> {
    let transport = |tcp| if tcp { "TCP" } else { "UDP" };
    answer.tried.iter().map(|tried| format!("{} {:?} {}", transport(tried.tcp), tried.edns, tried.trouble)).collect()
}

async fn how(resolver: &Resolver, servers: &Servers, question: Question, how: How) -> String {
    let answer = resolver.ask_as(servers, question, how).await;
    match answer.trouble {
        Some(trouble) => trouble.to_string(),
        None => answer.summary(),
    }
}

#[tokio::test]
async fn a_server_silent_to_edns_is_asked_without_and_that_is_remembered() {
    let server = serve("old.test MX edns=yes !TIMEOUT\nold.test MX 10 mx.old.test\nmx.old.test A edns=yes !TIMEOUT\nmx.old.test A 127.0.0.11\nnew.test A 127.0.0.12").await;
    let (resolver, servers) = (Resolver::default(), servers(&server));
    let first = resolver.ask(&servers, mx("old.test")).await;
    assert_eq!((first.summary().as_str(), first.without_edns), ("old.test MX: 10 mx.old.test", true));
    assert_eq!(course(&first), ["UDP Some(1232) time-out"]);
    let second = resolver.ask(&servers, Question::new("mx.old.test", Kind::A)).await;
    assert_eq!((second.is_known(), second.without_edns, second.tried.len()), (true, true, 0), "asked plainly at once");
    let other = resolver.ask(&servers, Question::new("new.test", Kind::A)).await;
    assert!(other.is_known() && !other.without_edns, "the memory is of one domain");
    assert_eq!(how(&resolver, &servers, mx("old.test"), How::SmallEdns).await, "time-out");
    assert_eq!(how(&resolver, &servers, mx("old.test"), How::NoEdns).await, "old.test MX: 10 mx.old.test");
}

#[tokio::test]
async fn formerr_to_edns_is_asked_without_at_once() {
    let server = serve("old.test MX edns=yes !FORMERR\nold.test MX 10 mx.old.test").await;
    let answer = Resolver::default().ask(&servers(&server), mx("old.test")).await;
    assert_eq!((answer.outcome.clone(), course(&answer)), (Outcome::Found, vec!["UDP Some(1232) FORMERR".to_owned()]));
}

#[tokio::test]
async fn a_short_answer_is_followed_over_tcp_and_its_refusal_told() {
    let zone = "fat.test MX !TRUNCATE\nfat.test MX 10 mx.fat.test";
    let server = serve(zone).await;
    let answer = Resolver::default().ask(&servers(&server), mx("fat.test")).await;
    assert_eq!((answer.outcome.clone(), answer.over_tcp), (Outcome::Found, true));
    assert_eq!(course(&answer), ["UDP Some(1232) truncated (TC=1)"]);
    let server = serve(&format!("$TCP refuse\n{zone}")).await;
    let answer = Resolver::default().ask(&servers(&server), mx("fat.test")).await;
    assert_eq!(answer.trouble, Some(Trouble::NoListener));
    assert!(course(&answer).contains(&"TCP Some(1232) connection refused".to_owned()), "{answer:?}");
    assert!(answer.summary().contains("over TCP does not answer (connection refused)"), "{}", answer.summary());
}

#[tokio::test]
async fn large_answers_lost_with_a_large_buffer_come_with_a_small_one() {
    let server = serve("big.test MX do=yes buffer>1472 !TIMEOUT\nbig.test MX do=yes buffer<=1472 !TRUNCATE\nbig.test MX 10 mx.big.test").await;
    let (resolver, servers) = (Resolver::default(), servers(&server));
    assert_eq!(how(&resolver, &servers, mx("big.test"), How::BigEdns).await, "time-out");
    assert_eq!(how(&resolver, &servers, mx("big.test"), How::SmallEdns).await, "big.test MX: 10 mx.big.test");
    assert_eq!(how(&resolver, &servers, mx("big.test"), How::OverTcp).await, "big.test MX: 10 mx.big.test");
}

#[tokio::test]
async fn checking_disabled_is_for_the_question_alone() {
    let server = serve("bogus.test MX cd=no !SERVFAIL !EDE 7 signature expired\nbogus.test MX 10 mx.bogus.test").await;
    let (resolver, servers) = (Resolver::default(), servers(&server));
    assert_eq!(
        how(&resolver, &servers, mx("bogus.test"), How::CheckingDisabled).await,
        "bogus.test MX: 10 mx.bogus.test"
    );
    let usual = resolver.ask(&servers, mx("bogus.test")).await;
    assert_eq!(usual.trouble, Some(Trouble::ServFail), "an unchecked answer never leads a delivery");
}

#[tokio::test]
async fn negative_answers_are_kept_as_long_as_the_soa_says() {
    let soa = "fixed.test 86400 SOA ns.fixed.test h.fixed.test 1 2 3 4 86400\nfixed.test NS ns.fixed.test\nns.fixed.test A 127.0.0.53\n";
    let server = serve(&format!("{soa}fixed.test MX rd=no 10 mx.fixed.test")).await;
    let (resolver, servers) = (Resolver::default(), servers(&server));
    let first = resolver.ask(&servers, mx("fixed.test")).await;
    let negative = first.negative.clone().unwrap();
    assert_eq!(
        (first.outcome.clone(), negative.zone.as_str(), negative.minimum),
        (Outcome::NoData, "fixed.test", 86_400)
    );
    let again = resolver.ask(&servers, mx("fixed.test")).await;
    assert!(again.cached && again.negative.is_some());
    assert_eq!(server.count("fixed.test", "MX"), 1);
    // The zone's own server is asked without recursion, where the harness has the record.
    assert_eq!(how(&resolver, &servers, mx("fixed.test"), How::Authoritative).await, "fixed.test MX: 10 mx.fixed.test");
    assert_eq!(how(&resolver, &servers, mx("fixed.test"), How::DnsOnly).await, "fixed.test MX: NODATA");
}

#[tokio::test]
async fn without_name_servers_the_authorities_cannot_be_asked() {
    let server = serve("lone.test MX 10 mx.lone.test").await;
    let answer = Resolver::default().ask_as(&servers(&server), mx("lone.test"), How::Authoritative).await;
    assert_eq!(answer.trouble, Some(Trouble::NotAsked));
    assert!(answer.summary().contains("no NS records were found at lone.test or above"), "{}", answer.summary());
}

#[tokio::test]
async fn a_closed_port_is_told_from_silence_and_counted() {
    let server = serve("x.test A 127.0.0.1").await;
    let servers = servers(&server);
    drop(server);
    let resolver = Resolver::default();
    for name in ["one.test", "two.test", "mx.two.test"] {
        let answer = resolver.ask(&servers, mx(name)).await;
        assert_eq!(answer.trouble, Some(Trouble::NoListener), "{answer:?}");
        assert_eq!(answer.tried.len(), 2);
    }
    let health = resolver.health();
    assert_eq!((health.len(), health[0].answered, health[0].failed), (1, 0, 3));
    assert_eq!((health[0].silent_in_a_row, health[0].names_in_a_row.join(" ")), (3, "one.test two.test".to_owned()));
    let server = serve("one.test MX 10 mx.one.test").await;
    let servers = Servers { addresses: vec![servers.addresses[0], server.address()], ..servers };
    assert!(resolver.ask(&servers, mx("one.test")).await.cached, "a failure is kept for a moment");
    assert!(resolver.ask(&servers, mx("mx.one.test")).await.is_known(), "the second server answers");
}

#[tokio::test]
async fn the_hosts_file_counts_before_dns_and_can_be_passed_by() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("hosts");
    std::fs::write(&file, "127.0.1.1 gw.own.test gw\n").unwrap();
    let server = serve("gw.own.test A 127.0.0.2\ngw.own.test AAAA ::1").await;
    let servers = Servers { hosts_file: Some(file.clone()), ..servers(&server) };
    let resolver = Resolver::default();
    let question = || Question::new("gw.own.test", Kind::A);
    let answer = resolver.ask(&servers, question()).await;
    assert_eq!((answer.summary(), answer.server), ("gw.own.test A: 127.0.1.1".to_owned(), file.display().to_string()));
    let six = resolver.ask(&servers, Question::new("gw.own.test", Kind::Aaaa)).await;
    assert_eq!(six.outcome, Outcome::NoData, "as libc: what stands in the file is all there is");
    assert_eq!(how(&resolver, &servers, question(), How::HostsFile).await, "gw.own.test A: 127.0.1.1");
    assert_eq!(how(&resolver, &servers, question(), How::DnsOnly).await, "gw.own.test A: 127.0.0.2");
    assert_eq!(how(&resolver, &servers, Question::new("x.test", Kind::A), How::HostsFile).await, "x.test A: NXDOMAIN");
}

#[tokio::test]
async fn another_view_is_asked_at_its_own_server() {
    let (inside, outside) = (serve("g.test MX 10 ad.g.test").await, serve("g.test MX 10 mx.cloud.test").await);
    let (resolver, servers) = (Resolver::default(), servers(&inside));
    assert_eq!(how(&resolver, &servers, mx("g.test"), How::At(outside.address())).await, "g.test MX: 10 mx.cloud.test");
    assert_eq!(how(&resolver, &servers, mx("g.test"), How::Usual).await, "g.test MX: 10 ad.g.test");
}

#[tokio::test]
async fn tlsa_records_and_questions_of_any_type_are_read() {
    let server = serve("_25._tcp.mx.a.test TLSA 3 1 1 00ff\na.test MX 10 mx.a.test\na.test A 127.0.0.9\nb.test ANY asked=ANY !NOTIMP\nb.test MX 10 b.test").await;
    let (resolver, servers) = (Resolver::default(), servers(&server));
    let tlsa = resolver.ask(&servers, Question::new("_25._tcp.mx.a.test", Kind::Tlsa)).await;
    assert_eq!(tlsa.summary(), "_25._tcp.mx.a.test TLSA: 3 1 1 00ff");
    let any = resolver.ask(&servers, Question::new("a.test", Kind::Any)).await;
    assert_eq!((any.outcome.clone(), any.data().count()), (Outcome::Found, 2), "{any:?}");
    let refused = resolver.ask(&servers, Question::new("b.test", Kind::Any)).await;
    assert_eq!(refused.trouble, Some(Trouble::NotImp));
}
