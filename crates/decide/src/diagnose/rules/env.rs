//! Rules about env.

mod sender;
mod sender_domain_missing;
mod sender_internal_name;

use crate::diagnose::Rule;

/// Special before general.
pub(super) const RULES: &[Rule] = &[sender_internal_name::RULE, sender_domain_missing::RULE];
