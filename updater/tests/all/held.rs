//! A process that ends with the test: it reads our end of a pipe, and that closes.

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdin, Command, Stdio};

pub struct Held {
    child: Child,
    input: Option<ChildStdin>,
    /// Its first line.
    pub said: String,
}

impl Held {
    /// `None` where there is no such program.
    pub fn start(mut command: Command) -> Option<Held> {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .ok()?;
        let mut said = String::new();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        output.read_line(&mut said).unwrap();
        Some(Held {
            input: child.stdin.take(),
            child,
            said: said.trim().to_owned(),
        })
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        drop(self.input.take());
        let _ = self.child.wait();
    }
}
