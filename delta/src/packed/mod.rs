//! Packed files, opened before they are compared and closed again exactly: what both sides compute of it.
//!
//! A file's *inside* is the file with its packed members unpacked in place. A [`Plan`] says how one side gets from
//! the file to its inside or back; it knows codecs only, not containers: where members lie is the encoder's to find.

mod ar;
mod close;
mod codec;
mod crc;
pub mod deflate;
mod find;
mod flate;
mod gzip;
mod inside;
mod leaf;
mod lz4;
mod lzma;
mod open;
mod places;
mod plan;
mod spots;
mod xz;
mod zlib_rs;
mod zstd;

pub use close::Closer;
pub use codec::{Codec, Decode, Encode, has_encoder, needs_thread};
pub use find::{Bounds, Found, look};
pub use flate::Trailer;
pub use inside::{Inside, Scratch, ScratchFile, Section};
pub use leaf::{Leaf, MAGIC};
pub use lzma::Means;
pub use open::open;
pub use places::Word;
pub use plan::{Op, Plan, Side};
pub use zstd::{Effort as ZstdEffort, Feed as ZstdFeed};
