//! Colours by what they stand for: an attribute in the plots, which the page's style turns into the reader's palette.

use plotters::style::RGBColor;
use std::fmt::Write;

/// What a colour stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// Words and figures.
    Ink,
    /// Words beside the point, such as those of axes.
    Faint,
    /// Lines of a grid.
    Grid,
    /// What the page is about.
    Ours,
    /// What it is compared with.
    Peer,
    /// A yardstick.
    Plain,
    /// One of several of the same rank.
    Other,
}

/// Each with its name in the style, and its colours by day and by night.
const PALETTE: [(Tone, &str, u32, u32); 7] = [
    (Tone::Ink, "ink", 0x1F2328, 0xE6EDF3),
    (Tone::Faint, "faint", 0x57606A, 0x9DA7B3),
    (Tone::Grid, "grid", 0xD0D7DE, 0x3A424C),
    (Tone::Ours, "ours", 0x0B63C4, 0x58A6FF),
    (Tone::Peer, "peer", 0xB75501, 0xE3964F),
    (Tone::Plain, "plain", 0x8B939C, 0x7B848E),
    (Tone::Other, "other", 0x1A7F4B, 0x4AC285),
];

impl Tone {
    fn row(self) -> (&'static str, u32, u32) {
        let row = PALETTE.iter().find(|(tone, ..)| *tone == self);
        row.map_or(("ink", 0, 0), |(_, name, day, night)| (*name, *day, *night))
    }

    /// Its name in the style.
    pub(crate) fn name(self) -> &'static str {
        self.row().0
    }

    /// Its colour by day, which is its mark in a plot.
    pub(crate) fn colour(self) -> RGBColor {
        let [_, red, green, blue] = self.row().1.to_be_bytes();
        RGBColor(red, green, blue)
    }
}

/// The variables of the palette by day, and by night.
pub(crate) fn variables(night: bool) -> String {
    let mut text = String::new();
    for (_, name, day, dark) in PALETTE {
        // Writing to a String does not fail.
        let _ = write!(text, "--{name}:#{:06X};", if night { dark } else { day });
    }
    text
}

/// Rules that give what a plot is drawn with the reader's colours.
pub(crate) fn rules() -> String {
    let mut text = String::new();
    for (_, name, day, _) in PALETTE {
        for attribute in ["fill", "stroke"] {
            let _ = writeln!(
                text,
                "svg [{attribute}=\"#{day:06X}\"]{{{attribute}:var(--{name})}}"
            );
        }
        let _ = writeln!(text, ".{name}{{background:var(--{name})}}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_tone_has_a_colour_of_its_own() {
        for (index, (tone, name, day, night)) in PALETTE.iter().enumerate() {
            assert_eq!((tone.name(), tone.row().1), (*name, *day));
            let others = &PALETTE[..index];
            assert!(
                others
                    .iter()
                    .all(|o| o.1 != *name && o.2 != *day && o.3 != *night)
            );
        }
        assert!(rules().contains("svg [fill=\"#0B63C4\"]{fill:var(--ours)}"));
        assert!(variables(true).contains("--ours:#58A6FF;"));
    }
}
