//! Scenario files: those shipped are well-formed, labs start, and a gateway that can not run is a failure.

use std::{
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU16, Ordering},
    time::Duration,
};

use sim::{
    client::Client,
    peer::Peer,
    scenario::{Lab, Outcome, Program, Scenario, Score, Table, run, run_through},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    sync::Mutex,
};

/// Held by tests that start programs: a file that is being written when another thread forks can not be run (ETXTBSY).
static PROGRAMS: Mutex<()> = Mutex::const_new(());

fn shipped() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

#[test]
fn the_shipped_scenarios_are_well_formed() {
    let files = shipped();
    assert!(files.len() >= 6, "{files:?}");
    for file in files {
        let scenario = Scenario::read(&file).unwrap();
        assert!(!scenario.about.is_empty(), "{}: says what it is about", file.display());
        assert!(!scenario.steps.is_empty());
        assert!(scenario.settings.parse::<toml::Table>().is_ok());
    }
}

#[test]
fn the_scored_scenarios_say_what_they_are() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scenarios");
    let mut ids = std::collections::BTreeSet::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let scenario = Scenario::read(&path).unwrap();
        let told = path.display();
        assert!(!scenario.about.is_empty() && !scenario.group.is_empty(), "{told}: about and group");
        assert_eq!(path.file_stem().unwrap().to_str(), Some(scenario.id.as_str()), "{told}: is called by its id");
        assert!(!scenario.cause.is_empty() || scenario.steps.iter().any(|step| step.word().starts_with("expect")));
        assert!(ids.insert(scenario.id));
    }
    assert!(ids.len() > 100, "{}", ids.len());
}

/// A lab on ports of its own, so that it disturbs no other.
fn scenario(steps: &str) -> Scenario {
    let port = std::net::TcpListener::bind("127.0.0.11:0").unwrap().local_addr().unwrap();
    let control = free("127.0.0.2");
    Scenario::parse(&format!(
        "name = \"t\"\nhost = '''[control]\nlisten = \"{control}\"'''\ndns = \"127.0.0.53:0\"\nzone = \"mx.d.test A 127.0.0.11\"\n[[peer]]\nname = \"p1\"\naddress = \"{port}\"\nscript = \"rcpt 450 no\"\n{steps}"
    ))
    .unwrap()
}

#[tokio::test]
async fn a_lab_names_its_peers_by_the_zone_and_changes_them() {
    let scenario = scenario("");
    let mut lab = Lab::start(&scenario).await.unwrap();
    let address = lab.peer("p1").unwrap().address();
    let mut client = Client::connect(None, address).await.unwrap();
    assert!(client.banner.is("220 mx.d.test"), "{}", client.banner);
    assert!(client.send("x.test", "", &["b@d.test"], b"x").await.unwrap().last().unwrap().is("450"));
    lab.set_peer("p1", "").await.unwrap();
    let mut client = Client::connect(None, address).await.unwrap();
    assert!(client.send("x.test", "", &["b@d.test"], b"x").await.unwrap().last().unwrap().is("250"));
    assert_eq!(lab.received(None).len(), 1);
}

#[tokio::test]
async fn the_files_for_the_gateway_name_the_labs_dns() {
    let scenario = scenario("");
    let lab = Lab::start(&scenario).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    lab.write_config(&scenario, folder.path()).unwrap();
    let settings: toml::Table = std::fs::read_to_string(folder.path().join("settings.toml")).unwrap().parse().unwrap();
    assert_eq!(settings["dns"]["servers"][0].as_str(), Some(lab.dns().address().to_string().as_str()));
    let host: toml::Table = std::fs::read_to_string(folder.path().join("gatepost.toml")).unwrap().parse().unwrap();
    assert_eq!(host["settings_file"].as_str(), Some("settings.toml"));
}

#[tokio::test]
async fn a_gateway_that_does_not_start_fails_the_scenario() {
    let _alone = PROGRAMS.lock().await;
    for (program, why) in [("/does/not/exist", "can not be started"), ("/bin/false", "ended by itself")] {
        let outcome = run(&scenario(""), &Program::find(Some(program.into())), false).await;
        assert!(!outcome.passed);
        let failure = outcome.failure.unwrap();
        assert_eq!(failure.step, Some(0));
        assert!(failure.why.contains(why), "{}", failure.why);
    }
}

/// A stand-in for the gateway: a relaying peer at the inbound listener, a `/healthz`, and canned answers of the command line.
const STAND_IN: &str = r#"#!/bin/sh
case "$1" in
run) STAND_IN="$3" exec "@EXE@" --exact scenario::stand_in --nocapture ;;
esac
shift 2
case "$*" in
"queue list --json") echo '[{"id":"A","recipients":["stuck@d.test"],"state":"queued","attempts":2,"status":"450 4.2.0 grey",
    "finding":{"cause":"peer.greylist","sentence":"mx.d.test asks us to come back"}}]' ;;
"audit show 0123456789ABC --json") echo '[{"event":"PERMFAIL","fields":{"finding":{"cause":"loop.self.best_mx",
    "sentence":"d.test leads back here","severity":"failure","confidence":"proven"}}}]' ;;
