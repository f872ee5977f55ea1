//! What an axis counts, and how its figures are written.

/// How an axis is divided and written.
#[derive(Clone, Copy)]
pub struct Axis {
    /// Whether each of its steps is ten times the one before.
    pub(crate) log: bool,
    /// How a figure is written.
    pub(crate) write: fn(f64) -> String,
}

impl Axis {
    /// Each step ten times the one before.
    pub fn log(write: fn(f64) -> String) -> Axis {
        Axis { log: true, write }
    }

    /// From nothing, in equal steps.
    pub fn linear(write: fn(f64) -> String) -> Axis {
        Axis { log: false, write }
    }

    /// From where to where it goes, so that these figures have their place. Of a logarithmic one the ends are powers of
    /// ten; what is nothing has no place on it and lies at its beginning.
    pub(crate) fn range(self, figures: impl Iterator<Item = f64>) -> (f64, f64) {
        let figures = figures.filter(|figure| figure.is_finite() && (*figure > 0.0 || !self.log));
        let (mut least, mut most) = (f64::INFINITY, 0f64);
        for figure in figures {
            (least, most) = (least.min(figure), most.max(figure));
        }
        if most <= 0.0 {
            return if self.log { (1.0, 10.0) } else { (0.0, 1.0) };
        }
        if !self.log {
            return (0.0, most * 1.04);
        }
        // A figure at the very beginning would be a bar of no length.
        let begin = 10f64.powf((least * 0.8).log10().floor());
        let end = 10f64.powf(most.log10().ceil()).max(begin * 10.0);
        // A hair outside: what is drawn asks of logarithms, rounded, whether the ends have their figures.
        (begin * (1.0 - HAIR), end * (1.0 + HAIR))
    }
}

const HAIR: f64 = 1e-9;

/// `1.4 kB`, as axes and labels have it.
pub fn bytes(figure: f64) -> String {
    match figure {
        ..999.5 => format!("{figure:.0} B"),
        ..999.5e3 => format!("{} kB", three(figure / 1e3)),
        ..999.5e6 => format!("{} MB", three(figure / 1e6)),
        _ => format!("{} GB", three(figure / 1e9)),
    }
}

/// `250 ms`, `3.2 s`, `4 min`, `2.5 h`, `3 d`.
pub fn seconds(figure: f64) -> String {
    match figure {
        0.0 => "0 s".into(),
        ..0.9995 => format!("{} ms", three(figure * 1e3)),
        ..119.5 => format!("{} s", three(figure)),
        ..7170.0 => format!("{} min", three(figure / 60.0)),
        ..172_800.0 => format!("{} h", three(figure / 3600.0)),
        _ => format!("{} d", three(figure / 86400.0)),
    }
}

/// A figure by its first three digits at most, without noughts behind the point.
fn three(figure: f64) -> String {
    let digits = match figure {
        ..9.995 => 2,
        ..99.95 => 1,
        _ => 0,
    };
    let text = format!("{figure:.digits$}");
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_short() {
        assert_eq!(bytes(154.0), "154 B");
        assert_eq!(bytes(1349.0), "1.35 kB");
        assert_eq!(bytes(10_003_053.0), "10 MB");
        assert_eq!(bytes(999_600.0), "1 MB");
        assert_eq!(seconds(0.0123), "12.3 ms");
        assert_eq!(seconds(0.0), "0 s");
        assert_eq!(seconds(4.0), "4 s");
        assert_eq!(seconds(600.0), "10 min");
        assert_eq!(seconds(9000.0), "2.5 h");
    }

    #[test]
    fn ranges_hold_their_figures() {
        let log = Axis::log(bytes);
        let ends = |figures: &[f64]| {
            let (begin, end) = log.range(figures.iter().copied());
            (begin.round(), end.round())
        };
        assert_eq!(ends(&[154.0, 90_000.0]), (100.0, 100_000.0));
        assert_eq!(ends(&[100.0]), (10.0, 100.0));
        assert_eq!(log.range([0.0].into_iter()), (1.0, 10.0));
        let linear = Axis::linear(bytes);
        assert_eq!(linear.range([50.0, 100.0].into_iter()), (0.0, 104.0));
        assert_eq!(linear.range([].into_iter()), (0.0, 1.0));
    }
}
