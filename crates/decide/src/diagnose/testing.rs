//! Scenes: cases as text, so that a test of a rule is a few lines.
//!
//! ```text
//! to a@dest.test                          recipients; the domain follows from the first
//! from s@corp.test                        empty: the null sender
//! via relay-host                          mx (usual), next-hops, relay-host, detour, nowhere
//! local                                   the domain is one of ours
//! number 2
//! dns dest.test MX: 10 mx.dest.test       data as in zone files, separated by commas; NXDOMAIN, NODATA, FAIL words
//! dns x.test A: 192.0.2.1 [AD] [cached] [EDE 7 expired] [server 127.0.0.54:53]
//!   further marks: [plain] without EDNS, [over-tcp], [negative ZONE MINIMUM LEFT], and what was tried before, in order:
//!   [udp TROUBLE], [plain-udp TROUBLE], [tcp TROUBLE], such as timed-out, no-listener, truncated, serv-fail
//! ask no-edns dest.test MX: 10 mx.dest.test     an experiment: usual, dns-only, big-edns, at:127.0.0.54:53, …; then as dns
//! resolver 127.0.0.53:53 12 3 a.test b.test     answered, failed in a row, for these names
//! dropped gw.test 127.0.0.2 10 own its address     or: not-better, prohibited, unknown WHY, no-address WHY, no-host-name
//! no-route 554 5.4.6 mail loop
//! note what is odd about the route
//! try mx.dest.test 127.0.0.11 from 127.0.0.2 ehlo gw.corp.test    port 25 unless ADDR:PORT is given
//!   refused                               or: timeout 30000, unreachable, no-host, reset, no-source; else connected
//!   banner 220 mx.dest.test ESMTP
//!   banner-after 5000
//!   ehlo 250 mx.dest.test
//!   caps PIPELINING, SIZE 1000
//!   tls TLSv1.3
//!   mail 250 ok
//!   rcpt a@dest.test 450 4.2.0 Greylisted
//!   data 354 go
//!   final 550 5.7.1 no
//!   sent 20000                            octets of content; unacked N
//!   fail final-reply them 550 5.7.1 no    stage culprit status; `maybe` after it: may have been delivered
//!   fail connect path [internal] 450 4.4.1 connection timed out
//!   starttls 454 4.7.0 not now
//!   hello version 0301                    of a TLS handshake: version, suite, sig, dh BITS, alert N, our-alert N, sni, bytes
//!   cert *.hoster.test, a.test            names; cert-problem other-name, ended, not-yet, untrusted WHY, weak WHY
//!   cert-dates -3 -1                      days from now
//!   closed                                or: broken WHY, silent 300000, quit
//! client 127.0.1.10 ehlo mail.test        the case is this client's visit; the name may be left out
//! refusal connect no-reverse-name 550 5.7.25 no     what it was refused: stage, check or status, our reply
//! command MAIL FROM:<a@x.test>            of the last refusal
//! settings                                the rest is settings, line by line
//! ```
//! seen ok.test mx.ok.test 127.0.0.11 2 delivered, banner 220 mx    elsewhere, N seconds ago; words as below `try`, and:
//!                                       configured, caps A B, name X, size N, content N MS, slowest MS,
//!                                       clock SECONDS AHEAD
//!
//! A case about a client's visit begins with it:
//! ```text
//! visit inbound 127.0.1.10                listener and client; it was greeted at once and said QUIT
//!   local 127.0.0.2:25                    (usual); proxy 10.0.0.1, awaits-proxy, helo out.test, user alice
//!   lasted 2000                           milliseconds; not-greeted
//!   first PROXY TCP4 …\r\n                 octets: `\r`, `\n`, `\xNN`; likewise early
//!   reads 10 single 8
//!   deal s@a.test: a@corp.test b@corp.test    a transaction; `taken 300` or `vanished` about the last one
//!   refuse rcpt relaying-denied u@new.test 550 5.7.1 relaying denied    stage, why, recipient (- none), reply
//!   command world                         of the last refusal
//!   said client EHLO out.test
//!   dns 10.1.0.127.in-addr.arpa PTR: NXDOMAIN     asked because of the client
//!   reflected mx.own.test 192.0.2.1 own.test    the client is ourselves, who dialled this host for this domain
//!   closed                                or: quit, ours, silent 300000, broken WHY
//! ```
//! `try` lines begin a host; indented lines are about it. The gateway is gw.corp.test at 127.0.0.2 and 127.0.0.3, and
//! listens on 127.0.0.2:25.

