//! Points by two figures, each with its name beside it where there is room.

use crate::{
    axis::Axis,
    canvas::{self, CHARACTER, LINE, Plot, SIDE, WIDTH, cut, draw, stroke, text, words},
    tone::Tone,
};
use plotters::{
    chart::ChartBuilder,
    element::{Circle, PathElement, Text},
    prelude::IntoLogRange,
    style::{Color, text_anchor::HPos},
};

/// A point with a name.
#[derive(Clone, Debug)]
pub struct Spot {
    /// The name.
    pub label: String,
    /// What its colour stands for.
    pub tone: Tone,
    /// The figure of the horizontal axis.
    pub x: f64,
    /// The figure of the upright axis.
    pub y: f64,
    /// The least and the most of the latter.
    pub spread: Option<(f64, f64)>,
}

/// Units: the height of the plot, and what the upright axis and the horizontal one take of it.
const HEIGHT: u32 = 300;
const LEFT: u32 = 58;
const BELOW: u32 = 26;
const RADIUS: i32 = 5;

/// A plot of them over two logarithmic axes.
pub fn scatter(caption: &str, across: Axis, upright: Axis, spots: &[Spot]) -> Plot {
    let (left, right) = across.range(spots.iter().map(|spot| spot.x));
    let heights = spots.iter().flat_map(|spot| {
        let (least, most) = spot.spread.unwrap_or((spot.y, spot.y));
        [spot.y, least, most]
    });
    let (below, above) = upright.range(heights);
    draw(caption, HEIGHT, |area| {
        let mut builder = ChartBuilder::on(area);
        builder.margin_right(SIDE).margin_top(14);
        builder.x_label_area_size(BELOW).y_label_area_size(LEFT);
        let chart = builder.build_cartesian_2d((left..right).log_scale(), (below..above).log_scale());
        let mut chart = chart.map_err(text)?;
        canvas::mesh_both(&mut chart, across, upright)?;
        let mut room = Room::default();
        let places: Vec<(f64, f64)> = spots
            .iter()
            .map(|spot| (spot.x.clamp(left, right), spot.y.clamp(below, above)))
            .collect();
        for (spot, place) in spots.iter().zip(&places) {
            room.take_point(chart.backend_coord(place));
            if let Some((least, most)) = spot.spread {
                let ends = [least, most].map(|end| (place.0, end.clamp(below, above)));
                room.take_stroke(ends.map(|end| chart.backend_coord(&end)));
                let whisker = PathElement::new(ends.to_vec(), stroke(spot.tone, 2));
                chart.draw_series([whisker]).map_err(text)?;
            }
            let point = Circle::new(*place, RADIUS, spot.tone.colour().filled());
            chart.draw_series([point]).map_err(text)?;
        }
        for (spot, place) in spots.iter().zip(&places) {
            let name = cut(&spot.label, f64::from(WIDTH) / 2.0);
            let at = chart.backend_coord(place);
            let (x, y) = room.place(at, &name);
            if let Some(end) = led_to(at, (x, y), &name) {
                let lead = PathElement::new(vec![at, end], stroke(Tone::Faint, 1));
                area.draw(&lead).map_err(text)?;
            }
            let label = Text::new(name, (x as i32, y as i32), words(Tone::Ink, HPos::Left));
            area.draw(&label).map_err(text)?;
        }
        Ok(())
    })
}

/// What is taken of the picture: left, top, right, bottom of each.
#[derive(Default)]
struct Room(Vec<[f64; 4]>);

impl Room {
    fn take_point(&mut self, (x, y): (i32, i32)) {
        let [left, top, right, bottom] = [x - RADIUS, y - RADIUS, x + RADIUS, y + RADIUS].map(f64::from);
        self.0.push([left, top, right, bottom]);
    }

    fn take_stroke(&mut self, [one, other]: [(i32, i32); 2]) {
        let (top, bottom) = (one.1.min(other.1), one.1.max(other.1));
        self.0.push([one.0 - 1, top, one.0 + 1, bottom].map(f64::from));
    }

    /// Where a name goes, by its left end and its middle: beside its point, above or below it, or farther off, wherever
    /// the least is in its way.
    fn place(&mut self, (x, y): (i32, i32), name: &str) -> (f64, f64) {
        let (x, y, width) = (
            f64::from(x),
            f64::from(y),
            name.chars().count() as f64 * CHARACTER,
        );
        let beside = f64::from(RADIUS) + 3.0;
        let mut tries = Vec::new();
        for far in 0..6 {
            let off = f64::from(far) * LINE;
            for up in [-off, off] {
                tries.push((x + beside, y + up));
                tries.push((x - beside - width, y + up));
            }
            for up in [-off - LINE, off + LINE] {
                tries.push((x - width / 2.0, y + up));
            }
        }
        let boxed =
            |(left, middle): (f64, f64)| [left, middle - LINE / 2.0, left + width, middle + LINE / 2.0];
        let inside = |[left, top, right, bottom]: [f64; 4]| {
            left >= f64::from(LEFT)
                && right <= f64::from(WIDTH)
                && top >= 0.0
                && bottom <= f64::from(HEIGHT - BELOW)
        };
        let cost = |at: &(f64, f64)| {
            let mine = boxed(*at);
            let inside = if inside(mine) { 0.0 } else { 1e6 };
            inside + self.0.iter().map(|other| shared(mine, *other)).sum::<f64>()
        };
        let least = tries.iter().copied().min_by(|a, b| cost(a).total_cmp(&cost(b)));
        let at = least.unwrap_or((x, y));
        self.0.push(boxed(at));
        at
    }
}

/// Where a line from a point to its name ends, if the name is so far off that it wants one.
fn led_to(point: (i32, i32), (left, middle): (f64, f64), name: &str) -> Option<(i32, i32)> {
    let (x, y) = (f64::from(point.0), f64::from(point.1));
    let near = x.clamp(left, left + name.chars().count() as f64 * CHARACTER);
    let edge = y.clamp(middle - LINE / 2.0, middle + LINE / 2.0);
    let far = (near - x).hypot(edge - y) > LINE;
    far.then_some((near as i32, edge as i32))
}

/// The area that two boxes share.
fn shared(one: [f64; 4], other: [f64; 4]) -> f64 {
    let width = one[2].min(other[2]) - one[0].max(other[0]);
    let height = one[3].min(other[3]) - one[1].max(other[1]);
    width.max(0.0) * height.max(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_points_at_one_place_do_not_lie_on_each_other() {
        let mut room = Room::default();
        for _ in 0..4 {
            room.take_point((200, 100));
        }
        for _ in 0..4 {
            room.place((200, 100), "zstd-patch-from");
        }
        let names = &room.0[4..];
        for (index, one) in names.iter().enumerate() {
            assert!(one[0] >= f64::from(LEFT) && one[2] <= f64::from(WIDTH), "{one:?}");
            assert!(
                names[..index].iter().all(|other| shared(*one, *other) == 0.0),
                "{names:?}"
            );
        }
    }
}
