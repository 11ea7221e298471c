//! Explanations for tests.

use super::World;
use crate::{ExplainReader, Explained, FindingPage, Problem, ReplyPage};

impl ExplainReader for World {
    fn explain(&self, text: &str) -> Result<Explained, Problem> {
        if let Some(manual) = decide::diagnose::manual(text) {
            let (title, manual) = manual.trim().split_once('\n').unwrap_or_default();
            let finding = FindingPage { cause: text.to_owned(), title: title.to_owned(), manual: manual.to_owned() };
            return Ok(Explained { finding: Some(finding), ..Explained::default() });
        }
        if !text.starts_with("450") {
            return Err(Problem::Unknown { what: "not known".to_owned() });
        }
        let reply = ReplyPage {
            code: 450,
            class: "temporary: the message is tried again".to_owned(),
            enhanced: "4.7.1".to_owned(),
            meaning: "delivery not authorized".to_owned(),
            about: Vec::new(),
            text: text.to_owned(),
        };
        Ok(Explained { reply: Some(reply), audit_id: Some("01K8Z6T3WQM2V".to_owned()), ..Explained::default() })
    }
}
