//! Rules about diag.

use crate::diagnose::Rule;

mod delivered_elsewhere;
mod helo_ptr_not_required;
mod telnet_char_mode;

/// Special before general.
pub(super) const RULES: &[Rule] = &[telnet_char_mode::RULE, delivered_elsewhere::RULE, helo_ptr_not_required::RULE];
