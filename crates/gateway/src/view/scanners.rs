//! The other Scanners, for the Control Center and for commands.

use crate::accounts::{act, good_name, on_disk, who, wrong};
use crate::clock::now;
use crate::core::Core;
use crate::http::{self, Trust};
use crate::scanners::{self, client};
use crate::view::View;
use async_trait::async_trait;
use control::{
    Account, Answer, Call, Change, Contact, Enrolment, PATIENCE, Problem, Report, Role, Scanner, Scanners, Stage,
    Trouble, Went,
};
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::time::timeout;

#[async_trait]
impl Scanners for View {
    async fn own(&self) -> Result<Report, Problem> {
        self.read(scanners::own).await
    }

    fn scanners(&self) -> Vec<Scanner> {
        all(&self.0)
    }

    async fn look(&self, url: &str) -> Contact {
        look(&self.0, url).await
    }

    async fn test(&self, name: &str) -> Result<Contact, Problem> {
        test(&self.0, name).await
    }

    async fn enrol(&self, by: &Account, wanted: Enrolment) -> Result<Contact, Problem> {
        enrol(&self.0, by, wanted).await
    }

    async fn remove(&self, by: &Account, name: &str) -> Result<(), Problem> {
        remove(&self.0, by, name).await
    }

    async fn call(&self, by: &Account, name: &str, call: Call) -> Result<Answer, Trouble> {
        let unknown = || Trouble {
            stage: Stage::Address,
            what: format!("there is no Scanner {name}"),
            fix: "Enrol it under Administration, Scanners.".to_owned(),
        };
        let scanner = self.0.scanners.find(name).ok_or_else(unknown)?;
        let for_whom = format!("{} at {}", who(by), self.0.in_force().hostname.ascii());
        // A header has ASCII only; whoever it is finds the name in our own acts as well.
        let plain = |letter: char| if letter == ' ' || letter.is_ascii_graphic() { letter } else { '?' };
        let for_whom: String = for_whom.chars().map(plain).collect();
        client::call(&self.0, &client::Target::of(&scanner), &call, Some(&for_whom), &mut Contact::default()).await
    }

    async fn invite(&self, by: &Account, name: &str, role: Role) -> Result<String, Problem> {
        invite(&self.0, by, name, role).await
    }

    async fn act(&self, by: &Account, what: &str, fields: Value) {
        act(&self.0, &who(by), &by.from, what, fields).await;
    }
}

pub(crate) fn all(core: &Core) -> Vec<Scanner> {
    let one = |scanner: store::Scanner| {
        let seen = core.scanners.seen(&scanner.name);
        Scanner {
            name: scanner.name,
            url: scanner.url,
            pin: scanner.pin,
            by: scanner.by,
            enrolled: scanner.enrolled,
            report: seen.report,
            heard: seen.heard,
            silent_since: seen.silent_since,
            trouble: seen.trouble,
            notes: seen.notes,
        }
    };
    core.scanners.all().into_iter().map(one).collect()
}

async fn look(core: &Arc<Core>, url: &str) -> Contact {
    let mut way = Contact::default();
    let looked = async {
        let place = client::address(url)?;
        http::open(core, &place, Trust::Look, true, &mut way).await.map(drop)
    };
    let late = || Trouble {
        stage: Stage::Connect,
        what: format!("no answer within {} s", PATIENCE.as_secs()),
        fix: "Is the gateway running there, does a firewall stand between?".to_owned(),
    };
    let trouble = match timeout(PATIENCE, looked).await {
        Ok(looked) => looked.err(),
        Err(_) => Some(late()),
    };
    Contact { trouble, ..way }
}

fn unknown(name: &str) -> Problem {
    Problem::Unknown { what: format!("there is no Scanner {name}") }
}

pub(crate) async fn test(core: &Arc<Core>, name: &str) -> Result<Contact, Problem> {
    let scanner = core.scanners.find(name).ok_or_else(|| unknown(name))?;
    Ok(Contact { name: name.to_owned(), ..scanners::ask(core, &scanner).await })
}

