//! The tree is formatted.

#[test]
fn rustfmt_would_change_nothing() {
    crate::pass(xtask::format::check(&xtask::root()));
}
