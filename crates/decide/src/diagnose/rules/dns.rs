//! DNS: records that are wrong, missing or cannot be read, at their end or at ours.

mod mx_target_missing;

use crate::diagnose::Rule;

/// Special before general.
pub(super) const RULES: &[Rule] = &[mx_target_missing::RULE];
