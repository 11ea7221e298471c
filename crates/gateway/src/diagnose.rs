//! Diagnose: gathers what a case needs, asks the rules, makes the experiments that they want, and asks again.

use crate::clock::now;
use crate::core::{Core, InForce};
use decide::diagnose::{Around, Case, What, diagnose};
use mail::{Finding, Visit};
use std::sync::Arc;

/// What a client's visit comes to.
pub(crate) async fn of_visit(_core: &Arc<Core>, in_force: &InForce, visit: &Visit) -> Vec<Finding> {
    let around = Around::default();
    let case = Case {
        what: What::Visit(visit),
        identity: &in_force.identity,
        settings: &in_force.settings,
        content: None,
        around: &around,
        looks: &[],
        now: now(),
    };
    diagnose(&case).findings
}
