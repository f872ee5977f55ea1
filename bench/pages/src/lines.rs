//! Figures one after the other, such as those of commits: a line for each name, a point for each figure.

use crate::{
    axis::Axis,
    canvas::{self, Plot, SIDE, draw, stroke, text, words},
    tone::Tone,
};
use plotters::{
    chart::ChartBuilder,
    element::{Circle, Text},
    series::LineSeries,
    style::{Color, text_anchor::HPos},
};

/// One line.
#[derive(Clone, Debug)]
pub struct Line {
    /// What its colour stands for.
    pub tone: Tone,
    /// Its figures: at which place of those below, and what.
    pub figures: Vec<(usize, f64)>,
}

const HEIGHT: u32 = 220;

/// A plot of lines over places with names, of which the first and the last are written.
pub fn lines(caption: &str, upright: Axis, places: &[String], lines: &[Line]) -> Plot {
    let upright = Axis {
        log: false,
        ..upright
    };
    let figures = lines
        .iter()
        .flat_map(|line| line.figures.iter().map(|(_, figure)| *figure));
    let (below, above) = upright.range(figures);
    let last = places.len().saturating_sub(1) as f64;
    draw(caption, HEIGHT, |area| {
        let mut builder = ChartBuilder::on(area);
        builder.margin_right(SIDE).margin_top(14).margin_bottom(26);
        builder.y_label_area_size(62);
        let across = -0.1..last.max(1.0) + 0.1;
        let chart = builder.build_cartesian_2d(across, below..above);
        let mut chart = chart.map_err(text)?;
        canvas::mesh_upright(&mut chart, upright)?;
        for line in lines {
            let points: Vec<(f64, f64)> = line
                .figures
                .iter()
                .map(|(at, figure)| (*at as f64, *figure))
                .collect();
            let drawn = LineSeries::new(points.iter().copied(), stroke(line.tone, 2));
            chart.draw_series(drawn).map_err(text)?;
            let dot = |point: &(f64, f64)| Circle::new(*point, 4, line.tone.colour().filled());
            chart.draw_series(points.iter().map(dot)).map_err(text)?;
        }
        let (height, width) = (HEIGHT as i32 - 12, canvas::WIDTH as i32 - 2);
        let mut ends = vec![(places.first(), 40, HPos::Left)];
        if places.len() > 1 {
            ends.push((places.last(), width, HPos::Right));
        }
        for (name, x, end) in ends {
            let name = name.cloned().unwrap_or_default();
            let label = Text::new(name, (x, height), words(Tone::Faint, end));
            area.draw(&label).map_err(text)?;
        }
        Ok(())
    })
}
