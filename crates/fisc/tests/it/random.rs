//! Random work of several threads through the handle: every invariant after each operation.
//!
//! `FISC_OPERATIONS` sets how many; the core's test of the same name plays all commands.

use std::time::Duration;

use fisc::{
    Amount, BudgetId, Claim, Fisc, Hold, Limits, Patience, Permille, Resource, Sharing, Terms,
    Weight,
};

const NOW: Patience = Patience(Duration::ZERO);
const THREADS: u64 = 4;

struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }

    fn amount(&mut self, most: u64) -> Amount {
        Amount::from_raw(std::array::from_fn(|_| self.roll(most + 1) as i64))
    }

    fn terms(&mut self) -> Terms {
        let limit = |dice: &mut Dice| (dice.roll(2) == 0).then(|| dice.roll(5_000) as i64);
        let limits = Resource::ALL
            .into_iter()
            .fold(Limits::NONE, |limits, resource| {
                limits.with(resource, limit(self))
            });
        Terms {
            limits,
            claim: match self.roll(4) {
                0 => Claim::Automatic,
                1 => Claim::Guarantee(self.amount(100)),
                _ => Claim::Nothing,
            },
            reserve: Permille(self.roll(60) as u16),
            sharing: Sharing::ALL[self.roll(7) as usize],
            weight: Weight(self.roll(4) as u16),
            ..Terms::default()
        }
    }
}

async fn work(fisc: Fisc, seed: u64, operations: u64) {
    let mut dice = Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    let mut open: Vec<Hold> = Vec::new();
    for number in 0..operations {
        let count = fisc.statuses().len() as u64;
        let id = BudgetId(dice.roll(count) as u32);
        match dice.roll(20) {
            0..=8 => {
                let budget = fisc.budget(&fisc.path(id)).expect("it was listed");
                if let Ok(hold) = budget.hold("call", dice.amount(60), NOW).await {
                    open.push(hold);
                }
            }
            9..=14 if !open.is_empty() => {
                let at = dice.roll(open.len() as u64) as usize;
                let mut hold = open.swap_remove(at);
                match dice.roll(4) {
                    0 => drop(hold.void("random")),
                    1 => drop(hold),
                    2 => {
                        hold.begin();
                        drop(hold);
                    }
                    _ => {
                        let actual = dice.amount(80);
                        let _settled = hold.settle_amount(actual).expect("it is open");
                    }
                }
            }
            15 if count < 60 => {
                let path = format!("{}/w{seed}-{number}", fisc.path(id));
                let _refused = fisc.allocate(&path, dice.terms()).await;
            }
            16 if id != BudgetId(0) => drop(fisc.set_terms(id, dice.terms()).await),
            17 => {
                let other = BudgetId(dice.roll(count) as u32);
                let _refused = fisc.lend(id, other, dice.amount(100)).await;
            }
            18 if id != BudgetId(0) && dice.roll(4) == 0 => drop(fisc.release(id).await),
            _ => fisc.tick(),
        }
        if let Err(violation) = fisc.check() {
            panic!("thread {seed}, operation {number}: {violation}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn threads_at_random_break_no_invariant() {
    let set = std::env::var("FISC_OPERATIONS");
    let operations: u64 = set.map_or(20_000, |count| count.parse().expect("a number"));
    // Trees fill up and end: many short ones see more than one long one.
    let rounds = operations.div_ceil(4_000);
    for round in 0..rounds {
        let fisc = Fisc::in_memory();
        let limits = Limits::NONE
            .with(Resource::Tokens, Some(20_000))
            .with(Resource::Cost, Some(20_000));
        let root = Terms {
            limits,
            ..Terms::default()
        };
        fisc.allocate("root", root).await.expect("a root");
        let threads = (0..THREADS).map(|thread| {
            let seed = round * THREADS + thread + 1;
            tokio::spawn(work(fisc.clone(), seed, operations / rounds / THREADS))
        });
        for thread in threads.collect::<Vec<_>>() {
            thread.await.expect("no invariant breaks");
        }
        assert_eq!(fisc.open_holds(), 0, "every hold ends once");
    }
}