"audit show 0123456789ABC") echo "d.test" ;;
*) echo "unknown: $*"; exit 3 ;;
esac
"#;

/// Not a test by itself: it is the program that `STAND_IN` becomes.
#[tokio::test]
async fn stand_in() {
    let Ok(config) = std::env::var("STAND_IN") else { return };
    let host: toml::Table = std::fs::read_to_string(config).unwrap().parse().unwrap();
    let inbound = host["listen"]["inbound"][0].as_str().unwrap();
    let script = format!("dot 250 2.0.0 0123456789ABC queued\nrelay u@* {}", host["relay_to"].as_str().unwrap());
    let _gateway = Peer::start(inbound.parse().unwrap(), script.parse().unwrap()).await.unwrap();
    let health = TcpListener::bind(host["control"]["listen"].as_str().unwrap()).await.unwrap();
    let serve = async {
        loop {
            let (mut stream, _) = health.accept().await.unwrap();
            let _ = stream.read(&mut [0; 1024]).await;
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await;
        }
    };
    let _ = tokio::time::timeout(Duration::from_secs(60), serve).await;
}

/// An address that nobody listens on now, with a port below those of outgoing connections.
fn free(ip: &str) -> std::net::SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = u16::try_from(std::process::id() % 4000).unwrap() + 25_000;
    loop {
        let port = first + NEXT.fetch_add(1, Ordering::Relaxed) % 3000;
        if let Ok(listener) = std::net::TcpListener::bind((ip, port)) {
            return listener.local_addr().unwrap();
        }
    }
}

/// Runs steps around the stand-in.
async fn play(steps: &str) -> Outcome {
    play_as(steps, false).await.1
}

/// The same, through what is not as expected.
async fn play_through(steps: &str) -> (Scenario, Outcome) {
    play_as(steps, true).await
}

async fn play_as(steps: &str, through: bool) -> (Scenario, Outcome) {
    let _alone = PROGRAMS.lock().await;
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("gatepost");
    let exe = std::env::current_exe().unwrap();
    std::fs::write(&program, STAND_IN.replace("@EXE@", exe.to_str().unwrap())).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let backend = free("127.0.0.20");
    let scenario = Scenario::parse(&format!(
        "name = \"t\"\nlimit = \"20s\"\ndns = \"127.0.0.53:0\"\n\
         host = '''\nrelay_to = \"{backend}\"\n[listen]\ninbound = [\"{}\"]\n[control]\nlisten = \"{}\"\n'''\n\
         [[peer]]\nname = \"backend\"\naddress = \"{backend}\"\n{steps}",
        free("127.0.0.2"),
        free("127.0.0.2"),
    ))
    .unwrap();
    let program = Program::find(Some(program));
    let outcome =
        if through { run_through(&scenario, &program, false).await } else { run(&scenario, &program, false).await };
    (scenario, outcome)
}

#[tokio::test]
async fn a_scenario_runs_from_send_to_delivery() {
    let outcome = play(
        r#"
        [[step]]
        send = { from = "a@x.test", to = ["u@d.test", "v@d.test"], expect_contains = "queued" }
        [[step]]
        wait_delivered = { peer = "backend", recipient = "u@d.test", contains = ["Received: from client-127-0-1-10.test", "Hello"] }
        [[step]]
        kill = {}
        [[step]]
        restart = {}
        [[step]]
        send = { from = "", to = "u@d.test", size = 5000 }
        [[step]]
        expect_copies = { recipient = "u@d.test", copies = 2, settle = "100ms" }
        [[step]]
        expect_bounce = { to = "u@d.test", contains = "Subject" }
        [[step]]
        expect_copies = { recipient = "v@d.test", copies = 0, settle = "1ms" }
        [[step]]
        talk = { lines = ["S: 220", "C: EHLO x", "S: 250", "C: QUIT", "S: 221", "S: close"] }
        [[step]]
        wait_queue = { recipient = "stuck@d.test", state = "queued", attempts = 2, status_contains = "grey", status_lacks = "550" }
        [[step]]
        wait_queue = { recipient = "u@d.test", state = "gone" }
        [[step]]
        expect_finding = { recipient = "stuck@d.test", cause = "peer.greylist", sentence_contains = "mx.d.test", state = "queued", copies = 0 }
        [[step]]
        expect_finding = { recipient = "u@d.test", cause = "loop.self.best_mx", sentence_contains = "leads back", copies = 2 }
        [[step]]
        run = { args = ["audit", "show", "{id}"], stdout_contains = "d.test", stdout_lacks = "unknown" }
        [[step]]
        run = { args = ["fly"], expect_exit = 3, stdout_contains = "unknown: fly" }
        [[step]]
        talk = { early = true, lines = ["B: EHLO x\\r\\n", "S: 220", "S: 250", "1: NOOP\\r\\n", "S: 250", "W: 1ms", "X: reset"] }
        [[step]]
        send = { from = "a@x.test", to = "v@d.test", raw = true, received = 2, parameters = "SIZE=100", content = "Subject: x\r\n\r\nhello" }
        [[step]]
        expect_no_alarm = { client = "127.0.1.99", settle = "1ms" }
        [[step]]
        expect_connections = { peer = "backend", at_least = 2, at_most = 2 }
        [[step]]
        expect_questions = { name = "d.test", type = "MX", at_most = 0 }
        "#,
    )
    .await;
    assert!(outcome.passed, "{outcome}\n{}", outcome.evidence.join("\n"));
    assert_eq!(outcome.steps, 20);
}

