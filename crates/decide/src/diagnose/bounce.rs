//! Bounce: what another mail server wrote to its own user about mail to us, brought here as text. No session of it exists.

use crate::Settings;

/// Domains of ours that a bounce is looked at for.
const DOMAINS_MAX: usize = 3;
/// Of a whole message pasted in, so much is read.
const TEXT_MAX: usize = 65_536;

/// The text, and whose mail it is about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bounce {
    pub text: String,
    /// Those of our domains that it names; if it names none, the first of ours.
    pub domains: Vec<String>,
}

impl Bounce {
    /// Reads a bounce, or the line of it that matters.
    pub fn read(text: &str, settings: &Settings) -> Bounce {
        let end = text.char_indices().map(|(at, _)| at).find(|at| *at >= TEXT_MAX).unwrap_or(text.len());
        let text = &text[..end];
        let lower = text.to_ascii_lowercase();
        let ours: Vec<String> = settings.domains.iter().map(|domain| domain.name.ascii()).collect();
        let is_edge = |c: Option<char>| c.is_none_or(|c| !c.is_ascii_alphanumeric() && c != '-' && c != '.');
        let is_named = |domain: &&String| {
            lower.match_indices(domain.as_str()).any(|(at, _)| {
                let behind = &lower[at + domain.len()..];
                // A full stop ends a sentence; in the middle of a name it goes on.
                let ends =
                    is_edge(behind.chars().next()) || (behind.starts_with('.') && is_edge(behind[1..].chars().next()));
                is_edge(lower[..at].chars().next_back()) && ends
            })
        };
        let mut domains: Vec<String> = ours.iter().filter(is_named).cloned().collect();
        if domains.is_empty() {
            domains = ours;
        }
        domains.truncate(DOMAINS_MAX);
        Bounce { text: text.to_owned(), domains }
    }

    /// qmail-remote's own words for a failed question of type ANY; as a line of its log, spaces are underscores.
    pub fn is_qmail_cname(text: &str) -> bool {
        let words: Vec<String> = text
            .split(|c: char| !c.is_ascii_alphanumeric())
            .filter(|word| !word.is_empty())
            .map(str::to_ascii_lowercase)
            .collect();
        words
            .windows(3)
            .any(|window| matches!(window, [a, b, c] if a == "cname" && b == "lookup" && c.starts_with("fail")))
    }
}

#[cfg(test)]
mod tests {
    use super::Bounce;
    use crate::Settings;

    #[test]
    fn a_bounce_is_about_the_domains_that_it_names() {
        let settings = "hostname = \"gw.corp.test\"\n[[domain]]\nname = \"corp.test\"\nnext_hops = [\"127.0.0.1\"]\n\
                        [[domain]]\nname = \"shop.corp.test\"\nnext_hops = [\"127.0.0.1\"]";
        let settings = Settings::read(settings).unwrap();
        let domains = |text: &str| Bounce::read(text, &settings).domains;
        assert_eq!(domains("<u@shop.corp.test>:"), ["shop.corp.test"]);
        assert_eq!(domains("mail to CORP.TEST."), ["corp.test"]);
        assert_eq!(domains("mail to notcorp.test"), ["corp.test", "shop.corp.test"], "neither is named");
        assert_eq!(domains("corp.test.example"), ["corp.test", "shop.corp.test"]);
    }

    #[test]
    fn qmail_has_words_of_its_own() {
        for text in [
            "CNAME lookup failed temporarily. (#4.4.3)",
            "deferral: CNAME_lookup_failed_temporarily._(#4.4.3)/",
            "<u@corp.test>:\r\nCNAME lookup\r\n failed temporarily.",
        ] {
            assert!(Bounce::is_qmail_cname(text), "{text}");
        }
        for text in ["Host lookup failed", "CNAME record", "4.4.3 DNS lookup failed"] {
            assert!(!Bounce::is_qmail_cname(text), "{text}");
        }
    }
}
