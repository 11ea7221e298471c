//! The targets, one file each.

mod address;
mod attempt;
mod bounce;
mod client;
mod content;
mod desk;
mod dns;
mod envelope;
mod header;
mod hello;
mod loops;
mod proxy;
mod reply;
mod report;
mod server;
mod settings;
mod spf;
mod transfer;
mod typed;

use super::Target;

const fn target(name: &'static str, check: fn(&[u8]), quick: usize, words: &'static [&'static str]) -> Target {
    Target { name, check, words, quick }
}

const COMMANDS: &[&str] = &[
    "EHLO x\r\n",
    "HELO x\r\n",
    "MAIL FROM:<a@b.test>\r\n",
    "MAIL FROM:<> SIZE=5 BODY=BINARYMIME\r\n",
    "RCPT TO:<c@d.test>\r\n",
    "RCPT TO:<no@d.test>\r\n",
    "DATA\r\n",
    "BDAT 5\r\n",
    "BDAT 3 LAST\r\n",
    "BDAT 0 LAST\r\n",
    "RSET\r\n",
    "NOOP\r\n",
    "QUIT\r\n",
    "STARTTLS\r\n",
    "AUTH PLAIN ",
    "AUTH LOGIN\r\n",
    "AGFubgBzZWNyZXQ=\r\n",
    "YW5u\r\n",
    "*\r\n",
    "\r\n.\r\n",
    "\r\n..\r\n",
    "\n.\n",
    "\r.\r",
    " BODY=8BITMIME",
    " SMTPUTF8",
    " RET=FULL",
    " ENVID=a+2Bb",
    " NOTIFY=SUCCESS,DELAY",
    " ORCPT=rfc822;a+40b",
    "VRFY x\r\n",
    "HELP\r\n",
    "POST / HTTP/1.1\r\n",
];

const REPLIES: &[&str] = &[
    "220 mx\r\n",
    "250 ok\r\n",
    "250-mx\r\n",
    "250-PIPELINING\r\n",
    "250-CHUNKING\r\n",
    "250-SIZE 1000\r\n",
    "250 8BITMIME\r\n",
    "250-STARTTLS\r\n",
    "250-AUTH LOGIN PLAIN\r\n",
    "250-AUTH=LOGIN\r\n",
    "250-DSN\r\n",
    "250-BINARYMIME\r\n",
    "250-SMTPUTF8\r\n",
    "250-LIMITS RCPTMAX=1\r\n",
    "354 go\r\n",
    "334 \r\n",
    "235 ok\r\n",
    "421 no\r\n",
    "550 5.1.1 no\r\n",
    "451 4.7.1 later\r\n",
    "554 no\r\n",
    "502 what\r\n",
    "250",
];

const CONTENT: &[&str] =
    &["\r\n", "\r\n.\r\n", "\r\n..", "\n.\n", "\r.\r", "\r\n.\n", "\r\n.\r", "\n.\r\n", "0123456789", "\0w\0"];

const PATHS: &[&str] = &[
    "FROM:<",
    "TO:<",
    "@b.test>",
    "\"a b\"@",
    " SIZE=1",
    " BODY=8BITMIME",
    " BODY=BINARYMIME",
    " SMTPUTF8",
    " RET=FULL",
    " RET=HDRS",
    " ENVID=",
    "+2B",
    " AUTH=<>",
    " NOTIFY=NEVER",
    " NOTIFY=SUCCESS,FAILURE,DELAY",
    " ORCPT=rfc822;",
    " ORCPT=utf-8;",
    "@x.test,@y.test:",
    "[IPv6:2001:db8::1]",
    "xn--",
    "ü",
    "\u{ff0e}",
];

const FIELDS: &[&str] = &[
    "From: ",
    "Sender: ",
    "Reply-To: ",
    "Received: from a.test (a.test [192.0.2.1]) by b.test with ESMTP id 1 for <c@d.test>; date\r\n",
    "\r\n",
    "\r\n ",
    "\r\n\r\n",
    "me@in.test",
    "root@in.test",
    "\"a b\"@in.test",
    "(comment)",
    "Content-Type: multipart/mixed; boundary=b\r\n",
    "--b\r\n",
    "--b--\r\n",
    "Content-Type: message/rfc822\r\n",
    "Content-Disposition: attachment; filename*0*=utf-8''%41\r\n",
    "Content-Transfer-Encoding: base64\r\n",
    "Gatepost-Trace: 1 0123456789ABC inbound 1 a1b2c3d4 =0123456789abcdef\r\n",
    "Delivered-To: <a@b.test>\r\n",
    "Authentication-Results: gw.test; spf=pass\r\n",
    "DKIM-Signature: t=1\r\n",
    "Auto-Submitted: auto-replied\r\n",
];

const SETTINGS: &[&str] = &[
    "hostname = \"gw.test\"\n",
    "[[domain]]\nname = \"corp.test\"\nnext_hops = [\"10.0.0.1\"]\n",
    "[[alias]]\nfrom = \"a@corp.test\"\nto = [\"b@corp.test\"]\n",
    "[[masquerade]]\nfrom = \"@in.test\"\nto = \"@out.test\"\n",
    "[listener.inbound]\n",
    "[delivery]\n",
    "[retry]\n",
    "next_hops = \"mx\"\n",
    "recipients = [\"a@corp.test\"]\n",
    "message_size = \"25MB\"\n",
    "first = \"5m\"\n",
    "connections = 5 # small\n",
    "{ host = \"a.test\", preference = 5 }",
    "set\n",
    "unset\n",
    "add\n",
    "remove\n",
    "include\n",
    "exclude\n",
    "alias[a@corp.test]",
    "domain[corp.test].next_hops",
    "[\"x\"]",
    "\"\"\"",
    "2026-11-25T00:00:00Z",
    "inf",
    "0x7f",
    "true",
];

const SPF: &[&str] = &[
    "v=spf1 ",
    "include:",
    "redirect=",
    "exp=",
    "a:",
    "mx:",
    "ptr",
    "exists:",
    "ip4:192.0.2.0/24",
    "ip6:2001:db8::/32",
    "-all",
    "~all",
    "?all",
    "+mx",
    "a/24//64",
    "%{i}",
    "%{d2r}",
    "%{L1-}",
    "%{s}",
    "%%",
    "%_",
    "%-",
    "a.test",
    "\n",
];

const TYPED: &[&str] = &[
    "2026-11-25",
    "14:00:30",
    "T",
    "Z",
    "30min",
    "2h ago",
    "7d",
    "- ",
    "* ",
    "```\n",
    "    ",
    "**",
    "`",
    "\n\n",
    "<b>",
    "&",
    "\"",
    "İ",
    "ß",
    "@corp.test",
];

/// In the order in which mail meets them.
pub(crate) const ALL: &[Target] = &[
    target("server", server::check, 800, COMMANDS),
    target("client", client::check, 800, REPLIES),
    target("content", content::check, 1500, CONTENT),
    target("transfer", transfer::check, 500, CONTENT),
    target("envelope", envelope::check, 3000, PATHS),
    target("address", address::check, 5000, PATHS),
    target("reply", reply::check, 800, REPLIES),
    target("header", header::check, 1000, FIELDS),
    target("attempt", attempt::check, 1000, REPLIES),
    target("report", report::check, 1000, FIELDS),
    target("bounce", bounce::check, 150, REPLIES),
    target("loops", loops::check, 800, FIELDS),
    target("spf", spf::check, 800, SPF),
    target("settings", settings::check, 400, SETTINGS),
    target("dns", dns::check, 3000, &[]),
    target("hello", hello::check, 1500, &[]),
    target(
        "proxy",
        proxy::check,
        1500,
        &[
            "PROXY TCP4 ",
            "PROXY TCP6 ",
            "PROXY UNKNOWN",
            "192.0.2.1 ",
            " 25\r\n",
            "\r\n\r\n\0\r\nQUIT\n",
            "\x21\x11\0\x0c",
        ],
    ),
    target("typed", typed::check, 3000, TYPED),
];
