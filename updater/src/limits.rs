//! What a site takes at most: the farm proves each release against the same numbers before it signs.

/// Longest path of a manifest, in bytes.
pub const PATH: usize = 4095;
/// Longest component of a path, and longest name of an extended attribute, in bytes.
pub const NAME: usize = 255;
/// Most bytes of names and values of a file's extended attributes.
pub const XATTRS: usize = 64 << 10;
/// Most paths of a manifest.
pub const ENTRIES: u64 = 1 << 20;
/// Largest manifest, in plain bytes.
pub const MANIFEST: u64 = 64 << 20;
/// Largest step file.
pub const STEP: u64 = 64 << 20;
/// Largest step, in plain bytes.
pub const STEP_PLAIN: u64 = 96 << 20;
/// Largest channel file.
pub const CHANNEL: u64 = 32 << 20;
/// Most plain bytes that a bundle, or its bases, may have.
pub const BUNDLE: u64 = 4 << 20;
/// The same for a bundle that is a patch: neither side is held in memory.
pub const GROUP: u64 = 32 << 20;
/// Largest piece of a pack: one is held in memory.
pub const PIECE: u64 = 1 << 30;
/// Largest window of a zstd frame, as a power of two.
pub const WINDOW: u32 = 23;
/// Memory for rebuilding one file that a site allows if its configuration does not say otherwise, in bytes.
pub const MEMORY: u64 = 96 << 20;
/// Scratch space for what is packed in one base that a site allows, in bytes.
pub const SCRATCH: u64 = 1 << 30;
