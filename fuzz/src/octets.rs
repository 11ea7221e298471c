//! The first octets of an input choose options, the rest is what is fed: so an input stays readable in an editor.

/// Takes choices off the front of an input.
#[derive(Debug)]
pub(crate) struct Octets<'i>(pub(crate) &'i [u8]);

impl<'i> Octets<'i> {
    /// One octet; 0 where there is none.
    pub(crate) fn octet(&mut self) -> u8 {
        match self.0.split_first() {
            Some((first, rest)) => {
                self.0 = rest;
                *first
            }
            None => 0,
        }
    }

    /// The next line as text, without its LF; the rest if there is none.
    pub(crate) fn line(&mut self) -> &'i str {
        let end = self.0.iter().position(|octet| *octet == b'\n').unwrap_or(self.0.len());
        let line = &self.0[..end];
        self.0 = self.0.get(end + 1..).unwrap_or_default();
        readable(line)
    }
}

/// The octets as text, up to the first that is no UTF-8.
pub(crate) fn readable(octets: &[u8]) -> &str {
    match std::str::from_utf8(octets) {
        Ok(text) => text,
        Err(error) => std::str::from_utf8(&octets[..error.valid_up_to()]).unwrap_or_default(),
    }
}
