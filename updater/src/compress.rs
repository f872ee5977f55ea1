//! zstd with the protocol's bounds: window at most 8 MiB, output never beyond what was declared.

use crate::{Error, Result};
use std::io::{self, Read, Write};
use zstd::stream::raw::CParameter;

/// Largest window, as a power of two: what a decoder of this protocol must be able to hold.
const WINDOW: u32 = 23;
/// Level of everything that is compressed once and fetched often.
pub const LEVEL: i32 = 19;

/// Compresses, with `prefix` as earlier text that the decoder has too (empty for none).
pub fn pack(bytes: &[u8], prefix: &[u8], level: i32) -> Result<Vec<u8>> {
    let fail = |e| Error::io("compress", e);
    let span = (bytes.len() + prefix.len()).max(1024);
    let window = (usize::BITS - (span - 1).leading_zeros()).clamp(10, WINDOW);
    let write = || -> io::Result<Vec<u8>> {
        let mut encoder = zstd::stream::Encoder::with_ref_prefix(Vec::new(), level, prefix)?;
        encoder.set_parameter(CParameter::WindowLog(window))?;
        // Without the size, the tables of a high level are made for the largest file: 80 MB for 100 bytes.
        encoder.set_pledged_src_size(Some(bytes.len() as u64))?;
        encoder.set_parameter(CParameter::ContentSizeFlag(false))?;
        if !prefix.is_empty() {
            encoder.set_parameter(CParameter::EnableLongDistanceMatching(true))?;
        }
        encoder.include_checksum(false)?;
        encoder.write_all(bytes)?;
        encoder.finish()
    };
    write().map_err(fail)
}

/// Copies the decompressed bytes into `sink`; fails if they are not exactly `size`.
pub fn unpack_to(packed: impl Read, prefix: &[u8], size: u64, sink: &mut dyn Write) -> io::Result<()> {
    let reader = io::BufReader::with_capacity(64 << 10, packed);
    let mut decoder = zstd::stream::read::Decoder::with_ref_prefix(reader, prefix)?;
    decoder.window_log_max(WINDOW)?;
    let copied = io::copy(&mut (&mut decoder).take(size), sink)?;
    let mut more = [0];
    if copied != size || decoder.read(&mut more)? != 0 {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "it does not unpack to its declared size",
        ));
    }
    Ok(())
}

/// Decompresses at most `limit` bytes into memory.
pub fn unpack(packed: &[u8], prefix: &[u8], limit: u64) -> io::Result<Vec<u8>> {
    let mut decoder = zstd::stream::read::Decoder::with_ref_prefix(packed, prefix)?;
    decoder.window_log_max(WINDOW)?;
    let mut out = Vec::new();
    decoder.take(limit.saturating_add(1)).read_to_end(&mut out)?;
    if out.len() as u64 > limit {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "it unpacks to more than is allowed",
        ));
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_saves_and_a_bomb_is_refused() {
        let old: Vec<u8> = (0..200_000u32)
            .flat_map(|i| (i.wrapping_mul(2_654_435_761)).to_le_bytes())
            .collect();
        let mut new = old.clone();
        new[5000] ^= 1;
        let packed = pack(&new, &old, LEVEL).unwrap();
        assert!(packed.len() < 1000, "{}", packed.len());
        assert_eq!(unpack(&packed, &old, new.len() as u64).unwrap(), new);
        let bomb = pack(&vec![0; 50 << 20], &[], 3).unwrap();
        assert!(unpack(&bomb, &[], 1 << 20).is_err());
        assert!(unpack_to(&bomb[..], &[], 1 << 20, &mut io::sink()).is_err());
    }
}
