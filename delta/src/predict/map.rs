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
    /// For each page of old addresses the first span that begins in it or behind it.
    first: Vec<u32>,
}

/// Bytes of a page, as a power of two.
const PAGE: u32 = 12;

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
        self.first.clear();
        for (i, span) in self.spans.iter().enumerate() {
            self.first.resize((span.old >> PAGE) as usize + 1, i as u32);
        }
    }

    /// Bytes of memory held.
    pub fn memory(&self) -> u64 {
        AddressMap::memory_of(self.spans.len()) + self.first.len() as u64 * 4
    }

    /// Bytes of memory that so many covers take.
    pub fn memory_of(covers: usize) -> u64 {
        covers as u64 * 12
    }

    /// How many spans begin at an address or before it.
    fn upto(&self, old: u32) -> usize {
        let page = (old >> PAGE) as usize;
        let start = |page: usize| self.first.get(page).map_or(self.spans.len(), |&i| i as usize);
        let (from, to) = (start(page), start(page + 1));
        from + self.spans[from..to].partition_point(|s| s.old <= old)
    }

    /// The new address of an old one, if a cover contains it.
    pub fn project(&self, old: u32) -> Option<u32> {
        let after = self.upto(old);
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
            let after = self.upto(old);
            let span = self.spans.get(after.saturating_sub(1));
            span.map_or(old, |s| s.new.wrapping_add(old.wrapping_sub(s.old)))
        })
    }
}
