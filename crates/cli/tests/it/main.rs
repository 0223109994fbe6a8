//! The command line's parts with real processes, in one binary.

mod process;
mod pty;
mod subject;
mod supervise;
mod terminal;
