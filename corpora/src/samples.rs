//! Two versions of a small program.
