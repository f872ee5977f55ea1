//! SHA-256 digests, the only names that are believed.

use data_encoding::HEXLOWER;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use sha2::Digest as _;
use std::fmt;
use std::io::{self, Read, Write};

/// A SHA-256 digest; shown and stored as 64 lower-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// The digest of bytes in memory.
    pub fn of(bytes: &[u8]) -> Digest {
        Digest(sha2::Sha256::digest(bytes).into())
    }

    /// The digest and length of everything a reader yields.
    pub fn of_reader(mut reader: impl Read) -> io::Result<(Digest, u64)> {
        let mut hasher = Hasher::new(io::sink());
        let mut buffer = vec![0; 128 << 10];
        loop {
            match reader.read(&mut buffer) {
                Ok(0) => return Ok(hasher.finish()),
                Ok(n) => hasher.write_all(&buffer[..n])?,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
    }

    /// Parses exactly 64 lower-case hex digits.
    pub fn parse(hex: &str) -> Option<Digest> {
        Some(Digest(unhex(hex)?.try_into().ok()?))
    }

    /// The first twelve digits, for people.
    pub fn short(&self) -> String {
        hex(&self.0[..6])
    }
}

/// Lower-case hex digits.
pub fn hex(bytes: &[u8]) -> String {
    HEXLOWER.encode(bytes)
}

/// Reads lower-case hex digits; `None` for anything else.
pub fn unhex(text: &str) -> Option<Vec<u8>> {
    HEXLOWER.decode(text.as_bytes()).ok()
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&self.short())
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Digest, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(d)?;
        Digest::parse(&text).ok_or_else(|| D::Error::custom("not a SHA-256 digest"))
    }
}

/// Hashes and counts what is written through it.
pub struct Hasher<W> {
    inner: W,
    state: sha2::Sha256,
    length: u64,
}

impl<W: Write> Hasher<W> {
    /// Passes everything on to `inner`.
    pub fn new(inner: W) -> Self {
        Hasher {
            inner,
            state: sha2::Sha256::new(),
            length: 0,
        }
    }
    /// Digest and length of everything written.
    pub fn finish(self) -> (Digest, u64) {
        let (digest, length, _) = self.into_parts();
        (digest, length)
    }
    /// Digest and length of everything written, and what it was written to.
    pub fn into_parts(self) -> (Digest, u64, W) {
        (Digest(self.state.finalize().into()), self.length, self.inner)
    }
    /// Bytes written so far.
    pub fn written(&self) -> u64 {
        self.length
    }
}

impl<W: Write> Write for Hasher<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.inner.write(bytes)?;
        self.state.update(&bytes[..n]);
        self.length += n as u64;
        Ok(n)
    }
    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_spelling_of_hex_is_read() {
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(unhex(&hex(&all)), Some(all));
        assert_eq!(hex(&[0x0f, 0xa0]), "0fa0");
        for other in ["0", "0F", "0g", " 0", "0x0f", "\u{e9}"] {
            assert_eq!(unhex(other), None, "{other}");
        }
    }
}
