//! Stage 4, PREDICT: where an old target is in the new file, and what is sent where that guess is wrong.

mod code;
mod locals;
mod map;
mod remap;
mod targets;

pub use code::{CodePass, NewCode, OldCode, Pointer, UnitView};
pub use locals::{Label, Locals, Origin};
pub use map::AddressMap;
pub use remap::Remap;
pub use targets::{Guess, Site, TargetModels, Targets};