use super::{Around, Case, ContentFacts, Diagnosis, Experiment, How, Look, Result, Seen, What, diagnose};
use crate::Settings;
use mail::dns::{Answer, Data, Kind, Negative, Outcome, Question, Record, Tried};
use mail::{
    Attempt, Connect, Culprit, Distrust, Dropped, End, Failure, HostTry, Identity, RcptSaid, Reply, Stage, Status,
    Time, TlsHello, TlsUse, Via, Visit, Why,
};

/// A case that owns its facts; a test changes what the text cannot say.
pub(crate) struct Scene {
    pub(crate) attempt: Attempt,
    /// If there is one, the case is about it.
    pub(crate) visit: Option<Visit>,
    /// Likewise.
    pub(crate) bounce: Option<super::Bounce>,
    pub(crate) identity: Identity,
    pub(crate) settings: Settings,
    pub(crate) content: Option<ContentFacts>,
    pub(crate) around: Around,
    pub(crate) looks: Vec<Look>,
    pub(crate) now: Time,
}

const NOW: Time = Time(1_900_000_000_000);

/// Reads a scene.
pub(crate) fn scene(text: &str) -> Scene {
    let (facts, settings) = text.split_once("\nsettings\n").unwrap_or((text, ""));
    let settings = format!("hostname = \"gw.corp.test\"\n{settings}");
    let mut scene = Scene {
        attempt: Attempt {
            number: 1,
            started: NOW,
            ended: NOW,
            settings_version: 1,
            rule: "route.other".to_owned(),
            via: Via::Mx,
            domain: String::new(),
            local: false,
            sender: "s@corp.test".to_owned(),
            recipients: Vec::new(),
            dns: Vec::new(),
            dropped: Vec::new(),
            notes: Vec::new(),
            no_route: None,
            tries: Vec::new(),
            tries_left_out: 0,
        },
        visit: None,
        bounce: None,
        identity: Identity {
            names: vec!["gw.corp.test".parse().unwrap()],
            addresses: vec!["127.0.0.2".parse().unwrap(), "127.0.0.3".parse().unwrap()],
            listening: vec!["127.0.0.2:25".parse().unwrap()],
            ..Identity::default()
        },
        settings: Settings::read(&settings)
            .unwrap_or_else(|complaints| panic!("settings of the scene: {complaints:?}")),
        content: None,
        around: Around::default(),
        looks: Vec::new(),
        now: NOW,
    };
    for line in facts.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        scene.read(word, rest.trim());
    }
    scene
}

/// Facts of a message.
#[expect(clippy::unnecessary_wraps, reason = "as a scene holds it")]
pub(crate) fn content(message: &str) -> Option<ContentFacts> {
    Some(ContentFacts::read(message.as_bytes()))
}

/// A client's visit whose content was refused for a fault.
pub(crate) fn visit(client: &str, said: &str, fault: mail::Fault) -> Scene {
    let visit = format!(
        "listener = \"inbound\"\nlocal = \"127.0.0.2:25\"\nclient = \"{client}\"\nstarted = {0}\nended = {0}\n",
        NOW.ms()
    );
    let refusal =
        format!("at = {}\nstage = \"body\"\nreply = {{ code = 0, lines = [] }}\ncommand = \"(content)\"\n", NOW.ms());
    let refusal: mail::Refusal = toml::from_str(&refusal).unwrap();
    let mut visit: Visit = toml::from_str(&visit).unwrap();
    visit.refusals.push(mail::Refusal { reply: reply(said), fault: Some(fault), ..refusal });
    Scene { visit: Some(visit), ..scene("") }
}

/// One case, one expectation: `cause: sentence`, or `cause` alone, or `unknown`: nothing more than the hosts said themselves.
pub(crate) fn check(text: &str, expected: &str) {
    scene(text).check(expected);
}

