//! The requests of a service: when, how much input, how much output. Nothing tells its users apart.

use std::io::Read;

use fisc_core::TimeUs;

use super::columns::{self, Columns};
use super::{Rates, Row, TraceError, call};

/// The output cap that requests are taken to have: the common default.
pub(super) const OUTPUT_MAX: u64 = 4_096;

const COLUMNS: [&str; 3] = ["TIMESTAMP", "ContextTokens", "GeneratedTokens"];

/// How long a run of requests is, and how long after one the next begins.
const WINDOW: TimeUs = TimeUs(600_000_000);
const STEP: TimeUs = TimeUs(90_000_000);

/// Says whether these are the columns of a service.
pub(super) fn is_service(headers: &csv::StringRecord) -> bool {
    columns::place(headers, COLUMNS[0]).is_some()
}

pub(super) fn rows(
    reader: &mut csv::Reader<Box<dyn Read + '_>>,
    headers: &csv::StringRecord,
    rates: Rates,
) -> Result<Vec<Row>, TraceError> {
    let columns = Columns::find(headers, COLUMNS)?;
    let mut rows = Vec::new();
    for record in reader.records() {
        let record = record?;
        let (input, output) = (columns.whole(&record, 1)?, columns.whole(&record, 2)?);
        let at = time(columns.text(&record, 0)).ok_or_else(|| columns.wrong(&record, 0))?;
        rows.push(Row {
            number: 0,
            at,
            call: call(input, 0, output, rates.cost(input, 0, output)),
            bytes: None,
        });
    }
    rows.sort_by_key(|row| row.at);
    Ok(rows)
}

/// Cuts requests, in order, into runs that overlap; the last one is a whole one too.
pub(super) fn windows(rows: &[Row]) -> Vec<(String, Vec<Row>)> {
    let (Some(first), Some(last)) = (rows.first(), rows.last()) else {
        return Vec::new();
    };
    let (first, last) = (first.at.0, last.at.0);
    let mut windows = Vec::new();
    let mut start = first;
    while start == first || start.saturating_add(WINDOW.0) <= last {
        let end = start.saturating_add(WINDOW.0);
        let from = rows.partition_point(|row| row.at.0 < start);
        let to = rows.partition_point(|row| row.at.0 < end);
        let name = format!("{} s", (start - first) / 1_000_000);
        windows.push((name, rows[from..to].to_vec()));
        start += STEP.0;
    }
    windows
}

/// Reads a time such as `2023-11-16 18:15:46.68` in microseconds since 1970.
fn time(text: &str) -> Option<TimeUs> {
    let (date, clock) = text.split_once([' ', 'T'])?;
    let [year, month, day] = numbers(date, '-')?;
    let clock = clock.trim_end_matches('Z').trim_end_matches("+00:00");
    let (clock, fraction) = clock.split_once('.').unwrap_or((clock, ""));
    let [hour, minute, second] = numbers(clock, ':')?;
    let valid = (1..=9999).contains(&year)
        && (1..=12).contains(&month)
        && (1..=31).contains(&day)
        && hour < 24
        && minute < 60
        && second <= 60;
    let digits = fraction.bytes().all(|digit| digit.is_ascii_digit());
    if !valid || !digits {
        return None;
    }
    let micros = fraction.bytes().chain(std::iter::repeat(b'0')).take(6);
    let micros = micros.fold(0, |sum, digit| sum * 10 + i64::from(digit - b'0'));
    let seconds = ((days(year, month, day) * 24 + hour) * 60 + minute) * 60 + second;
    Some(TimeUs(seconds * 1_000_000 + micros))
}

fn numbers(text: &str, separator: char) -> Option<[i64; 3]> {
    let mut parts = text.split(separator).map(|part| part.parse::<u16>().ok());
    let numbers = [parts.next()??, parts.next()??, parts.next()??];
    parts.next().is_none().then(|| numbers.map(i64::from))
}

/// Counts days from 1970 in years that begin in March, so that a leap day is the last of its year.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let leaps = year / 4 - year / 100 + year / 400;
    365 * year + leaps + (153 * month + 2) / 5 + day - 1 - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::{read_requests, read_trace};

    #[test]
    fn times_are_read_to_the_microsecond() {
        let at = |text| time(text).map(|time| time.0);
        assert_eq!(at("1970-01-01 00:00:00"), Some(0));
        assert_eq!(
            at("2023-11-16 18:15:46.6805900"),
            Some(1_700_158_546_680_590)
        );
        assert_eq!(at("2024-03-01T00:00:00Z"), Some(1_709_251_200_000_000));
        for wrong in [
            "",
            "2023-11-16",
            "2023-13-16 00:00:00",
            "2023-11-16 1:2:3.x",
        ] {
            assert_eq!(at(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_service_is_read_as_runs_and_as_requests() {
        let row = |minute| format!("2023-11-16 18:{minute:02}:00.5,100,{minute}");
        let mut rows = vec!["TIMESTAMP,ContextTokens,GeneratedTokens".to_owned()];
        rows.extend((0..15).map(row));
        let text = rows.join("\n");
        let scripts = read_trace(text.as_bytes(), Rates::default()).expect("a valid trace");
        let names: Vec<&str> = scripts.iter().map(|script| &*script.name).collect();
        assert_eq!(names, ["0 s", "90 s", "180 s"]);
        let starts: Vec<i64> = scripts.iter().map(|s| s.calls[0].output.0).collect();
        assert_eq!(starts, [0, 2, 3]);
        assert!(scripts.iter().all(|script| script.calls.len() == 10));
        let [first, second] = [scripts[0].calls[0], scripts[0].calls[1]];
        assert_eq!(first.duration.0 + second.pause.0, 60_000_000);
        let requests = read_requests(text.as_bytes(), Rates::default()).expect("a valid trace");
        assert_eq!(requests.len(), 15);
        let wrong = text.replace("18:03", "18:3x");
        let error = read_trace(wrong.as_bytes(), Rates::default()).expect_err("a broken trace");
        assert_eq!(
            error.to_string(),
            "line 5: TIMESTAMP is \"2023-11-16 18:3x:00.5\""
        );
    }
}
