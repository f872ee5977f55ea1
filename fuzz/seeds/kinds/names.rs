//! Generic code whose mangled names stay in the symbol table; no standard library, so that it is small.
#![no_std]
#![no_main]

use core::fmt::{self, Write};

#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    loop {}
}

struct Buffer<const N: usize> {
    bytes: [u8; N],
    len: usize,
}

impl<const N: usize> Write for Buffer<N> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            *self.bytes.get_mut(self.len).ok_or(fmt::Error)? = byte;
            self.len += 1;
        }
        Ok(())
    }
}

#[derive(Debug)]
#[allow(dead_code)]
enum Token<'a> {
    Word(&'a [u8]),
    Number(i64),
    #[cfg(second)]
    Pair(u8, u8),
    End,
}

fn token(input: &[u8]) -> Token<'_> {
    match input {
        [] => Token::End,
        [b'0'..=b'9', ..] => Token::Number(input.iter().take_while(|b| b.is_ascii_digit()).fold(0, |n, b| n * 10 + i64::from(b - b'0'))),
        #[cfg(second)]
        [b'(', a, b, ..] => Token::Pair(*a, *b),
        _ => Token::Word(input),
    }
}

fn longest<T: PartialOrd + Copy>(items: &[T]) -> Option<T> {
    let mut best = *items.first()?;
    for item in items {
        if *item > best {
            best = *item;
        }
    }
    Some(best)
}

#[unsafe(no_mangle)]
pub extern "C" fn main(argc: i32, _: *const *const u8) -> i32 {
    let mut out = Buffer::<64> { bytes: [0; 64], len: 0 };
    let _ = write!(out, "{:?} {:?}", token(&[argc as u8, b'7']), longest(&[argc, 3]));
    #[cfg(second)]
    let _ = write!(out, " {:?}", longest(&[argc as u64, 9]));
    out.len as i32 + longest(&out.bytes).map_or(0, i32::from)
}
