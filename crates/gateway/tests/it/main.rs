//! What the gateway does as a whole, against a scripted provider whose truth is known.

mod agents;
mod hard_cap;
mod harness;
mod disconnects;
mod raw;
