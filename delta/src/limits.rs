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
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Stream coding and effort.
    pub profile: Profile,
    /// Worker threads; 0 means one for each core. The patch bytes do not depend on it.
    pub threads: usize,
    /// Segments that the code is cut into, at most 16; 0 is one. Each costs bytes and memory, and lets apply use
    /// one more core.
    pub segments: usize,
    /// Separate debug files (old, new) whose symbols help the matcher; the decoder never needs them.
    pub symbols: Option<(Vec<u8>, Vec<u8>)>,
}

/// What applying a patch may use. A patch that needs more is refused before anything is allocated.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Working memory in bytes, patch not included. Default 256 MiB.
    pub memory: u64,
    /// Size of the new file in bytes. Default 16 GiB.
    pub output: u64,
    /// Space in bytes for the inside of a packed old file, beside memory. Default 1 GiB.
    pub scratch: u64,
    /// Work per byte of old and new file and of their insides together: symbols of all streams, bytes read and written. Default 256.
    pub work_per_byte: u64,
    /// Worker threads; 0 means one for each core. Only segments of code are decoded at once.
    pub threads: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            memory: 256 << 20,
            output: 16 << 30,
            scratch: 1 << 30,
            work_per_byte: 256,
            threads: 0,
        }
    }
}
