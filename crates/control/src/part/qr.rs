//! QR code as SVG, drawn here: a secret is shown to no other site to have it drawn.

use maud::{Markup, html};
use qrcodegen::{QrCode, QrCodeEcc};

/// Modules of white around the code that ISO/IEC 18004 asks for.
const QUIET: i32 = 4;

/// Nothing if the text is too long for a code.
pub(crate) fn code(text: &str, title: &str) -> Markup {
    let Ok(code) = QrCode::encode_text(text, QrCodeEcc::Medium) else { return html! {} };
    let side = code.size() + 2 * QUIET;
    let mut path = String::new();
    for y in 0..code.size() {
        for x in (0..code.size()).filter(|x| code.get_module(*x, y)) {
            path.push_str(&format!("M{},{}h1v1h-1z", x + QUIET, y + QUIET));
        }
    }
    html! {
        svg.qr viewBox=(format!("0 0 {side} {side}")) width="220" height="220" role="img" aria-label=(title) shape-rendering="crispEdges" {
            rect width="100%" height="100%" fill="#fff" {}
            path d=(path) fill="#000" {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_has_its_three_corners_and_a_white_border() {
        let svg = code("otpauth://totp/Gatepost:ann?secret=ABC", "Secret").into_string();
        for corner in ["M4,4h1", "M10,4h1", "M4,10h1"] {
            assert!(svg.contains(corner), "{corner}: {svg}");
        }
        assert!(!svg.contains("M3,") && !svg.contains("style="), "{svg}");
    }

    #[test]
    fn what_does_not_fit_is_left_out() {
        assert_eq!(code(&"x".repeat(5000), "").into_string(), "");
    }
}
