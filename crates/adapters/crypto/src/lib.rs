//! Cryptography behind its ports.
