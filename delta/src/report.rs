//! Where the bytes of a patch went.

/// A way of making a patch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Way {
    // Of two patches of one size, that of the way named first here wins.
    /// By the models for ELF files.
    Elf,
    /// The old file with corrections in place.
    InPlace,
    /// By covers and bytes alone.
    Generic,
    /// The new file as it is, packed.
    Whole,
    /// One of the others between the insides of packed files.
    Packed,
}

impl Way {
    /// A word or two for it.
    pub fn name(self) -> &'static str {
        match self {
            Way::Elf => "elf",
            Way::InPlace => "in-place",
            Way::Generic => "generic",
            Way::Whole => "whole",
            Way::Packed => "packed",
        }
    }
}

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
    /// Bytes per section of the new file, about, the most expensive first; what is not coded section by section
    /// has a name in brackets. Empty for a file that is not coded as an ELF file, and for a patch of which only
    /// the directory was read: see `Patch::sections`.
    pub sections: Vec<Part>,
}
