//! Content: what a message looks like, as far as peers refuse messages for it. Facts only, no text of the message.

use serde::{Deserialize, Serialize};

/// Where octets of a kind are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Octets {
    pub count: u64,
    /// Offset of the first, from the start of the message, counted from 0.
    pub first: u64,
}

/// A line longer than RFC 5322 2.1.1 allows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LongLine {
    /// Counted from 1.
    pub line: u64,
    /// Without CRLF.
    pub octets: u64,
    /// `header`, or the media type of the part that holds it.
    pub part: String,
}

/// One Received field.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hop {
    pub from: String,
    pub by: String,
    pub id: String,
    /// The `for` clause's address.
    pub recipient: String,
    /// The date at its end, as text.
    pub date: String,
}

/// What a message looks like.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ContentFacts {
    pub size: u64,
    pub header_size: u64,
    /// Newest first.
    pub received: Vec<Hop>,
    pub delivered_to: Vec<String>,
    /// Fields that may stand once (RFC 5322 3.6), each with the lines (from 1) where they stand. Absent: no lines.
    pub singles: Vec<(String, Vec<u64>)>,
    pub message_id: String,
    pub in_reply_to: String,
    pub references: u32,
    pub subject: String,
    pub from: String,
    /// Auto-Submitted with a value other than `no` (RFC 3834 5).
    pub auto_submitted: bool,
    pub longest: LongLine,
    pub bare_cr: Octets,
    pub bare_lf: Octets,
    pub nul: Octets,
    /// Every second octet around the first NUL is NUL: UTF-16.
    pub utf16: bool,
    /// Octets above 127 in the header, in the body.
    pub eight_bit_header: bool,
    pub eight_bit_body: bool,
    /// File names of attachments, at most ten.
    pub attachments: Vec<String>,
    /// Octets of attachments before their transfer encoding.
    pub attachments_decoded: u64,
    /// A multipart message whose last boundary never comes.
    pub open_multipart: bool,
    /// Nested multipart/report parts.
    pub reports: u32,
    pub has_dkim: bool,
    /// `t=` of the first DKIM-Signature, Unix seconds.
    pub dkim_time: Option<i64>,
    /// Content-Transfer-Encoding of the body or of a part is quoted-printable or base64.
    pub encoded: bool,
}
