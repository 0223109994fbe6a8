//! Most work finished, nobody starved: a floor for everybody, the rest to whoever is nearest to
//! its end, and never a jolt.

use super::fair;
use super::fill::{Span, fill};
use super::table::{Row, Shares, Table, Tables};
use super::{Member, Standing};
use crate::amount::Resource;

/// The part of the fair share that is everybody's, in hundredths.
const FLOOR_PERCENT: i128 = 75;

/// The part of the total that one round takes from members, in hundredths.
const MOVED_PERCENT: i64 = 10;

/// The part of what is missing to a remaining need that must be there for it to be met in part:
/// predictions err by as much, and less would most likely finish nothing.
const WORTH_PERCENT: i128 = 33;

/// Divides: the floor of the fair share, never beyond the need; then what whole remaining needs
/// cost beyond it, the smallest first. What is left suffices for no other whole need. It goes to
/// those whose need is unknown, else as a margin to those whose need is met: when they finish,
/// there may be enough for one more. Only when none of them is left it is used up: for needs
/// that it meets in good part, and at last for all alike. Where no need is known this is fair
/// sharing.
pub(super) fn shares(tables: &Tables, members: &[Member]) -> Shares {
    let fair = fair::shares(tables, members);
    let mut order = by_remaining(tables, members);
    if order.is_empty() {
        return tables.spread(&fair, members);
    }
    let floors = tables.each(|resource, table| floors(resource, table, &fair, members));
    let mut plan = Plan {
        tables,
        members,
        met: vec![false; members.len()],
        shares: floors.clone(),
        left: [0; Resource::COUNT],
    };
    plan.count_left();
    // The floor is everybody's anyway: what counts is what its need costs beyond it. So
    // nobody loses its turn to those who merely began before.
    order.sort_by_key(|i| plan.missing_share(*i));
    for i in &order {
        plan.met[*i] = plan.meet(*i, 100);
    }
    plan.raise(|_, row, met| row.remaining.is_none() && !met);
    plan.raise(|_, _, met| met);
    for i in &order {
        plan.meet(*i, WORTH_PERCENT);
    }
    plan.share_out();
    let targets = tables.spread(&plan.shares, members);
    tables.each(|resource, table| {
        let column = |shares: &Shares| shares.iter().map(|share| share[resource]).collect();
        let round = Round {
            table,
            last: members
                .iter()
                .map(|member| last(member, resource))
                .collect(),
            floors: column(&floors),
            targets: column(&targets),
            order: &order,
        };
        round.paced()
    })
}

/// The floor of everybody: a part of what the level of the fair division gives to whoever wants
/// all, so that small needs are met whole. A waiting call that begins below the floor belongs to
/// it, as far as the fair share reaches: calls come whole, and half a call is no floor.
fn floors(resource: usize, table: &Table, fair: &Shares, members: &[Member]) -> Vec<i64> {
    // Those whom their own commitments hold above the level say nothing about it.
    let risen = (0..members.len()).filter(|i| fair[*i][resource] > table.rows[*i].floor);
    let levels = risen.map(|i| (i128::from(fair[i][resource]), weight(&members[i])));
    let level = levels.max_by(|a, b| (a.0 * b.1).cmp(&(b.0 * a.1)));
    let floor = |(i, row): (usize, &Row)| {
        let fair = fair[i][resource];
        let reached = level.map_or(0, |(units, of)| {
            units * weight(&members[i]) * FLOOR_PERCENT / (of * 100)
        });
        let reached = (reached.min(i128::from(fair)) as i64).max(row.floor);
        let committed = members[i].committed.raw()[resource];
        let with_call = committed.saturating_add(members[i].waiting.raw()[resource]);
        if committed < reached && with_call <= fair {
            reached.max(with_call)
        } else {
            reached
        }
    };
    table.rows.iter().enumerate().map(floor).collect()
}

fn weight(member: &Member) -> i128 {
    i128::from(member.weight.max(1))
}

/// The active members of whom a need is known, the smallest remaining one first; then the
/// heavier, then the older.
pub(super) fn by_remaining(tables: &Tables, members: &[Member]) -> Vec<usize> {
    let mut order: Vec<(i128, usize)> = (0..members.len())
        .filter(|i| members[*i].standing == Standing::Active)
        .filter_map(|i| remaining(tables, i).map(|remaining| (remaining, i)))
        .collect();
    order.sort_by_key(|(remaining, i)| {
        let member = &members[*i];
        (
            *remaining,
            std::cmp::Reverse(member.weight),
            member.since,
            *i,
        )
    });
    order.into_iter().map(|(_, i)| i).collect()
}

/// The dominant share of what a member is predicted to need still.
fn remaining(tables: &Tables, member: usize) -> Option<i128> {
    let share = |(_, table): (usize, &Table)| {
        let units = table.rows[member].remaining?;
        Some(dominant(units, table))
    };
    tables.iter().filter_map(share).max()
}

/// What a part of a resource is to the whole.
fn dominant(units: i64, table: &Table) -> i128 {
    (i128::from(units) << 60) / i128::from(table.total.max(1))
}

/// What the last division gave an active member; the shares of others are not moved but
/// reclaimed.
fn last(member: &Member, resource: usize) -> Option<i64> {
    let share = member.share.filter(|_| member.standing == Standing::Active);
    share.map(|share| share.raw()[resource])
}

