//! Integration tests of the journal, through its public interface only.

mod entries;
mod events;
mod flipped_bytes;
mod fold;
mod group_commit;
mod kill;
mod opening;
mod poisoning;
mod power_loss;
mod support;
mod tail;
