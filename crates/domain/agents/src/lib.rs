//! Managed machines: registry, presence, system information.