#[tokio::test]
async fn each_expectation_can_fail() {
    for (step, why) in [
        (r#"send = { to = "u@d.test", expect = "550" }"#, "expected 550, got: 250"),
        (r#"send = { to = "u@d.test", expect_contains = "nonsense" }"#, "lacks \"nonsense\""),
        (r#"wait_delivered = { peer = "backend", within = "100ms" }"#, "got 0 of 1 messages"),
        (r#"wait_queue = { recipient = "no@d.test", within = "100ms" }"#, "is not in the queue"),
        (r#"wait_queue = { recipient = "stuck@d.test", state = "held", within = "100ms" }"#, "is queued, not held"),
        (r#"wait_queue = { recipient = "stuck@d.test", state = "gone", within = "100ms" }"#, "is queued, not gone"),
        (r#"wait_queue = { recipient = "stuck@d.test", status_contains = "550", within = "100ms" }"#, "lacks \"550\""),
        (r#"wait_queue = { recipient = "stuck@d.test", attempts = 3, within = "100ms" }"#, "2 of 3 attempts"),
        (r#"wait_log = { contains = "ML-ACCEPT", within = "100ms" }"#, "no line of"),
        (r#"expect_bounce = { to = "u@d.test", within = "100ms" }"#, "no bounce to u@d.test"),
        (r#"expect_copies = { recipient = "u@d.test", copies = 1, within = "100ms" }"#, "0 copies"),
        (
            r#"expect_finding = { recipient = "stuck@d.test", cause = "x", within = "100ms" }"#,
            "the finding is \"peer.greylist\"",
        ),
        (
            r#"expect_finding = { recipient = "stuck@d.test", cause = "peer.greylist", names = "mx9.d.test", within = "100ms" }"#,
            "lacks \"mx9.d.test\"",
        ),
        (
            r#"expect_finding = { recipient = "stuck@d.test", cause = "peer.greylist", confidence = "proven", within = "100ms" }"#,
            "the confidence is ",
        ),
        (r#"expect_no_alarm = { recipient = "stuck@d.test", settle = "1ms" }"#, "a false alarm: peer.greylist"),
        (
            r#"expect_finding = { recipient = "stuck@d.test", cause = "peer.greylist", not_contains = "grey", within = "100ms" }"#,
            "must not have",
        ),
        (
            r#"expect_finding = { recipient = "stuck@d.test", cause = "peer.greylist", copies = 1, within = "100ms" }"#,
            "got 0 copies",
        ),
        (r#"expect_finding = { recipient = "no@d.test", cause = "x", within = "100ms" }"#, "there is no finding; gone"),
        (r#"expect_connections = { peer = "backend", at_least = 1 }"#, "expected at least 1"),
        (r#"expect_questions = { name = "d.test", type = "MX", at_least = 1 }"#, "expected at least 1"),
        (r#"run = { args = ["fly"] }"#, "exit status: 3, not 0"),
        (r#"talk = { lines = ["S: 220", "C: FROB", "S: 250"] }"#, "expected 250, got: 500"),
    ] {
        let outcome = play(&format!("[[step]]\n{step}")).await;
        let failure = outcome.failure.unwrap_or_else(|| panic!("{step} passed"));
        assert!(failure.why.contains(why) && failure.step == Some(1), "{step}: {failure:?}");
    }
}

#[tokio::test]
async fn a_score_tells_what_is_right_and_goes_on() {
    let steps = r#"
        [[step]]
        send = { from = "a@x.test", to = "u@d.test" }
        [[step]]
        expect_finding = { recipient = "stuck@d.test", cause = "x.y", names = "mx.d.test", within = "1ms" }
        [[step]]
        expect_finding = { recipient = "u@d.test", cause = "x.y", naive = "leads", within = "1ms" }
        [[step]]
        expect_copies = { recipient = "u@d.test", copies = 1, settle = "1ms" }
        "#;
    let (scenario, outcome) = play_through(steps).await;
    assert_eq!((outcome.steps, outcome.missed.len()), (4, 2), "{outcome}");
    let score = Score::new(&scenario, &outcome);
    assert_eq!(score.got, ["peer.greylist", "loop.self.best_mx"]);
    assert!(!score.cause && !score.names && !score.naive_absent && score.fate && score.wrong_proven);
    let table = Table::new(vec![score]);
    assert_eq!((table.points, table.points_max, table.wrong_proven), (1, 4, 1));
    assert!(table.to_string().contains("1/4"));
}
