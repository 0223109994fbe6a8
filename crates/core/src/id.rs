//! Names of things: budgets, holds.

use std::fmt::{self, Write};

/// The longest name of one budget, in bytes.
pub const MAX_NAME_BYTES: usize = 64;

/// A budget's place in its tree: given in order of creation, never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BudgetId(pub u32);

/// The id of a hold and of the attempt it pays for. Made by the caller (a `UUIDv7`), so that the
/// same hold or settlement sent twice is one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HoldId(pub u128);

/// Says why a text cannot name a budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameError {
    /// The name is empty.
    Empty,
    /// The name is longer than [`MAX_NAME_BYTES`].
    TooLong,
    /// The name holds a character other than a letter, a digit or one of `_-~@:+`.
    BadCharacter(char),
}

/// Checks one segment of a budget's path: letters and digits of any script, and `_-~@:+`.
/// `/` and `.` separate segments and so never occur in one.
pub fn check_name(name: &str) -> Result<(), NameError> {
    if name.is_empty() {
        return Err(NameError::Empty);
    }
    if name.len() > MAX_NAME_BYTES {
        return Err(NameError::TooLong);
    }
    let bad = |c: &char| !(c.is_alphanumeric() || "_-~@:+".contains(*c));
    match name.chars().find(bad) {
        Some(character) => Err(NameError::BadCharacter(character)),
        None => Ok(()),
    }
}

// === impl HoldId ===

impl HoldId {
    /// Reads the 32 hexadecimal digits that [`HoldId`] displays; dashes are ignored.
    pub fn parse(text: &str) -> Option<HoldId> {
        let digits: String = text.chars().filter(|c| *c != '-').collect();
        if digits.len() != 32 {
            return None;
        }
        u128::from_str_radix(&digits, 16).ok().map(HoldId)
    }
}

impl fmt::Display for HoldId {
    /// Writes the UUID form, `8-4-4-4-12`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = format!("{:032x}", self.0);
        for (index, digit) in digits.chars().enumerate() {
            if matches!(index, 8 | 12 | 16 | 20) {
                f.write_char('-')?;
            }
            f.write_char(digit)?;
        }
        Ok(())
    }
}

impl fmt::Debug for HoldId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

// === impl NameError ===

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NameError::Empty => f.write_str("a name is empty"),
            NameError::TooLong => write!(f, "a name is longer than {MAX_NAME_BYTES} bytes"),
            NameError::BadCharacter(c) => {
                write!(f, "a name holds {c:?}; use letters, digits and _-~@:+")
            }
        }
    }
}

impl std::error::Error for NameError {}
