//! A whole ELF file through the stages: the one grammar that both directions follow.

mod bytes;
mod covers;
mod generic;
mod io;
mod layout;
mod order;
mod pads;
mod plan;
mod projection;
mod references;
mod regions;
mod segments;
mod skeleton;
mod tables;

pub use generic::code_file;
pub use io::Io;
pub use order::{Facts, code_image};
pub use plan::Plan;
pub use regions::data_regions;
pub use segments::Segments;
