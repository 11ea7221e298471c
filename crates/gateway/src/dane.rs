//! DANE, as far as it decides whether to deliver at all: a signed host whose TLSA records cannot be found out is left out
//! (RFC 7672 2.1). What such records say is not looked at yet.

use crate::core::{Core, InForce};
use crate::deliver::join_all;
use decide::route::{Dropped, Plan, Route, Verdict, Way, Why};
use decide::settings::Tls;
use mail::dns::{Answer, Kind, Outcome, Question};
use mail::status;

/// Asks for the TLSA records of the hosts that are signed, and takes those out of the route whose answer fails.
pub(crate) async fn gate(core: &Core, in_force: &InForce, plan: &Plan, route: &mut Route, known: &mut Vec<Answer>) {
    if plan.tls == Tls::Off || !matches!(plan.way, Way::Mx { .. }) {
        return;
    }
    let mut hosts: Vec<&str> = route.candidates.iter().map(|candidate| candidate.host.as_str()).collect();
    hosts.sort_unstable();
    hosts.dedup();
    hosts.retain(|host| is_signed(plan, host, known));
    // RFC 7672 2.2.3: mail hosts are asked about port 25, whatever port leads to them here.
    let asks = hosts
        .iter()
        .map(|host| core.resolver.ask(&in_force.dns, Question::new(&format!("_25._tcp.{host}"), Kind::Tlsa)));
    let answers = join_all(asks).await;
    let mut left_out: Vec<(String, String)> = Vec::new();
    for (host, answer) in hosts.iter().zip(&answers) {
        if let Outcome::Failed(why) = &answer.outcome {
            left_out.push(((*host).to_owned(), format!("{}: {why}", answer.question)));
        }
    }
    known.extend(answers);
    for (host, why) in &left_out {
        for candidate in route.candidates.extract_if(.., |candidate| candidate.host == *host) {
            route.dropped.push(Dropped {
                host: candidate.host,
                address: Some(candidate.address.ip()),
                preference: candidate.preference,
                why: Why::Unknown(why.clone()),
            });
        }
    }
    if route.candidates.is_empty() && !left_out.is_empty() {
        let whys: Vec<String> = left_out.into_iter().map(|(_, why)| why).collect();
        route.verdict = Verdict::Failed(status::TLSA_UNKNOWN.with(whys.join("; ")));
    }
}

/// A validating resolver vouches for the MX records and for the host's addresses.
fn is_signed(plan: &Plan, host: &str, known: &[Answer]) -> bool {
    let vouched = |name: &str, kinds: &[Kind]| {
        known.iter().any(|answer| {
            answer.authentic
                && answer.is_known()
                && answer.question.name == name
                && kinds.contains(&answer.question.kind)
        })
    };
    vouched(&plan.domain.ascii(), &[Kind::Mx]) && vouched(&host.to_ascii_lowercase(), &[Kind::A, Kind::Aaaa])
}
