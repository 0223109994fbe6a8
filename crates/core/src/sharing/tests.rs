//! Published examples, every model's own promise, and properties of all of them.

use proptest::prelude::*;

use super::auction::{Bid, auction, bid};
use super::*;
use crate::amount::Resource;

const MODELS: [Sharing; 6] = [
    Sharing::Equal,
    Sharing::Proportional,
    Sharing::Priority,
    Sharing::Fair,
    Sharing::Dynamic,
    Sharing::Auction,
];

const UNLIMITED: i64 = i64::MAX;

fn cost(units: i64) -> Amount {
    Amount::from_raw([0, units, 0])
}

/// A total in which only the cost is limited.
fn dollars(units: i64) -> Amount {
    Amount::from_raw([UNLIMITED, units, UNLIMITED])
}

fn member() -> Member {
    Member {
        standing: Standing::Active,
        weight: 1,
        need: Limits::NONE,
        committed: Amount::ZERO,
        waiting: Amount::ZERO,
        guarantee: Amount::ZERO,
        limit: Limits::NONE.or(UNLIMITED),
        share: None,
        since: Timestamp(0),
    }
}

fn needing(units: i64) -> Member {
    Member {
        need: Limits::NONE.with(Resource::Cost, Some(units)),
        ..member()
    }
}

/// The shares of cost that a model gives.
fn costs(sharing: Sharing, total: i64, members: &[Member]) -> Vec<i64> {
    let shares = divide(sharing, dollars(total), members);
    shares
        .iter()
        .map(|share| share.get(Resource::Cost))
        .collect()
}

#[test]
fn doormans_published_proportional_share() {
    let wants = [1000, 50, 10].map(|want| needing(want * 1_000_000));
    let shares = costs(Sharing::Proportional, 120_000_000, &wants);
    assert_eq!(shares, [69_690_722, 40_309_278, 10_000_000]);
}

#[test]
fn doormans_published_fair_share() {
    let wants = [1000, 50, 10].map(|want| needing(want * 1_000_000));
    let shares = costs(Sharing::Fair, 120_000_000, &wants);
    assert_eq!(shares, [60_000_000, 50_000_000, 10_000_000]);
}

#[test]
fn fair_shares_two_resources_by_the_dominant_one() {
    // The published example: 9 CPUs and 18 GB; A wants <1, 4> each time and B <3, 1>.
    let total = Amount::from_raw([9_000, 18_000, UNLIMITED]);
    let wanting = |tokens, cost| Member {
        need: Limits::NONE
            .with(Resource::Tokens, Some(tokens))
            .with(Resource::Cost, Some(cost)),
        ..member()
    };
    let many = [wanting(4_500, 18_000), wanting(9_000, 3_000)];
    let tables = Tables::new(total, &many);
    let shares = fair::shares(&tables, &many);
    let near = |is: i64, should: i64| (is - should).abs() <= 2;
    let all = [
        (shares[0][0], 3_000),
        (shares[0][1], 12_000),
        (shares[1][0], 6_000),
        (shares[1][1], 2_000),
    ];
    assert!(all.iter().all(|(is, should)| near(*is, *should)), "{all:?}");
}

#[test]
fn weights_count_over_several_resources_and_who_stops_at_one_rises_in_the_other() {
    let total = Amount::from_raw([8_000, 40_000, UNLIMITED]);
    let wanting = |tokens, weight| Member {
        weight,
        need: Limits::NONE
            .with(Resource::Tokens, Some(tokens))
            .with(Resource::Cost, Some(8_000)),
        ..member()
    };
    // The last one wants no tokens: these run out, and it goes on to all that it wants.
    let many = [wanting(8_000, 1), wanting(8_000, 3), wanting(0, 1)];
    let shares = fair::shares(&Tables::new(total, &many), &many);
    let near = |is: i64, should: i64| (is - should).abs() <= 2;
    assert!(
        near(shares[0][0], 2_000) && near(shares[1][0], 6_000),
        "{shares:?}"
    );
    assert_eq!(shares[2][1], 8_000, "{shares:?}");
}

