//! Figures in the text format that Prometheus reads, from a web server or from a file beside its node exporter.

use crate::names::Follow;
use std::fmt::Write;

/// Figures, one family after the other. Format: "Exposition formats" of the Prometheus documentation, version 0.0.4.
#[derive(Debug, Default)]
pub struct Metrics {
    text: String,
}

impl Metrics {
    /// What the format is called in an answer of a web server.
    pub const TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

    /// A figure that goes up and down: a row for each set of labels.
    pub fn gauge(&mut self, name: &str, help: &str, rows: &[(&[(&str, &str)], f64)]) {
        self.family(name, "gauge", help, rows);
    }

    /// A figure that only grows; its name ends in `_total`.
    pub fn counter(&mut self, name: &str, help: &str, value: u64) {
        self.family(name, "counter", help, &[(&[], value as f64)]);
    }

    fn family(&mut self, name: &str, kind: &str, help: &str, rows: &[(&[(&str, &str)], f64)]) {
        if rows.is_empty() {
            return;
        }
        self.add(format_args!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
        for (labels, value) in rows {
            self.add(format_args!("{name}"));
            for (i, (label, said)) in labels.iter().enumerate() {
                let before = if i == 0 { '{' } else { ',' };
                let said = said
                    .replace('\\', "\\\\")
                    .replace('"', "\\\"")
                    .replace('\n', "\\n");
                self.add(format_args!("{before}{label}=\"{said}\""));
            }
            let close = if labels.is_empty() { "" } else { "}" };
            self.add(format_args!("{close} {value}\n"));
        }
    }

    fn add(&mut self, what: std::fmt::Arguments) {
        // A string takes whatever there is memory for.
        let _ = self.text.write_fmt(what);
    }

    /// All of it.
    pub fn text(self) -> String {
        self.text
    }
}

/// A channel as labels.
pub fn labels(follow: &Follow) -> [(&str, &str); 3] {
    let Follow {
        product,
        channel,
        arch,
    } = follow;
    [("product", product), ("channel", channel), ("arch", arch)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_and_labels_are_spelt_as_the_format_has_it() {
        let mut m = Metrics::default();
        m.gauge(
            "elfup_a",
            "Help.",
            &[(&[("x", "a\"b\\c\nd"), ("y", "")], 1.5), (&[], 3e12)],
        );
        m.counter("elfup_b_total", "More.", 7);
        m.gauge("elfup_none", "Nothing.", &[]);
        let expected = "# HELP elfup_a Help.\n# TYPE elfup_a gauge\n\
            elfup_a{x=\"a\\\"b\\\\c\\nd\",y=\"\"} 1.5\nelfup_a 3000000000000\n\
            # HELP elfup_b_total More.\n# TYPE elfup_b_total counter\nelfup_b_total 7\n";
        assert_eq!(m.text(), expected);
    }
}
