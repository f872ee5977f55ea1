//! Where the bytes of a patch went.

/// One named part of a patch.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct Part {
    /// Stream or section name.
    pub name: String,
    /// Bytes of the patch.
    pub bytes: u64,
}

/// Sizes of a patch by stream, and by section of the new file.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct Report {
    /// Whole patch in bytes.
    pub total: u64,
    /// Bytes per stream, header included.
    pub streams: Vec<Part>,
    /// Bytes per section of the new file, about, the most expensive first; what is not told section by section
    /// has a name in brackets. Empty for a file that is not told as an ELF file, and for a patch of which only
    /// the directory was read: see `Patch::sections`.
    pub sections: Vec<Part>,
}
