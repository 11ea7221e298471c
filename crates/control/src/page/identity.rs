//! Identity check: how this host looks from outside.

use crate::part::setting::Typed;
use crate::{Center, Document};
use maud::{Markup, html};

/// What a change of names and addresses would mean, for the preview.
pub(crate) async fn consequences(_: &Center, _: &Document, _: &Typed) -> Markup {
    html! {}
}
