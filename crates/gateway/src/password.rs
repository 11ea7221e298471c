//! Passwords of submission users: argon2id hashes in PHC form.

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
    fn only_the_right_password_of_a_known_user_fits() {
        let hash = hash("secret").unwrap();
        let settings = Settings::read(&format!("[[user]]\nname = \"alice\"\npassword = \"{hash}\"\n")).unwrap();
        assert!(is_right(&settings, "alice", "secret"));
        assert!(!is_right(&settings, "alice", "Secret"));
        assert!(!is_right(&settings, "bob", "secret"));
        assert!(!is_right(&Settings::default(), "alice", "secret"));
    }
}
