//! The columns of a CSV file by their names, and the numbers in them.

use super::TraceError;

/// Where columns stand.
pub(super) struct Columns<const N: usize> {
    names: [&'static str; N],
    places: [usize; N],
}

/// Returns where a column stands.
pub(super) fn place(headers: &csv::StringRecord, column: &str) -> Option<usize> {
    headers.iter().position(|header| header.trim() == column)
}

// === impl Columns ===

impl<const N: usize> Columns<N> {
    pub(super) fn find(
        headers: &csv::StringRecord,
        names: [&'static str; N],
    ) -> Result<Columns<N>, TraceError> {
        let mut places = [0; N];
        for (found, name) in places.iter_mut().zip(names) {
            *found = place(headers, name).ok_or(TraceError::NoColumn(name))?;
        }
        Ok(Columns { names, places })
    }

    pub(super) fn text<'a>(&self, record: &'a csv::StringRecord, column: usize) -> &'a str {
        record.get(self.places[column]).unwrap_or("").trim()
    }

    pub(super) fn whole(
        &self,
        record: &csv::StringRecord,
        column: usize,
    ) -> Result<i64, TraceError> {
        Ok(self.number(record, column)?.unwrap_or(0.0) as i64)
    }

    /// Reads a number that is not negative; what stands for nothing is `None`.
    pub(super) fn number(
        &self,
        record: &csv::StringRecord,
        column: usize,
    ) -> Result<Option<f64>, TraceError> {
        let text = self.text(record, column);
        if ["", "null", "none", "nan"].contains(&text.to_lowercase().as_str()) {
            return Ok(None);
        }
        match text.parse::<f64>() {
            Ok(number) if (0.0..1e15).contains(&number) => Ok(Some(number)),
            _ => Err(self.wrong(record, column)),
        }
    }

    /// Says that a value is not what its column holds.
    pub(super) fn wrong(&self, record: &csv::StringRecord, column: usize) -> TraceError {
        TraceError::Value {
            line: record.position().map_or(0, csv::Position::line),
            column: self.names[column],
            text: self.text(record, column).to_owned(),
        }
    }
}
