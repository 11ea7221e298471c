//! Rules about smtp.

use crate::diagnose::Rule;

mod ambiguous_after_data;
mod bad_sequence;
mod command_syntax;
mod command_too_long;
mod dot_stuffing;
mod early_talker;
mod foreign_protocol;
mod greeting_timeout;
mod helo_unresolvable;
mod improper_pipelining;
mod line_ends;
mod partial_rcpt;
mod plain_on_tls_port;
mod size_limit;
mod stale_connection;
mod tls_on_plain_port;
mod unknown_commands;
mod utf8_required;
mod violation;

/// Special before general.
pub(super) const RULES: &[Rule] = &[
    plain_on_tls_port::RULE,
    tls_on_plain_port::RULE,
    helo_unresolvable::RULE,
    size_limit::RULE,
    utf8_required::RULE,
    early_talker::RULE,
    dot_stuffing::RULE,
    line_ends::RULE,
    improper_pipelining::RULE,
    foreign_protocol::RULE,
    command_too_long::RULE,
    bad_sequence::RULE,
    command_syntax::RULE,
    unknown_commands::RULE,
    partial_rcpt::RULE,
    ambiguous_after_data::RULE,
    stale_connection::RULE,
    greeting_timeout::RULE,
];
