//! The node link.
