//! Exception tables: what `.gcc_except_table` holds for one function.
//!
//! Source of the format: Itanium C++ ABI, "Exception Handling Tables"; `except.c` of GCC.

use super::Numbers;
use super::encoded::{Encoding, OMIT, put_sleb, put_uleb, sleb, uleb, uleb_len};
use crate::place::Addr;

/// Call sites as LEB128 numbers.
pub const ULEB: u8 = 0x01;
/// Call sites as words.
pub const UDATA4: u8 = 0x03;
/// Longest table that is read, in bytes.
pub const LONGEST: usize = 1 << 20;
/// Records of a table that are read, repeats counted, for each of its bytes.
const STEPS_OF_BYTE: usize = 64;

/// A stretch of the function with one way to unwind from it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Site {
    /// First byte, from the function's start.
    pub start: u32,
    /// Byte behind the last.
    pub end: u32,
    /// Landing pad, or 0 for none.
    pub pad: u32,
    /// Offset in the action table plus one, or 0 for a mere cleanup.
    pub action: u32,
}

/// The exception table of one function, as far as it has the usual form.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lsda {
    /// Encoding of the type table, or [`OMIT`].
    pub types_encoding: u8,
    /// Encoding of the call sites.
    pub sites_encoding: u8,
    /// Bytes of the field that tells where the type table ends.
    pub base_width: u32,
    /// Bytes of the field that tells the length of the call sites.
    pub sites_width: u32,
    /// Call sites.
    pub sites: Vec<Site>,
    /// Action records: type filter, and the distance to the next record.
    pub actions: Vec<(i32, i32)>,
    /// Zero bytes before the type table.
    pub padding: u32,
    /// Type table in file order, so the last is that of filter 1; `None` catches everything.
    pub types: Vec<Option<Addr>>,
    /// Exception specifications, which follow the type table.
    pub specs: Vec<u8>,
}

/// What the action records need behind them: types, and bytes of specifications.
///
/// `steps` is how many records may still be read for it: specifications that overlap, and are read again and
/// again, are in no table of a compiler.
fn needed(actions: &[(i32, i32)], specs: &[u8], steps: &mut usize) -> Option<(usize, usize)> {
    let mut types = 0u32;
    let mut specs_end = 0;
    *steps = steps.checked_sub(actions.len())?;
    for &(filter, _) in actions {
        if filter >= 0 {
            types = types.max(filter as u32);
            continue;
        }
        let mut at = (i64::from(filter) + 1).unsigned_abs() as usize;
        loop {
            *steps = steps.checked_sub(1)?;
            let (filter, next) = uleb(specs, at)?;
            at = next;
            if filter == 0 {
                break;
            }
            types = types.max(filter);
        }
        specs_end = at.max(specs_end);
    }
    Some((types as usize, specs_end))
}

fn site_len(encoding: u8, site: &Site) -> u32 {
    if encoding == UDATA4 {
        return 13 + uleb_len(site.action) - 1;
    }
    let len = site.end.wrapping_sub(site.start);
    [site.start, len, site.pad, site.action]
        .map(uleb_len)
        .iter()
        .sum()
}

impl Lsda {
    /// Reads the table at the start of `bytes`, whose address is `addr`; gives it with its length, or `None`
    /// where it has not the usual form.
    pub fn read(bytes: &[u8], addr: Addr, numbers: Numbers) -> Option<(Lsda, usize)> {
        let bytes = &bytes[..bytes.len().min(LONGEST)];
        let mut lsda = Lsda::default();
        if *bytes.first()? != OMIT {
            return None;
        }
        lsda.types_encoding = *bytes.get(1)?;
        let mut p = 2;
        let mut base = None;
        let mut encoding = None;
        if lsda.types_encoding != OMIT {
            encoding = Some(Encoding::of(lsda.types_encoding, numbers)?);
            let (value, next) = uleb(bytes, p)?;
            lsda.base_width = (next - p) as u32;
            base = Some(next.checked_add(value as usize).filter(|&b| b <= bytes.len())?);
            p = next;
        }
        lsda.sites_encoding = *bytes.get(p)?;
        let (len, next) = uleb(bytes, p + 1)?;
        lsda.sites_width = (next - p - 1) as u32;
        p = next;
        let sites_end = p.checked_add(len as usize).filter(|&e| e <= bytes.len())?;
        while p < sites_end {
            let mut fields = [0; 4];
            for (i, field) in fields.iter_mut().enumerate() {
                (*field, p) = match lsda.sites_encoding {
                    UDATA4 if i < 3 => (numbers.word(bytes, p)?, p + 4),
                    ULEB | UDATA4 => uleb(bytes, p)?,
                    _ => return None,
                };
            }
            let [start, len, pad, action] = fields;
            lsda.sites.push(Site {
                start,
                end: start.checked_add(len)?,
                pad,
                action,
            });
        }
        if p != sites_end {
            return None;
        }
        p = lsda.read_actions(bytes, p)?;
        let specs = base.map_or(&[][..], |b| &bytes[b..]);
        let mut steps = STEPS_OF_BYTE * bytes.len();
        let (mut types, mut specs_len) = needed(&lsda.actions, specs, &mut steps)?;
        if let (Some(base), Some(encoding)) = (base, encoding) {
            let from = loop {
                let table = types.checked_mul(usize::from(encoding.size))?;
                let from = base.checked_sub(table).filter(|&f| f >= p)?;
                if bytes[p..from].iter().all(|&b| b == 0) {
                    break from;
                }
                // A record that no call site reaches.
                let (filter, link) = sleb(bytes, p)?;
                let (next, after) = sleb(bytes, link)?;
                lsda.actions.push((filter, next));
                p = after;
                (types, specs_len) = needed(&lsda.actions, specs, &mut steps)?;
            };
            lsda.padding = (from - p) as u32;
            let mut at = from;
            while at < base {
                lsda.types
                    .push(encoding.read(bytes, at, addr.wrapping_add(at as u32))?);
                at += usize::from(encoding.size);
            }
            lsda.specs = specs[..specs_len].to_vec();
            p = base + specs_len;
        } else if types > 0 || specs_len > 0 {
            return None;
        }
        // Only what comes out again byte for byte.
        let mut again = Vec::with_capacity(p);
        lsda.emit(&mut again, numbers);
        lsda.fill_types(&mut again, addr, numbers);
        (bytes.get(..p) == Some(&again)).then_some((lsda, p))
    }

