//! Passwords of submission users and administrators: argon2id hashes in PHC form.

use argon2::password_hash::SaltString;
use argon2::{Argon2, PasswordHash, PasswordHasher, PasswordVerifier};
use decide::settings::Settings;

/// Whether the user exists and the password fits. An unknown user costs the same time as a wrong password, as far as
/// there is a user to compare with.
pub(crate) fn is_right(settings: &Settings, user: &str, password: &str) -> bool {
    let known = settings.users.find(user);
    let Some(hash) = known.or_else(|| settings.users.iter().next()).map(|known| known.password.0.clone()) else {
        return false;
    };
    let Ok(hash) = PasswordHash::new(&hash) else { return false };
    let fits = Argon2::default().verify_password(password.as_bytes(), &hash).is_ok();
    fits && known.is_some()
}

/// Whether the password fits the hash. Without a hash, or with one that is none, it does not, after the same time.
pub(crate) fn fits(hash: Option<&str>, password: &str) -> bool {
    static NOBODYS: std::sync::OnceLock<String> = std::sync::OnceLock::new();
    let nobodys = NOBODYS.get_or_init(|| self::hash("nobody has this password").unwrap_or_default());
    let known = hash.and_then(|hash| PasswordHash::new(hash).ok());
    let is_known = known.is_some();
    let Some(hash) = known.or_else(|| PasswordHash::new(nobodys).ok()) else { return false };
    Argon2::default().verify_password(password.as_bytes(), &hash).is_ok() && is_known
}

/// A new hash with a random salt.
pub(crate) fn hash(password: &str) -> Result<String, String> {
    let salt: [u8; 16] = rand::random();
    let salt = SaltString::encode_b64(&salt).map_err(|error| error.to_string())?;
    Ok(Argon2::default().hash_password(password.as_bytes(), &salt).map_err(|error| error.to_string())?.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobodys_password_fits_nothing() {
        let hash = hash("secret").unwrap();
        assert!(fits(Some(&hash), "secret") && !fits(Some(&hash), "other"));
        assert!(!fits(None, "nobody has this password") && !fits(Some("no hash"), "nobody has this password"));
    }

    #[test]
    fn only_the_right_password_of_a_known_user_fits() {
        let hash = hash("secret").unwrap();
        let settings = Settings::read(&format!("[[user]]\nname = \"alice\"\npassword = \"{hash}\"\n")).unwrap();
        assert!(is_right(&settings, "alice", "secret"));
        assert!(!is_right(&settings, "alice", "Secret"));
        assert!(!is_right(&settings, "bob", "secret"));
        assert!(!is_right(&Settings::default(), "alice", "secret"));
    }
}
