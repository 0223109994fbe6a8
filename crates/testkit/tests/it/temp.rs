//! Folders are new, apart, and gone afterwards.

use fisc_testkit::temp::Dir;

#[test]
fn a_folder_lives_as_long_as_its_owner() {
    let (one, other) = (Dir::new(), Dir::new());
    assert_ne!(one.path(), other.path());
    let file = one.write("a.txt", "text");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "text");
    let path = one.path().to_owned();
    drop(one);
    assert!(!path.exists());
    assert!(other.path().is_dir());
}
