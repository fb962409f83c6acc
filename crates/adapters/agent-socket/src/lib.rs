//! Agents on WebSockets.
