//! What a scenario row cannot say: the bounded memory of ended holds.

use fisc_core::{
    Amount, HoldId, Money, Terms, Thresholds, TimeUs, Timestamp, Tokens, Tree, TreeError,
    invariants,
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