impl Scene {
    pub(crate) fn case(&self) -> Case<'_> {
        Case {
            what: match (&self.visit, &self.bounce) {
                (Some(visit), _) => What::Visit(visit),
                (None, Some(bounce)) => What::Bounce(bounce),
                (None, None) => What::Attempt(&self.attempt),
            },
            identity: &self.identity,
            settings: &self.settings,
            content: self.content.as_ref(),
            around: &self.around,
            looks: &self.looks,
            now: self.now,
        }
    }

    pub(crate) fn diagnose(&self) -> Diagnosis {
        diagnose(&self.case())
    }

    /// The case is a client's visit to the inbound listener; the test adds what happened.
    pub(crate) fn visiting(mut self, client: &str) -> Scene {
        let visit = format!(
            "listener = \"inbound\"\nlocal = \"127.0.0.2:25\"\nclient = \"{client}\"\nstarted = {0}\nended = {0}\n",
            NOW.ms()
        );
        self.visit = Some(toml::from_str(&visit).unwrap());
        self
    }

    pub(crate) fn hello_of_visit(&mut self) -> &mut TlsHello {
        self.visit.as_mut().unwrap().tls_hello.get_or_insert_default()
    }

    /// A session of this client a moment ago, with mail of a domain.
    pub(crate) fn call(&mut self, client: &str, helo: &str, sender_domain: &str) {
        self.around.calls.push(super::Call {
            started: NOW,
            ended: NOW,
            client: client.parse().unwrap(),
            helo: helo.to_owned(),
            sender_domain: sender_domain.to_owned(),
            commands: 5,
            greeted: Some(NOW),
            refused: None,
            taken: 1,
            end: End::Quit,
            whole_lines: true,
            authenticated: false,
        });
    }

    /// Adds the result of an experiment.
    pub(crate) fn look(mut self, experiment: Experiment, result: Result) -> Scene {
        self.looks.push(Look { experiment, at: NOW, result });
        self
    }

    /// Adds the answer to a question that a rule asks in the usual way.
    pub(crate) fn answer(self, text: &str) -> Scene {
        let answer = answer(text);
        self.look(Experiment::ask(answer.question.clone()), Result::Answer(answer))
    }

    /// Answers every experiment that is still wanted with "not made".
    pub(crate) fn nothing_more(mut self) -> Scene {
        loop {
            let wanted = self.diagnose().wanted;
            if wanted.is_empty() {
                return self;
            }
            for experiment in wanted {
                self = self.look(experiment, Result::NotMade("budget".to_owned()));
            }
        }
    }

    #[track_caller]
    pub(crate) fn check(&self, expected: &str) {
        let diagnosis = self.diagnose();
        let found = diagnosis.first().map_or_else(|| "unknown".to_owned(), ToString::to_string);
        let cause = found.split(':').next();
        // What only repeats the host's words, or proves the hand-over, explains nothing.
        let explains_nothing = |cause: &str| {
            super::rules::FALLBACKS.contains(&cause) || ["diag.delivered_elsewhere", "own.refused"].contains(&cause)
        };
        let is_right = found == expected
            || cause == Some(expected)
            || (expected == "unknown" && cause.is_some_and(explains_nothing));
        assert!(is_right, "found    {found}\nexpected {expected}\nwanted {:?}", diagnosis.wanted);
        for finding in &diagnosis.findings {
            assert!(!finding.evidence.is_empty(), "{}: no evidence", finding.cause);
            assert!(!finding.fix.is_empty(), "{}: no fix", finding.cause);
            assert!(!finding.disproof.is_empty(), "{}: nothing would disprove it", finding.cause);
        }
    }

    /// The rules want this experiment before they say anything.
    #[track_caller]
    pub(crate) fn asks(&self, experiment: &Experiment) {
        let wanted = self.diagnose().wanted;
        assert!(wanted.contains(experiment), "wanted {wanted:?}");
    }

    #[track_caller]
    fn read(&mut self, word: &str, rest: &str) {
        if word == "visit" {
            let (listener, client) = rest.split_once(' ').unwrap();
            let listener: mail::Listener = serde::Deserialize::deserialize(word_of(listener)).unwrap();
            let mut visit = Visit::new(listener, "127.0.0.2:25".parse().unwrap(), client.parse().unwrap(), NOW);
            visit.greeted = Some(NOW);
            visit.end = End::Quit;
            self.visit = Some(visit);
            return;
        }
        if let Some(visit) = &mut self.visit
            && visited(visit, word, rest)
        {
            return;
        }
        let attempt = &mut self.attempt;
        match word {
            "client" => {
                let (client, helo) = rest.split_once(" ehlo ").unwrap_or((rest, ""));
                let visit = format!(
                    "listener = \"inbound\"\nlocal = \"127.0.0.2:25\"\nclient = \"{client}\"\nhelo = \"{helo}\"\n\
                     started = {0}\nended = {0}\n",
                    NOW.ms()
                );
                self.visit = Some(toml::from_str(&visit).unwrap());
            }
            "refusal" | "command" | "dns" if self.visit.is_some() => {
                let visit = self.visit.as_mut().unwrap();
                match word {
                    "dns" => visit.dns.push(answer(rest)),
                    "command" => rest.clone_into(&mut visit.refusals.last_mut().unwrap().command),
                    _ => visit.refusals.push(refusal(rest)),
                }
            }
            "to" => {
                attempt.recipients = rest.split_whitespace().map(str::to_owned).collect();
                attempt.domain = attempt.recipients[0].rsplit('@').next().unwrap().to_owned();
            }
            "from" => rest.clone_into(&mut attempt.sender),
            "local" => {
                attempt.local = true;
                attempt.via = Via::NextHops;
            }
            "number" => attempt.number = rest.parse().unwrap(),
            "via" => attempt.via = serde::Deserialize::deserialize(word_of(rest)).unwrap(),
            "rule" => rest.clone_into(&mut attempt.rule),
            "dns" => attempt.dns.push(answer(rest)),
            "ask" => {
                let (how, rest) = rest.split_once(' ').unwrap();
                let how = match how.strip_prefix("at:") {
                    Some(server) => How::At(server.parse().unwrap()),
                    None => serde::Deserialize::deserialize(word_of(how)).unwrap(),
                };
                let answer = answer(rest);
                let experiment = Experiment::Ask { question: answer.question.clone(), how };
                self.looks.push(Look { experiment, at: NOW, result: Result::Answer(answer) });
            }
            "resolver" => {
                let mut words = rest.split_whitespace();
                let mut number = || words.next().unwrap();
                let server = number().to_owned();
                let (answered, row) = (number().parse().unwrap(), number().parse().unwrap());
                self.around.resolvers.push(super::Resolver {
                    server,
                    answered,
                    failed: row,
                    failed_in_a_row: row,
                    silent_in_a_row: row,
                    names_in_a_row: words.map(str::to_owned).collect(),
                    ..super::Resolver::default()
                });
            }
            "dropped" => attempt.dropped.push(dropped(rest)),
            "no-route" => attempt.no_route = Some(status(None, rest)),
            "note" => attempt.notes.push(rest.to_owned()),
            "try" => attempt.tries.push(tried(rest)),
            "seen" => self.around.seen.push(seen(rest)),
            _ => {
                let last = attempt.tries.last_mut().unwrap_or_else(|| panic!("{word:?} is no word of a scene"));
                about(last, word, rest);
            }
        }
    }
}

