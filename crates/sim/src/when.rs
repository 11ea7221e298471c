//! The number that a script line may carry: `#2` the second time only, `#2+` from the second time on.

/// At which of its occasions a line applies, counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// No number: every time.
    Always,
    /// `#N`
    Only(u32),
    /// `#N+`
    From(u32),
}

impl When {
    /// The meaning of a word such as `#1` or `#2+`; none if it is no such word.
    pub fn parse(word: &str) -> Option<Self> {
        let number = word.strip_prefix('#')?;
        let (number, onwards) = number.strip_suffix('+').map_or((number, false), |n| (n, true));
        let number: u32 = number.parse().ok().filter(|n| *n > 0)?;
        Some(if onwards { Self::From(number) } else { Self::Only(number) })
    }

    /// Does the line apply at occasion `number`?
    pub fn fits(self, number: u32) -> bool {
        match self {
            Self::Always => true,
            Self::Only(n) => number == n,
            Self::From(n) => number >= n,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_count_from_one() {
        assert_eq!(When::parse("#1"), Some(When::Only(1)));
        assert_eq!(When::parse("#2+"), Some(When::From(2)));
        assert_eq!(When::parse("#0"), None);
        assert_eq!(When::parse("2"), None);
        assert!(When::Only(2).fits(2) && !When::Only(2).fits(3) && When::From(2).fits(3) && !When::From(2).fits(1));
    }
}
