//! Twenty plain Rust tasks share a budget of tokens; none needs to know of the others.

use std::time::Duration;

use fisc::{Amount, Fisc, Limits, Money, Patience, Resource, Terms, TimeUs, Tokens};

#[tokio::main]
async fn main() -> Result<(), fisc::Error> {
    let fisc = Fisc::in_memory();
    let limits = Limits::NONE.with(Resource::Tokens, Some(10_000));
    let team = fisc
        .allocate(
            "team",
            Terms {
                limits,
                ..Terms::default()
            },
        )
        .await?;
    let tasks = (0..20).map(|task| {
        let team = team.clone();
        tokio::spawn(async move {
            let most = Amount::new(Tokens(1_000), Money::ZERO, TimeUs(0));
            let mut hold = team
                .hold("work", most, Patience(Duration::from_secs(5)))
                .await?;
            hold.begin(); // from here on, a drop charges what is held
            let used = Amount::new(Tokens(400 + 30 * task), Money::ZERO, TimeUs(0));
            hold.settle_amount(used)?.durable().await
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        match task.await.expect("no task panics") {
            Ok(receipt) => println!("used {:>4} of {}", receipt.charged.tokens().0, 1_000),
            Err(error) => println!("{error}"),
        }
    }
    println!("spent {} of 10000", team.status().spent.tokens().0);
    Ok(())
}
