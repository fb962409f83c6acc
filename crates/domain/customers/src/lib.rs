//! Customers and enrollment tokens.
