//! Planted mistakes can be planted: the code that they stand in is still there.

use xtask::mutants;

#[test]
fn every_mutant_has_its_place() {
    crate::pass(mutants::places(&xtask::root()));
}
