//! `fisc verify`: every entry of a ledger against its hash and its balances.

use crate::amounts::show_count;
use crate::args::{LedgerArgs, VerifyArgs};
use crate::exit;
use crate::failure::Failure;
use crate::home::Home;

/// Verifies a ledger.
pub(crate) fn run(args: &VerifyArgs) -> Result<u8, Failure> {
    let ledger = Home::find()?.ledger(&LedgerArgs {
        db: args.db.clone(),
        run: None,
    })?;
    let verified = fisc_ledger::verify(&ledger).map_err(|error| {
        Failure::internal(format!("{}: {error}", ledger.display()))
            .hint("do not spend on this ledger; restore it from a backup")
            .with_code(exit::FISC_FAILED)
    })?;
    println!(
        "{}: {}, chain and balances agree, {} open",
        ledger.display(),
        show_count(verified.entries, "entry", "entries"),
        show_count(verified.open_holds, "hold", "holds"),
    );
    Ok(0)
}
