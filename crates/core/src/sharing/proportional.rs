//! In proportion to needs, above an equal share that protects the small ones.
//!
//! A plain split in proportion to needs gives everybody the same part of what it needs: under
//! scarcity nobody finishes. So everybody first gets an equal share, as far as it needs it.

use super::fill::{Span, fill};
use super::table::{Row, Shares, Table, Tables};

/// Divides: the smaller of want and equal share each, the surplus in proportion to what is
/// missing to the wants, and what nobody is predicted to want equally.
pub(super) fn shares(tables: &Tables) -> Shares {
    tables.each(|_, table| {
        let equal = equal_share(table);
        let base = |row: &Row| {
            let ceiling = equal.clamp(row.floor, row.want);
            row.span(row.floor, ceiling, 1)
        };
        let based = fill_rows(table, table.rows.iter().map(base));
        let topped = top_up(table, &based);
        let rest = |(row, share): (&Row, &i64)| row.span(*share, row.ceiling, 1);
        fill_rows(table, table.rows.iter().zip(&topped).map(rest))
    })
}

/// An equal part of what the members that can take more have in common.
fn equal_share(table: &Table) -> i64 {
    let (mut common, mut takers) = (table.total, 0);
    for row in &table.rows {
        if row.ceiling > row.floor {
            takers += 1;
        } else {
            common = common.saturating_sub(row.floor);
        }
    }
    common.max(0) / takers.max(1)
}

fn top_up(table: &Table, based: &[i64]) -> Vec<i64> {
    let missing = |(row, base): (&Row, &i64)| Span {
        floor: 0,
        ceiling: row.want - base,
        weight: row.wish.saturating_sub(*base).max(1),
    };
    let left = based
        .iter()
        .fold(table.total, |left, base| left.saturating_sub(*base));
    let spans: Vec<Span> = table.rows.iter().zip(based).map(missing).collect();
    let more = fill(left.max(0), &spans);
    based
        .iter()
        .zip(more)
        .map(|(base, more)| base + more)
        .collect()
}

fn fill_rows(table: &Table, spans: impl Iterator<Item = Span>) -> Vec<i64> {
    fill(table.total, &spans.collect::<Vec<_>>())
}
