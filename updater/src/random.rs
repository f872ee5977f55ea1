//! Bytes from the operating system's randomness.

use crate::error::Doing;
use crate::{Result, digest::hex};
use rustix::rand::{GetRandomFlags, getrandom};

/// So many random bytes.
pub fn bytes<const N: usize>() -> Result<[u8; N]> {
    let (mut bytes, mut filled) = ([0; N], 0);
    while filled < N {
        let got = getrandom(&mut bytes[filled..], GetRandomFlags::empty());
        filled += got.doing("get", "randomness")?;
    }
    Ok(bytes)
}

/// A name that nobody else has.
pub fn name() -> Result<String> {
    Ok(hex(&bytes::<16>()?))
}
