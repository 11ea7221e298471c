//! Two other Scanners in the tests' world: mx2 answers and has other settings, mx3 is silent.

use super::{NOW, World};
use crate::{
    Account, Answer, Call, Contact, Enrolment, Problem, Report, Role, Scanner, Scanners, Stage, StatusReader, Trouble,
    Went,
};
use async_trait::async_trait;
use mail::Time;
use serde_json::{Value, json};

fn report(name: &str) -> Report {
    Report {
        instance: name.to_owned(),
        name: name.to_owned(),
        version: "1.2.3".to_owned(),
        at: NOW,
        accepting: true,
        mode: "accept-and-deliver".to_owned(),
        queued: 1_234,
        held: 0,
        oldest: Some(Time(NOW.ms() - 7_200_000)),
        incidents: 2,
        identity_problems: Some(1),
        disk_free: 5_000_000_000,
        disk_reserve: 100_000_000,
        settings_version: 7,
        settings_of_file: false,
        settings_mark: name.to_owned(),
        role: Some(Role::Full),
    }
}

fn trouble(stage: Stage, what: &str) -> Trouble {
    Trouble { stage, what: what.to_owned(), fix: "Is it running?".to_owned() }
}

fn unknown(name: &str) -> Problem {
    Problem::Unknown { what: format!("there is no Scanner {name}") }
}

#[async_trait]
impl Scanners for World {
    async fn own(&self) -> Result<Report, Problem> {
        Ok(report(&self.health().hostname))
    }

    fn scanners(&self) -> Vec<Scanner> {
        let one = |name: &str| Scanner {
            name: name.to_owned(),
            url: format!("https://{name}.example.test:8025"),
            pin: None,
            by: "<b>ann".to_owned(),
            enrolled: Time(0),
            report: None,
            heard: None,
            silent_since: None,
            trouble: None,
            notes: Vec::new(),
        };
        let well = Scanner {
            report: Some(report("mx2.example.test")),
            heard: Some(NOW),
            notes: vec!["It runs gatepost 0.9".to_owned()],
            ..one("mx2")
        };
        let silent = Scanner {
            silent_since: Some(Time(NOW.ms() - 60_000)),
            trouble: Some(trouble(Stage::Connect, "192.0.2.3:8025: refused")),
            ..one("mx3")
        };
        vec![well, silent]
    }

    async fn look(&self, url: &str) -> Contact {
        let trouble = url.contains("down").then(|| trouble(Stage::Connect, "no answer"));
        let fingerprint = trouble.is_none().then(|| "ab".repeat(32));
        Contact {
            fingerprint,
            trouble,
            went: vec![Went { stage: Stage::Name, said: "192.0.2.4".to_owned() }],
            ..Contact::default()
        }
    }

    async fn test(&self, name: &str) -> Result<Contact, Problem> {
        let contact = Contact { name: name.to_owned(), ..Contact::default() };
        match name {
            "mx2" => Ok(contact),
            "mx3" => {
                let trouble = Some(trouble(Stage::Certificate, "it shows another certificate"));
                Ok(Contact { trouble, fingerprint: Some("cd".repeat(32)), ..contact })
            }
            _ => Err(unknown(name)),
        }
    }

    async fn enrol(&self, _: &Account, wanted: Enrolment) -> Result<Contact, Problem> {
        if wanted.url.contains("bad") {
            let trouble = Some(trouble(Stage::Token, "it does not know the token"));
            return Ok(Contact { trouble, ..Contact::default() });
        }
        let name = if wanted.name.is_empty() { "mx4".to_owned() } else { wanted.name.clone() };
        self.enrolled.lock().expect("no test panics while it holds the lock").push(wanted);
        Ok(Contact { name, ..Contact::default() })
    }

    async fn remove(&self, _: &Account, name: &str) -> Result<(), Problem> {
        if name == "none" {
            return Err(unknown(name));
        }
        let removed = Enrolment { name: name.to_owned(), ..Enrolment::default() };
        self.enrolled.lock().expect("no test panics while it holds the lock").push(removed);
        Ok(())
    }

    async fn call(&self, _: &Account, name: &str, call: Call) -> Result<Answer, Trouble> {
        if name != "mx2" {
            return Err(trouble(Stage::Connect, "192.0.2.3:8025: refused"));
        }
        let answer = |code, body: Value| Ok(Answer { code, body: body.to_string().into_bytes() });
        let path = call.path.clone();
        if path.ends_with("/apply") {
            self.calls.lock().expect("no test panics while it holds the lock").push(call);
        }
        match path.split('?').next().unwrap_or_default() {
            "/api/v1/settings/check" => {
                let change = json!({ "path": "queue.limit", "old": "1", "new": "<b>9" });
                answer(200, json!({ "version": 7, "changes": [change], "complaints": [], "notes": [] }))
            }
            "/api/v1/audit" => {
                let row = json!({ "id": "38GJ3X6RR0002", "at": NOW.ms() - 1000, "subject": "<i>from mx2" });
                answer(200, json!({ "rows": [row], "next": "older", "stopped_at": null }))
            }
            "/api/v1/settings" => {
                let text = "hostname = \"mx2.example.test\"\n[queue]\nlimit = 77\n[[domain]]\nname = \"corp.test\"\nnext_hops = [\"192.0.2.25\"]\n";
                Ok(Answer { code: 200, body: text.as_bytes().to_vec() })
            }
            "/api/v1/settings/apply" => answer(200, json!({ "version": "8" })),
            _ => answer(404, json!({ "what": "no such address" })),
        }
    }

    async fn invite(&self, _: &Account, name: &str, role: Role) -> Result<String, Problem> {
        let invited = Enrolment { name: format!("invited {name} {}", role.word()), ..Enrolment::default() };
        self.enrolled.lock().expect("no test panics while it holds the lock").push(invited);
        Ok("https://gw.test/#token=gp_once".to_owned())
    }

    async fn act(&self, _: &Account, what: &str, _: Value) {
        self.acts.lock().expect("no test panics while it holds the lock").push(what.to_owned());
    }
}
