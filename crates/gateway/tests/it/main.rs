//! What the gateway does as a whole, against a scripted provider whose truth is known.

mod agents;
mod disconnects;
mod hard_cap;
mod harness;
mod raw;