#[test]
fn what_released_members_left_is_divided_anew() {
    let released = Member {
        standing: Standing::Released,
        committed: cost(10),
        ..member()
    };
    let idle = Member {
        standing: Standing::Idle,
        committed: cost(5),
        guarantee: cost(15),
        ..member()
    };
    for model in [Sharing::Equal, Sharing::Priority, Sharing::Fair] {
        let shares = costs(model, 100, &[released, idle, member(), member()]);
        assert_eq!(shares, [10, 15, 38, 37], "{model:?}");
    }
}

#[test]
fn a_limit_passes_the_rest_on() {
    let capped = Member {
        limit: cost(10),
        ..member()
    };
    let heavy = Member {
        weight: 3,
        ..member()
    };
    assert_eq!(
        costs(Sharing::Equal, 90, &[capped, member(), heavy]),
        [10, 40, 40]
    );
    assert_eq!(
        costs(Sharing::Priority, 90, &[capped, member(), heavy]),
        [10, 20, 60]
    );
}

#[test]
fn a_met_forecast_strands_nothing() {
    let shares = costs(Sharing::Fair, 100, &[needing(10), needing(20)]);
    assert_eq!(shares, [50, 50]);
    let unknown_first = costs(Sharing::Fair, 100, &[needing(10), member()]);
    assert_eq!(unknown_first, [10, 90]);
}

#[test]
fn an_outgrown_forecast_is_no_forecast() {
    let outgrown = Member {
        committed: cost(30),
        ..needing(20)
    };
    assert_eq!(
        costs(Sharing::Fair, 100, &[outgrown, needing(90)]),
        [50, 50]
    );
}

#[test]
fn dynamic_keeps_a_floor_and_prefers_the_smallest_remaining_need() {
    let near_its_end = Member {
        committed: cost(50),
        ..needing(60)
    };
    // Fair shares are 34, 33, 33, but for the one that committed more.
    let shares = costs(
        Sharing::Dynamic,
        100,
        &[needing(90), needing(40), near_its_end],
    );
    let fair = costs(
        Sharing::Fair,
        100,
        &[needing(90), needing(40), near_its_end],
    );
    assert_eq!(fair, [25, 25, 50]);
    // 75 % of 25 is 18 for both; 14 left: 10 end the last one. 4 suffice for nobody's whole need
    // and are its margin, until it has finished.
    assert_eq!(shares, [18, 18, 64]);
}

#[test]
fn dynamic_uses_up_what_meets_no_whole_need_once_nobody_else_could_leave_more() {
    // Fair shares are 30 each and floors 22: 16 are left.
    let in_good_part = costs(Sharing::Dynamic, 60, &[needing(90), needing(40)]);
    assert_eq!(in_good_part, [22, 38], "16 of 18 that are missing");
    let in_small_part = costs(Sharing::Dynamic, 60, &[needing(90), needing(80)]);
    assert_eq!(in_small_part, [30, 30], "16 of 58 that are missing");
}

#[test]
fn dynamic_does_not_prefer_whoever_began_first() {
    let early = Member {
        committed: cost(20),
        ..needing(56)
    };
    // Floors are 22: 34 are missing to the early one and 32 to the late one, of which 16 are left.
    let shares = costs(Sharing::Dynamic, 60, &[early, needing(54)]);
    assert_eq!(shares, [22, 38]);
}

#[test]
fn a_waiting_call_that_begins_below_the_floor_belongs_to_it() {
    let begun = Member {
        committed: cost(20),
        waiting: cost(7),
        ..needing(90)
    };
    let shares = costs(Sharing::Dynamic, 60, &[begun, needing(40)]);
    assert_eq!(
        shares,
        [27, 33],
        "the floor of 22 is raised to 27, below the fair 30"
    );
    let too_large = Member {
        waiting: cost(11),
        ..begun
    };
    let shares = costs(Sharing::Dynamic, 60, &[too_large, needing(40)]);
    assert_eq!(shares, [22, 38], "31 would be beyond the fair share");
}

#[test]
fn dynamic_without_needs_is_fair() {
    let members = [
        member(),
        Member {
            weight: 3,
            ..member()
        },
    ];
    assert_eq!(costs(Sharing::Dynamic, 100, &members), [25, 75]);
}