#[track_caller]
/// False: no word of a visit.
fn visited(visit: &mut Visit, word: &str, rest: &str) -> bool {
    match word {
        "local" => visit.local = rest.parse().unwrap(),
        "proxy" => visit.proxy = Some(rest.parse().unwrap()),
        "awaits-proxy" => visit.proxy_awaited = true,
        "helo" => rest.clone_into(&mut visit.helo),
        "user" => visit.user = Some(rest.to_owned()),
        "lasted" => visit.ended = Time(visit.started.ms() + rest.parse::<i64>().unwrap()),
        "not-greeted" => visit.greeted = None,
        "first" => visit.first = octets(rest),
        "early" => visit.early = octets(rest),
        "reads" => {
            let (reads, single) = rest.split_once(" single ").unwrap();
            (visit.reads, visit.single_octet_reads) = (reads.parse().unwrap(), single.parse().unwrap());
        }
        "deal" => {
            let (sender, recipients) = rest.split_once(':').unwrap();
            let accepted = recipients.split_whitespace().map(str::to_owned).collect();
            visit.deals.push(mail::Deal { sender: sender.to_owned(), accepted, ..mail::Deal::default() });
            visit.transactions += 1;
        }
        "taken" => {
            let deal = visit.deals.last_mut().unwrap();
            (deal.content, deal.taken, deal.size) = (true, true, rest.parse().unwrap());
            visit.taken += 1;
        }
        "vanished" => visit.deals.last_mut().unwrap().content = true,
        "refuse" => {
            let parts: Vec<&str> = rest.splitn(4, ' ').collect();
            if let (Some(deal), true) = (visit.deals.last_mut(), parts[2] != "-") {
                deal.refused.push(RcptSaid { recipient: parts[2].to_owned(), reply: reply(parts[3]) });
            }
            visit.refusals.push(mail::Refusal {
                at: NOW,
                stage: Stage::deserialize_word(parts[0]),
                reply: reply(parts[3]),
                why: parts[1].trim_matches('-').to_owned(),
                recipient: (parts[2] != "-").then(|| parts[2].to_owned()),
                command: String::new(),
                fault: None,
            });
        }
        "command" => rest.clone_into(&mut visit.refusals.last_mut().unwrap().command),
        "said" => {
            let (speaker, text) = rest.split_once(' ').unwrap();
            let speaker: mail::Speaker = serde::Deserialize::deserialize(word_of(speaker)).unwrap();
            visit.commands += u32::from(speaker == mail::Speaker::Client);
            visit.transcript.push(mail::Said { at: NOW, speaker, text: text.to_owned() });
        }
        "dns" => visit.dns.push(answer(rest)),
        "reflected" => {
            let words: Vec<&str> = rest.split(' ').collect();
            let (host, domain) = (words[0].to_owned(), words[2].to_owned());
            visit.reflected = Some(mail::Reflected { host, address: words[1].parse().unwrap(), port: 25, domain });
        }
        "quit" => visit.end = End::Quit,
        "ours" => visit.end = End::Ours,
        "closed" => visit.end = End::Closed,
        "broken" => visit.end = End::Broken(rest.to_owned()),
        "silent" => visit.end = End::TimedOut { waited_ms: rest.parse().unwrap() },
        _ => return false,
    }
    true
}

