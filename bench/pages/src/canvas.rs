//! What plots are drawn on: as wide as a telephone, so that their words can be read on one, and scaled by the page.

use crate::{axis::Axis, tone::Tone};
use plotters::{
    chart::{ChartContext, MeshStyle},
    coord::{
        Shift,
        cartesian::Cartesian2d,
        ranged1d::{Ranged, ValueFormatter},
    },
    drawing::DrawingArea,
    prelude::{IntoDrawingArea, SVGBackend},
    style::{
        Color, IntoFont, ShapeStyle, TRANSPARENT, TextStyle,
        text_anchor::{HPos, Pos, VPos},
    },
};
use std::fmt::Display;

/// Width of every plot in its own units, which are about a telephone's pixels.
pub(crate) const WIDTH: u32 = 360;
/// What is left free at the sides, for half of the longest figure of an axis, such as `16.7 min`.
pub(crate) const SIDE: u32 = 30;
/// Size of words as the library counts it; what comes out is this by 1.24.
const SIZE: i32 = 16;
/// About how wide a character is, and how high, in units.
pub(crate) const CHARACTER: f64 = 7.0;
pub(crate) const LINE: f64 = 14.0;

/// A plot, with what is said of it.
#[derive(Clone, Debug)]
pub struct Plot {
    pub(crate) caption: String,
    pub(crate) note: String,
    pub(crate) legend: Vec<(Tone, String)>,
    /// Its picture; empty if it could not be drawn.
    pub(crate) svg: String,
}

impl Plot {
    /// Says below it what else is to be known.
    pub fn note(mut self, note: impl Into<String>) -> Plot {
        self.note = note.into();
        self
    }

    /// Says what its colours stand for.
    pub fn legend(mut self, tones: &[(Tone, &str)]) -> Plot {
        self.legend = tones.iter().map(|(tone, of)| (*tone, (*of).to_owned())).collect();
        self
    }
}

pub(crate) type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// Draws one so many units high. Bars and points get classes, by which they can be counted.
pub(crate) fn draw(caption: &str, height: u32, fill: impl FnOnce(&Area) -> Result<(), String>) -> Plot {
    let mut svg = String::new();
    let drawn = {
        let area = SVGBackend::with_string(&mut svg, (WIDTH, height)).into_drawing_area();
        fill(&area).and_then(|()| area.present().map_err(text))
    };
    let svg = match drawn {
        Ok(()) => named(&svg, caption),
        Err(_) => String::new(),
    };
    Plot {
        caption: caption.to_owned(),
        note: String::new(),
        legend: Vec::new(),
        svg,
    }
}

/// The picture with a name for those who do not see it, and classes.
fn named(svg: &str, caption: &str) -> String {
    let head = format!(
        "<svg role=\"img\" aria-label=\"{}\" ",
        crate::page::escape(caption)
    );
    svg.replacen("<svg ", &head, 1)
        .replace("<rect ", "<rect class=\"bar\" ")
        .replace("<circle ", "<circle class=\"point\" ")
}

pub(crate) fn text(error: impl Display) -> String {
    error.to_string()
}

/// Words of a tone, which begin, end or have their middle at their place.
pub(crate) fn words(tone: Tone, at: HPos) -> TextStyle<'static> {
    let style = ("sans-serif", SIZE).into_font().color(&tone.colour());
    style.pos(Pos::new(at, VPos::Center))
}

/// A line of a tone.
pub(crate) fn stroke(tone: Tone, width: u32) -> ShapeStyle {
    tone.colour().stroke_width(width)
}

/// A chart with two axes.
pub(crate) type Chart<'a, 'b, X, Y> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<X, Y>>;

/// Lines and figures of the horizontal axis alone.
pub(crate) fn mesh_across<X, Y>(chart: &mut Chart<X, Y>, across: Axis) -> Result<(), String>
where
    X: Ranged<ValueType = f64> + ValueFormatter<f64>,
    Y: Ranged<ValueType = f64> + ValueFormatter<f64>,
{
    let write = |figure: &f64| (across.write)(*figure);
    let mut mesh = chart.configure_mesh();
    mesh.disable_y_mesh()
        .disable_y_axis()
        .x_labels(FIGURES)
        .x_label_formatter(&write);
    styled(&mut mesh)
}

/// Lines and figures of the upright axis alone.
pub(crate) fn mesh_upright<X, Y>(chart: &mut Chart<X, Y>, upright: Axis) -> Result<(), String>
where
    X: Ranged<ValueType = f64> + ValueFormatter<f64>,
    Y: Ranged<ValueType = f64> + ValueFormatter<f64>,
{
    let write = |figure: &f64| (upright.write)(*figure);
    let mut mesh = chart.configure_mesh();
    mesh.disable_x_mesh()
        .disable_x_axis()
        .y_labels(FIGURES)
        .y_label_formatter(&write);
    styled(&mut mesh)
}

/// Lines and figures of both axes.
pub(crate) fn mesh_both<X, Y>(chart: &mut Chart<X, Y>, across: Axis, upright: Axis) -> Result<(), String>
where
    X: Ranged<ValueType = f64> + ValueFormatter<f64>,
    Y: Ranged<ValueType = f64> + ValueFormatter<f64>,
{
    let (write_x, write_y) = (
        |figure: &f64| (across.write)(*figure),
        |figure: &f64| (upright.write)(*figure),
    );
    let mut mesh = chart.configure_mesh();
    mesh.x_labels(FIGURES)
        .x_label_formatter(&write_x)
        .y_labels(FIGURES)
        .y_label_formatter(&write_y);
    styled(&mut mesh)
}

/// Draws lines and figures, both faint.
fn styled<X, Y>(mesh: &mut MeshStyle<'_, '_, X, Y, SVGBackend>) -> Result<(), String>
where
    X: Ranged<ValueType = f64> + ValueFormatter<f64>,
    Y: Ranged<ValueType = f64> + ValueFormatter<f64>,
{
    mesh.label_style(faint())
        .axis_style(grid())
        .bold_line_style(grid());
    mesh.light_line_style(TRANSPARENT).draw().map_err(text)
}

/// About how many figures an axis has.
const FIGURES: usize = 5;

fn faint() -> TextStyle<'static> {
    ("sans-serif", SIZE).into_font().color(&Tone::Faint.colour())
}

fn grid() -> ShapeStyle {
    stroke(Tone::Grid, 1)
}

/// Cuts words to a width in units: the end of a path says more than its beginning.
pub(crate) fn cut(words: &str, width: f64) -> String {
    let most = (width / CHARACTER).max(4.0) as usize;
    let count = words.chars().count();
    match count > most {
        true => {
            let tail: String = words.chars().skip(count + 1 - most).collect();
            format!("\u{2026}{tail}")
        }
        false => words.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_words_keep_their_end() {
        assert_eq!(cut("short", 100.0), "short");
        assert_eq!(cut("usr/lib/libcrypto.so.3", 70.0), "\u{2026}ypto.so.3");
        assert_eq!(
            cut("\u{e4}\u{f6}\u{fc}\u{e4}\u{f6}\u{fc}", 28.0),
            "\u{2026}\u{e4}\u{f6}\u{fc}"
        );
    }
}
