//! Rules about smtp.

use crate::diagnose::Rule;

mod helo_unresolvable;
mod size_limit;
mod utf8_required;

/// Special before general.
pub(super) const RULES: &[Rule] = &[helo_unresolvable::RULE, size_limit::RULE, utf8_required::RULE];
