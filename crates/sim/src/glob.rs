//! Patterns in scripts: `*` stands for anything, letters match in either case.

/// Does `text` match `pattern`?
pub(crate) fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.to_ascii_lowercase(), text.to_ascii_lowercase());
    let mut parts = pattern.split('*');
    let Some(rest) = text.strip_prefix(parts.next().unwrap_or_default()) else { return false };
    let Some(last) = parts.next_back() else { return rest.is_empty() };
    let mut rest = rest;
    for part in parts {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn a_star_stands_for_anything() {
        for (pattern, text) in
            [("a@x.test", "A@X.test"), ("*@x.test", "a@x.test"), ("*", ""), ("a*c*e", "abcde"), ("*.*", "a.b")]
        {
            assert!(matches(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in
            [("a@x.test", "ba@x.test"), ("*@x.test", "a@y.test"), ("a*a", "a"), ("", "a"), ("*.*", "ab")]
        {
            assert!(!matches(pattern, text), "{pattern} {text}");
        }
    }
}
