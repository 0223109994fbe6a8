//! The test kit's own tests: what others lean on must hold.

mod http;
mod process;
mod python;
mod temp;
