//! A whole ELF file through the stages: the one grammar that both directions follow.

mod old;
mod pads;
mod segments;
mod session;
mod skeleton;
mod streams;

pub use old::OldImage;
pub use segments::{MAX_SEGMENTS, Segments};
pub use session::{Plan, code_image, code_sections, data_regions};
pub use skeleton::{Parts, SkeletonModels};
pub use streams::{SEGMENTED, STREAMS, Stream, Streams};
