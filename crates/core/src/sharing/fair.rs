//! Weighted max-min fairness, over the dominant resource where several are limited.

use super::Member;
use super::fill::{Span, fill};
use super::table::{Row, Shares, Table, Tables};

/// A whole resource as a dominant share.
const WHOLE: i128 = 1 << 40;

/// One member of a progressive filling.
struct Filling {
    weight: i128,
    /// The dominant share of what it wants.
    wanted: i128,
    /// Its level once a resource that it wants is used up.
    stopped: Option<i128>,
}

/// Divides so that nobody gets more, by weight, while somebody with less wants more; nobody gets
/// more than it wants. What is left then is not handed out.
pub(super) fn shares(tables: &Tables, members: &[Member]) -> Shares {
    if tables.iter().count() > 1 {
        return dominant(tables, members);
    }
    tables.each(|_, table| {
        let span = |(row, member): (&Row, &Member)| row.span(row.floor, row.want, member.weight);
        let spans: Vec<Span> = table.rows.iter().zip(members).map(span).collect();
        fill(table.total, &spans)
    })
}

/// Progressive filling: all dominant shares rise together, by weight; when a resource is used
/// up, those who want more of it stop and the others rise on. So there are at most as many
/// rounds as resources.
fn dominant(tables: &Tables, members: &[Member]) -> Shares {
    let mut fillings: Vec<Filling> = members
        .iter()
        .enumerate()
        .map(|(i, member)| Filling {
            weight: i128::from(member.weight.max(1)),
            wanted: dominant_want(tables, i),
            stopped: None,
        })
        .collect();
    let mut level = 0;
    loop {
        level = highest(tables, &fillings, level);
        if level == WHOLE {
            break;
        }
        for (_, table) in tables.iter() {
            if !fits(table, &fillings, level + 1) {
                stop_all(table, &mut fillings, level);
            }
        }
    }
    tables.each(|_, table| {
        let rows = table.rows.iter().zip(&fillings);
        rows.map(|(row, filling)| filling.share(row, level))
            .collect()
    })
}

fn dominant_want(tables: &Tables, member: usize) -> i128 {
    let share = |(_, table): (usize, &Table)| {
        let want = i128::from(table.rows[member].want);
        let total = i128::from(table.total.max(1));
        (want * WHOLE + total - 1) / total
    };
    tables.iter().map(share).max().unwrap_or(1).clamp(1, WHOLE)
}

/// The highest level from `level` on at which everything fits.
fn highest(tables: &Tables, fillings: &[Filling], level: i128) -> i128 {
    let all_fit = |level| tables.iter().all(|(_, table)| fits(table, fillings, level));
    let (mut fits, mut fails) = (level, WHOLE + 1);
    while fails - fits > 1 {
        let middle = fits.midpoint(fails);
        if all_fit(middle) {
            fits = middle;
        } else {
            fails = middle;
        }
    }
    fits
}

fn fits(table: &Table, fillings: &[Filling], level: i128) -> bool {
    let rows = table.rows.iter().zip(fillings);
    let sum: i128 = rows
        .map(|(row, filling)| i128::from(filling.share(row, level)))
        .sum();
    // Floors may exceed a total that was lowered; they stop nobody's other resources.
    let floors: i128 = table.rows.iter().map(|row| i128::from(row.floor)).sum();
    sum <= i128::from(table.total).max(floors)
}

fn stop_all(table: &Table, fillings: &mut [Filling], level: i128) {
    for (row, filling) in table.rows.iter().zip(fillings) {
        if filling.stopped.is_none() && filling.share(row, level) < row.want {
            filling.stopped = Some(level);
        }
    }
}

// === impl Filling ===

impl Filling {
    fn share(&self, row: &Row, level: i128) -> i64 {
        let level = self.stopped.unwrap_or(level);
        let reached = (level * self.weight).min(self.wanted);
        let units = i128::from(row.want) * reached / self.wanted;
        (units as i64).clamp(row.floor, row.want)
    }
}
