//! Looks at pages in a browser without a window: what it complains of, what became of the page, and whether the words of
//! plots can be read. Shared by the tests of all programs that write pages.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// A browser, and a folder for what it writes.
pub struct Browser {
    program: PathBuf,
    home: tempfile::TempDir,
}

/// What became of a page.
pub struct Seen {
    /// The page as the browser has it.
    pub dom: String,
    /// What it complained of.
    pub console: Vec<String>,
}

impl Browser {
    /// Chromium, if it is installed; the reason is said if not.
    pub fn find() -> Option<Browser> {
        let path = env::var_os("PATH").unwrap_or_default();
        let mut programs = env::split_paths(&path).map(|folder| folder.join("chromium"));
        let program = programs.find(|program| program.is_file());
        if program.is_none() {
            eprintln!("skipped: chromium is not installed");
        }
        Some(Browser {
            program: program?,
            home: tempfile::tempdir().unwrap(),
        })
    }

    fn run(&self, flags: &[&str], page: &Path) -> (String, String) {
        let mut chromium = Command::new(&self.program);
        chromium.args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
        ]);
        chromium.args([
            "--disable-background-networking",
            "--disable-component-update",
            "--no-first-run",
        ]);
        chromium.args(["--enable-logging=stderr", "--virtual-time-budget=2000"]);
        chromium.arg(format!("--user-data-dir={}", self.home.path().display()));
        let output = chromium.args(flags).arg(format!("file://{}", page.display()));
        let output = output.stdin(Stdio::null()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{said}");
        (String::from_utf8_lossy(&output.stdout).into_owned(), said)
    }

    /// Opens a page.
    pub fn look(&self, page: &Path) -> Seen {
        let (dom, said) = self.run(&["--dump-dom"], page);
        let console = said.lines().filter(|line| line.contains(":CONSOLE"));
        Seen {
            dom,
            console: console.map(str::to_owned).collect(),
        }
    }

    /// What is wrong with how a page is laid out at a width: words of plots that lie on each other or are cut off, and
    /// anything that is wider than the screen. It is measured in a copy, as the page itself allows no script.
    pub fn misfits(&self, page: &Path, width: u32) -> String {
        let html = fs::read_to_string(page).unwrap();
        let begin = html.find("<meta http-equiv").unwrap();
        let end = begin + html[begin..].find('>').unwrap() + 1;
        let copy = format!("{}{}", &html[..begin], &html[end..]);
        let copy = copy.replacen("</body>", &format!("<script>{MEASURE}</script></body>"), 1);
        let inner = self.home.path().join("inner.html");
        fs::write(&inner, copy).unwrap();
        let outer = self.home.path().join("outer.html");
        let frame = format!(
            "<!DOCTYPE html><iframe id=\"f\" width=\"{width}\" height=\"800\" src=\"inner.html\"></iframe><pre id=\"out\"></pre>\
             <script>onmessage=e=>out.textContent=e.data</script>"
        );
        fs::write(&outer, frame).unwrap();
        let dom = self.look(&outer).dom;
        let said = dom
            .split("<pre id=\"out\">")
            .nth(1)
            .and_then(|rest| rest.split("</pre>").next());
        let said = said.unwrap_or_default().to_owned();
        assert!(said.starts_with("measured "), "nothing was measured: {dom}");
        said["measured ".len()..].to_owned()
    }

    /// Prints a page; tells how many sheets it takes.
    pub fn print(&self, page: &Path) -> usize {
        let pdf = self.home.path().join("page.pdf");
        self.run(
            &[
                &format!("--print-to-pdf={}", pdf.display()),
                "--no-pdf-header-footer",
            ],
            page,
        );
        let pdf = String::from_utf8_lossy(&fs::read(pdf).unwrap()).into_owned();
        pdf.matches("/Type /Page\n").count()
    }
}

/// Holds a page to what every page promises: no complaint, nothing asked for, each plot with its bars or points, words
/// that can be read on a telephone and on a desk.
pub fn hold(browser: &Browser, page: &Path, plots: usize) -> String {
    let Seen { dom, console } = browser.look(page);
    assert!(console.is_empty(), "{console:#?}");
    assert!(dom.contains("default-src 'none'"), "no policy");
    for asks in [" src=", "url(", "@import", "<script", "<link", "<iframe"] {
        assert!(!dom.contains(asks), "{asks}");
    }
    let links = dom.matches("href=").count();
    assert_eq!(links, dom.matches("href=\"#part-").count(), "links to elsewhere");
    let figures: Vec<&str> = dom.split("<figure>").skip(1).collect();
    assert_eq!(figures.len(), plots);
    for figure in figures {
        let figure = figure.split("</figure>").next().unwrap();
        let marks = figure.matches("class=\"bar\"").count() + figure.matches("class=\"point\"").count();
        assert!(marks > 0 && figure.contains("<text"), "an empty plot: {figure}");
    }
    for width in [360, 1280] {
        let misfits = browser.misfits(page, width);
        assert_eq!(misfits, "", "at {width}");
    }
    assert!(browser.print(page) > 0);
    dom
}

/// What is run in the copy of a page.
const MEASURE: &str = "
const wrong = [];
if (document.documentElement.scrollWidth > innerWidth) wrong.push('wider than the screen: ' + document.documentElement.scrollWidth);
for (const svg of document.querySelectorAll('svg')) {
  const frame = svg.getBoundingClientRect(), boxes = [];
  for (const text of svg.querySelectorAll('text')) {
    const box = text.getBoundingClientRect(), name = svg.getAttribute('aria-label') + ': ' + text.textContent.trim();
    if (box.left < frame.left - 1 || box.right > frame.right + 1 || box.top < frame.top - 1 || box.bottom > frame.bottom + 2)
      wrong.push('cut off: ' + name);
    if (parseFloat(getComputedStyle(text).fontSize) * frame.width / svg.viewBox.baseVal.width < 10) wrong.push('small: ' + name);
    for (const other of boxes)
      if (Math.min(box.right, other.right) - Math.max(box.left, other.left) > 1 && Math.min(box.bottom, other.bottom) - Math.max(box.top, other.top) > 4)
        wrong.push('on each other: ' + name + ' and ' + other.name);
    boxes.push({left: box.left, right: box.right, top: box.top, bottom: box.bottom, name});
  }
}
parent.postMessage('measured ' + wrong.join('\\n'), '*');
";
