//! Rules about smtp.

use crate::diagnose::Rule;

mod size_limit;
mod utf8_required;

/// Special before general.
pub(super) const RULES: &[Rule] = &[size_limit::RULE, utf8_required::RULE];
