//! A visit that brings a message back, as text.

use crate::diagnose::testing::{Scene, scene};
use mail::{AuditId, Carried, Listener, Return, Time, Via};

/// `back RECIPIENT from CLIENT` and then lines: `sent HOST ADDRESS RECIPIENT [rule WORDS]`, `failed WORDS`, `earlier HOST
/// ADDRESS RECIPIENT`, `delivered-to A`, `hop WORDS`, `stayed A`, `stayed-domain D`; behind `settings` the settings.
pub(super) fn check(text: &str, expected: &str) {
    returned(text).check(expected);
}

pub(super) fn returned(text: &str) -> Scene {
    let (facts, settings) = text.split_once("\nsettings\n").unwrap_or((text, ""));
    let scene = scene(&format!("\nsettings\n{settings}"));
    let at = Time(1_900_000_000_000);
    let before = AuditId::new(at.ms() - 2000, 0, 1);
    let mut lines = facts.lines().map(str::trim).filter(|line| !line.is_empty());
    let first: Vec<&str> = lines.next().unwrap().split(' ').collect();
    let mut back = Return {
        recipient: first[1].to_owned(),
        before,
        taken: Time(at.ms() - 2000),
        listener: Listener::Inbound,
        pass: 1,
        at,
        sent: Vec::new(),
        other_passes: Vec::new(),
        delivered_to: Vec::new(),
        between: Vec::new(),
        stayed: Vec::new(),
        stayed_domains: Vec::new(),
    };
    for line in lines {
        let (word, rest) = line.split_once(' ').unwrap();
        match word {
            "sent" | "earlier" => {
                let (facts, rule) = rest.split_once(" rule ").unwrap_or((rest, "domain corp.test"));
                let words: Vec<&str> = facts.split(' ').collect();
                let carried = Carried {
                    message: before,
                    at: Time(at.ms() - 1000),
                    host: words[0].to_owned(),
                    address: words[1].parse().unwrap(),
                    port: 25,
                    via: Via::NextHops,
                    rule: rule.to_owned(),
                    recipients: vec![words[2].to_owned()],
                    failed_before: Vec::new(),
                    returned: true,
                };
                if word == "sent" { back.sent.push(carried) } else { back.other_passes.push(carried) }
            }
            "failed" => back.sent.last_mut().unwrap().failed_before.push(rest.to_owned()),
            "delivered-to" => back.delivered_to.push(rest.to_owned()),
            "hop" => back.between.push(rest.to_owned()),
            "stayed" => back.stayed.push(rest.to_owned()),
            "stayed-domain" => back.stayed_domains.push(rest.to_owned()),
            other => panic!("{other}"),
        }
    }
    let mut scene = scene.visiting(first[3]);
    scene.visit.as_mut().unwrap().returns.push(back);
    scene
}
