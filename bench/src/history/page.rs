//! The results as a page: lines over the commits, then the figures.

use super::{
    record::{self, Figures, Record},
    text::{name, over_first, ran, ratio, told},
};
use crate::table::group;
use pages::{Axis, Line, Page, Plot, Table, Tone, bytes, lines};

/// The page of these results.
pub fn of(records: &[Record]) -> Result<String, String> {
    let mut page = Page::new(
        "elfdelta over its commits",
        "What the same pairs of releases took at some commits. Each delta was applied to the old file, and what came \
         back compared with the new one.",
    );
    let all = History::of(records);
    page.heading("All pairs");
    page.plots(&[
        all.plot(
            "Bytes, over those of the first result",
            Axis::linear(short),
            |record, engine| over_first(records, record, engine),
        ),
        all.seconds("Processor time of making a delta", |one| one.diff),
        all.seconds("Processor time of applying it", |one| one.apply),
    ]);
    page.text(
        "Seconds compare only within a run: those of the yardstick, which ran beside, are one. All are geometric means \
         over the pairs.",
    );
    page.table(&all.means());
    page.heading("Pair by pair");
    let plots = record::pairs(records);
    let plots = plots.iter().map(|pair| {
        all.plot(
            &format!("Bytes of {pair}"),
            Axis::linear(bytes),
            |record, engine| Some(record.figures(pair, engine)?.bytes as f64),
        )
    });
    page.plots(&plots.collect::<Vec<_>>());
    page.table(&all.pairs());
    page.heading("What they ran on");
    let ran_on = records
        .iter()
        .fold(Table::new(&["commit", "ran on"]).words(&[1]), |table, record| {
            table.row([name(record), ran(record)])
        });
    page.table(&ran_on);
    page.finish(records)
}

/// A ratio on an axis.
fn short(figure: f64) -> String {
    format!("{figure:.2}")
}

/// The results, and what is told of each.
struct History<'a> {
    records: &'a [Record],
    engines: Vec<&'a str>,
    /// Our profiles, with what their colour is.
    ours: Vec<(Tone, &'a str)>,
}

impl<'a> History<'a> {
    fn of(records: &'a [Record]) -> History<'a> {
        let engines = record::engines(records);
        let ours = engines.iter().copied().filter(|engine| record::ours(engine));
        let tones = [Tone::Ours, Tone::Other, Tone::Peer];
        History {
            records,
            ours: tones.into_iter().zip(ours).collect(),
            engines,
        }
    }

    /// A line for each of our profiles.
    fn plot(&self, caption: &str, axis: Axis, figure: impl Fn(&Record, &str) -> Option<f64>) -> Plot {
        let line = |(tone, engine): &(Tone, &str)| Line {
            tone: *tone,
            figures: self
                .records
                .iter()
                .enumerate()
                .filter_map(|(at, record)| Some((at, figure(record, engine)?)))
                .collect(),
        };
        let drawn: Vec<Line> = self.ours.iter().map(line).collect();
        let places: Vec<String> = self.records.iter().map(name).collect();
        lines(caption, axis, &places, &drawn).legend(&self.ours)
    }

    fn seconds(&self, caption: &str, figure: fn(&Figures) -> f64) -> Plot {
        let yardsticks: Vec<&str> = self.records.iter().map(|one| one.yardstick.as_str()).collect();
        let note = match yardsticks.as_slice() {
            [first, rest @ ..] if rest.iter().all(|other| other == first) => format!("{first} is 1."),
            _ => "The yardstick of each result is 1.".into(),
        };
        self.plot(caption, Axis::linear(short), |record, engine| {
            record.mean(engine, figure)
        })
        .note(note)
    }

    /// Means of every engine's processor time, and of our bytes.
    fn means(&self) -> Table {
        let mut head = vec!["commit".to_owned()];
        head.extend(
            self.ours
                .iter()
                .map(|(_, engine)| format!("{engine}: bytes of the first")),
        );
        for engine in &self.engines {
            head.extend([format!("{engine}: diff"), format!("{engine}: apply")]);
        }
        let head: Vec<&str> = head.iter().map(String::as_str).collect();
        self.records.iter().fold(Table::new(&head), |table, record| {
            let bytes = self
                .ours
                .iter()
                .map(|(_, engine)| over_first(self.records, record, engine));
            let times = self.engines.iter().flat_map(|engine| {
                [
                    record.mean(engine, |one| one.diff),
                    record.mean(engine, |one| one.apply),
                ]
            });
            let cells = bytes.chain(times).map(|figure| told(figure.map(ratio)));
            table.row([name(record)].into_iter().chain(cells))
        })
    }

    /// Bytes of every engine by pair and commit.
    fn pairs(&self) -> Table {
        let pairs = record::pairs(self.records);
        let head = [&["commit", "engine"], &pairs[..]].concat();
        let mut table = Table::new(&head).words(&[1]);
        for record in self.records {
            for engine in &self.engines {
                let cell = |pair: &&str| told(record.figures(pair, engine).map(|one| group(one.bytes)));
                let names = [name(record), (*engine).to_owned()];
                table = table.row(names.into_iter().chain(pairs.iter().map(cell)));
            }
        }
        table
    }
}
