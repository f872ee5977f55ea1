//! The page itself: its parts in order, its style, and the raw figures at its end.

use crate::{
    canvas::Plot,
    tone::{rules, variables},
};
use serde::Serialize;
use std::fmt::Write;

/// A page as it grows.
#[derive(Clone, Debug)]
pub struct Page {
    title: String,
    body: String,
    /// Headings so far, for the list at the top.
    headings: Vec<String>,
}

impl Page {
    /// A page with its title and what it is about.
    pub fn new(title: &str, lead: &str) -> Page {
        Page {
            title: title.to_owned(),
            body: format!("<p class=\"lead\">{}</p>\n", escape(lead)),
            headings: Vec::new(),
        }
    }

    /// A part of it begins.
    pub fn heading(&mut self, words: &str) {
        self.headings.push(words.to_owned());
        let number = self.headings.len();
        self.put(format_args!("<h2 id=\"part-{number}\">{}</h2>\n", escape(words)));
    }

    /// A paragraph.
    pub fn text(&mut self, words: &str) {
        self.put(format_args!("<p>{}</p>\n", escape(words)));
    }

    /// Plots side by side, as far as there is room.
    pub fn plots(&mut self, plots: &[Plot]) {
        self.put(format_args!("<div class=\"plots\">\n"));
        plots.iter().for_each(|plot| self.plot(plot));
        self.put(format_args!("</div>\n"));
    }

    fn plot(&mut self, plot: &Plot) {
        let caption = escape(&plot.caption);
        self.put(format_args!("<figure><figcaption>{caption}</figcaption>\n"));
        if !plot.legend.is_empty() {
            self.put(format_args!("<p class=\"legend\">"));
            for (tone, of) in &plot.legend {
                let (tone, of) = (tone.name(), escape(of));
                self.put(format_args!("<span><i class=\"{tone}\"></i>{of}</span> "));
            }
            self.put(format_args!("</p>\n"));
        }
        self.body.push_str(&plot.svg);
        if !plot.note.is_empty() {
            self.put(format_args!("<p class=\"note\">{}</p>\n", escape(&plot.note)));
        }
        self.put(format_args!("</figure>\n"));
    }

    /// A table.
    pub fn table(&mut self, table: &Table) {
        self.put(format_args!("<div class=\"table\"><table>\n<thead><tr>"));
        for (column, cell) in table.head.iter().enumerate() {
            self.put(format_args!("<th{}>{}</th>", table.class(column), escape(cell)));
        }
        self.put(format_args!("</tr></thead>\n<tbody>\n"));
        for row in &table.rows {
            self.put(format_args!("<tr>"));
            for (column, cell) in row.iter().enumerate() {
                self.put(format_args!("<td{}>{}</td>", table.class(column), escape(cell)));
            }
            self.put(format_args!("</tr>\n"));
        }
        self.put(format_args!("</tbody></table></div>\n"));
    }

    /// The whole page, with the figures that it is made of as JSON.
    pub fn finish(self, figures: &(impl Serialize + ?Sized)) -> Result<String, String> {
        let json = serde_json::to_string_pretty(figures).map_err(|error| error.to_string())?;
        let (title, list, body) = (escape(&self.title), self.list(), &self.body);
        let (day, night, rules, json) = (variables(false), variables(true), rules(), escape(&json));
        Ok(format!(
            "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta http-equiv=\"Content-Security-Policy\" content=\"{POLICY}\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <meta name=\"color-scheme\" content=\"light dark\">\n<title>{title}</title>\n\
             <style>\n:root{{{day}--paper:#FFFFFF;--shade:#F3F5F7}}\n\
             @media screen and (prefers-color-scheme:dark){{:root{{{night}--paper:#0D1117;--shade:#1A2028}}}}\n\
             {rules}{STYLE}</style>\n</head>\n<body>\n<main>\n<h1>{title}</h1>\n{list}{body}\
             <details><summary>All figures, as JSON</summary><pre id=\"figures\">{json}</pre></details>\n\
             </main>\n</body>\n</html>\n"
        ))
    }

    /// The headings as links, where there are so many that one looks for them.
    fn list(&self) -> String {
        if self.headings.len() < 4 {
            return String::new();
        }
        let links =
            self.headings.iter().enumerate().map(|(index, words)| {
                format!("<li><a href=\"#part-{}\">{}</a></li>", index + 1, escape(words))
            });
        format!("<nav><ul>{}</ul></nav>\n", links.collect::<String>())
    }

    fn put(&mut self, words: std::fmt::Arguments) {
        // Writing to a String does not fail.
        let _ = self.body.write_fmt(words);
    }
}

/// A table: the first column has names, the others have figures, but for those that are said to have words.
#[derive(Clone, Debug, Default)]
pub struct Table {
    head: Vec<String>,
    rows: Vec<Vec<String>>,
    /// Columns that are read, not compared.
    words: Vec<usize>,
}

impl Table {
    /// One with these columns.
    pub fn new(head: &[&str]) -> Table {
        Table {
            head: head.iter().map(|cell| (*cell).to_owned()).collect(),
            ..Table::default()
        }
    }

    /// With words in these columns, which may take several lines.
    pub fn words(mut self, columns: &[usize]) -> Table {
        self.words = columns.to_vec();
        self
    }