#[test]
fn dynamic_moves_a_tenth_a_round_at_most() {
    let having = |share, need| Member {
        share: Some(cost(share)),
        ..needing(need)
    };
    let members = [having(90, 200), having(10, 40)];
    // Aimed at is [60, 40].
    assert_eq!(costs(Sharing::Dynamic, 100, &members), [80, 20]);
    let reclaimed = Member {
        standing: Standing::Released,
        ..having(90, 200)
    };
    assert_eq!(
        costs(Sharing::Dynamic, 100, &[reclaimed, having(10, 40)]),
        [0, 100]
    );
}

#[test]
fn rests_that_nobody_can_use_make_room_for_one() {
    let waiting = |committed, call| Member {
        committed: cost(committed),
        waiting: cost(call),
        ..member()
    };
    // Fair shares are 34, 33, 33: every rest is too small alone.
    let stuck = [waiting(30, 8), waiting(28, 9), waiting(27, 30)];
    assert_eq!(costs(Sharing::Fair, 100, &stuck), [32, 37, 31]);
    let one_thinks = [waiting(30, 8), waiting(28, 9), waiting(27, 0)];
    assert_eq!(costs(Sharing::Fair, 100, &one_thinks), [34, 33, 33]);
}

#[test]
fn more_committed_than_there_is_is_kept_and_nothing_more() {
    let over = |units| Member {
        committed: cost(units),
        guarantee: cost(90),
        ..member()
    };
    for model in MODELS {
        assert_eq!(
            costs(model, 100, &[over(80), over(70)]),
            [80, 70],
            "{model:?}"
        );
    }
}

#[test]
fn guarantees_that_do_not_fit_are_kept_in_proportion() {
    let guarded = |units| Member {
        guarantee: cost(units),
        ..member()
    };
    for model in MODELS {
        let shares = costs(model, 90, &[guarded(80), guarded(70)]);
        assert_eq!(shares, [48, 42], "{model:?}");
    }
}

#[test]
fn nobody_shares_nothing() {
    for model in MODELS {
        assert_eq!(divide(model, dollars(100), &[]), [], "{model:?}");
    }
}

// === auction ===

fn bidding(prices: &[i64]) -> Vec<Bid> {
    let bid = |price: &i64| Bid {
        price: *price,
        credits: 1_000_000,
    };
    prices.iter().map(bid).collect()
}

fn sold(sale: &auction::Sale) -> Vec<i64> {
    sale.shares
        .iter()
        .map(|share| share.get(Resource::Cost))
        .collect()
}

#[test]
fn the_highest_bids_win_at_the_highest_losing_one() {
    let wants = [needing(50), needing(40), needing(30), needing(20)];
    let sale = auction(dollars(100), &wants, &bidding(&[900, 100, 700, 800]));
    assert_eq!(sold(&sale), [50, 0, 30, 20]);
    assert_eq!(sale.price, 100);
    assert_eq!(sale.paid, [50, 0, 30, 20]);
}

#[test]
fn nobody_pays_where_nobody_loses() {
    let wants = [needing(50), needing(40)];
    let sale = auction(dollars(100), &wants, &bidding(&[900, 100]));
    assert_eq!((sale.price, &*sale.paid), (0, &[0, 0][..]));
    assert_eq!(sold(&sale), [50, 50], "what is not wanted is spread");
}

#[test]
fn a_guarantee_is_never_sold() {
    let guarded = Member {
        guarantee: cost(40),
        ..needing(80)
    };
    let sale = auction(dollars(100), &[guarded, needing(500)], &bidding(&[1, 999]));
    assert_eq!(sold(&sale), [40, 60]);
}

#[test]
fn credits_bound_what_a_bidder_can_pay() {
    let poor = Bid {
        price: 900,
        credits: 10,
    };
    let rich = Bid {
        price: 100,
        credits: 1_000,
    };
    let sale = auction(dollars(100), &[needing(100), needing(100)], &[poor, rich]);
    assert_eq!(sold(&sale), [0, 100]);
    assert_eq!((sale.price, &*sale.paid), (10, &[0, 10][..]));
}

