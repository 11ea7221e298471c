//! Content: what a message looks like, as far as peers refuse messages for it. Facts only, no text of the message.

mod fields;
mod reader;

pub use reader::Reader;

use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// Where octets of a kind are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Octets {
    pub count: u64,
    /// Offset of the first, from the start of the message, counted from 0.
    pub first: u64,
}

/// RFC 5322 2.1.1: a line's octets without CRLF.
pub const LINE_MAX: u64 = 998;

/// The longest line.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LongLine {
    /// Counted from 1.
    pub line: u64,
    /// Without CRLF (or a bare LF, which ends a line here too).
    pub octets: u64,
    /// `header`, or the media type of the part that holds it.
    pub part: String,
}

/// One Received field.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Hop {
    /// The name that the client gave.
    pub from: String,
    /// The client's address, if the comment behind the name holds one.
    pub address: Option<IpAddr>,
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
    /// Newest first, at most 200.
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
    /// Octets of attachments (parts with a file name, or neither text nor multipart) before their transfer encoding.
    pub attachments_decoded: u64,
    /// A multipart message whose last boundary never comes.
    pub open_multipart: bool,
    /// multipart/report parts, one within another; the message itself counts, and a header that was returned alone.
    pub reports: u32,
    pub has_dkim: bool,
    /// `t=` of the first DKIM-Signature, Unix seconds.
    pub dkim_time: Option<i64>,
    /// Content-Transfer-Encoding of the body or of a part is quoted-printable or base64.
    pub encoded: bool,
    /// X-MIME-Autoconverted: `from 8bit to quoted-printable by hop.test id 1`. Empty: absent.
    pub converted: String,
}

impl ContentFacts {
    /// Of a whole message. For large ones there is [`Reader`].
    pub fn read(content: &[u8]) -> ContentFacts {
        let mut reader = Reader::default();
        reader.feed(content);
        reader.finish()
    }

    /// The lines where a field stands.
    pub fn lines(&self, field: &str) -> &[u64] {
        self.singles.iter().find(|(name, _)| name.eq_ignore_ascii_case(field)).map_or(&[], |(_, lines)| lines)
    }

    pub fn is_eight_bit(&self) -> bool {
        self.eight_bit_header || self.eight_bit_body
    }

    /// The longest line, if it is longer than RFC 5322 2.1.1 allows.
    pub fn too_long(&self) -> Option<&LongLine> {
        Some(&self.longest).filter(|line| line.octets > LINE_MAX)
    }
}