/// `EHLO x\r\n`, `\x16\x03`.
fn octets(text: &str) -> Vec<u8> {
    let mut octets = Vec::new();
    let mut rest = text;
    while let Some((before, escape)) = rest.split_once('\\') {
        octets.extend_from_slice(before.as_bytes());
        let (octet, length) = match escape.as_bytes()[0] {
            b'r' => (b'\r', 1),
            b'n' => (b'\n', 1),
            b'x' => (u8::from_str_radix(&escape[1..3], 16).unwrap(), 3),
            other => panic!("\\{other}"),
        };
        octets.push(octet);
        rest = &escape[length..];
    }
    octets.extend_from_slice(rest.as_bytes());
    octets
}

/// A host tried lately, as tests want it.
pub(crate) fn seen_at(host: &str, address: &str, change: impl FnOnce(&mut super::Seen)) -> super::Seen {
    let mut seen = super::Seen {
        at: NOW,
        domain: "dest.test".to_owned(),
        host: host.to_owned(),
        address: address.parse().unwrap(),
        port: 25,
        source: Some("127.0.0.2".parse().unwrap()),
        configured: false,
        connect: Connect::Made { ms: 1 },
        banner: None,
        name: None,
        capabilities: Vec::new(),
        delivered: false,
        stage: None,
        reply: None,
        sender: "s@corp.test".to_owned(),
        size: 1000,
        content_sent: 0,
        content_ms: 0,
        slowest_ms: 0,
        fingerprint: None,
        end: End::Quit,
        their_clock: None,
    };
    change(&mut seen);
    seen
}

fn word_of(text: &str) -> serde::de::value::StrDeserializer<'_, serde::de::value::Error> {
    serde::de::IntoDeserializer::into_deserializer(text)
}

fn tried(text: &str) -> HostTry {
    let words: Vec<&str> = text.split_whitespace().collect();
    let (address, port) = match words[1].parse::<std::net::SocketAddr>() {
        Ok(socket) => (socket.ip(), socket.port()),
        Err(_) => (words[1].parse().unwrap(), 25),
    };
    let mut tried = HostTry::new(words[0], address, port, NOW);
    tried.connect = Connect::Made { ms: 1 };
    tried.ehlo = "gw.corp.test".to_owned();
    tried.source = Some(if address.is_ipv4() { "127.0.0.2".parse().unwrap() } else { "::1".parse().unwrap() });
    for pair in words[2..].chunks(2) {
        match pair {
            ["from", source] => tried.source = Some(source.parse().unwrap()),
            ["ehlo", name] => (*name).clone_into(&mut tried.ehlo),
            other => panic!("{other:?}"),
        }
    }
    tried
}

