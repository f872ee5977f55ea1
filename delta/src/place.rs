//! Numbers that say where: addresses, file offsets, units. Each is a type of its own, so that none is taken for another.

use std::num::NonZeroU32;
use std::ops::{Add, AddAssign, Sub};

/// Whatever lies on a line of bytes.
pub trait Place: Copy + Ord + Add<u32, Output = Self> {
    /// How far it lies behind another place, wrapping around.
    fn since(self, other: Self) -> u32;
}

/// A kind of place: what one of its numbers means, and its arithmetic.
macro_rules! place {
    ($(#[$about:meta])* $name:ident) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub u32);

        impl $name {
            /// The place so many bytes behind, wrapping around.
            #[inline]
            pub fn wrapping_add(self, bytes: u32) -> $name {
                $name(self.0.wrapping_add(bytes))
            }

            /// The place so many bytes behind, if there is one.
            #[inline]
            pub fn checked_add(self, bytes: u32) -> Option<$name> {
                self.0.checked_add(bytes).map($name)
            }

            /// The place so many bytes behind, or the last one.
            #[inline]
            pub fn saturating_add(self, bytes: u32) -> $name {
                $name(self.0.saturating_add(bytes))
            }

            /// As an index into the bytes of a whole file or memory.
            #[inline]
            pub fn index(self) -> usize {
                self.0 as usize
            }
        }

        impl Place for $name {
            #[inline]
            fn since(self, other: $name) -> u32 {
                self.0.wrapping_sub(other.0)
            }
        }

        impl Add<u32> for $name {
            type Output = $name;
            #[inline]
            fn add(self, bytes: u32) -> $name {
                $name(self.0 + bytes)
            }
        }

        impl Sub<$name> for $name {
            type Output = u32;
            #[inline]
            fn sub(self, other: $name) -> u32 {
                self.0 - other.0
            }
        }

        impl AddAssign<u32> for $name {
            #[inline]
            fn add_assign(&mut self, bytes: u32) {
                self.0 += bytes;
            }
        }

        impl From<$name> for u64 {
            #[inline]
            fn from(place: $name) -> u64 {
                place.0.into()
            }
        }

        impl From<$name> for i64 {
            #[inline]
            fn from(place: $name) -> i64 {
                place.0.into()
            }
        }

        impl TryFrom<u64> for $name {
            type Error = std::num::TryFromIntError;
            #[inline]
            fn try_from(number: u64) -> std::result::Result<$name, Self::Error> {
                u32::try_from(number).map($name)
            }
        }

        impl TryFrom<i64> for $name {
            type Error = std::num::TryFromIntError;
            #[inline]
            fn try_from(number: i64) -> std::result::Result<$name, Self::Error> {
                u32::try_from(number).map($name)
            }
        }
    };
}

place! {
    /// An address in memory, the base of its file subtracted.
    Addr
}
place! {
    /// An offset in a file.
    Off
}

/// A unit of code, by its number from 0. Whether there is one takes no room of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnitId(NonZeroU32);

impl UnitId {
    /// The unit with a number.
    #[inline]
    pub fn of(number: u32) -> UnitId {
        UnitId(NonZeroU32::MIN.saturating_add(number))
    }

    /// Its number.
    #[inline]
    pub fn number(self) -> u32 {
        self.0.get() - 1
    }

    /// As an index into the units of a file.
    #[inline]
    pub fn index(self) -> usize {
        self.number() as usize
    }
}

/// A section of an ELF file, by its number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SectionId(pub u32);

impl SectionId {
    /// As an index into the sections of a file.
    #[inline]
    pub fn index(self) -> usize {
        self.0 as usize
    }

    /// All of a file with so many.
    pub fn all(count: usize) -> impl DoubleEndedIterator<Item = SectionId> + Clone {
        (0..count as u32).map(SectionId)
    }
}

/// A stretch of bytes: where it begins, and its length.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span<P> {
    /// The first byte.
    pub at: P,
    /// Length in bytes.
    pub len: u32,
}

impl<P: Place> Span<P> {
    /// So many bytes from a place on.
    #[inline]
    pub fn new(at: P, len: u32) -> Span<P> {
        Span { at, len }
    }

    /// The place behind the last byte.
    #[inline]
    pub fn end(self) -> P {
        self.at + self.len
    }

    /// Whether a place is among the bytes.
    #[inline]
    pub fn holds(self, place: P) -> bool {
        place.since(self.at) < self.len
    }
}

impl Span<Off> {
    /// As a range of indices into the bytes of a whole file.
    #[inline]
    pub fn range(self) -> std::ops::Range<usize> {
        self.at.index()..self.at.index() + self.len as usize
    }
}