#[test]
fn a_bid_rises_with_closeness_and_urgency() {
    let half = Member {
        committed: cost(50),
        ..needing(100)
    };
    assert_eq!(
        [bid(&needing(100), 1), bid(&half, 1), bid(&half, 4)],
        [1, 501, 2004]
    );
    assert_eq!(bid(&member(), 1), 1);
}

// === properties ===

fn standing() -> impl Strategy<Value = Standing> {
    prop_oneof![
        6 => Just(Standing::Active),
        1 => Just(Standing::Idle),
        1 => Just(Standing::Released),
    ]
}

fn units() -> impl Strategy<Value = i64> {
    prop_oneof![3 => 0..2_000i64, 1 => 0..4_000_000_000_000i64]
}

fn amount() -> impl Strategy<Value = Amount> {
    [units(), units(), units()].prop_map(Amount::from_raw)
}

fn needs() -> impl Strategy<Value = Limits> {
    [
        prop::option::of(units()),
        prop::option::of(units()),
        prop::option::of(units()),
    ]
    .prop_map(|[tokens, cost, time]| {
        Limits::NONE
            .with(Resource::Tokens, tokens)
            .with(Resource::Cost, cost)
            .with(Resource::Time, time)
    })
}

fn any_member() -> impl Strategy<Value = Member> {
    let limit = needs().prop_map(|limits| limits.or(UNLIMITED));
    let known = (standing(), 1..9u32, needs(), amount(), limit);
    let rest = (amount(), amount(), prop::option::of(amount()), 0..9i64);
    (known, rest).prop_map(|((standing, weight, need, committed, limit), rest)| {
        let (waiting, guarantee, share, since) = rest;
        Member {
            standing,
            weight,
            need,
            committed,
            waiting: if weight % 2 == 0 {
                waiting
            } else {
                Amount::ZERO
            },
            guarantee: guarantee.min(limit),
            limit,
            share,
            since: Timestamp(since),
        }
    })
}

/// Members, and totals of which some are unlimited and some smaller than what is committed.
fn any_division() -> impl Strategy<Value = (Amount, Vec<Member>)> {
    let total = [units(), units(), units()].prop_flat_map(|units| {
        let unlimited = |units| prop_oneof![3 => Just(units), 1 => Just(UNLIMITED)];
        units.map(unlimited).prop_map(Amount::from_raw)
    });
    (total, prop::collection::vec(any_member(), 1..12)).prop_map(|(total, members)| {
        let roomy = total.saturating_add(Amount::from_raw([4_000; 3]));
        (roomy, members)
    })
}

fn check_bounds(total: Amount, members: &[Member], shares: &[Amount]) -> Result<(), TestCaseError> {
    for resource in Resource::ALL {
        let total = total.get(resource);
        let of = |amount: &Amount| i128::from(amount.get(resource));
        if total == UNLIMITED {
            prop_assert!(
                shares
                    .iter()
                    .all(|share| of(share) == i128::from(UNLIMITED))
            );
            continue;
        }
        let committed: i128 = members.iter().map(|member| of(&member.committed)).sum();
        let floor = |member: &Member| {
            let limit = of(&member.limit).min(i128::from(total));
            of(&member.guarantee).min(limit).max(of(&member.committed))
        };
        let live = |member: &&Member| member.standing != Standing::Released;
        let guarded: i128 = members.iter().filter(live).map(floor).sum::<i128>()
            + members
                .iter()
                .filter(|member| !live(member))
                .map(|member| of(&member.committed))
                .sum::<i128>();
        let sum: i128 = shares.iter().map(of).sum();
        prop_assert!(sum <= i128::from(total).max(committed), "{resource:?}");
        for (member, share) in members.iter().zip(shares) {
            prop_assert!(of(share) >= of(&member.committed));
            prop_assert!(of(share) <= of(&member.limit).max(of(&member.committed)));
            if guarded <= i128::from(total) && live(&member) {
                prop_assert!(of(share) >= floor(member), "a guarantee is kept");
            }
            if member.standing == Standing::Released {
                prop_assert_eq!(of(share), of(&member.committed));
            }
        }
    }
    Ok(())
}

