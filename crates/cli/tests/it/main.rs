//! The command line's parts with real processes, in one binary.

mod commands;
mod kill9;
mod limits;
mod nested;
mod process;
mod pty;
mod sdk;
mod serve;
mod served;
mod subject;
mod supervise;
mod terminal;