#[track_caller]
fn about(tried: &mut HostTry, word: &str, rest: &str) {
    match word {
        "refused" => tried.connect = Connect::Refused,
        "timeout" => tried.connect = Connect::TimedOut { after_ms: rest.parse().unwrap() },
        "unreachable" => tried.connect = Connect::NetworkUnreachable,
        "no-host" => tried.connect = Connect::HostUnreachable,
        "reset" => tried.connect = Connect::Reset,
        "no-source" => tried.connect = Connect::NoSource,
        "banner" => tried.banner = Some(reply(rest)),
        "banner-after" => tried.banner_ms = Some(rest.parse().unwrap()),
        "ehlo" => tried.greeted = Some(reply(rest)),
        "helo-only" => tried.helo_only = true,
        "caps" => tried.capabilities = rest.split(',').map(|cap| cap.trim().to_owned()).collect(),
        "tls" => tried.tls = Some(TlsUse { version: rest.to_owned(), ..TlsUse::default() }),
        "mail" => tried.mail_reply = Some(reply(rest)),
        "rcpt" => {
            let (recipient, said) = rest.split_once(' ').unwrap();
            tried.rcpt.push(RcptSaid { recipient: recipient.to_owned(), reply: reply(said) });
        }
        "data" => tried.data_reply = Some(reply(rest)),
        "final" => tried.final_reply = Some(reply(rest)),
        "sent" => tried.content_sent = rest.parse().unwrap(),
        "unacked" => tried.unacknowledged = Some(rest.parse().unwrap()),
        "open" => tried.connections = rest.parse().unwrap(),
        "reused" => tried.reused_after_ms = Some(rest.parse().unwrap()),
        "fail" => {
            let mut parts = rest.splitn(3, ' ');
            let stage = Stage::deserialize_word(parts.next().unwrap());
            let culprit = match parts.next().unwrap() {
                "us" => Culprit::Us,
                "them" => Culprit::Them,
                _ => Culprit::Path,
            };
            let said = parts.next().unwrap();
            let maybe = said.ends_with(" maybe");
            let said = said.trim_end_matches(" maybe");
            let status = match said.strip_prefix("[internal] ") {
                Some(said) => status(None, said),
                None => status(Some(&tried.host), said),
            };
            tried.failure = Some(Failure { maybe_delivered: maybe, ..Failure::new(stage, culprit, status) });
        }
        "starttls" => tried.starttls = Some(reply(rest)),
        "hello" => hello(tried.tls_hello.get_or_insert_default(), rest),
        "cert" => {
            let certificate = tried.certificate.get_or_insert_default();
            certificate.names = rest.split(',').map(|name| name.trim().to_owned()).collect();
        }
        "cert-dates" => {
            let certificate = tried.certificate.get_or_insert_default();
            let days: Vec<i64> = rest.split(' ').map(|days| days.parse().unwrap()).collect();
            certificate.not_before = Some(Time(NOW.ms() + days[0] * 86_400_000));
            certificate.not_after = Some(Time(NOW.ms() + days[1] * 86_400_000));
        }
        "cert-problem" => {
            let (kind, why) = rest.split_once(' ').unwrap_or((rest, ""));
            let problem = match kind {
                "ended" => Distrust::Ended,
                "not-yet" => Distrust::NotYet,
                "other-name" => Distrust::OtherName,
                "untrusted" => Distrust::Untrusted(why.to_owned()),
                "weak" => Distrust::Weak(why.to_owned()),
                other => panic!("{other}"),
            };
            tried.certificate.get_or_insert_default().problems.push(problem);
        }
        "closed" => tried.end = End::Closed,
        "broken" => tried.end = End::Broken(rest.to_owned()),
        "silent" => tried.end = End::TimedOut { waited_ms: rest.parse().unwrap() },
        "quit" => tried.end = End::Quit,
        _ => panic!("{word:?} is no word of a scene"),
    }
}

/// One fact of a TLS handshake; versions, suites and schemes in hex.
#[track_caller]
pub(crate) fn hello(hello: &mut TlsHello, text: &str) {
    let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
    let hex = |text: &str| u16::from_str_radix(text, 16).unwrap();
    let list = || rest.split(' ').map(hex).collect();
    match word {
        "versions" => hello.versions = list(),
        "suites" => hello.suites = list(),
        "schemes" => hello.signature_schemes = list(),
        "version" => hello.version = Some(hex(rest)),
        "suite" => hello.suite = Some(hex(rest)),
        "sig" => hello.signature = Some(hex(rest)),
        "dh" => hello.dh_bits = Some(rest.parse().unwrap()),
        "alert" => hello.alert = Some((2, rest.parse().unwrap())),
        "our-alert" => hello.our_alert = Some((2, rest.parse().unwrap())),
        "sni" => hello.sni = Some(rest.to_owned()),
        "bytes" => hello.not_tls = rest.as_bytes().to_vec(),
        "own-key" => rest.clone_into(&mut hello.own_key),
        "" => {}
        other => panic!("{other:?} is no word of a hello"),
    }
}

