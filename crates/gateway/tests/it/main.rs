//! What the gateway does as a whole, against a scripted provider whose truth is known.

mod agents;
mod alerts;
mod api;
mod births;
mod corpus;
mod counted;
mod disconnects;
mod edge;
mod ended_early;
mod faults;
mod hard_cap;
mod harness;
mod last_unit;
mod laws;
mod levels;
mod notices;
mod over_max;
mod passing;
mod raw;
mod reach;
mod shown;
mod stalled;
mod stubborn;
mod tiers;
mod time;
mod unseen;
