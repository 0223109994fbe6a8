//! What the gateway does as a whole, against a scripted provider whose truth is known.

mod harness;
