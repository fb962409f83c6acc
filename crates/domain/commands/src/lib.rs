//! Commands on machines and what becomes of them.
