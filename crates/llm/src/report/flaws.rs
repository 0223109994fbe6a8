//! What a provider said that cannot be true, by field.

use std::fmt;

/// Fields that were reported with nonsense, each kind once, in the order they were met.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Flaws {
    flaws: Vec<Flaw>,
}

/// One kind of nonsense in one field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Flaw {
    /// The field's name on the wire; `event` or `body` where the whole is meant.
    pub field: &'static str,
    /// What is wrong with it.
    pub kind: FlawKind,
}

/// What is wrong with a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FlawKind {
    /// Below zero, or minus zero: taken as missing.
    Negative,
    /// Has a fraction or an exponent: taken as missing.
    Fraction,
    /// At least 2⁶³: taken as missing.
    TooLarge,
    /// Of another type than the wire's: taken as missing.
    WrongType,
    /// A part that is larger than its whole: cut down to it.
    ExceedsTotal,
    /// Spend that the totals leave out and that has no class here.
    NotCounted,
    /// No JSON of the wire's shape.
    Unreadable,
    /// Too large to look into.
    Oversized,
}

// === impl Flaws ===

impl Flaws {
    /// Says whether nothing was wrong.
    pub fn is_empty(&self) -> bool {
        self.flaws.is_empty()
    }

    /// Lists the flaws.
    pub fn iter(&self) -> impl Iterator<Item = Flaw> + '_ {
        self.flaws.iter().copied()
    }

    /// Notes a flaw, once.
    pub(crate) fn add(&mut self, field: &'static str, kind: FlawKind) {
        let flaw = Flaw { field, kind };
        if !self.flaws.contains(&flaw) {
            self.flaws.push(flaw);
        }
    }
}

impl fmt::Display for Flaws {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, flaw) in self.flaws.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            write!(f, "{comma}{flaw}")?;
        }
        Ok(())
    }
}

// === impl Flaw ===

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.field, self.kind)
    }
}

// === impl FlawKind ===

impl fmt::Display for FlawKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            FlawKind::Negative => "is negative",
            FlawKind::Fraction => "is no whole number",
            FlawKind::TooLarge => "is too large",
            FlawKind::WrongType => "is of the wrong type",
            FlawKind::ExceedsTotal => "is larger than its total",
            FlawKind::NotCounted => "names spend outside the totals",
            FlawKind::Unreadable => "is unreadable",
            FlawKind::Oversized => "is too large to meter",
        })
    }
}
