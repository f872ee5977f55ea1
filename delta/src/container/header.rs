//! The fixed part at the start of a patch.

use crate::cursor::{Cursor, put_varint};
use crate::{Error, error::Result};

/// First bytes of every patch.
pub const MAGIC: [u8; 4] = *b"eldp";
/// Format version; 0 may change without notice.
pub const VERSION: u8 = 0;
/// Names exactly what a patch means: it changes with every change of that, also while the version does not.
///
/// Whoever keeps patches for later stores it beside them, and takes them for useless when it differs. It is made from
/// the golden patches, which a change of meaning makes anew.
pub const FORMAT_ID: &str = first_line(include_str!("../../format-id"));
/// Feature bit: the code is coded in several segments.
pub const SEGMENTS: u64 = 1;
/// Feature bit: the files are opened before they are compared.
pub const PACKED: u64 = 2;
/// Feature bits this reader knows.
const KNOWN_FEATURES: u64 = SEGMENTS | PACKED;

const fn first_line(text: &str) -> &str {
    let mut end = 0;
    while end < text.len() && text.as_bytes()[end] != b'\n' {
        end += 1;
    }
    text.split_at(end).0
}

/// How the new file is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Method {
    /// The whole new file stands in one stream.
    Whole = 0,
    /// Covers and bytes over the file as it is.
    Bytes = 1,
    /// The stages for ELF files.
    Image = 2,
    /// One of the others, part by part, between the insides of two files of which one is packed.
    Packed = 3,
}

/// What the header of a packed patch says beside.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Packing {
    /// Scratch space for the inside of the old file and for what encoders write there, in bytes (a multiple of 64 KiB);
    /// 0: the inside is counted as memory.
    pub scratch: u64,
    /// Size of the old file's inside.
    pub old_inside: u64,
    /// Size of the new file's inside.
    pub new_inside: u64,
    /// Encoders that closing the new file takes whose output no standard fixes: name and version.
    pub encoders: Vec<String>,
}

/// Encoders that a patch may name, and bytes of a name.
const MAX_ENCODERS: u64 = 16;
const MAX_NAME: u64 = 64;

/// How many times larger than the file an inside may be, beside 64 KiB: the most that deflate does.
const GROWTH: u64 = 1040;

impl Packing {
    fn read(cursor: &mut Cursor, (old_len, new_len): (u64, u64)) -> Result<Packing> {
        let damaged = Error::damaged("what it says of packed files is not possible");
        let scratch = cursor.varint()?.saturating_mul(MEMORY_UNIT);
        let (old_inside, new_inside) = (cursor.varint()?, cursor.varint()?);
        let count = cursor.varint()?;
        let fits = |inside: u64, len: u64| inside <= len.saturating_mul(GROWTH).saturating_add(MEMORY_UNIT);
        if !fits(old_inside, old_len) || !fits(new_inside, new_len) || count > MAX_ENCODERS {
            return Err(damaged);
        }
        if scratch > 0 && scratch < old_inside {
            return Err(damaged);
        }
        let mut encoders = Vec::new();
        for _ in 0..count {
            let len = cursor.varint()?;
            let name = cursor.take(len.min(MAX_NAME) as usize)?;
            let plain = name.iter().all(|b| b.is_ascii_graphic() || *b == b' ');
            if len > MAX_NAME || !plain {
                return Err(damaged);
            }
            encoders.push(String::from_utf8_lossy(name).into_owned());
        }
        Ok(Packing {
            scratch,
            old_inside,
            new_inside,
            encoders,
        })
    }

    fn write(&self, out: &mut Vec<u8>) {
        put_varint(out, self.scratch.div_ceil(MEMORY_UNIT));
        put_varint(out, self.old_inside);
        put_varint(out, self.new_inside);
        put_varint(out, self.encoders.len() as u64);
        for name in &self.encoders {
            put_varint(out, name.len() as u64);
            out.extend_from_slice(name.as_bytes());
        }
    }
}

/// Header fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Required-feature bits: a reader that does not know one refuses.
    pub features: u64,
    /// How the new file is made.
    pub method: Method,
    /// Old file: size in bytes and SHA-256.
    pub old_len: u64,
    /// SHA-256 of the old file.
    pub old_digest: [u8; 32],
    /// New file: size in bytes.
    pub new_len: u64,
    /// SHA-256 of the new file.
    pub new_digest: [u8; 32],
    /// Working memory that apply needs, in bytes (a multiple of 64 KiB).
    pub memory: u64,
    /// Of a packed patch.
    pub packing: Option<Packing>,
}

const MEMORY_UNIT: u64 = 64 << 10;

impl Header {
    pub(super) fn read(cursor: &mut Cursor) -> Result<Header> {
        let not_a_patch = Error::damaged("it does not begin like an elfdelta patch");
        match cursor.array::<4>() {
            Ok(MAGIC) => {}
            _ => return Err(not_a_patch),
        }
        let version = cursor.byte()?;
        if version != VERSION {
            return Err(Error::Unsupported(format!("format version {version}")));
        }
        let features = cursor.varint()?;
        if features & !KNOWN_FEATURES != 0 {
            return Err(Error::Unsupported(format!(
                "feature bits {:#x}",
                features & !KNOWN_FEATURES
            )));
        }
        let method = match cursor.byte()? {
            0 => Method::Whole,
            1 => Method::Bytes,
            2 => Method::Image,
            3 => Method::Packed,
            other => return Err(Error::Unsupported(format!("method {other}"))),
        };
        let old_len = cursor.varint()?;
        let new_len = cursor.varint()?;
        let memory = cursor.varint()?.saturating_mul(MEMORY_UNIT);
        let old_digest = cursor.array()?;
        let new_digest = cursor.array()?;
        let packed = method == Method::Packed;
        if packed != (features & PACKED != 0) {
            return Err(Error::damaged("its method and its features do not fit together"));
        }
        let packing = match packed {
            true => Some(Packing::read(cursor, (old_len, new_len))?),
            false => None,
        };
        Ok(Header {
            features,
            method,
            old_len,
            old_digest,
            new_len,
            new_digest,
            memory,
            packing,
        })
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&MAGIC);
        out.push(VERSION);
        put_varint(out, self.features);
        out.push(self.method as u8);
        put_varint(out, self.old_len);
        put_varint(out, self.new_len);
        put_varint(out, self.memory.div_ceil(MEMORY_UNIT));
        out.extend_from_slice(&self.old_digest);
        out.extend_from_slice(&self.new_digest);
        if let Some(packing) = &self.packing {
            packing.write(out);
        }
    }
}