    fn class(&self, column: usize) -> &'static str {
        match self.words.contains(&column) {
            true => " class=\"words\"",
            false => "",
        }
    }

    /// With one more row.
    pub fn row(mut self, cells: impl IntoIterator<Item = String>) -> Table {
        self.rows.push(cells.into_iter().collect());
        self
    }
}

/// What the browser is to refuse: everything but the style that is in the page.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; img-src data:";

/// The page's style, behind the palette.
const STYLE: &str = "\
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.5 system-ui,sans-serif}
main{max-width:76rem;margin:0 auto;padding:1rem}
h1{font-size:1.6rem;line-height:1.2;margin:.5rem 0;overflow-wrap:anywhere}
h2{font-size:1.25rem;margin:2rem 0 .5rem;border-top:1px solid var(--grid);padding-top:1rem;overflow-wrap:anywhere}
p{margin:.5rem 0;max-width:46rem;overflow-wrap:anywhere}
a{color:var(--ours)}
.lead{font-size:1.05rem}
nav ul{columns:12rem;padding-left:1.2rem;margin:.5rem 0}
.plots{display:grid;gap:1.5rem;grid-template-columns:repeat(auto-fill,minmax(min(100%,20rem),1fr));align-items:start}
figure{margin:0;max-width:30rem;min-width:0}
figcaption{font-weight:600;margin-bottom:.25rem}
svg{display:block;width:100%;height:auto}
.legend,.note{font-size:.85rem;color:var(--faint);margin:.25rem 0}
.legend span{white-space:nowrap;margin-right:.8rem}
.legend i{display:inline-block;width:.8em;height:.8em;margin-right:.35em}
.table{overflow-x:auto;margin:.75rem 0}
table{border-collapse:collapse;font-size:.9rem;font-variant-numeric:tabular-nums}
th,td{padding:.25rem .6rem;text-align:right;border-bottom:1px solid var(--grid);white-space:nowrap}
th{color:var(--faint);font-weight:600;vertical-align:bottom}
th:first-child,td:first-child{text-align:left;padding-left:0}
.words{text-align:left;white-space:normal;overflow-wrap:anywhere;min-width:9rem}
details{margin:2rem 0}
summary{cursor:pointer;color:var(--faint)}
pre{background:var(--shade);padding:.75rem;overflow:auto;max-height:24rem;font-size:.8rem}
@media print{
body{font-size:10pt}main{max-width:none;padding:0}details,nav{display:none}
.plots{grid-template-columns:80mm 80mm;gap:1rem}.lead{font-size:1em}
figure,tr{break-inside:avoid}h2{break-after:avoid}
.table{overflow:visible}table{font-size:7.5pt}th,td{padding:.15rem .35rem;white-space:normal}.words{min-width:0}
*{print-color-adjust:exact}}
";

/// Characters that HTML takes for its own, told as it wants them.
pub(crate) fn escape(words: &str) -> String {
    let mut text = String::with_capacity(words.len());
    for c in words.chars() {
        match c {
            '&' => text.push_str("&amp;"),
            '<' => text.push_str("&lt;"),
            '>' => text.push_str("&gt;"),
            '"' => text.push_str("&quot;"),
            '\'' => text.push_str("&#39;"),
            c => text.push(c),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Axis, Bar, Spot, Tone, bars, bytes, scatter, seconds};

    fn count(text: &str, part: &str) -> usize {
        text.matches(part).count()
    }

    #[test]
    fn a_page_has_what_was_put_into_it_and_asks_for_nothing() {
        let name = "</pre><script>\"&'";
        let mut page = Page::new(name, name);
        page.heading(name);
        page.text(name);
        let rows = [
            Bar::of(name, Tone::Ours, 1e3).and(Tone::Peer, 5e6),
            Bar::of("b", Tone::Plain, 0.0),
        ];
        let spots = [0.001, 0.0, 7.0].map(|y| Spot {
            label: name.into(),
            tone: Tone::Peer,
            x: 1e4,
            y,
            spread: Some((y, 2.0 * y)),
        });
        let (b, s) = (Axis::log(bytes), Axis::log(seconds));
        page.plots(&[
            bars(name, b, &rows).legend(&[(Tone::Ours, name)]).note(name),
            bars("linear", Axis::linear(bytes), &rows),
            scatter(name, b, s, &spots),
            bars("nothing", b, &[]),
        ]);
        page.table(&Table::new(&[name]).row([name.to_owned()]));
        let html = page.finish(name).unwrap();
        assert_eq!(
            (count(&html, "class=\"bar\""), count(&html, "class=\"point\"")),
            (6, 3)
        );
        assert_eq!((count(&html, "<svg "), count(&html, "</svg>")), (4, 4));
        assert_eq!((count(&html, "<script"), count(&html, "</pre>")), (0, 1));
        // The name of a picture's language is no address that is fetched.
        assert_eq!(count(&html.replace("http://www.w3.org/2000/svg", ""), "://"), 0);
        assert!(!html.contains(" src=") && !html.contains("href="));
    }

    #[test]
    fn many_parts_are_listed() {
        let mut page = Page::new("many", "parts");
        (0..4).for_each(|part| page.heading(&format!("part {part}")));
        assert!(
            page.finish(&())
                .unwrap()
                .contains("<a href=\"#part-4\">part 3</a>")
        );
    }
}
