//! What a scenario row cannot say: the bounded memory of ended holds, and who shares a room.

use fisc_core::{
    Amount, BudgetId, HoldId, Limits, Money, Resource, Terms, Thresholds, TimeUs, Timestamp,
    Tokens, Tree, TreeError, invariants,
};

#[test]
fn ended_holds_are_remembered_for_long_but_not_for_ever() {
    // How many are remembered at least; after twice as many, one is forgotten for certain.
    const REMEMBERED: u128 = 32_768;
    let (mut tree, events) = (Tree::new(Thresholds::default()), &mut Vec::new());
    let root = tree
        .allocate(Timestamp(0), None, "root", Terms::default(), events)
        .expect("a root fits an empty tree");
    let one = Amount::new(Tokens(1), Money::ZERO, TimeUs(0));
    for id in 0..=2 * REMEMBERED {
        tree.hold(Timestamp(0), HoldId(id), root, one, false, events)
            .expect("the id is new")
            .expect("nothing is limited");
        tree.settle(HoldId(id), one, events).expect("it is open");
    }
    let forgotten = tree.settle(HoldId(0), one, events);
    assert_eq!(forgotten, Err(TreeError::UnknownHold(HoldId(0))));
    for id in REMEMBERED + 1..=2 * REMEMBERED {
        let remembered = tree.settle(HoldId(id), one, events).expect("the same");
        assert_eq!(remembered.charged, one);
    }
    let spent = tree.budget(root).expect("the root").spent;
    assert_eq!(spent.tokens(), Tokens(2 * REMEMBERED as i64 + 1));
    invariants::check(&tree).expect("nothing is broken");
}

/// A root of 1,000 tokens and two children of 600 and without a limit; the last has another.
fn family(tree: &mut Tree) -> [BudgetId; 4] {
    let mut make = |parent, name, tokens| {
        let terms = Terms {
            limits: Limits::NONE.with(Resource::Tokens, tokens),
            ..Terms::default()
        };
        tree.allocate(Timestamp(0), parent, name, terms, &mut Vec::new())
            .expect("it fits")
    };
    let root = make(None, "root", Some(1_000));
    let limited = make(Some(root), "limited", Some(600));
    let free = make(Some(root), "free", None);
    let leaf = make(Some(free), "leaf", None);
    [root, limited, free, leaf]
}

#[test]
fn a_room_is_shared_by_the_holds_at_the_budget_that_leaves_the_least() {
    let mut tree = Tree::new(Thresholds::default());
    let [root, limited, free, leaf] = family(&mut tree);
    let tokens = |units| Amount::new(Tokens(units), Money::ZERO, TimeUs(0));
    let mut id = 0;
    let mut hold = |tree: &mut Tree, budget, units| {
        id += 1;
        tree.hold(
            Timestamp(0),
            HoldId(id),
            budget,
            tokens(units),
            false,
            &mut Vec::new(),
        )
        .expect("the id is new")
        .expect("it fits");
        HoldId(id)
    };
    let shared =
        |tree: &Tree| [root, limited, free, leaf].map(|budget| tree.headroom(budget, false).open);
    assert_eq!(shared(&tree), [0; 4]);
    hold(&mut tree, limited, 10);
    let large = hold(&mut tree, leaf, 500);
    hold(&mut tree, free, 10);
    assert_eq!(
        shared(&tree),
        [3, 1, 3, 3],
        "the root's, but for the child whose own limit is lower"
    );
    tree.settle(large, tokens(500), &mut Vec::new())
        .expect("it is open");
    assert_eq!(
        shared(&tree),
        [2, 2, 2, 2],
        "500 are left there, and 600 at the child"
    );
}

#[test]
fn without_tokens_and_cost_to_share_the_holds_are_those_below() {
    let mut tree = Tree::new(Thresholds::default());
    let terms = Terms {
        limits: Limits::NONE.with(Resource::Time, Some(1_000)),
        ..Terms::default()
    };
    let events = &mut Vec::new();
    let mut make = |parent, name, terms| {
        tree.allocate(Timestamp(0), parent, name, terms, events)
            .expect("it fits")
    };
    let root = make(None, "root", terms);
    let [one, other] = ["one", "other"].map(|name| make(Some(root), name, Terms::default()));
    let time = Amount::new(Tokens(0), Money::ZERO, TimeUs(10));
    tree.hold(Timestamp(0), HoldId(1), one, time, false, events)
        .expect("the id is new")
        .expect("it fits");
    let open = [root, one, other].map(|budget| tree.headroom(budget, false).open);
    assert_eq!(open, [1, 1, 0]);
}