    /// The action records that the call sites reach, and all before them.
    fn read_actions(&mut self, bytes: &[u8], table: usize) -> Option<usize> {
        let mut end = table;
        for site in self.sites.iter().filter(|s| s.action > 0) {
            let mut at = table.checked_add(site.action as usize - 1)?;
            // Chains only lead back, to records that were there already.
            while at >= end {
                let (_, link) = sleb(bytes, at)?;
                let (next, after) = sleb(bytes, link)?;
                end = after;
                if next == 0 {
                    break;
                }
                at = usize::try_from(link as i64 + i64::from(next)).ok()?;
            }
        }
        let mut p = table;
        while p < end {
            let (filter, link) = sleb(bytes, p)?;
            let (next, after) = sleb(bytes, link)?;
            self.actions.push((filter, next));
            p = after;
        }
        Some(p)
    }

    /// Number of types and bytes of specifications that the actions need; `None` where a specification does
    /// not end.
    pub fn needs(&self) -> Option<(usize, usize)> {
        let mut steps = STEPS_OF_BYTE * LONGEST;
        needed(&self.actions, &self.specs, &mut steps)
    }

    /// Length of the call sites in bytes.
    pub fn sites_len(&self) -> u32 {
        self.sites.iter().map(|s| site_len(self.sites_encoding, s)).sum()
    }

    /// Length of the action records in bytes.
    pub fn actions_len(&self) -> u32 {
        let mut bytes = Vec::new();
        self.put_actions(&mut bytes);
        bytes.len() as u32
    }

    fn put_actions(&self, out: &mut Vec<u8>) {
        for &(filter, next) in &self.actions {
            put_sleb(out, filter);
            put_sleb(out, next);
        }
    }

    /// Appends the table, its types still zero; they depend on where it will stand.
    pub fn emit(&self, out: &mut Vec<u8>, numbers: Numbers) {
        let size = Encoding::of(self.types_encoding, numbers).map_or(0, |e| e.size);
        out.extend_from_slice(&[OMIT, self.types_encoding]);
        let sites_len = self.sites_len();
        if self.types_encoding != OMIT {
            let value = 1
                + self.sites_width.max(uleb_len(sites_len))
                + sites_len
                + self.actions_len()
                + self.padding
                + self.types.len() as u32 * u32::from(size);
            put_uleb(out, value, self.base_width);
        }
        out.push(self.sites_encoding);
        put_uleb(out, sites_len, self.sites_width);
        for site in &self.sites {
            let fields = [site.start, site.end.wrapping_sub(site.start), site.pad];
            for field in fields {
                if self.sites_encoding == UDATA4 {
                    out.extend_from_slice(&numbers.of_word(field));
                } else {
                    put_uleb(out, field, 0);
                }
            }
            put_uleb(out, site.action, 0);
        }
        self.put_actions(out);
        let types = self.padding as usize + self.types.len() * usize::from(size);
        out.resize(out.len() + types, 0);
        out.extend_from_slice(&self.specs);
    }

    /// Fills in the types of an emitted table that stands at `addr`.
    pub fn fill_types(&self, bytes: &mut [u8], addr: Addr, numbers: Numbers) {
        fill_types(
            &self.types,
            (self.types_encoding, self.specs.len()),
            bytes,
            addr,
            numbers,
        );
    }
}

/// Fills in the types of an emitted table, which are followed by `specs` bytes, at `addr`.
pub fn fill_types(
    types: &[Option<Addr>],
    (encoding, specs): (u8, usize),
    bytes: &mut [u8],
    addr: Addr,
    numbers: Numbers,
) {
    let Some(encoding) = Encoding::of(encoding, numbers) else {
        return;
    };
    let size = usize::from(encoding.size);
    let Some(mut at) = bytes.len().checked_sub(specs + types.len() * size) else {
        return;
    };
    for &target in types {
        encoding.write(&mut bytes[at..], addr.wrapping_add(at as u32), target);
        at += size;
    }
}
