//! Settings versions.

use crate::page::Routes;

pub(crate) fn routes() -> Routes {
    Routes::new()
}
