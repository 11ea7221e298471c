//! Rules about smtp.

use crate::diagnose::Rule;

mod ambiguous_after_data;
mod dot_stuffing;
mod early_talker;
mod greeting_timeout;
mod helo_unresolvable;
mod partial_rcpt;
mod plain_on_tls_port;
mod size_limit;
mod stale_connection;
mod tls_on_plain_port;
mod utf8_required;

/// Special before general.
pub(super) const RULES: &[Rule] = &[
    plain_on_tls_port::RULE,
    tls_on_plain_port::RULE,
    helo_unresolvable::RULE,
    size_limit::RULE,
    utf8_required::RULE,
    early_talker::RULE,
    dot_stuffing::RULE,
    partial_rcpt::RULE,
    ambiguous_after_data::RULE,
    stale_connection::RULE,
    greeting_timeout::RULE,
];
