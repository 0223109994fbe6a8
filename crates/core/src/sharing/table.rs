//! A division resource by resource: the bounds of everybody's share, before any model decides.

use super::fill::{Span, fill};
use super::{Member, Standing};
use crate::amount::{Amount, Resource};

/// Everybody's share, in raw units in the order of [`Resource::ALL`].
pub(super) type Shares = Vec<[i64; Resource::COUNT]>;

/// The resources that are limited, as tables of one row a member.
pub(super) struct Tables {
    tables: [Option<Table>; Resource::COUNT],
    members: usize,
}

/// One limited resource.
pub(super) struct Table {
    /// What there is.
    pub(super) total: i64,
    /// One row a member.
    pub(super) rows: Vec<Row>,
}

/// The bounds of one member's share of one resource.
#[derive(Debug, Clone, Copy)]
pub(super) struct Row {
    /// What it has in any case: committed, and the guarantee as far as it is reachable.
    pub(super) floor: i64,
    /// What it is predicted to use, or the ceiling where that is unknown; between the two.
    pub(super) want: i64,
    /// The same, however far beyond the total.
    pub(super) wish: i64,
    /// The most that it may have.
    pub(super) ceiling: i64,
    /// What it is predicted to use beyond what is committed; `None` is unknown.
    pub(super) remaining: Option<i64>,
}

// === impl Tables ===

impl Tables {
    pub(super) fn new(total: Amount, members: &[Member]) -> Tables {
        let table = |resource| {
            let total = total.get(resource);
            (total != i64::MAX).then(|| Table::new(resource, total.max(0), members))
        };
        Tables {
            tables: Resource::ALL.map(table),
            members: members.len(),
        }
    }

    /// Returns the limited resources.
    pub(super) fn iter(&self) -> impl Iterator<Item = (usize, &Table)> {
        let tables = self.tables.iter().enumerate();
        tables.filter_map(|(resource, table)| Some((resource, table.as_ref()?)))
    }

    /// Returns what `shares` leave of a limited resource.
    pub(super) fn left(&self, resource: usize, shares: &Shares) -> i64 {
        let total = self.tables[resource]
            .as_ref()
            .map_or(0, |table| table.total);
        let left = |left: i64, share: &[i64; 3]| left.saturating_sub(share[resource]);
        shares.iter().fold(total, left).max(0)
    }

    /// Makes shares of everything limited by `share`, called with each table; all else is
    /// unlimited.
    pub(super) fn each(&self, mut share: impl FnMut(usize, &Table) -> Vec<i64>) -> Shares {
        let mut shares = vec![[i64::MAX; Resource::COUNT]; self.members];
        for (resource, table) in self.iter() {
            for (row, units) in shares.iter_mut().zip(share(resource, table)) {
                row[resource] = units;
            }
        }
        shares
    }

    /// Divides in proportion to weights, whatever the needs.
    pub(super) fn by_weight(&self, weight: impl Fn(usize) -> u32) -> Shares {
        self.each(|_, table| {
            let span = |(i, row): (usize, &Row)| row.span(row.floor, row.ceiling, weight(i));
            fill(
                table.total,
                &table.rows.iter().enumerate().map(span).collect::<Vec<_>>(),
            )
        })
    }

    /// Hands out what `shares` leave to whoever may have more: a prediction may be wrong, and
    /// nothing is to be left over while somebody is active.
    pub(super) fn spread(&self, shares: &Shares, members: &[Member]) -> Shares {
        self.each(|resource, table| {
            let span = |((share, row), member): ((&[i64; 3], &Row), &Member)| {
                let floor = share[resource];
                row.span(floor, row.ceiling.max(floor), member.weight)
            };
            let spans: Vec<Span> = shares
                .iter()
                .zip(&table.rows)
                .zip(members)
                .map(span)
                .collect();
            fill(table.total, &spans)
        })
    }

    /// Lets everybody keep the last share, within the bounds.
    pub(super) fn kept(&self, members: &[Member]) -> Shares {
        self.each(|resource, table| {
            let span = |(row, member): (&Row, &Member)| {
                let last = member.share.map_or(0, |share| share.raw()[resource]);
                row.span(row.floor, last.clamp(row.floor, row.ceiling), 1)
            };
            let spans: Vec<Span> = table.rows.iter().zip(members).map(span).collect();
            fill(table.total, &spans)
        })
    }
}

// === impl Table ===

impl Table {
    fn new(resource: Resource, total: i64, members: &[Member]) -> Table {
        let rows = members
            .iter()
            .map(|member| Row::new(resource, total, member))
            .collect();
        let mut table = Table { total, rows };
        let committed = |member: &Member| member.committed.get(resource).max(0);
        let keeps: i128 = table.rows.iter().map(|row| i128::from(row.floor)).sum();
        if keeps > i128::from(total) {
            table.shrink_guarantees(&members.iter().map(committed).collect::<Vec<_>>());
        }
        table
    }

    /// Takes back guarantees, in proportion, until the floors fit; where even what is committed
    /// does not fit, that is everybody's floor and ceiling.
    fn shrink_guarantees(&mut self, committed: &[i64]) {
        let guarded = |(row, committed): (&Row, &i64)| Span {
            floor: 0,
            ceiling: row.floor - committed,
            weight: (row.floor - committed).max(1),
        };
        let spans: Vec<Span> = self.rows.iter().zip(committed).map(guarded).collect();
        let left = committed
            .iter()
            .fold(self.total, |left, units| left.saturating_sub(*units));
        let guarded = fill(left.max(0), &spans);
        for ((row, committed), guarded) in self.rows.iter_mut().zip(committed).zip(guarded) {
            let fixed = row.ceiling == row.floor;
            row.floor = committed + guarded;
            if left <= 0 || fixed {
                row.ceiling = row.floor;
            }
            row.want = row.want.clamp(row.floor, row.ceiling);
        }
    }
}

// === impl Row ===

impl Row {
    fn new(resource: Resource, total: i64, member: &Member) -> Row {
        let committed = member.committed.get(resource).max(0);
        let own_limit = member.limit.get(resource).max(committed);
        let limit = own_limit.min(total).max(committed);
        let guaranteed = member.guarantee.get(resource).clamp(committed, limit);
        let (floor, ceiling) = match member.standing {
            Standing::Active => (guaranteed, limit),
            Standing::Idle => (guaranteed, guaranteed),
            Standing::Released => (committed, committed),
        };
        let remaining = member
            .need
            .get(resource)
            .map(|need| need - committed)
            .filter(|remaining| *remaining > 0 || (*remaining == 0 && committed == 0))
            .map(|remaining| remaining.max(member.waiting.get(resource)));
        let wish = remaining.map_or(ceiling, |remaining| {
            committed.saturating_add(remaining).min(own_limit)
        });
        Row {
            floor,
            want: wish.clamp(floor, ceiling),
            wish,
            ceiling,
            remaining,
        }
    }

    /// Makes a span of this row.
    pub(super) fn span(&self, floor: i64, ceiling: i64, weight: u32) -> Span {
        debug_assert!(floor <= ceiling && ceiling <= self.ceiling.max(floor));
        Span {
            floor,
            ceiling,
            weight: i64::from(weight.max(1)),
        }
    }
}
