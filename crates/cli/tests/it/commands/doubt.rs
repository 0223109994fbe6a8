//! Calls that a crash left unfinished: listed, charged, voided, and in the books either way.
//! One writer at a time.

use fisc_testkit::process::{self, Output};
use serde_json::json;

use super::{SECRETS, Shop, block_on, config, ledger, parsed, send};
use crate::sdk::{PATIENCE, World};

/// Kills a gateway with two calls in flight that never end; returns the world and a provider.
#[track_caller]
fn crashed() -> (World, crate::sdk::Provider) {
    let shop = Shop::open();
    shop.call(10).ok();
    block_on(async {
        let hang = || send(&shop.gateway, "[[rehearsal hang]] go", 100);
        let killed = async {
            // Both are with the provider when it has a record of each.
            crate::process::eventually("two calls at the provider", || {
                (shop.provider.started() == 3).then_some(())
            });
            shop.gateway.process.kill();
        };
        let calls = async { tokio::join!(hang(), hang()) };
        let killer = tokio::task::spawn_blocking(|| ());
        drop(killer);
        let (ended, ()) = tokio::join!(calls, async {
            tokio::task::yield_now().await;
            killed.await;
        });
        assert!(ended.0.is_err() && ended.1.is_err(), "a call ended");
    });
    (shop.world, shop.provider)
}
