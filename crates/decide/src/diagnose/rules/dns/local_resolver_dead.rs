//! The configured resolver itself is dead: no name at all can be looked up.

use super::asked::{Asked, recorded, root, server};
use crate::diagnose::{Answer, Case, How, rule};
use mail::dns::{Answer as DnsAnswer, Trouble};
use mail::{Actor, Confidence, Finding};

rule! {
    /// The configured resolver does not answer
    ///
    /// No DNS server that this gateway asks says anything: nothing listens at the address (connection refused), it cannot be
    /// reached, or all questions time out, even those that every resolver can answer. The recipients' domains have nothing to do
    /// with it, and all mail that needs DNS waits.
    ///
    /// Usual causes: an old /etc/resolv.conf in a container or chroot, a local resolver that is not running, a firewall between
    /// the gateway and its resolver. `dig` at a shell may use another server than the gateway does.
    ///
    /// Start the resolver, or give a working one in `dns.servers`; then retry the queue.
    "dns.local_resolver_dead", find
}

/// Unrelated names that failed one after another are enough without an experiment.
const NAMES_ENOUGH: usize = 3;

fn find(case: &Case<'_>) -> Answer {
    let all = recorded(case);
    if let Some(answer) = all.iter().find(|answer| is_without_server(answer)) {
        return no_server(case, answer).into();
    }
    let spoke = |answer: &DnsAnswer| {
        answer.is_known() && !answer.cached && answer.server.parse::<std::net::SocketAddr>().is_ok()
    };
    if all.iter().any(spoke) {
        return Answer::No;
    }
    let Some(silent) = all.iter().find(|answer| is_silent(answer)) else { return Answer::No };
    if silent.tried.iter().all(|tried| tried.trouble == Trouble::NoListener) {
        return found(case, silent, None).confidence(Confidence::Proven).into();
    }
    let asked = Asked::of(case, &root(), How::DnsOnly);
    match &asked {
        Asked::Wanted(experiment) => Answer::Ask(vec![experiment.clone()]),
        Asked::Answer(answer) if !is_silent(answer) => Answer::No,
        Asked::Answer(answer) => found(case, silent, Some(answer)).confidence(Confidence::Proven).into(),
        Asked::Never if is_row_of_names(case, silent) => found(case, silent, None).into(),
        Asked::Never => Answer::No,
    }
}

/// Every server that was asked said nothing at all, each time.
fn is_silent(answer: &DnsAnswer) -> bool {
    !answer.is_known()
        && !answer.tried.is_empty()
        && answer.tried.iter().all(|tried| tried.trouble.is_silence() && !tried.tcp)
}

fn is_without_server(answer: &DnsAnswer) -> bool {
    answer.trouble == Some(Trouble::NotAsked) && answer.server.is_empty()
}

fn is_row_of_names(case: &Case<'_>, silent: &DnsAnswer) -> bool {
    let mut known = case.around.resolvers.iter().filter(|known| silent.tried.iter().any(|t| t.server == known.server));
    known.all(|known| known.names_in_a_row.len() >= NAMES_ENOUGH && known.silent_in_a_row >= NAMES_ENOUGH as u64)
        && case.around.resolvers.iter().any(|known| silent.tried.iter().any(|t| t.server == known.server))
}

fn found(case: &Case<'_>, silent: &DnsAnswer, root: Option<&DnsAnswer>) -> Finding {
    let mut servers: Vec<(String, Trouble)> = Vec::new();
    for tried in &silent.tried {
        let name = server(&tried.server).to_owned();
        if servers.iter().all(|(known, _)| *known != name) {
            servers.push((name, tried.trouble));
        }
    }
    let who = match servers.as_slice() {
        [(name, trouble)] => format!("The configured resolver {name} does not answer at all ({trouble})"),
        several => {
            let each: Vec<String> = several.iter().map(|(name, trouble)| format!("{name}: {trouble}")).collect();
            format!("None of the configured resolvers answers at all ({})", each.join(", "))
        }
    };
    let mut finding = Finding::new(
        "dns.local_resolver_dead",
        Actor::OurNetwork,
        format!("{who}; no domain can be resolved, {}.", not_at_fault(case)),
    );
    finding.evidence.extend(silent.tried.iter().map(|tried| format!("{}: {tried}", silent.question)));
    finding
        .evidence
        .extend(root.map(|root| format!("the root's NS records, which every resolver knows: {}", root.summary())));
    for known in &case.around.resolvers {
        finding.evidence.push(format!(
            "{}: {} answered, {} failed since the start, {} in a row for {}",
            known.server,
            known.answered,
            known.failed,
            known.failed_in_a_row,
            known.names_in_a_row.join(", ")
        ));
    }
    let first = servers.first().map_or("", |(name, _)| name.as_str());
    finding
        .disproof(format!("any answer of {first} to this gateway, such as `dig @{first} . NS` on this machine"))
        .fix(format!("Start the resolver at {first}, or let the firewall pass UDP and TCP port 53 to it."))
        .fix(where_set(case))
}

