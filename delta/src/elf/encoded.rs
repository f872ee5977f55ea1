//! Addresses as unwind tables encode them (`DW_EH_PE_*`; Linux Standard Base Core 5.0, 10.5.1).

use super::Numbers;
use crate::place::Addr;

/// The encoding of a pointer whose place is empty.
pub const OMIT: u8 = 0xff;

/// A pointer encoding of fixed size, absolute or relative to its own field. Whether the pointer is indirect
/// makes no difference to its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Encoding {
    /// Bytes of the field.
    pub size: u8,
    relative: bool,
    signed: bool,
    numbers: Numbers,
}

impl Encoding {
    /// Reads an encoding byte; `None` for those that are not modelled.
    pub fn of(byte: u8, numbers: Numbers) -> Option<Encoding> {
        let size = match byte & 0x0f {
            0x00 if numbers.is_64 => 8,
            0x00 | 0x03 | 0x0b => 4,
            0x02 | 0x0a => 2,
            0x04 | 0x0c => 8,
            _ => return None,
        };
        matches!(byte & 0x70, 0x00 | 0x10).then_some(Encoding {
            size,
            relative: byte & 0x10 != 0,
            signed: byte & 0x18 != 0,
            numbers,
        })
    }

    /// Reads the field at `at`, whose address is `addr`: `Some(None)` is a null pointer, `None` a field that
    /// ends too early or points past 4 GiB.
    pub fn read(self, bytes: &[u8], at: usize, addr: Addr) -> Option<Option<Addr>> {
        let field = bytes.get(at..at.checked_add(usize::from(self.size))?)?;
        let raw = self.numbers.get(field);
        if raw == 0 {
            return Some(None);
        }
        let unused = 64 - 8 * u32::from(self.size);
        let value = if self.signed {
            ((raw << unused) as i64 >> unused) as u64
        } else {
            raw
        };
        let base = if self.relative { u64::from(addr) } else { 0 };
        Addr::try_from(base.wrapping_add(value)).ok().map(Some)
    }

    /// Writes a field at address `addr` over the start of `field`.
    pub fn write(self, field: &mut [u8], addr: Addr, target: Option<Addr>) {
        let base = if self.relative { u64::from(addr) } else { 0 };
        let value = target.map_or(0, |t| u64::from(t).wrapping_sub(base));
        let len = field.len().min(self.size.into());
        self.numbers.put(&mut field[..len], value);
    }
}

/// Reads one LEB128 number of at most 32 bits at `at`; gives it and the position behind it.
pub fn uleb(bytes: &[u8], mut at: usize) -> Option<(u32, usize)> {
    let mut value = 0u64;
    for shift in (0..35).step_by(7) {
        let byte = *bytes.get(at)?;
        at += 1;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some((u32::try_from(value).ok()?, at));
        }
    }
    None
}

/// Reads one signed LEB128 number of at most 32 bits.
pub fn sleb(bytes: &[u8], mut at: usize) -> Option<(i32, usize)> {
    let mut value = 0i64;
    for shift in (0..35).step_by(7) {
        let byte = *bytes.get(at)?;
        at += 1;
        value |= i64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            if byte & 0x40 != 0 {
                value |= -1 << (shift + 7);
            }
            return Some((i32::try_from(value).ok()?, at));
        }
    }
    None
}

/// Bytes of the shortest form of an unsigned number.
pub fn uleb_len(value: u32) -> u32 {
    (38 - (value | 1).leading_zeros()) / 7
}

/// Writes an unsigned number in `width` bytes (its shortest form if that is longer).
pub fn put_uleb(out: &mut Vec<u8>, mut value: u32, width: u32) {
    let width = width.max(uleb_len(value));
    for i in 1..=width {
        let more = if i < width { 0x80 } else { 0 };
        out.push((value & 0x7f) as u8 | more);
        value >>= 7;
    }
}

/// Writes a signed number in its shortest form.
pub fn put_sleb(out: &mut Vec<u8>, mut value: i32) {
    loop {
        let byte = (value & 0x7f) as u8;
        value >>= 7;
        if value == 0 && byte & 0x40 == 0 || value == -1 && byte & 0x40 != 0 {
            out.push(byte);
            return;
        }
        out.push(byte | 0x80);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn numbers_come_back(value: u32, signed: i32, shift in 0u32..32) {
            let (value, signed) = (value >> shift, signed >> shift);
            let mut bytes = Vec::new();
            put_uleb(&mut bytes, value, 0);
            prop_assert_eq!(bytes.len() as u32, uleb_len(value));
            prop_assert_eq!(uleb(&bytes, 0), Some((value, bytes.len())));
            bytes.clear();
            put_uleb(&mut bytes, value, 5);
            prop_assert_eq!(uleb(&bytes, 0), Some((value, 5)));
            bytes.clear();
            put_sleb(&mut bytes, signed);
            prop_assert_eq!(sleb(&bytes, 0), Some((signed, bytes.len())));
        }

        #[test]
        fn pointers_come_back(byte in prop::sample::select(vec![0u8, 3, 4, 0x0b, 0x0c, 0x1b, 0x9b, 0x1c, 0x9c, 0x13]),
                              is_64: bool, big_endian: bool, addr in 0u32..1 << 30, target in 1u32..1 << 30) {
            let encoding = Encoding::of(byte, Numbers { is_64, big_endian }).unwrap();
            let (addr, target) = (Addr(addr), Addr(target));
            let mut field = [0xee; 10];
            encoding.write(&mut field, addr, Some(target));
            let null = encoding.relative && addr == target;
            prop_assert_eq!(encoding.read(&field, 0, addr), Some(if null { None } else { Some(target) }));
            prop_assert!(field[usize::from(encoding.size)..].iter().all(|&b| b == 0xee));
        }
    }
}
