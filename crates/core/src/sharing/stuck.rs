//! When nobody can go on: calls come whole, so every share may end in a rest too small for the
//! next call, and all rests together be stranded.

use super::fill::{Span, fill};
use super::table::{Row, Shares, Table, Tables};
use super::{Member, Sharing, Standing, dynamic};
use crate::amount::Amount;

/// Where every active member waits and none of the waiting calls fits its share, gives one
/// member room for its call out of the rests of all: the one that the model prefers, of those
/// whose call fits at all. Floors are kept.
pub(super) fn relieve(
    sharing: Sharing,
    tables: &Tables,
    members: &[Member],
    shares: Shares,
) -> Shares {
    let mut active = members
        .iter()
        .zip(&shares)
        .filter(|(member, _)| member.standing == Standing::Active);
    let stuck = |(member, share): (&Member, &[i64; 3])| {
        let needed = member.committed.saturating_add(member.waiting);
        member.waiting != Amount::ZERO && !needed.fits(&Amount::from_raw(*share))
    };
    if !active.all(stuck) {
        return shares;
    }
    let order = match sharing {
        Sharing::Dynamic => dynamic::by_remaining(tables, members),
        _ => Vec::new(),
    };
    let rest = by_committed(sharing, tables, members);
    let mut candidates = order.into_iter().chain(rest);
    match candidates.find(|i| could_go_on(tables, members, *i)) {
        Some(chosen) => make_room(tables, members, &shares, chosen),
        None => shares,
    }
}

/// The waiting members, the one that would have the smallest dominant share by weight first.
fn by_committed(sharing: Sharing, tables: &Tables, members: &[Member]) -> Vec<usize> {
    let mut order: Vec<(i128, usize)> = (0..members.len())
        .filter(|i| members[*i].waiting != Amount::ZERO)
        .map(|i| {
            let share = |(resource, table): (usize, &Table)| {
                let units = needed(&members[i], resource);
                (i128::from(units) << 40) / i128::from(table.total.max(1))
            };
            let weight = match sharing {
                Sharing::Priority | Sharing::Fair => members[i].weight.max(1),
                _ => 1,
            };
            let dominant = tables.iter().map(share).max().unwrap_or(0);
            (dominant / i128::from(weight), i)
        })
        .collect();
    order.sort_unstable();
    order.into_iter().map(|(_, i)| i).collect()
}

fn could_go_on(tables: &Tables, members: &[Member], chosen: usize) -> bool {
    let member = &members[chosen];
    member.standing == Standing::Active
        && member.waiting != Amount::ZERO
        && tables.iter().all(|(resource, table)| {
            let floors: i128 = table.rows.iter().map(|row| i128::from(row.floor)).sum();
            let row = &table.rows[chosen];
            let needed = needed(member, resource);
            let more = i128::from(needed.saturating_sub(row.floor).max(0));
            needed <= row.ceiling && floors + more <= i128::from(table.total)
        })
}

fn make_room(tables: &Tables, members: &[Member], shares: &Shares, chosen: usize) -> Shares {
    tables.each(|resource, table| {
        let span = |(i, (row, share)): (usize, (&Row, &[i64; 3]))| {
            let share = share[resource].max(row.floor);
            let floor = if i == chosen {
                row.floor.max(needed(&members[i], resource))
            } else {
                row.floor
            };
            Span {
                floor,
                ceiling: share.max(floor),
                weight: 1,
            }
        };
        let rows = table.rows.iter().zip(shares).enumerate();
        fill(table.total, &rows.map(span).collect::<Vec<_>>())
    })
}

fn needed(member: &Member, resource: usize) -> i64 {
    member.committed.raw()[resource].saturating_add(member.waiting.raw()[resource])
}
