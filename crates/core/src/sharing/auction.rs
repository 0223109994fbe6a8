//! A sale of what nobody is guaranteed: per period, to the highest bids, at one price.
//!
//! Bidders are our own software, so bids need not be fought against but should carry
//! information: how urgent the work is and how near its end. They are paid in credits, which are
//! worth nothing else, are earned equally by all, and never change in sum: whoever bought much
//! lately can pay less now.

use super::fill::{Span, fill};
use super::table::{Row, Shares, Table, Tables};
use super::{Member, Standing};
use crate::amount::{Amount, Resource};

/// What one member offers for its part of the surplus.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Bid {
    /// Credits for the whole surplus; a part costs its part of it.
    pub price: i64,
    /// The credits that it has.
    pub credits: i64,
}

/// What came of an auction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sale {
    /// The share of each member.
    pub shares: Vec<Amount>,
    /// The clearing price, in credits for the whole surplus: the highest losing bid, 0 when
    /// nobody lost.
    pub price: i64,
    /// What each member pays, at most its credits.
    pub paid: Vec<i64>,
}

/// The surplus as a price sees it: so many lots, whatever its size.
const LOTS: i64 = 1_000_000;

/// Returns what a member should bid: its declared urgency, at least 1, times its closeness to
/// completion.
pub fn bid(member: &Member, urgency: u32) -> i64 {
    let part = |resource: &Resource| {
        let need = i128::from(member.need.get(*resource)?.max(1));
        let committed = i128::from(member.committed.get(*resource).max(0));
        Some((committed * 1000 / need).min(1000) as u16)
    };
    let closeness = Resource::ALL.iter().filter_map(part).max().unwrap_or(0);
    (1 + i64::from(closeness)) * i64::from(urgency.max(1))
}

/// Sells what `total` leaves beyond everybody's commitments and guarantees. Who bids most gets
/// what it wants first; everybody pays the same price. What nobody wants costs nothing and is
/// spread over all.
pub fn auction(total: Amount, members: &[Member], bids: &[Bid]) -> Sale {
    let tables = Tables::new(total, members);
    let floors = tables.each(|_, table| table.rows.iter().map(|row| row.floor).collect());
    let wants: Vec<Vec<(usize, i64)>> = (0..members.len())
        .map(|i| wants(&tables, &floors, i))
        .collect();
    let offers: Vec<i64> = bids
        .iter()
        .zip(&wants)
        .map(|(bid, wants)| affordable(*bid, lots(&tables, &floors, wants)))
        .collect();
    let mut order: Vec<usize> = (0..members.len())
        .filter(|i| members[*i].standing == Standing::Active && !wants[*i].is_empty())
        .collect();
    order.sort_by_key(|i| (std::cmp::Reverse(offers[*i]), members[*i].since, *i));

    let mut shares = floors.clone();
    let (mut price, mut bought) = (0, vec![0; members.len()]);
    for i in order {
        let mut got = Vec::new();
        for (resource, wanted) in &wants[i] {
            let left = tables.left(*resource, &shares);
            let units = (*wanted).min(left);
            shares[i][*resource] += units;
            got.push((*resource, units));
        }
        bought[i] = lots(&tables, &floors, &got);
        if got != wants[i] {
            price = price.max(offers[i]);
        }
    }
    // Where several resources are limited, one may lose its bid over a resource that another
    // did not ask for: nobody pays beyond its own bid.
    let charged = |(lots, offer): (&i64, &i64)| charge(price.min(*offer), *lots);
    let paid = bought.iter().zip(&offers).map(charged).collect();
    let shares = spread_unsold(&tables, &shares);
    Sale {
        shares: shares.into_iter().map(Amount::from_raw).collect(),
        price,
        paid,
    }
}

/// What a member would buy of every limited resource.
fn wants(tables: &Tables, floors: &Shares, member: usize) -> Vec<(usize, i64)> {
    let wanted = |(resource, table): (usize, &Table)| {
        let units = table.rows[member].want - floors[member][resource];
        (units > 0).then_some((resource, units))
    };
    tables.iter().filter_map(wanted).collect()
}

/// The dominant part of the surplus that some amounts are.
fn lots(tables: &Tables, floors: &Shares, amounts: &[(usize, i64)]) -> i64 {
    let part = |(resource, units): &(usize, i64)| {
        let surplus = tables.left(*resource, floors);
        let lots = i128::from(*units) * i128::from(LOTS) / i128::from(surplus.max(1));
        lots.min(i128::from(LOTS)) as i64
    };
    amounts.iter().map(part).max().unwrap_or(0)
}

/// A bid, lowered to what its bidder could pay for all that it wants.
fn affordable(bid: Bid, lots: i64) -> i64 {
    let most = i128::from(bid.credits.max(0)) * i128::from(LOTS) / i128::from(lots.max(1));
    i128::from(bid.price.max(0)).min(most) as i64
}

fn charge(price: i64, lots: i64) -> i64 {
    (i128::from(price) * i128::from(lots) / i128::from(LOTS)) as i64
}

fn spread_unsold(tables: &Tables, shares: &Shares) -> Shares {
    tables.each(|resource, table| {
        let span = |(row, share): (&Row, &[i64; 3])| Span {
            floor: share[resource],
            ceiling: row.ceiling.max(share[resource]),
            weight: 1,
        };
        let spans: Vec<Span> = table.rows.iter().zip(shares).map(span).collect();
        fill(table.total, &spans)
    })
}