/// `ok.test mx.ok.test 127.0.0.11 2 delivered, banner 220 mx.ok.test`
#[track_caller]
fn seen(text: &str) -> Seen {
    let words: Vec<&str> = text.splitn(5, ' ').collect();
    let mut host = tried(&format!("{} {}", words[1], words[2]));
    let mut seen = seen_at(&host.host, &host.address.to_string(), |seen| {
        seen.at = Time(NOW.ms() - words[3].parse::<i64>().unwrap() * 1000);
        words[0].clone_into(&mut seen.domain);
        seen.port = host.port;
        seen.source = host.source;
        seen.connect = Connect::NotTried;
    });
    for fact in words.get(4).into_iter().flat_map(|rest| rest.split(',')).map(str::trim) {
        let (word, rest) = fact.split_once(' ').unwrap_or((fact, ""));
        let numbers = || rest.split(' ').map(|number| number.parse::<u64>().unwrap()).collect::<Vec<_>>();
        match word {
            "delivered" => seen.delivered = true,
            "configured" => seen.configured = true,
            "caps" => seen.capabilities = rest.split(' ').map(str::to_owned).collect(),
            "name" => seen.name = Some(rest.to_owned()),
            "size" => seen.size = numbers()[0],
            "content" => (seen.content_sent, seen.content_ms) = (numbers()[0], numbers()[1]),
            "slowest" => seen.slowest_ms = numbers()[0],
            "clock" => seen.their_clock = Some(Time(seen.at.ms() + rest.parse::<i64>().unwrap() * 1000)),
            "fingerprint" => seen.fingerprint = Some(rest.to_owned()),
            "stage" => seen.stage = Some(Stage::deserialize_word(rest)),
            "reply" => seen.reply = Some(reply(rest)),
            _ => about(&mut host, word, rest),
        }
    }
    seen.connect = host.connect;
    seen.banner = host.banner.as_ref().map(|banner| format!("{} {}", banner.code, banner.text()));
    seen.end = if host.end == End::Open { End::Quit } else { host.end };
    seen
}

/// `connect no-reverse-name 550 5.7.25 no reverse name`
fn refusal(text: &str) -> mail::Refusal {
    let mut words = text.splitn(3, ' ');
    let stage = words.next().unwrap();
    let why = words.next().unwrap();
    let text = format!("at = {}\nstage = \"{stage}\"\nwhy = \"{why}\"\nreply = {{ code = 0, lines = [] }}\n", NOW.ms());
    let refusal: mail::Refusal = toml::from_str(&text).unwrap();
    mail::Refusal { reply: reply(words.next().unwrap()), ..refusal }
}

trait Word {
    fn deserialize_word(word: &str) -> Self;
}

impl Word for Stage {
    fn deserialize_word(word: &str) -> Stage {
        serde::Deserialize::deserialize(word_of(word)).unwrap_or_else(|_| panic!("{word} is no stage"))
    }
}

/// `550 5.1.1 no such user`; `\n` makes lines.
pub(crate) fn reply(text: &str) -> Reply {
    let code: u16 = text[..3].parse().unwrap();
    let rest = text[3..].trim();
    match rest.split_once(' ').unwrap_or((rest, "")) {
        (enhanced, words) if enhanced.parse::<mail::EnhancedStatus>().is_ok() => Reply::new(code, enhanced, words),
        _ => Reply::plain(code, rest),
    }
}

fn status(host: Option<&str>, text: &str) -> Status {
    let said = reply(text);
    Status { code: said.code, enhanced: said.status(), text: said.text(), host: host.map(str::to_owned) }
}

