//! Rules about net.

mod proxy_protocol_mismatch;
mod source;
mod source_address_unexpected;
mod source_address_unexpected_v6;
mod source_not_local;

use crate::diagnose::Rule;

/// Special before general.
pub(super) const RULES: &[Rule] = &[
    proxy_protocol_mismatch::RULE,
    source_not_local::RULE,
    source_address_unexpected::RULE,
    source_address_unexpected_v6::RULE,
];
