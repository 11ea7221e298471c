//! Rules about net.

mod source;
mod source_address_unexpected;
mod source_address_unexpected_v6;
mod source_not_local;

use crate::diagnose::Rule;

/// Special before general.
pub(super) const RULES: &[Rule] =
    &[source_not_local::RULE, source_address_unexpected::RULE, source_address_unexpected_v6::RULE];