/// `dest.test MX: 10 mx.dest.test [AD]`
#[track_caller]
pub(crate) fn answer(text: &str) -> Answer {
    let (question, data) = text.split_once(':').unwrap();
    let (name, kind) = question.split_once(' ').unwrap();
    let kind: Kind = serde::Deserialize::deserialize(word_of(kind)).unwrap();
    let mut answer = Answer::bare(Question::new(name, kind), Outcome::Found);
    answer.server = "127.0.0.53:53".to_owned();
    let mut marks = data.split('[');
    let data = marks.next().unwrap().trim();
    for mark in marks {
        match mark.trim().trim_end_matches(']') {
            "AD" => answer.authentic = true,
            "cached" => answer.cached = true,
            "plain" => answer.without_edns = true,
            "over-tcp" => answer.over_tcp = true,
            special if marked(&mut answer, special) => {}
            other => answer.extended_errors.push(other.to_owned()),
        }
    }
    match data {
        "NXDOMAIN" => answer.outcome = Outcome::NoName,
        "NODATA" => answer.outcome = Outcome::NoData,
        _ if data.starts_with("FAIL ") => {
            answer.outcome = Outcome::Failed(data[5..].to_owned());
            answer.trouble = answer.tried.last().map(|tried| tried.trouble);
        }
        _ => {
            let mut owner = answer.question.name.clone();
            for part in data.split(',').map(str::trim) {
                let (kind, data) = match part.strip_prefix("CNAME ") {
                    Some(target) => (Kind::Cname, Data::Name(target.to_owned())),
                    None => (kind, datum(kind, part)),
                };
                answer.records.push(Record { name: owner.clone(), kind, ttl: 60, data: data.clone() });
                if kind == Kind::Cname {
                    owner = data.to_string();
                }
            }
        }
    }
    answer
}

/// Marks of several words.
fn marked(answer: &mut Answer, mark: &str) -> bool {
    let words: Vec<&str> = mark.split(' ').collect();
    let trouble = |word| serde::Deserialize::deserialize(word_of(word)).unwrap();
    match words.as_slice() {
        ["server", server] => (*server).clone_into(&mut answer.server),
        ["negative", zone, minimum, left] => {
            let (minimum, left) = (minimum.parse().unwrap(), left.parse().unwrap());
            answer.negative = Some(Negative { zone: (*zone).to_owned(), minimum, left });
        }
        [way @ ("udp" | "plain-udp" | "tcp"), word] => {
            let (tcp, edns) = (*way == "tcp", (*way != "plain-udp").then_some(1232));
            let server = answer.server.clone();
            answer.tried.push(Tried { server, tcp, edns, trouble: trouble(word), ms: 5000 });
        }
        _ => return false,
    }
    true
}

fn datum(kind: Kind, text: &str) -> Data {
    match kind {
        Kind::A | Kind::Aaaa => Data::Address(text.parse().unwrap()),
        Kind::Mx => {
            let (preference, host) = text.split_once(' ').unwrap();
            Data::Mx { preference: preference.parse().unwrap(), host: host.trim_end_matches('.').to_owned() }
        }
        Kind::Txt => Data::Text(text.trim_matches('"').to_owned()),
        _ => Data::Name(text.to_owned()),
    }
}

fn dropped(text: &str) -> Dropped {
    let mut words = text.splitn(4, ' ');
    let host = words.next().unwrap().to_owned();
    let address = words.next().unwrap().parse().ok();
    let preference = words.next().unwrap().parse().unwrap();
    let why = words.next().unwrap();
    let (kind, rest) = why.split_once(' ').unwrap_or((why, ""));
    let why = match kind {
        "own" => Why::Own(rest.to_owned()),
        "not-better" => Why::NotBetterThanOwn,
        "prohibited" => Why::Prohibited,
        "unknown" => Why::Unknown(rest.to_owned()),
        "no-address" => Why::NoAddress(rest.to_owned()),
        "no-host-name" => Why::NoHostName,
        other => panic!("{other}"),
    };
    Dropped { host, address, preference, why }
}

#[test]
fn a_scene_that_no_rule_knows_is_unknown() {
    let scene = scene(
        "to a@dest.test\ndns dest.test MX: 10 mx.dest.test [AD]\ndropped gw.test 127.0.0.2 10 own its address\n\
         try mx.dest.test 127.0.0.11 from 127.0.0.3\n  banner 220 x\n  rcpt a@dest.test 250 2.1.5 ok\n  closed\nsettings\npostmaster = \"p@corp.test\"",
    );
    let tried = &scene.attempt.tries[0];
    assert_eq!(tried.rcpt[0].reply.text(), "ok");
    assert_eq!(tried.end, End::Closed);
    assert!(scene.attempt.dns[0].authentic);
    assert_eq!(scene.attempt.domain, "dest.test");
    scene.nothing_more().check("unknown");
}
