//! What a caller allows (`Limits`) and what a caller wants (`Options`).

/// How a patch's streams are coded: the trade between bytes and apply time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Profile {
    /// zstd streams where models would be slow: quick to apply.
    Fast,
    /// Modelled streams: the fewest bytes at moderate time.
    #[default]
    Default,
    /// No more bytes than the default, at whatever encoder time; in this version the same patch.
    Max,
}

/// What the encoder is asked for.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct Options<'a> {
    /// Stream coding and effort.
    pub profile: Profile,
    /// Worker threads; 0 means one for each core. The patch bytes do not depend on it.
    pub threads: usize,
    /// Segments that the code is cut into, at most 16; 0 is one. Each costs bytes and memory, and lets apply use
    /// one more core.
    pub segments: usize,
    /// Memory in bytes that packing a file again may take in apply; 0 is the default of [`Limits`]. What needs more stays
    /// packed, and such a patch is larger.
    pub apply_memory: u64,
    /// Memory in bytes that making the patch may take, both files and a process around it included; `None` is no limit.
    /// Ways that might take more are left out, and the patch is larger; where it would be reached by none, it changes
    /// nothing.
    pub memory: Option<u64>,
    /// Separate debug files (old, new) whose symbols help the matcher; the decoder never needs them.
    pub symbols: Option<(&'a [u8], &'a [u8])>,
    /// ELF files are coded by their models even where plain covers are smaller: for tests of the models on small files.
    #[doc(hidden)]
    pub models: bool,
}

impl<'a> Options<'a> {
    /// Sets the profile.
    pub const fn profile(self, profile: Profile) -> Self {
        Options { profile, ..self }
    }
    /// Sets the number of worker threads.
    pub const fn threads(self, threads: usize) -> Self {
        Options { threads, ..self }
    }
    /// Sets the number of segments.
    pub const fn segments(self, segments: usize) -> Self {
        Options { segments, ..self }
    }
    /// Sets the memory that packing again may take in apply, in bytes.
    pub const fn apply_memory(self, apply_memory: u64) -> Self {
        Options { apply_memory, ..self }
    }
    /// Sets the memory that making the patch may take, in bytes: see [`Options::needs`].
    pub const fn memory(self, memory: u64) -> Self {
        let memory = Some(memory);
        Options { memory, ..self }
    }
    /// Has ELF files coded by their models in any case.
    #[doc(hidden)]
    pub const fn models(self) -> Self {
        Options { models: true, ..self }
    }
    /// Gives the debug files of the old and of the new file.
    pub const fn symbols(self, old: &'a [u8], new: &'a [u8]) -> Self {
        let symbols = Some((old, new));
        Options { symbols, ..self }
    }
}

/// What applying a patch may use. A patch that needs more is refused before anything is allocated.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Limits {
    /// Working memory in bytes, patch not included. Default 256 MiB.
    pub memory: u64,
    /// Size of the new file in bytes. Default 16 GiB.
    pub output: u64,
    /// Space in bytes for the inside of a packed old file, beside memory. Default 1 GiB.
    pub scratch: u64,
    /// Work per byte of old and new file and of their insides together: symbols of all streams, bytes read and
    /// written. Default 256.
    pub work_per_byte: u64,
    /// Worker threads; 0 means one for each core. Only segments of code are decoded at once.
    pub threads: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits::DEFAULT
    }
}

impl Limits {
    const DEFAULT: Limits = Limits {
        memory: 256 << 20,
        output: 16 << 30,
        scratch: 1 << 30,
        work_per_byte: 256,
        threads: 0,
    };

    /// The defaults, also where a constant is wanted.
    pub const fn new() -> Self {
        Limits::DEFAULT
    }
    /// No limits: for whoever made the patch.
    pub const fn none() -> Self {
        Limits {
            memory: u64::MAX,
            output: u64::MAX,
            scratch: u64::MAX,
            work_per_byte: u64::MAX,
            threads: 0,
        }
    }
    /// Sets the working memory, in bytes.
    pub const fn memory(self, memory: u64) -> Self {
        Limits { memory, ..self }
    }
    /// Sets the size that the new file may have, in bytes.
    pub const fn output(self, output: u64) -> Self {
        Limits { output, ..self }
    }
    /// Sets the scratch space, in bytes.
    pub const fn scratch(self, scratch: u64) -> Self {
        Limits { scratch, ..self }
    }
    /// Sets the work for each byte.
    pub const fn work_per_byte(self, work_per_byte: u64) -> Self {
        Limits {
            work_per_byte,
            ..self
        }
    }
    /// Sets the number of worker threads.
    pub const fn threads(self, threads: usize) -> Self {
        Limits { threads, ..self }
    }
}
