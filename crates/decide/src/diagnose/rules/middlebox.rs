//! Rules about middlebox.

use crate::diagnose::Rule;

/// Special before general.
pub(super) const RULES: &[Rule] = &[];
