//! The settings: the version in force, those before it, and what is wrong with a document on this host.

use crate::Problem;
use async_trait::async_trait;
use decide::settings::{Complaint, Settings};
use mail::Time;
use serde::Serialize;
use std::sync::Arc;

#[async_trait]
pub trait SettingsReader: Send + Sync + 'static {
    /// The version in force.
    fn settings(&self) -> Document;
    /// A version as it was, if it can still be read; without a number, the one in force.
    fn settings_of(&self, version: i64) -> Result<Document, Problem>;
    /// The document of a version, as its author wrote it.
    fn settings_text(&self, version: i64) -> Result<String, Problem>;
    /// All versions, newest first.
    fn settings_history(&self) -> Result<Vec<Version>, Problem>;
    /// Everything that is wrong with a document here: its own mistakes, next hops that lead back, files that cannot be used.
    async fn settings_check(&self, text: &str) -> Checked;
    /// The last look from outside; None: none was made yet.
    fn identity(&self) -> Option<Looks>;
    /// A look from outside, made now; with a name, as if it were the MTA host name.
    async fn identity_check(&self, hostname: Option<&str>) -> Result<Looks, Problem>;
    /// Where mail for a domain would go with these settings, asked of DNS now.
    async fn settings_route(&self, settings: Arc<Settings>, domain: &str) -> Result<RouteTry, Problem>;
}

/// How this host looks from outside.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct Looks {
    /// Milliseconds since 1970.
    #[schema(value_type = i64)]
    pub at: Time,
    pub hostname: String,
    /// The name is not in force: only what depends on it was looked at.
    pub proposed: bool,
    /// Each with `check`, `about`, `state` (`ok`, `note`, `not-checked`, `warning`, `problem`), `sentence`, `evidence` and `fix`.
    #[schema(value_type = Vec<Object>)]
    pub lines: Vec<decide::identity::Line>,
}

/// Settings, typed.
#[derive(Clone, Debug)]
pub struct Document {
    /// 0: no version was made yet, the defaults are in force.
    pub version: i64,
    pub settings: Arc<Settings>,
    /// The file that owns the settings (`settings_file` of gatepost.toml): they are changed there and not here.
    pub file: Option<String>,
    /// The MTA host name that follows from them on this machine.
    pub hostname: String,
}

/// One version in the history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Version {
    pub number: i64,
    /// Milliseconds since 1970.
    #[schema(value_type = i64)]
    pub at: Time,
    pub author: String,
    pub comment: String,
}

/// What became of a document that was looked at.
#[derive(Clone, Debug)]
pub struct Checked {
    /// None: it cannot be applied, and the complaints say why.
    pub settings: Option<Arc<Settings>>,
    pub complaints: Vec<Complaint>,
    /// What is valid but should be known.
    pub notes: Vec<Complaint>,
}

/// A way for mail, as it was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct RouteTry {
    pub domain: String,
    /// Which setting decided.
    pub rule: String,
    /// `deliver`, or why not.
    pub verdict: String,
    /// DNS questions and answers.
    pub dns: Vec<String>,
    /// Hosts and addresses in the order they are tried.
    pub candidates: Vec<String>,
    /// Those left out, with the reason.
    pub dropped: Vec<String>,
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::testing::World;

    /// The two versions of the world's settings; the second is in force.
    pub(crate) fn settings_text(version: i64) -> Option<String> {
        let aliases = (0..120)
            .map(|number| format!("[[alias]]\nfrom = \"a{number}@corp.test\"\nto = [\"box{number}@corp.test\"]\n"));
        let base = "[[domain]]\nname = \"corp.test\"\nnext_hops = [\"192.0.2.25\"] # cellar\nrecipients = [\"ann@corp.test\", \"bob@corp.test\"]\n[[identity.scanner]]\nname = \"gw2.example.test\"\n";
        match version {
            1 => Some(format!("{base}{}", aliases.collect::<String>())),
            2 => Some(format!("{base}{}[queue]\nlimit = 5000\n", aliases.collect::<String>())),
            _ => None,
        }
    }

    #[async_trait]
    impl SettingsReader for World {
        fn settings(&self) -> Document {
            let settings = Settings::read(&settings_text(2).expect("a version of the world's own"));
            Document {
                version: 2,
                settings: Arc::new(settings.expect("the world's settings are valid")),
                file: self.settings_file.clone(),
                hostname: "mail.example.test".to_owned(),
            }
        }

        fn settings_of(&self, version: i64) -> Result<Document, Problem> {
            let settings = Settings::read(&self.settings_text(version)?).expect("the world's settings are valid");
            Ok(Document { version, settings: Arc::new(settings), ..self.settings() })
        }

        fn settings_text(&self, version: i64) -> Result<String, Problem> {
            settings_text(version)
                .ok_or_else(|| Problem::Unknown { what: format!("there is no settings version {version}") })
        }

        fn settings_history(&self) -> Result<Vec<Version>, Problem> {
            let version = |number, author: &str, comment: &str| Version {
                number,
                at: mail::Time(1_764_000_000_000),
                author: author.to_owned(),
                comment: comment.to_owned(),
            };
            Ok(vec![version(2, "<b>bob", "smaller queue"), version(1, "alice", "first settings")])
        }

        async fn settings_check(&self, text: &str) -> Checked {
            match Settings::read(text) {
                Ok(settings) => {
                    Checked { notes: settings.notes(), settings: Some(Arc::new(settings)), complaints: Vec::new() }
                }
                Err(complaints) => Checked { settings: None, complaints, notes: Vec::new() },
            }
        }

        fn identity(&self) -> Option<Looks> {
            let line = decide::identity::Line {
                check: decide::identity::Check::ReverseName,
                about: "192.0.2.1".to_owned(),
                state: decide::identity::State::Problem,
                sentence: "192.0.2.1 has no PTR record".to_owned(),
                evidence: vec!["PTR 1.2.0.192.in-addr.arpa. → NXDOMAIN <b>".to_owned()],
                fix: vec!["1.2.0.192.in-addr.arpa. PTR mail.example.test.".to_owned()],
                finding: None,
            };
            Some(Looks {
                at: mail::Time(0),
                hostname: "mail.example.test".to_owned(),
                proposed: false,
                lines: vec![line],
            })
        }

        async fn identity_check(&self, hostname: Option<&str>) -> Result<Looks, Problem> {
            let last = self.identity().expect("this world was looked at");
            Ok(match hostname {
                Some(name) => Looks { hostname: name.to_owned(), proposed: true, ..last },
                None => last,
            })
        }

        async fn settings_route(&self, settings: Arc<Settings>, domain: &str) -> Result<RouteTry, Problem> {
            let name = domain
                .parse()
                .map_err(|_| Problem::Field { field: "name".to_owned(), what: "no domain".to_owned() })?;
            let rule = settings
                .local_domain(&name)
                .map_or("route.other".to_owned(), |local| format!("domain[{}]", local.name));
            let candidates = vec!["192.0.2.25:25".to_owned()];
            Ok(RouteTry {
                domain: domain.to_owned(),
                rule,
                verdict: "deliver".to_owned(),
                dns: vec![],
                candidates,
                dropped: vec![],
            })
        }
    }
}
