//! A whole ELF file through the stages: the one grammar that both directions follow.

mod old;
mod pads;
mod session;
mod skeleton;
mod streams;

pub use old::OldImage;
pub use session::{Plan, code_image, code_sections, data_regions};
pub use skeleton::{Parts, SkeletonModels};
pub use streams::{STREAMS, Stream, Streams};
