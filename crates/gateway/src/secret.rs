//! Secrets in memory: text that never shows itself, and hashes to compare with.
//!
//! A [`Secret`] has no `Serialize` and prints as `***`, so it cannot reach a log, a report or an
//! error by accident. What callers present is compared as SHA-256 in constant time, whether it
//! is the secret of a run or a key that is stored only as its hash.

use std::fmt::{self, Write};

use hyper::header::{HeaderValue, InvalidHeaderValue};
use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};

/// The shortest secret part of a key, in characters: 128 bits in base64.
const SECRET_CHARS_MIN: usize = 22;
/// The fewest different characters that a secret holds; random hexadecimal has more.
const DISTINCT_CHARS_MIN: usize = 8;
/// Texts that people leave in configurations. They are too short as secrets; the list is for
/// hashes of them.
const WELL_KNOWN: [&str; 12] = [
    "", "1234", "123456", "admin", "changeme", "default", "fisc", "key", "password", "secret",
    "sk-1234", "test",
];

/// A text that authorizes somebody; shows as `***`.
#[derive(Clone)]
pub struct Secret(String);

/// The SHA-256 hash of a secret.
#[derive(Clone, Copy)]
pub struct SecretHash([u8; 32]);

/// Why a text is no good secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WeakSecret {
    /// It is short enough to be guessed.
    #[error("the secret is shorter than {SECRET_CHARS_MIN} characters")]
    TooShort,
    /// It repeats a few characters.
    #[error("the secret repeats a few characters")]
    Repetitive,
    /// It is a default that everybody knows.
    #[error("the secret is a well-known default")]
    WellKnown,
    /// It holds a character other than a letter, a digit, `_` or `-`.
    #[error("the secret holds a character other than letters, digits, _ and -")]
    BadCharacter,
}

// === impl Secret ===

impl Secret {
    /// Wraps a text.
    pub fn new(text: impl Into<String>) -> Secret {
        Secret(text.into())
    }

    /// Draws 128 bits from the operating system and writes them as 32 hexadecimal digits.
    ///
    /// # Errors
    /// When the operating system gives no randomness.
    pub fn generate() -> Result<Secret, getrandom::Error> {
        let mut bytes = [0_u8; 16];
        getrandom::fill(&mut bytes)?;
        Ok(Secret(format!("{:032x}", u128::from_be_bytes(bytes))))
    }

    /// Returns the text itself, to hand it to whom it is for.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Returns the hash to compare candidates with.
    pub fn hash(&self) -> SecretHash {
        SecretHash::of(&self.0)
    }

    /// Returns `prefix` and the secret as a header value that is marked sensitive.
    ///
    /// # Errors
    /// When the secret holds a character that no header may hold.
    pub fn header_value(&self, prefix: &str) -> Result<HeaderValue, InvalidHeaderValue> {
        let mut value = HeaderValue::from_str(&format!("{prefix}{}", self.0))?;
        value.set_sensitive(true);
        Ok(value)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

// === impl SecretHash ===

impl SecretHash {
    /// Hashes a text.
    pub fn of(text: &str) -> SecretHash {
        SecretHash(Sha256::digest(text.as_bytes()).into())
    }

    /// Reads 64 hexadecimal digits, with or without `sha256:` before them.
    pub fn parse(text: &str) -> Option<SecretHash> {
        let digits = text.strip_prefix("sha256:").unwrap_or(text).as_bytes();
        if digits.len() != 64 || !digits.iter().all(u8::is_ascii_hexdigit) {
            return None;
        }
        let mut bytes = [0_u8; 32];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            let pair = std::str::from_utf8(pair).ok()?;
            *byte = u8::from_str_radix(pair, 16).ok()?;
        }
        Some(SecretHash(bytes))
    }

    /// Returns what [`SecretHash::parse`] reads.
    pub(crate) fn digits(&self) -> String {
        self.0.iter().fold(String::new(), |mut digits, byte| {
            write!(digits, "{byte:02x}").expect("a String takes everything");
            digits
        })
    }

    /// Compares with another hash in constant time.
    pub fn same(&self, other: &SecretHash) -> Choice {
        self.0.ct_eq(&other.0)
    }

    /// Says whether this is the hash of a default that everybody knows.
    pub fn is_well_known(&self) -> bool {
        WELL_KNOWN
            .iter()
            .any(|text| SecretHash::of(text).same(self).into())
    }
}

impl fmt::Debug for SecretHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("sha256:***")
    }
}

/// Checks that a secret that somebody chose cannot be guessed.
pub(crate) fn check_strength(text: &str) -> Result<(), WeakSecret> {
    if WELL_KNOWN
        .iter()
        .any(|known| known.eq_ignore_ascii_case(text))
    {
        return Err(WeakSecret::WellKnown);
    }
    if text.len() < SECRET_CHARS_MIN {
        return Err(WeakSecret::TooShort);
    }
    if !text
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte))
    {
        return Err(WeakSecret::BadCharacter);
    }
    let mut seen = [false; 128];
    text.bytes().for_each(|byte| seen[usize::from(byte)] = true);
    if seen.iter().filter(|seen| **seen).count() < DISTINCT_CHARS_MIN {
        return Err(WeakSecret::Repetitive);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_never_shows_itself() {
        let secret = Secret::new("canary-7f3a");
        assert_eq!(format!("{secret} {secret:?}"), "*** ***");
        let value = secret.header_value("Bearer ").expect("plain text");
        assert!(value.is_sensitive() && !format!("{value:?}").contains("canary"));
        assert_eq!(value.as_bytes(), b"Bearer canary-7f3a");
        assert!(!format!("{:?}", secret.hash()).contains("canary"));
    }

    #[test]
    fn a_generated_secret_has_128_bits_and_is_new_each_time() {
        let (one, two) = (
            Secret::generate().expect("random"),
            Secret::generate().expect("random"),
        );
        assert_eq!(one.expose().len(), 32);
        assert!(one.expose().bytes().all(|byte| byte.is_ascii_hexdigit()));
        assert_ne!(one.expose(), two.expose());
        assert_eq!(check_strength(one.expose()), Ok(()));
    }

    #[test]
    fn a_hash_is_plain_sha256() {
        let text = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let hash = SecretHash::parse(text).expect("64 digits");
        assert!(bool::from(hash.same(&SecretHash::of("abc"))));
        assert_eq!(format!("sha256:{}", hash.digits()), text);
        assert!(!bool::from(hash.same(&SecretHash::of("abd"))));
        assert!(SecretHash::parse(&text[..70]).is_none());
        assert!(SecretHash::parse(&text.replace('b', "+")).is_none());
    }

    #[test]
    fn what_can_be_guessed_is_no_secret() {
        for (text, why) in [
            ("changeme", WeakSecret::WellKnown),
            ("sk-1234", WeakSecret::WellKnown),
            ("0123456789abcdefghijk", WeakSecret::TooShort),
            ("abababababababababababababab", WeakSecret::Repetitive),
            ("0123456789 abcdefghijklmn", WeakSecret::BadCharacter),
            ("0123456789abcdefghijklmn~x", WeakSecret::BadCharacter),
        ] {
            assert_eq!(check_strength(text), Err(why), "{text}");
        }
        assert!(SecretHash::of("changeme").is_well_known());
        assert!(!SecretHash::of("0123456789abcdefghijklmn").is_well_known());
    }
}