fn no_server(case: &Case<'_>, answer: &DnsAnswer) -> Finding {
    let sentence = format!(
        "This gateway knows no DNS server: dns.servers is empty and /etc/resolv.conf names none; no domain can be resolved, {}.",
        not_at_fault(case)
    );
    Finding::new("dns.local_resolver_dead", Actor::OurSettings, sentence)
        .confidence(Confidence::Proven)
        .evidence(answer.summary())
        .disproof("a nameserver line in the /etc/resolv.conf that the gateway's process sees")
        .fix(where_set(case))
}

fn not_at_fault(case: &Case<'_>) -> String {
    match case.attempt() {
        Some(attempt) => format!("the destination {} is not at fault", attempt.domain),
        None => "nobody else is at fault".to_owned(),
    }
}

fn where_set(case: &Case<'_>) -> String {
    let now: Vec<String> = case.settings.dns.servers.iter().map(ToString::to_string).collect();
    if now.is_empty() {
        "Correct /etc/resolv.conf as the gateway's process sees it (container, chroot), or name a resolver in dns.servers."
            .to_owned()
    } else {
        format!("Or name another resolver in dns.servers (now: {}), then retry the queue.", now.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use crate::diagnose::testing::{check, scene};

    #[test]
    fn a_closed_port_is_a_dead_resolver() {
        check(
            "to a@one.test
             dns one.test MX: FAIL refused [udp no-listener] [udp no-listener]",
            "dns.local_resolver_dead: The configured resolver 127.0.0.53 does not answer at all (connection refused); no domain can be \
             resolved, the destination one.test is not at fault.",
        );
    }

    #[test]
    fn silence_is_a_dead_resolver_only_if_the_root_is_not_known_either() {
        let silent = "to a@one.test\ndns one.test MX: FAIL silence [udp timed-out] [plain-udp timed-out]";
        let asks = scene(silent);
        assert_eq!(asks.diagnose().wanted.len(), 1, "{:?}", asks.diagnose());
        check(&format!("{silent}\nask dns-only . NS: FAIL silence [udp timed-out]"), "dns.local_resolver_dead");
        check(&format!("{silent}\nask dns-only . NS: NXDOMAIN"), "dns.servfail");
        check(&format!("{silent}\nask dns-only . NS: FAIL SERVFAIL [udp serv-fail]"), "dns.servfail");
        scene(silent).nothing_more().check("dns.servfail");
        let row = format!("{silent}\nresolver 127.0.0.53:53 0 7 a.test b.test one.test");
        scene(&row).nothing_more().check("dns.local_resolver_dead");
    }

    #[test]
    fn one_word_of_the_resolver_acquits_it() {
        check(
            "to a@one.test\ndns one.test MX: 10 mx.one.test\ndns mx.one.test A: FAIL silence [udp timed-out]\n\
             ask dns-only . NS: FAIL silence [udp timed-out]",
            "dns.servfail",
        );
        check("to a@one.test\ndns one.test MX: FAIL SERVFAIL [udp serv-fail]", "dns.servfail");
        let cut = scene("to a@one.test\ndns one.test MX: FAIL cut [udp truncated] [tcp timed-out]").nothing_more();
        assert!(cut.diagnose().findings.iter().all(|finding| finding.cause != "dns.local_resolver_dead"));
    }
}
