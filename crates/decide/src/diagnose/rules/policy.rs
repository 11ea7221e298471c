//! What this gateway's own policies do to mail that is welcome.

use crate::diagnose::Rule;

mod greylist_pool;

/// Special before general.
pub(super) const RULES: &[Rule] = &[greylist_pool::RULE];
