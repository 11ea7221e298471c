//! Routes: which domains are ours, and where their mail goes.

use crate::diagnose::Rule;

mod authoritative_but_partial;
mod domain_in_two_classes;
mod domain_not_accepted;

/// Special before general.
pub(super) const RULES: &[Rule] =
    &[domain_not_accepted::RULE, domain_in_two_classes::RULE, authoritative_but_partial::RULE];
