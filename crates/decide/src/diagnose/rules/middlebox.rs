//! Middle boxes: something between the peer and us that changes what is said.

mod intercept;
mod smtp_fixup;
mod starttls_masked;

use crate::diagnose::{Case, Rule};
use mail::{HostTry, Stage};

/// Special before general.
pub(super) const RULES: &[Rule] = &[starttls_masked::RULE, smtp_fixup::RULE, intercept::RULE];

/// The message waits because TLS is demanded and was not offered.
fn lacks_tls(case: &Case<'_>, tried: &HostTry) -> bool {
    let at_tls = |failure: &mail::Failure| failure.stage == Stage::StartTls && failure.status.host.is_none();
    case.went_through().is_none() && tried.tls_hello.is_none() && tried.failure.as_ref().is_some_and(at_tls)
}

/// `mx.dest.test (192.0.2.1)`
fn place(tried: &HostTry) -> String {
    if tried.host == tried.address.to_string() {
        tried.host.clone()
    } else {
        format!("{} ({})", tried.host, tried.address)
    }
}