pub(crate) async fn enrol(core: &Arc<Core>, by: &Account, wanted: Enrolment) -> Result<Contact, Problem> {
    let known = if wanted.changes { core.scanners.find(&wanted.name) } else { None };
    if wanted.changes && known.is_none() {
        return Err(unknown(&wanted.name));
    }
    let token = wanted.token.map(|token| token.trim().to_owned()).filter(|token| !token.is_empty());
    let token = token.or_else(|| known.as_ref().map(|known| known.token.clone()));
    let token = token.ok_or_else(|| wrong("token", "Type the token that was made on that Scanner."))?;
    if !token.chars().all(|letter| letter.is_ascii_graphic()) {
        return Err(wrong("token", "A token is one word of letters, digits and _."));
    }
    let url = wanted.url.trim().trim_end_matches('/').to_owned();
    if let Err(trouble) = client::address(&url) {
        return Err(wrong("url", format!("{}. {}", trouble.what, trouble.fix)));
    }
    let target = client::Target { name: wanted.name.trim().to_owned(), url, pin: wanted.pin, token };
    let mut way = Contact::default();
    let report = match scanners::report(core, &target, &mut way).await {
        Ok((report, notes)) => {
            way.notes = notes;
            report
        }
        Err(trouble) => return Ok(Contact { trouble: Some(trouble), ..way }),
    };
    let name = if target.name.is_empty() { report.name } else { target.name.clone() };
    good_name(&name).map_err(|what| wrong("name", what))?;
    if !wanted.changes && core.scanners.find(&name).is_some() {
        return Err(wrong("name", format!("There is a Scanner {name} already: open it to change it.")));
    }
    let scanner = store::Scanner {
        name: name.clone(),
        url: target.url,
        pin: target.pin,
        by: known.as_ref().map_or_else(|| who(by), |known| known.by.clone()),
        enrolled: known.map_or_else(now, |known| known.enrolled),
        token: target.token,
    };
    let kept = scanner.clone();
    let all = on_disk(core, move |accounts| {
        accounts.scanner_put(&kept)?;
        accounts.scanners()
    });
    core.scanners.renew(all.await?, &name);
    let what = if wanted.changes { "changed a Scanner" } else { "enrolled a Scanner" };
    let fields = json!({ "name": name, "url": scanner.url, "certificate": scanner.pin });
    act(core, &who(by), &by.from, what, fields).await;
    Ok(Contact { name, ..way })
}

pub(crate) async fn remove(core: &Arc<Core>, by: &Account, name: &str) -> Result<(), Problem> {
    let asked = name.to_owned();
    let (was_there, all) =
        on_disk(core, move |accounts| Ok((accounts.scanner_remove(&asked)?, accounts.scanners()?))).await?;
    if !was_there {
        return Err(unknown(name));
    }
    core.scanners.renew(all, name);
    act(core, &who(by), &by.from, "removed a Scanner", json!({ "name": name })).await;
    Ok(())
}

/// A token for another Control Center, with the address and the certificate that belong to it.
pub(crate) async fn invite(core: &Arc<Core>, by: &Account, name: &str, role: Role) -> Result<String, Problem> {
    let failed = |what: &str| Problem::Failed { what: what.to_owned() };
    let url = core.accounts.address.get().ok_or_else(|| {
        failed("no Control Center runs here: start the gateway, with control.listen in gatepost.toml")
    })?;
    let Some((control, tls)) = core.accounts.control.get() else { return Err(failed("no Control Center runs here")) };
    let hostname = core.in_force().hostname.to_string();
    let chain = core.certificates.chain(&control.certificate, &hostname);
    let pin = chain.first().filter(|_| *tls).map(|first| crate::certificate::fingerprint(first));
    let change = Change::AddToken { name: name.to_owned(), role, days: None };
    let given = crate::accounts::change(core, by, None, change).await?;
    let token = given.secrets.first().ok_or_else(|| failed("no token was made"))?;
    Ok(control::code(url, pin.as_deref(), token))
}

/// What a contact showed, for a command: refused, if something stands in the way.
pub(crate) fn told(contact: Contact) -> Result<Value, String> {
    match &contact.trouble {
        None => Ok(json!(contact)),
        Some(trouble) => {
            let went: Vec<String> =
                contact.went.iter().map(|Went { stage, said }| format!("{}: {said}", stage.words())).collect();
            let went = if went.is_empty() { String::new() } else { format!("\nbefore that: {}", went.join("; ")) };
            Err(format!("{}: {}. {}{went}", trouble.stage.words(), trouble.what, trouble.fix))
        }
    }
}