/// A division in the making.
struct Plan<'a> {
    tables: &'a Tables,
    members: &'a [Member],
    /// Whose need is met whole.
    met: Vec<bool>,
    shares: Shares,
    /// What the shares leave.
    left: [i64; Resource::COUNT],
}

/// One resource on its way from the last division to what is aimed at.
struct Round<'a> {
    table: &'a Table,
    last: Vec<Option<i64>>,
    floors: Vec<i64>,
    targets: Vec<i64>,
    order: &'a [usize],
}

// === impl Plan ===

impl Plan<'_> {
    /// What is missing to a member's need of every limited resource, as far as it is known.
    fn missing(&self, member: usize) -> impl Iterator<Item = (usize, i64)> {
        self.tables.iter().map(move |(resource, table)| {
            let row = &table.rows[member];
            let known = row.remaining.map_or(0, |_| row.wish);
            (resource, (known - self.shares[member][resource]).max(0))
        })
    }

    /// The dominant share of what is missing to a member's need.
    fn missing_share(&self, member: usize) -> i128 {
        let tables = self.tables.iter().zip(self.missing(member));
        let shares = tables.map(|((_, table), (_, units))| dominant(units, table));
        shares.max().unwrap_or(0)
    }

    /// Gives a member what is missing to its need, if that part of it, in hundredths, is there.
    fn meet(&mut self, member: usize, percent: i128) -> bool {
        let missing: Vec<(usize, i64)> = self.missing(member).collect();
        let enough = |(resource, units): &(usize, i64)| {
            i128::from(*units) * percent <= i128::from(self.left[*resource]) * 100
        };
        let worth = missing.iter().all(enough);
        if worth {
            for (resource, units) in missing {
                let units = units.min(self.left[resource]);
                self.shares[member][resource] += units;
                self.left[resource] -= units;
            }
        }
        worth
    }

    /// Raises those who may be raised with what is left, up to their ceilings.
    fn raise(&mut self, may: impl Fn(usize, &Row, bool) -> bool) {
        let met = &self.met;
        let ceiling = |i: usize, row: &Row| if may(i, row, met[i]) { row.ceiling } else { 0 };
        self.shares = self.filled(ceiling);
        self.count_left();
    }

    /// Shares what is left among all, up to what they want.
    fn share_out(&mut self) {
        self.shares = self.filled(|_, row| row.want);
    }

    fn count_left(&mut self) {
        for (resource, _) in self.tables.iter() {
            self.left[resource] = self.tables.left(resource, &self.shares);
        }
    }

    fn filled(&self, ceiling: impl Fn(usize, &Row) -> i64) -> Shares {
        self.tables.each(|resource, table| {
            let span = |(i, row): (usize, &Row)| {
                let floor = self.shares[i][resource];
                let ceiling = ceiling(i, row).max(floor);
                row.span(floor, ceiling, self.members[i].weight)
            };
            let spans: Vec<Span> = table.rows.iter().enumerate().map(span).collect();
            fill(table.total, &spans)
        })
    }
}

// === impl Round ===

impl Round<'_> {
    /// Takes no more from members than one round may; those who gain are raised to their floors
    /// first, then in their order, as far as what was taken reaches.
    fn paced(self) -> Vec<i64> {
        let losses: Vec<i64> = (0..self.targets.len()).map(|i| self.loss(i)).collect();
        let lost: i128 = losses.iter().map(|loss| i128::from(*loss)).sum();
        let allowed = i128::from(self.table.total) * i128::from(MOVED_PERCENT) / 100;
        if lost <= allowed {
            return self.targets;
        }
        let mut shares: Vec<i64> = (0..self.targets.len())
            .map(|i| match losses[i] {
                0 => self.base(i),
                loss => {
                    let part = (i128::from(loss) * allowed / lost) as i64;
                    self.targets[i] + loss - part
                }
            })
            .collect();
        let taken: i128 = shares.iter().map(|share| i128::from(*share)).sum();
        if taken > i128::from(self.table.total) {
            return self.targets;
        }
        let toward_floors = |(i, share): (usize, &i64)| Span {
            floor: *share,
            ceiling: self.floors[i].min(self.targets[i]).max(*share),
            weight: 1,
        };
        let spans: Vec<Span> = shares.iter().enumerate().map(toward_floors).collect();
        shares = fill(self.table.total, &spans);
        let sum: i128 = shares.iter().map(|share| i128::from(*share)).sum();
        let mut left = (i128::from(self.table.total) - sum).max(0) as i64;
        // Whoever has no place in the order comes last; for the others nothing is missing then.
        for i in self.order.iter().copied().chain(0..shares.len()) {
            let more = (self.targets[i] - shares[i]).clamp(0, left);
            shares[i] += more;
            left -= more;
        }
        shares
    }

    /// What the target takes from a member, from the part that is not committed.
    fn loss(&self, i: usize) -> i64 {
        let row = &self.table.rows[i];
        match self.last[i] {
            Some(last) => (last.min(row.ceiling) - self.targets[i]).max(0),
            None => 0,
        }
    }

    /// What a member that loses nothing has before anything is handed out.
    fn base(&self, i: usize) -> i64 {
        let last = self.last[i].unwrap_or(0);
        last.min(self.targets[i]).max(self.table.rows[i].floor)
    }
}
