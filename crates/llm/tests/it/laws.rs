//! What holds for any bytes at all. The fuzz targets in `fuzz/` search these laws for an
//! exception; the tests replay what they kept. Each law stands alone in its file.

pub(crate) mod members;
pub(crate) mod plain;
pub(crate) mod request;
pub(crate) mod response;
pub(crate) mod tap;
