//! What the fuzz targets hold true, shared with them.

pub(crate) mod config;
