//! What the gateway does as a whole, against a scripted provider whose truth is known.

mod agents;
mod births;
mod counted;
mod disconnects;
mod edge;
mod faults;
mod hard_cap;
mod harness;
mod last_unit;
mod raw;
mod reach;
mod time;