fn check_nothing_stranded(
    total: Amount,
    members: &[Member],
    shares: &[Amount],
) -> Result<(), TestCaseError> {
    for resource in Resource::ALL {
        let total = i128::from(total.get(resource));
        let sum: i128 = shares
            .iter()
            .map(|share| i128::from(share.get(resource)))
            .sum();
        let hungry = members.iter().zip(shares).any(|(member, share)| {
            member.standing == Standing::Active && share.get(resource) < member.limit.get(resource)
        });
        prop_assert!(!hungry || sum >= total, "{resource:?}: {sum} of {total}");
    }
    Ok(())
}

fn changed_need(member: &Member) -> Limits {
    Resource::ALL.iter().fold(Limits::NONE, |need, resource| {
        let units = i64::from(member.weight) * 700;
        need.with(*resource, Some(member.committed.get(*resource) + units))
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn every_model_keeps_the_bounds((total, members) in any_division()) {
        for model in MODELS {
            let shares = divide(model, total, &members);
            prop_assert_eq!(shares.len(), members.len());
            check_bounds(total, &members, &shares)?;
            prop_assert_eq!(&shares, &divide(model, total, &members), "deterministic");
        }
    }

    #[test]
    fn nothing_stays_undivided((total, members) in any_division()) {
        for model in MODELS {
            if model != Sharing::Auction {
                check_nothing_stranded(total, &members, &divide(model, total, &members))?;
            }
        }
    }

    #[test]
    fn more_weight_is_never_less(
        (total, members) in any_division(),
        pick in any::<prop::sample::Index>(),
    ) {
        // One limited resource: with several, more of the dominant one may be less of another.
        let total = total.max(Amount::from_raw([UNLIMITED, 0, UNLIMITED]));
        let members: Vec<Member> = members
            .into_iter()
            .map(|member| Member { waiting: Amount::ZERO, ..member })
            .collect();
        let i = pick.index(members.len());
        let mut heavier = members.clone();
        heavier[i].weight *= 2;
        for model in [Sharing::Priority, Sharing::Fair] {
            let cost = |members: &[Member]| divide(model, total, members)[i].get(Resource::Cost);
            let (before, after) = (cost(&members), cost(&heavier));
            // Fair hands out in two steps, and each rounds.
            prop_assert!(after.saturating_add(2) >= before, "{model:?}: {before} to {after}");
        }
    }

    #[test]
    fn dynamic_takes_a_tenth_a_round_at_most((total, members) in any_division()) {
        let first: Vec<Member> = members
            .into_iter()
            .map(|member| Member { waiting: Amount::ZERO, share: None, ..member })
            .collect();
        let shares = divide(Sharing::Dynamic, total, &first);
        let changed: Vec<Member> = first
            .iter()
            .zip(shares.iter().rev().zip(&shares))
            .map(|(member, (_, share))| Member {
                share: Some(*share),
                need: changed_need(member),
                ..*member
            })
            .collect();
        let next = divide(Sharing::Dynamic, total, &changed);
        for resource in Resource::ALL {
            let units = i128::from(total.get(resource));
            let lost: i128 = changed.iter().zip(&next)
                .filter(|(member, _)| member.standing == Standing::Active)
                .map(|(member, next)| {
                    let last = member.share.expect("given above").get(resource);
                    i128::from(last - next.get(resource)).max(0)
                })
                .sum();
            prop_assert!(lost <= units / 10, "{resource:?}: {lost} of {units}");
        }
    }

    #[test]
    fn auctions_keep_bounds_and_ask_nobody_for_more_than_it_has(
        (total, members) in any_division(),
        offers in prop::collection::vec((0..5_000i64, 0..5_000i64), 12),
    ) {
        let bids: Vec<Bid> = members
            .iter()
            .zip(&offers)
            .map(|(_, (price, credits))| Bid { price: *price, credits: *credits })
            .collect();
        let sale = auction(total, &members, &bids);
        check_bounds(total, &members, &sale.shares)?;
        check_nothing_stranded(total, &members, &sale.shares)?;
        for (paid, bid) in sale.paid.iter().zip(&bids) {
            prop_assert!(*paid >= 0 && *paid <= bid.credits.min(bid.price));
        }
    }
}
