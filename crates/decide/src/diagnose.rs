//! Diagnosis: from an attempt or a visit, as it was recorded, to the one cause, its evidence and its fix.
//!
//! A rule reads a [`Case`] and answers: not this; this, with a [`Finding`]; or that one more look would tell, with the
//! [`Experiment`]s it wants. The gateway makes those (never DATA, within a budget) and asks again. Rules read typed facts;
//! of a peer's free text only [`words`] makes sense, for all of them.
//!
//! Adding one: a file in `rules/`, a line in its list, a test at its foot. Its `///` comment is its manual page.

mod around;
mod bounce;
mod case;
mod content;
mod experiment;
pub(crate) mod face;
pub mod rules;
pub(crate) mod spf;
pub mod strangers;
#[cfg(test)]
pub(crate) mod testing;
pub mod words;

pub use around::{Around, Call, Resolver, Seen, Sent, organisation};
pub use bounce::Bounce;
pub use case::{Case, What, connected, delivered};
pub use content::{ContentFacts, Hop, LINE_MAX, LongLine, Octets, Reader};
pub use experiment::{Experiment, How, Look, Result};

pub use rules::net::marked_down;
pub use rules::tls::own_tls_not_ready;

use mail::{Finding, Severity};

/// What a rule says of a case.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// It is not this.
    No,
    /// It may be this; these would tell. If none of them can be made, the rule is asked again with
    /// [`Result::NotMade`] among the looks and must say No or answer with what is known.
    Ask(Vec<Experiment>),
    /// It is this.
    Found(Box<Finding>),
}

impl From<Option<Finding>> for Answer {
    fn from(finding: Option<Finding>) -> Answer {
        finding.map_or(Answer::No, |finding| Answer::Found(Box::new(finding)))
    }
}

impl From<Finding> for Answer {
    fn from(finding: Finding) -> Answer {
        Answer::Found(Box::new(finding))
    }
}

/// One kind of failure that can be told from all others.
pub struct Rule {
    /// The id of the finding it makes: `dns.mx_target_missing`.
    pub cause: &'static str,
    /// Its manual page, Markdown: first line the title, then what it means, how it is known, what to do.
    pub manual: &'static str,
    pub find: fn(&Case<'_>) -> Answer,
}

impl std::fmt::Debug for Rule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rule").field("cause", &self.cause).finish_non_exhaustive()
    }
}

// A macro, against the habit: nothing else can read a `///` comment, and the manual must not drift from the code.
/// Makes `pub(in crate::diagnose::rules) const RULE: Rule` out of a doc comment, a cause id and a function.
macro_rules! rule {
    ($(#[doc = $line:literal])+ $cause:literal, $find:path) => {
        $(#[doc = $line])+
        pub(in crate::diagnose::rules) const RULE: $crate::diagnose::Rule =
            $crate::diagnose::Rule { cause: $cause, manual: concat!($($line, "\n"),+), find: $find };
    };
}
pub(crate) use rule;

/// What a case comes to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Diagnosis {
    /// The first is the cause; others are worth knowing besides. Empty: not known.
    pub findings: Vec<Finding>,
    /// What would tell more, the most wanted first. Only those of rules that stand before the first finding.
    pub wanted: Vec<Experiment>,
}

impl Diagnosis {
    pub fn first(&self) -> Option<&Finding> {
        self.findings.first()
    }
}

/// Findings kept of one case: what is read must be short.
const FINDINGS_MAX: usize = 4;

/// Asks all rules. Failures come before warnings, warnings before notes; among equals the order of [`rules::all`] decides:
/// special before general.
pub fn diagnose(case: &Case<'_>) -> Diagnosis {
    let mut diagnosis = Diagnosis::default();
    let mut failed = false;
    for rule in rules::all() {
        match (rule.find)(case) {
            Answer::No => {}
            Answer::Ask(experiments) if !failed => {
                for experiment in experiments {
                    if !diagnosis.wanted.contains(&experiment) && case.look(&experiment).is_none() {
                        diagnosis.wanted.push(experiment);
                    }
                }
            }
            Answer::Ask(_) => {}
            Answer::Found(finding) => {
                failed |= finding.severity == Severity::Failure;
                diagnosis.findings.push(*finding);
            }
        }
    }
    diagnosis.findings.sort_by_key(|finding| finding.severity);
    let is_fallback = |finding: &Finding| rules::FALLBACKS.contains(&finding.cause.as_ref());
    let is_explained =
        diagnosis.findings.first().is_some_and(|first| first.severity == Severity::Failure && !is_fallback(first));
    if is_explained {
        diagnosis.findings.retain(|finding| !is_fallback(finding));
    }
    diagnosis.findings.truncate(FINDINGS_MAX);
    diagnosis
}

/// The manual page of a cause.
pub fn manual(cause: &str) -> Option<&'static str> {
    rules::all().find(|rule| rule.cause == cause).map(|rule| rule.manual)
}
