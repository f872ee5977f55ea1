//! Pages of results: plots, tables and the raw figures in one HTML file that needs nothing else.
//!
//! A page has no script and fetches nothing, which its own content policy holds the browser to. It follows what the
//! reader has asked for, dark or light, fits a telephone, and prints. [`Page`] takes parts in the order in which they
//! are read; [`bars()`], [`scatter()`] and [`lines()`] make a [`Plot`].
//!
//! ```
//! use pages::{Axis, Bar, Page, Table, Tone, bars};
//! let row = Bar::of("elfdelta", Tone::Ours, 1349.0);
//! let plot = bars("Bytes by engine", Axis::log(pages::bytes), &[row]);
//! let mut page = Page::new("numpy", "Two releases, one engine.");
//! page.plots(&[plot]);
//! page.table(&Table::new(&["engine", "bytes"]).row(["elfdelta".into(), "1,349".into()]));
//! assert!(page.finish(&[1349])?.contains("1,349"));
//! # Ok::<(), String>(())
//! ```
#![forbid(unsafe_code)]

mod axis;
mod bars;
mod canvas;
mod lines;
mod page;
mod scatter;
mod tone;

pub use axis::{Axis, bytes, seconds};
pub use bars::{Bar, Value, bars};
pub use canvas::Plot;
pub use lines::{Line, lines};
pub use page::{Page, Table};
pub use scatter::{Spot, scatter};
pub use tone::Tone;
