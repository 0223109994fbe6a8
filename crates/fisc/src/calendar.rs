//! Where the days, weeks and months of a time zone begin: the calendar that the core asks.

use fisc_core::{Calendar, Period, Span, Timestamp, Zone};
use jiff::ToSpan;
use jiff::civil::Weekday;
use jiff::tz::TimeZone;

/// The time zones that the operating system knows, else those that are built in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Zones;

/// Says whether there is a time zone of that name.
pub fn zone_exists(zone: Zone) -> bool {
    TimeZone::get(zone.name()).is_ok()
}

// === impl Calendar for Zones ===

impl Calendar for Zones {
    /// A day lasts from the first instant of a date to that of the next, 23 to 25 hours. A zone
    /// that is gone counts as UTC; it was there when the budget was allocated.
    fn span(&self, period: Period, zone: Zone, now: Timestamp) -> Span {
        let zone = TimeZone::get(zone.name()).unwrap_or(TimeZone::UTC);
        bounds(period, &zone, now).unwrap_or(Span {
            // Beyond the years that a calendar knows: one window to the end of time.
            start: now,
            end: Timestamp(i64::MAX),
        })
    }
}

fn bounds(period: Period, zone: &TimeZone, now: Timestamp) -> Option<Span> {
    let now = jiff::Timestamp::from_microsecond(now.0).ok()?;
    let today = now.to_zoned_datetime(zone.clone()).date();
    let (first, next) = match period {
        Period::Daily => (today, today.tomorrow().ok()?),
        Period::Weekly => {
            let monday = match today.weekday() {
                Weekday::Monday => today,
                _ => today.nth_weekday(-1, Weekday::Monday).ok()?,
            };
            (monday, monday.checked_add(1.week()).ok()?)
        }
        Period::Monthly => {
            let first = today.first_of_month();
            (first, first.checked_add(1.month()).ok()?)
        }
    };
    let start = |date: jiff::civil::Date| -> Option<Timestamp> {
        let midnight = date.to_zoned_datetime(zone.clone()).ok()?;
        Some(Timestamp(midnight.timestamp().as_microsecond()))
    };
    Some(Span {
        start: start(first)?,
        end: start(next)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        let at: jiff::Timestamp = text.parse().expect("a time");
        Timestamp(at.as_microsecond())
    }

    fn window(period: Period, zone: &str, now: &str) -> (Timestamp, Timestamp) {
        let zone = Zone::new(zone).expect("a good name");
        assert!(zone_exists(zone));
        let span = Zones.span(period, zone, at(now));
        (span.start, span.end)
    }

    #[test]
    fn a_day_is_as_long_as_its_clock_changes_make_it() {
        let hours = |(start, end): (Timestamp, Timestamp)| (end.0 - start.0) / 3_600_000_000;
        let vilnius = |now| window(Period::Daily, "Europe/Vilnius", now);
        assert_eq!(hours(vilnius("2026-03-29T12:00:00Z")), 23);
        assert_eq!(hours(vilnius("2026-10-25T12:00:00Z")), 25);
        assert_eq!(hours(vilnius("2026-11-23T12:00:00Z")), 24);
        // Local midnight is 22:00 of the day before in UTC, in winter.
        let (start, end) = vilnius("2026-11-23T22:00:00Z");
        assert_eq!(
            (start, end),
            (at("2026-11-23T22:00:00Z"), at("2026-11-24T22:00:00Z"))
        );
        assert_eq!(vilnius("2026-11-23T21:59:59.999999Z").1, start);
    }

    #[test]
    fn weeks_begin_on_monday_and_months_on_the_first() {
        let week = window(Period::Weekly, "UTC", "2026-11-23T00:00:00Z");
        assert_eq!(
            week,
            (at("2026-11-23T00:00:00Z"), at("2026-11-30T00:00:00Z"))
        );
        let sunday = window(Period::Weekly, "UTC", "2026-11-22T23:59:59Z");
        assert_eq!(sunday.1, week.0);
        let month = window(Period::Monthly, "America/New_York", "2028-02-29T12:00:00Z");
        assert_eq!(
            month,
            (at("2028-02-01T05:00:00Z"), at("2028-03-01T05:00:00Z"))
        );
        // Where midnight is skipped, the day begins when the clock does.
        let skipped = window(Period::Daily, "America/Sao_Paulo", "2018-11-04T12:00:00Z");
        assert_eq!(skipped.0, at("2018-11-04T03:00:00Z"));
    }

    #[test]
    fn there_is_no_such_zone() {
        assert!(!zone_exists(
            Zone::new("Mars/Olympus").expect("a good name")
        ));
    }
}
