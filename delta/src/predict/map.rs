//! Old address to new address, through the covers.

/// One cover, by addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Span {
    old: u32,
    new: u32,
    len: u32,
}

/// The static projection: what all covers together say of an old address.
#[derive(Clone, Debug, Default)]
pub struct AddressMap {
    spans: Vec<Span>,
}

/// Spans looked at before the nearest one, for one that reaches far enough.
const BACK: usize = 6;

impl AddressMap {
    /// Adds a cover; the first one added for an address counts.
    pub fn add(&mut self, old: u32, new: u32, len: u32) {
        if len > 0 {
            self.spans.push(Span { old, new, len });
        }
    }

    /// Sets memory aside for that many covers more.
    pub fn reserve(&mut self, covers: usize) {
        self.spans.reserve_exact(covers);
    }

    /// Makes the map ready for [`AddressMap::project`] after covers were added.
    pub fn settle(&mut self) {
        // Stable: among spans that begin at one address the first added comes first.
        self.spans.sort_by_key(|s| s.old);
        self.spans.shrink_to_fit();
    }

    /// Bytes of memory held.
    pub fn memory(&self) -> u64 {
        AddressMap::memory_of(self.spans.len())
    }

    /// Bytes of memory that so many covers take.
    pub fn memory_of(covers: usize) -> u64 {
        covers as u64 * 12
    }

    /// The new address of an old one, if a cover contains it.
    pub fn project(&self, old: u32) -> Option<u32> {
        let after = self.spans.partition_point(|s| s.old <= old);
        let first = after.saturating_sub(BACK);
        let mut best: Option<&Span> = None;
        for span in self.spans[first..after].iter().rev() {
            if old - span.old < span.len && best.is_none_or(|b| b.old == span.old) {
                best = Some(span);
            } else if best.is_some() {
                break;
            }
        }
        best.map(|s| s.new.wrapping_add(old - s.old))
    }

    /// The new address of an old one, or a guess from the cover before it.
    pub fn guess(&self, old: u32) -> u32 {
        self.project(old).unwrap_or_else(|| {
            let after = self.spans.partition_point(|s| s.old <= old);
            let span = self.spans.get(after.saturating_sub(1));
            span.map_or(old, |s| s.new.wrapping_add(old.wrapping_sub(s.old)))
        })
    }
}
