//! Users, roles and sessions.
