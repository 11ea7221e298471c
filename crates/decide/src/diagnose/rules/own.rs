//! What this gateway itself refuses, by its settings, its disk, its checks.

use crate::diagnose::Rule;

mod auth_required_on_mx;
mod banner_delay_breaks_callout;
mod clock_skew;
mod dnsbl_query_error;
mod dnsbl_timeout;
mod filter_slow_duplicates;
mod filter_unavailable;
pub(super) mod mx;
mod no_recipient_check;
mod rcpt_cache_poisoned;
mod refused;
mod relaying_denied;
mod storage_low;
mod storage_wrong_class;
mod unknown_recipient;

/// Special before general.
pub(super) const RULES: &[Rule] = &[
    storage_wrong_class::RULE,
    storage_low::RULE,
    auth_required_on_mx::RULE,
    banner_delay_breaks_callout::RULE,
    clock_skew::RULE,
    filter_unavailable::RULE,
    filter_slow_duplicates::RULE,
    dnsbl_query_error::RULE,
    dnsbl_timeout::RULE,
    rcpt_cache_poisoned::RULE,
    no_recipient_check::RULE,
];

/// What a refusal comes to where nothing more special is known: behind all other families.
pub(super) const GENERAL: &[Rule] = &[unknown_recipient::RULE, relaying_denied::RULE, refused::RULE];
