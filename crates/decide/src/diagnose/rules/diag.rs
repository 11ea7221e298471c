//! Rules about diag.

use crate::diagnose::Rule;

mod telnet_char_mode;

/// Special before general.
pub(super) const RULES: &[Rule] = &[telnet_char_mode::RULE];
