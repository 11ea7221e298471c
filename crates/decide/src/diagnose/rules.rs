//! All rules, in families. The order of the families and within them decides between findings of equal weight: what can
//! be told for certain and specially comes first.

pub(crate) mod auth;
pub(crate) mod content;
pub(crate) mod diag;
pub(crate) mod dns;
pub(crate) mod env;
pub(crate) mod loops;
pub(crate) mod middlebox;
pub(crate) mod net;
pub(crate) mod own;
pub(crate) mod peer;
pub(crate) mod policy;
pub(crate) mod rcpt;
pub(crate) mod route;
mod said;
pub(crate) mod shown;
pub(crate) mod smtp;
pub(crate) mod tls;

use super::Rule;

/// Findings that only repeat what was said: worth nothing beside one that explains it.
pub(super) const FALLBACKS: &[&str] = &["peer.refused", "peer.deferred", "peer.closed", "peer.silent", "own.refused"];

/// Every rule, special before general.
pub fn all() -> impl Iterator<Item = &'static Rule> {
    let families: [&[Rule]; 16] = [
        loops::RULES,
        middlebox::RULES,
        dns::RULES,
        net::RULES,
        tls::RULES,
        own::RULES,
        policy::RULES,
        route::RULES,
        env::RULES,
        content::RULES,
        smtp::RULES,
        rcpt::RULES,
        auth::RULES,
        peer::RULES,
        diag::RULES,
        own::GENERAL,
    ];
    families.into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::all;
    use std::collections::HashSet;

    #[test]
    fn every_rule_has_a_manual_and_a_cause_of_its_own() {
        let mut causes = HashSet::new();
        for rule in all() {
            assert!(causes.insert(rule.cause), "{} stands twice", rule.cause);
            let lines: Vec<&str> = rule.manual.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
            assert!(lines.len() >= 3, "{}: a manual page has a title, what it means, and what to do", rule.cause);
        }
    }
}
