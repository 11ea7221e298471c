//! Uploads: forms with files. A file takes the place of the text field of its name, if one was chosen.

use crate::Problem;
use axum::extract::Multipart;

/// Reads fields that are text, in their order, up to `max` octets together.
pub(crate) async fn texts(mut form: Multipart, max: usize) -> Result<Vec<(String, String)>, Problem> {
    let mut fields: Vec<(String, String)> = Vec::new();
    let mut left = max;
    loop {
        let wrong = |name: &str, what: String| Problem::Field { field: name.to_owned(), what };
        let next = form.next_field().await.map_err(|error| wrong("", error.body_text()))?;
        let Some(mut field) = next else { return Ok(fields) };
        let (name, is_file) = (field.name().unwrap_or_default().to_owned(), field.file_name().is_some());
        let mut octets = Vec::new();
        while let Some(piece) = field.chunk().await.map_err(|error| wrong(&name, error.body_text()))? {
            left = left.checked_sub(piece.len()).ok_or_else(|| wrong(&name, format!("is longer than {max} octets")))?;
            octets.extend_from_slice(&piece);
        }
        // What is no text is looked at all the same: the reason is told by whoever knows what it should be.
        let text = String::from_utf8_lossy(&octets).into_owned();
        match fields.iter_mut().find(|(known, _)| is_file && *known == name) {
            Some(_) if text.is_empty() => {}
            Some((_, typed)) => *typed = text,
            None => fields.push((name, text)),
        }
    }
}
