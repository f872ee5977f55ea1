//! zstd with the protocol's bounds: window at most 8 MiB, output never beyond what was declared.

use crate::limits::WINDOW;
use crate::watch::Heed;
use crate::{Error, Result, Watch};
use std::io::{self, Read, Write};
use zstd::stream::raw::CParameter;

/// Memory of unpacking with the largest window allowed, in bytes.
pub const UNPACK_MEMORY: u64 = 10 << 20;
/// Level of everything that is compressed once and fetched often.
pub const LEVEL: i32 = 19;
/// Level that tells what another one would make of something, about.
pub const QUICK: i32 = 1;

/// Compresses, with `prefix` as earlier text that the decoder has too (empty for none).
pub fn pack(bytes: &[u8], prefix: &[u8], level: i32, watch: &dyn Watch) -> Result<Vec<u8>> {
    let write = || -> io::Result<Vec<u8>> {
        let mut encoder = encoder(Vec::new(), bytes.len() as u64, prefix, level)?;
        io::copy(&mut Heed::new(bytes, watch), &mut encoder)?;
        encoder.finish()
    };
    write().map_err(|e| Error::io("compress", e))
}

/// Compresses the next `size` bytes of a reader into `sink`; fails if there are fewer.
pub fn pack_to(from: impl Read, size: u64, level: i32, sink: &mut dyn Write) -> io::Result<()> {
    let mut encoder = encoder(sink, size, &[], level)?;
    if io::copy(&mut from.take(size), &mut encoder)? != size {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    encoder.finish().map(drop)
}

/// The most memory, in bytes, that packing holds beside text and frame, where text and prefix are so long together.
pub fn memory(span: u64) -> u64 {
    // Two tables of four bytes for each place in the window, at most of 2^24 and 2^22 places, and the window.
    let window = span.max(1024).next_power_of_two().min(1 << WINDOW);
    (window * 2 * 8).min((4 << 24) + (4 << 22)) + window + (4 << 20)
}

fn encoder<W: Write>(
    sink: W,
    size: u64,
    prefix: &[u8],
    level: i32,
) -> io::Result<zstd::stream::Encoder<'_, W>> {
    let span = size.saturating_add(prefix.len() as u64).max(1024);
    let window = (u64::BITS - (span - 1).leading_zeros()).clamp(10, WINDOW);
    let mut encoder = zstd::stream::Encoder::with_ref_prefix(sink, level, prefix)?;
    encoder.set_parameter(CParameter::WindowLog(window))?;
    // Without the size, the tables of a high level are made for the largest file: 80 MB for 100 bytes.
    encoder.set_pledged_src_size(Some(size))?;
    encoder.set_parameter(CParameter::ContentSizeFlag(false))?;
    if !prefix.is_empty() {
        encoder.set_parameter(CParameter::EnableLongDistanceMatching(true))?;
    }
    encoder.include_checksum(false)?;
    Ok(encoder)
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

/// Bytes of a frame that tell its window.
pub const WINDOW_BYTES: u64 = 6;

/// The window that a decoder must hold for a frame of ours, in bytes, by its header (RFC 8878, 3.1.1.1).
pub fn window(frame: &[u8]) -> u64 {
    match frame {
        [0x28, 0xb5, 0x2f, 0xfd, flags, window, ..] if flags & 0x20 == 0 => {
            let base = 1u64 << (10 + (window >> 3));
            base + base / 8 * u64::from(window & 7)
        }
        // A frame of one segment has its size for a window; we write none.
        _ => u64::MAX,
    }
}

/// Length of what a frame unpacks to.
pub fn length(packed: &[u8]) -> io::Result<u64> {
    let mut decoder = zstd::stream::read::Decoder::with_buffer(packed)?;
    decoder.window_log_max(WINDOW)?;
    io::copy(&mut decoder, &mut io::sink())
}

/// Digest of what a frame unpacks to, at most `limit` bytes.
#[cfg(feature = "serve")]
pub fn digest(packed: impl Read, limit: u64) -> io::Result<crate::Digest> {
    let mut decoder =
        zstd::stream::read::Decoder::with_buffer(io::BufReader::with_capacity(64 << 10, packed))?;
    decoder.window_log_max(WINDOW)?;
    let (digest, length) = crate::Digest::of_reader(decoder.take(limit.saturating_add(1)))?;
    match length <= limit {
        true => Ok(digest),
        false => Err(io::ErrorKind::FileTooLarge.into()),
    }
}

/// The first `count` bytes, or fewer if there are no more.
pub fn unpack_start(packed: impl Read, count: usize) -> io::Result<Vec<u8>> {
    let mut decoder =
        zstd::stream::read::Decoder::with_buffer(io::BufReader::with_capacity(4 << 10, packed))?;
    decoder.window_log_max(WINDOW)?;
    let mut start = Vec::new();
    decoder.take(count as u64).read_to_end(&mut start)?;
    Ok(start)
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
    use crate::Quiet;

    #[test]
    fn a_prefix_saves_and_a_bomb_is_refused() {
        let old: Vec<u8> = (0..200_000u32)
            .flat_map(|i| (i.wrapping_mul(2_654_435_761)).to_le_bytes())
            .collect();
        let mut new = old.clone();
        new[5000] ^= 1;
        let packed = pack(&new, &old, LEVEL, &Quiet).unwrap();
        assert!(packed.len() < 1000, "{}", packed.len());
        assert_eq!(unpack(&packed, &old, new.len() as u64).unwrap(), new);
        let bomb = pack(&vec![0; 50 << 20], &[], 3, &Quiet).unwrap();
        assert!(unpack(&bomb, &[], 1 << 20).is_err());
        assert!(unpack_to(&bomb[..], &[], 1 << 20, &mut io::sink()).is_err());
    }
}
