//! How one side gets from a file to its inside, or back: copies, and where packed streams begin and end.

use super::codec::Codec;
use crate::cursor::{Cursor, put_varint};
use crate::{Error, error::Result};

/// Levels of packing that a plan may have.
pub const DEPTH: usize = 6;

/// One step, in file order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// So many bytes of the current level go as they are; `None`: all that are left of it.
    Copy(Option<u64>),
    /// A packed stream begins; what follows is what it holds.
    Open(Codec),
    /// It ends.
    Close,
}

/// For which direction a plan is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Opening the old file: a codec stands without what only an encoder needs.
    Old,
    /// Closing the new file.
    New,
}

/// The steps of one file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// In file order.
    pub ops: Vec<Op>,
}

const COPY: u64 = 0;
const CLOSE: u64 = 1;
const OPEN: u64 = 2;

impl Plan {
    /// Appends a copy of a known length; neighbours are joined.
    pub fn copy(&mut self, len: u64) {
        match self.ops.last_mut() {
            _ if len == 0 => {}
            Some(Op::Copy(Some(before))) => *before += len,
            _ => self.ops.push(Op::Copy(Some(len))),
        }
    }

    /// Whether closing by it takes scratch space.
    pub fn needs_scratch(&self) -> bool {
        let needs = |op: &Op| matches!(op, Op::Open(codec) if codec.needs_scratch());
        self.ops.iter().any(needs)
    }

    /// Appends the plan to a stream.
    pub fn write(&self, side: Side, out: &mut Vec<u8>) {
        put_varint(out, self.ops.len() as u64);
        for op in &self.ops {
            match op {
                Op::Copy(len) => put_varint(out, len.unwrap_or(0) << 2 | COPY),
                Op::Close => put_varint(out, CLOSE),
                Op::Open(codec) => {
                    put_varint(out, u64::from(codec.id()) << 2 | OPEN);
                    codec.write(side, out);
                }
            }
        }
    }

    /// Reads one; the steps fit together, whatever the file.
    pub fn read(side: Side, cursor: &mut Cursor) -> Result<Plan> {
        let damaged = Error::damaged("its plan of a packed file does not fit together");
        let mut plan = Plan::default();
        let mut depth = 0;
        // Each step takes a byte at least, so the cursor ends what the count does not.
        for _ in 0..cursor.varint()? {
            let word = cursor.varint()?;
            let op = match (word & 3, word >> 2) {
                (COPY, 0) => Op::Copy(None),
                (COPY, len) => Op::Copy(Some(len)),
                (CLOSE, 0) if depth > 0 => {
                    depth -= 1;
                    Op::Close
                }
                (OPEN, id) if depth < DEPTH => {
                    depth += 1;
                    Op::Open(Codec::read(id, side, cursor)?)
                }
                _ => return Err(damaged),
            };
            plan.ops.push(op);
        }
        if depth != 0 {
            return Err(damaged);
        }
        Ok(plan)
    }
}
