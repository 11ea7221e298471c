//! Rules about what a peer's host or policy does not want.

use crate::diagnose::Rule;

mod auth_required;
mod backend_back_pressure;
mod backend_spf_on_gateway;
mod closed;
mod concurrency;
mod content_policy;
mod deferred;
mod dnsbl_listed;
mod first_contact_defer;
mod greylist;
mod rate_reputation;
mod recipient_limit;
mod refused;
mod rejects_null_sender;
mod relay_denied;
mod sender_not_authorised;
mod silent;
mod tls_required;

/// Special before general.
pub(super) const RULES: &[Rule] = &[
    tls_required::RULE,
    auth_required::RULE,
    backend_spf_on_gateway::RULE,
    backend_back_pressure::RULE,
    sender_not_authorised::RULE,
    rejects_null_sender::RULE,
    dnsbl_listed::RULE,
    rate_reputation::RULE,
    concurrency::RULE,
    first_contact_defer::RULE,
    greylist::RULE,
    recipient_limit::RULE,
    relay_denied::RULE,
    content_policy::RULE,
    refused::RULE,
    deferred::RULE,
    closed::RULE,
    silent::RULE,
];
