//! Mail that a host refuses because the sender's domain does not let this gateway send for it: SPF, or DMARC on top of it.

use crate::diagnose::face::{self, Known};
use crate::diagnose::rules::said::{self, Said};
use crate::diagnose::words::Topic;
use crate::diagnose::{Answer, Case, Rule, spf};
use mail::{Actor, Confidence, Domain, Finding};
use std::net::IpAddr;

mod forward_spf;
mod spf_own_missing;

/// Special before general.
pub(super) const RULES: &[Rule] = &[spf_own_missing::RULE, forward_spf::RULE];

/// What a host holds against the address that we came from.
struct Unlisted<'a> {
    said: Said<'a>,
    domain: String,
    /// As the host saw us.
    ours: IpAddr,
    record: String,
}

impl Unlisted<'_> {
    fn what(&self) -> &'static str {
        if self.said.is_about(Topic::Spf) { "SPF" } else { "DMARC" }
    }

    /// What both findings have in common.
    fn finding(&self, case: &Case<'_>, cause: &'static str, actor: Actor, sentence: String) -> Finding {
        Finding::new(cause, actor, sentence)
            .severity(said::severity(case, &self.said))
            .confidence(Confidence::Likely)
            .evidence(self.said.quote())
            .evidence(format!("{} TXT: \"{}\"", self.domain, self.record))
            .disproof(format!(
                "a record of {} that lists {}, or a refusal that stays when it does",
                self.domain, self.ours
            ))
    }
}

/// A refusal for SPF or DMARC by somebody else's host, if the record of the sender's domain does not list us. `ours`: of a domain
/// of ours, or of a stranger's.
fn unlisted<'a>(case: &Case<'a>, ours: bool) -> Result<Unlisted<'a>, Answer> {
    let attempt = case.attempt().filter(|_| !said::is_backend(case)).ok_or(Answer::No)?;
    let (_, domain) = attempt.sender.rsplit_once('@').ok_or(Answer::No)?;
    let is_ours = domain.parse::<Domain>().is_ok_and(|domain| case.settings.local_domain(&domain).is_some());
    let said = said::about(case, Topic::Spf).or_else(|| said::about(case, Topic::Dmarc));
    let said = said.filter(|_| is_ours == ours).ok_or(Answer::No)?;
    let address = face::seen_as(case, said.tried, Some(said.reply)).ok_or(Answer::No)?;
    match spf::lists(case, domain, address) {
        Known::Yes(Some(policy)) if !policy.lists => {
            Ok(Unlisted { said, domain: domain.to_owned(), ours: address, record: policy.record })
        }
        Known::Ask(wanted) => Err(Answer::Ask(wanted)),
        // Without a record there is nothing that it fails to name.
        Known::Yes(_) | Known::Never => Err(Answer::No),
    }
}
