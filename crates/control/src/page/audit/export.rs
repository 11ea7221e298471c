//! Export: all that a search finds, as CSV or as JSON lines, written while it is read.

use super::{Asked, Pairs, refused};
use crate::reader::{AuditFilter, AuditRow};
use crate::right::{May, rights};
use crate::{Center, Problem, part};
use axum::body::Bytes;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use tokio::sync::mpsc::{Sender, channel};

/// Rows read at a time.
const ROWS: usize = 500;

#[derive(Clone, Copy, Debug)]
enum Format {
    Csv,
    JsonLines,
}

pub(super) async fn file(_: May<rights::Look>, State(center): State<Center>, pairs: Pairs) -> Response {
    let asked = Asked::of(pairs);
    let (format, kind, name) = match asked.format.as_str() {
        "csv" => (Format::Csv, "text/csv; charset=utf-8", "audit.csv"),
        "jsonl" => (Format::JsonLines, "application/jsonl", "audit.jsonl"),
        other => return refused(vec![("format", format!("{other:?} is neither csv nor jsonl."))]).into_response(),
    };
    let filter = match asked.filter(center.reader.now(), true) {
        Ok(filter) => filter,
        Err(wrong) => return refused(wrong).into_response(),
    };
    let (pieces, body) = channel(4);
    tokio::spawn(async move { write(&center, &filter, format, &pieces).await });
    let headers = [
        (header::CONTENT_TYPE, kind.to_owned()),
        (header::CONTENT_DISPOSITION, format!("attachment; filename=\"{name}\"")),
    ];
    (headers, part::live::body(body)).into_response()
}

/// Ends early when nobody reads any more.
async fn write(center: &Center, filter: &AuditFilter, format: Format, pieces: &Sender<Bytes>) {
    if let Format::Csv = format
        && pieces.send(Bytes::from_static(HEAD.as_bytes())).await.is_err()
    {
        return;
    }
    let mut after: Option<String> = None;
    loop {
        let page = match center.reader.audit(filter, ROWS, after.as_deref()).await {
            Ok(page) => page,
            // It is too late for another code.
            Err(problem) => return drop(pieces.send(broken(&problem, format).into()).await),
        };
        let text: String = page.rows.iter().map(|row| line(row, format)).collect();
        if !text.is_empty() && pieces.send(text.into()).await.is_err() {
            return;
        }
        after = page.next;
        if after.is_none() {
            return;
        }
    }
}

const HEAD: &str = "time,audit_id,sender,recipients,subject,message_id,client,helo,listener,size,outcomes,status,trouble,cause,finding\r\n";

fn line(row: &AuditRow, format: Format) -> String {
    match format {
        Format::JsonLines => serde_json::to_string(row).unwrap_or_default() + "\n",
        Format::Csv => {
            let (time, recipients, size, outcomes) =
                (row.at.rfc3339(), row.recipients.join(" "), row.size.to_string(), row.outcomes.join(" "));
            let cells = [
                &time,
                &row.id,
                &row.sender,
                &recipients,
                &row.subject,
                &row.message_id,
                &row.client,
                &row.helo,
                &row.listener,
                &size,
                &outcomes,
                &row.status,
                &row.trouble,
                &row.cause,
                &row.finding,
            ];
            cells.map(|text| cell(text)).join(",") + "\r\n"
        }
    }
}

/// RFC 4180. A spreadsheet takes a cell that begins like a formula for one: it gets an apostrophe before it.
fn cell(text: &str) -> String {
    let is_formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']);
    format!("\"{}{}\"", if is_formula { "'" } else { "" }, text.replace('"', "\"\""))
}

fn broken(problem: &Problem, format: Format) -> String {
    match format {
        Format::JsonLines => serde_json::to_string(problem).unwrap_or_default() + "\n",
        Format::Csv => cell(&format!("The export ended here: {}", problem.what())) + "\r\n",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::get;

    #[tokio::test]
    async fn all_that_is_found_is_exported() {
        let (code, csv) = get("ReadOnly", "/audit/export?format=csv").await;
        assert!(code == 200 && csv.starts_with("time,audit_id,"), "{csv}");
        assert!(csv.lines().count() == 3 && csv.contains("\"ann@corp.test\",\"bob@there.test\""), "{csv}");
        let (_, lines) = get("ReadOnly", "/audit/export?format=jsonl").await;
        let rows: Vec<serde_json::Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(rows[0]["recipients"][0], "bob@there.test");
        let (code, text) = get("Full", "/audit/export?format=xls").await;
        assert!(code == 422 && text.contains("neither csv nor jsonl"), "{text}");
    }

    #[test]
    fn no_cell_is_a_formula() {
        assert_eq!(cell("=cmd|' /C calc'!A0"), "\"'=cmd|' /C calc'!A0\"");
        assert_eq!(cell("say \"hi\""), "\"say \"\"hi\"\"\"");
    }
}
