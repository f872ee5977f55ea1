//! Stage 3, MATCH: which old bytes explain which new ones. Encoder only: the decoder never sees how.

pub mod align;
pub mod bytes;
pub mod covers;
pub mod names;
pub mod plan;
pub mod rough;
pub mod tokens;
pub mod units;
