//! Bars that lie: what each stands for is written above it, so that long names have room on a narrow screen.

use crate::{
    axis::Axis,
    canvas::{self, CHARACTER, Chart, Plot, SIDE, WIDTH, cut, draw, stroke, text, words},
    tone::Tone,
};
use plotters::{
    chart::ChartBuilder,
    coord::{
        ranged1d::{Ranged, ValueFormatter},
        types::RangedCoordf64,
    },
    element::{PathElement, Rectangle, Text},
    prelude::IntoLogRange,
    style::{Color, text_anchor::HPos},
};

/// What one name stands for: a bar, or several of them.
#[derive(Clone, Debug)]
pub struct Bar {
    /// The name.
    pub label: String,
    /// Its figures, from above to below.
    pub values: Vec<Value>,
}

/// One figure.
#[derive(Clone, Copy, Debug)]
pub struct Value {
    /// What its colour stands for.
    pub tone: Tone,
    /// How long it is.
    pub figure: f64,
    /// The least and the most of it.
    pub spread: Option<(f64, f64)>,
}

impl Bar {
    /// A name with one figure.
    pub fn of(label: impl Into<String>, tone: Tone, figure: f64) -> Bar {
        Bar {
            label: label.into(),
            values: vec![Value {
                tone,
                figure,
                spread: None,
            }],
        }
    }

    /// With one more.
    pub fn and(mut self, tone: Tone, figure: f64) -> Bar {
        self.values.push(Value {
            tone,
            figure,
            spread: None,
        });
        self
    }

    /// Says of the last figure between what and what it was.
    pub fn between(mut self, spread: Option<(f64, f64)>) -> Bar {
        if let Some(last) = self.values.last_mut() {
            last.spread = spread;
        }
        self
    }

    fn height(&self) -> f64 {
        WORDS + self.values.len() as f64 * BAR + GAP
    }
}

/// Heights in units: the words above bars, a bar, what is between rows, and the axis below all.
const WORDS: f64 = 17.0;
const BAR: f64 = 8.0;
const GAP: f64 = 8.0;
const AXIS: f64 = 26.0;

/// A plot of them in the order given.
pub fn bars(caption: &str, axis: Axis, bars: &[Bar]) -> Plot {
    let rows: f64 = bars.iter().map(Bar::height).sum();
    let height = rows + AXIS + 2.0;
    let figures = bars.iter().flat_map(|bar| &bar.values).flat_map(|value| {
        let (least, most) = value.spread.unwrap_or((value.figure, value.figure));
        [value.figure, least, most]
    });
    let (begin, end) = axis.range(figures);
    draw(caption, height as u32, |area| {
        let mut builder = ChartBuilder::on(area);
        builder.margin_left(SIDE).margin_right(SIDE).margin_top(2);
        builder.x_label_area_size(AXIS as u32);
        if axis.log {
            let chart = builder.build_cartesian_2d((begin..end).log_scale(), rows..0.0);
            fill(chart.map_err(text)?, axis, (begin, end), bars)
        } else {
            let chart = builder.build_cartesian_2d(begin..end, rows..0.0);
            fill(chart.map_err(text)?, axis, (begin, end), bars)
        }
    })
}

fn fill<X>(
    mut chart: Chart<X, RangedCoordf64>,
    axis: Axis,
    (begin, end): (f64, f64),
    bars: &[Bar],
) -> Result<(), String>
where
    X: Ranged<ValueType = f64> + ValueFormatter<f64>,
{
    canvas::mesh_across(&mut chart, axis)?;
    let mut top = 0.0;
    for bar in bars {
        let middle = top + WORDS / 2.0;
        let told: Vec<String> = bar.values.iter().map(|v| (axis.write)(v.figure)).collect();
        let told = told.join(" / ");
        let room = f64::from(WIDTH - 2 * SIDE) - (told.chars().count() + 2) as f64 * CHARACTER;
        let pieces = [
            Text::new(
                cut(&bar.label, room),
                (begin, middle),
                words(Tone::Ink, HPos::Left),
            ),
            Text::new(told, (end, middle), words(Tone::Ink, HPos::Right)),
        ];
        chart.draw_series(pieces).map_err(text)?;
        let mut at = top + WORDS;
        for value in &bar.values {
            let length = value.figure.clamp(begin, end);
            let corners = [(begin, at), (length, at + BAR - 1.0)];
            let shape = Rectangle::new(corners, value.tone.colour().filled());
            chart.draw_series([shape]).map_err(text)?;
            if let Some((least, most)) = value.spread {
                let middle = at + BAR / 2.0 - 0.5;
                let whisker = vec![
                    (least.clamp(begin, end), middle),
                    (most.clamp(begin, end), middle),
                ];
                let whisker = PathElement::new(whisker, stroke(Tone::Ink, 2));
                chart.draw_series([whisker]).map_err(text)?;
            }
            at += BAR;
        }
        top += bar.height();
    }
    Ok(())
}
