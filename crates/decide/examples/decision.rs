//! Decision: what is decided for each message, again and again, for counting instructions: `bench/instructions.py`.
//!
//! `cargo run --release -p decide --example decision -- accept|header COUNT`: admission, relaying and route of a message; what is
//! read of its header.

use decide::accept::{self, Counts};
use decide::loops::{self, Key};
use decide::settings::Settings;
use decide::{rewrite, route};
use mail::{Address, AuditId, Headers, Identity, Listener};
use std::net::{IpAddr, Ipv4Addr};

const SETTINGS: &str = r#"
hostname = "gateway.bench.test"
postmaster = "postmaster@bench.test"
[[domain]]
name = "example.test"
next_hops = ["192.0.2.7:25"]
"#;
const HEADER: &str = "Received: from a.test (a.test [192.0.2.1]) by b.test with ESMTP id 1; Thu, 1 Jan 2026 00:00:00 +0000\r\n\
    From: Ann <ann@source.test>\r\nTo: <user@example.test>\r\nSubject: =?utf-8?q?gr=C3=BC=C3=9Fe?=\r\nDate: Thu, 1 Jan 2026 00:00:00 +0000\r\n\
    Message-ID: <1@source.test>\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n";

fn main() -> Result<(), String> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [what, count] = words.as_slice() else { return Err("decision accept|header COUNT".to_owned()) };
    let count: usize = count.parse().map_err(|error| format!("{count:?}: {error}"))?;
    let settings = Settings::read(SETTINGS).map_err(|complaints| format!("{complaints:?}"))?;
    let own = Identity::default();
    let recipient: Address = "user@example.test".parse().map_err(|error| format!("{error}"))?;
    let key = Key::new([7; 32]);
    for _ in 0..count {
        match what.as_str() {
            "accept" => accept(&settings, &own, &recipient),
            "header" => header(&key, &recipient),
            other => return Err(format!("{other:?} is neither accept nor header")),
        }
    }
    Ok(())
}

fn accept(settings: &Settings, own: &Identity, recipient: &Address) {
    let client = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
    drop(accept::connect(settings, Listener::Inbound, client, Counts::default()));
    std::hint::black_box(accept::relay(settings, Listener::Inbound, client, None, recipient));
    for address in rewrite::aliases(settings, recipient) {
        let plan = route::plan(settings, own, address.domain());
        std::hint::black_box(route::needs(&plan, own, &[]));
        std::hint::black_box(route::resolve(&plan, own, &[], 1));
    }
}

fn header(key: &Key, recipient: &Address) {
    let octets = HEADER.as_bytes();
    std::hint::black_box(Headers::of(octets).count());
    std::hint::black_box(key.traces(octets));
    std::hint::black_box(loops::repeats(octets));
    std::hint::black_box(key.marks(AuditId::new(1, 0, 0), Listener::Inbound, 1, std::slice::from_ref(recipient)));
}
