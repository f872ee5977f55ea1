//! A whole ELF file through the stages: the one grammar that both directions follow.

mod file;
mod pads;
mod segments;
mod session;
mod skeleton;

pub use file::code_file;
pub use segments::Segments;
pub use session::{Plan, code_image, code_sections, data_regions};
pub use skeleton::SkeletonModels;
