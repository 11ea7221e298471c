//! Rules about net.

use crate::diagnose::Rule;

/// Special before general.
pub(super) const RULES: &[Rule] = &[];
