//! Events within one process.
