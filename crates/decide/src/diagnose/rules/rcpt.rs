//! Rules about single recipients.

use crate::diagnose::Rule;

mod over_quota;
mod unknown;

/// Special before general.
pub(super) const RULES: &[Rule] = &[over_quota::RULE, unknown::RULE];
