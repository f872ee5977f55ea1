//! The cases: what is published, and what the sites do.

use super::{
    farm::Farm,
    report::{Kind, Row},
    trees,
};
use crate::{fleet::server::Nginx, measure::Usage};
use std::{fs, path::Path, thread, time::Instant};

/// Two releases of `count` files of 10 KB, a tenth changed; a site from nothing to the first and on to the second.
pub fn files(farm: &Farm, count: u64, rows: &mut Vec<Row>) -> Result<(), String> {
    two_releases(farm, &format!("{count} files"), rows, |tree, release| {
        trees::texts(tree, count, 10_000, release)
    })
}

/// Two releases, made by `fill`; a site from nothing to the first and on to the second.
fn two_releases(
    farm: &Farm,
    case: &str,
    rows: &mut Vec<Row>,
    fill: impl Fn(&Path, u64) -> Result<(), String>,
) -> Result<(), String> {
    for (release, what) in [(1, "first update"), (2, "next update")] {
        let tree = format!("tree-{release}");
        fill(&farm.at(&tree), release)?;
        rows.push(farm.publish(case, release, &tree)?);
        if release == 1 {
            farm.site("site", &farm.folder_source())?;
        }
        rows.push(farm.update(case, what, "site")?);
        farm.same(&tree, "site")?;
    }
    Ok(())
}

/// So many releases of a small tree, of each of which a tenth changes; a site goes from the first to the last.
pub fn releases(farm: &Farm, count: u64, rows: &mut Vec<Row>) -> Result<(), String> {
    let case = format!("{count} releases");
    for release in 1..=count {
        let tree = format!("tree-{release}");
        trees::texts(&farm.at(&tree), 200, 10_000, release)?;
        trees::large(&farm.at(&tree).join("large"), 4 << 20, release)?;
        let row = farm.publish(&case, release, &tree)?;
        if release == 1 {
            farm.site("site", &farm.folder_source())?;
            farm.update(&case, "first update", "site")?;
        }
        if [2, count / 2, count].contains(&release) {
            rows.push(row);
        }
    }
    rows.push(farm.update(&case, &format!("update, {} behind", count - 1), "site")?);
    farm.same(&format!("tree-{count}"), "site")
}

/// So many sites that are updated at the same time, from one web server.
pub fn sites(farm: &Farm, count: u64, rows: &mut Vec<Row>) -> Result<(), String> {
    if let Some(why) = crate::tools::lacks("nginx") {
        eprintln!("sites: skipped: {why}");
        return Ok(());
    }
    let case = format!("{count} sites");
    let scratch = tempfile::tempdir().map_err(crate::text)?;
    let nginx = Nginx::start(&farm.at("repo"), scratch.path())?;
    let source = format!("http://127.0.0.1:{}", nginx.port);
    let names: Vec<String> = (0..count).map(|n| format!("site-{n}")).collect();
    for release in [1, 2] {
        let tree = format!("tree-{release}");
        trees::texts(&farm.at(&tree), 200, 10_000, release)?;
        trees::large(&farm.at(&tree).join("large"), 4 << 20, release)?;
        rows.push(farm.publish(&case, release, &tree)?);
        if release == 1 {
            names.iter().try_for_each(|name| farm.site(name, &source))?;
        }
        nginx.served()?;
        eprintln!("{case}: all updates at once");
        let begin = Instant::now();
        let all: Vec<Result<Row, String>> = thread::scope(|scope| {
            let mut running = Vec::new();
            for name in &names {
                running.push(scope.spawn(|| farm.update("", "", name)));
            }
            let ended = running.into_iter().map(|site| site.join());
            ended
                .map(|row| row.unwrap_or_else(|_| Err("a thread failed".into())))
                .collect()
        });
        let wall = begin.elapsed().as_secs_f64();
        let all = all.into_iter().collect::<Result<Vec<Row>, String>>()?;
        let usage = Usage {
            cpu: all.iter().map(|row| row.usage.cpu).sum(),
            wall,
            peak: all.iter().map(|row| row.usage.peak).max().unwrap_or(0),
            anon: all.iter().map(|row| row.usage.anon).max().unwrap_or(0),
        };
        let what = if release == 1 {
            "first update of each"
        } else {
            "next update of each"
        };
        let mut row = Row::new(&case, what, usage, Kind::Update);
        let (requests, bytes) = nginx.served()?;
        (row.requests, row.bytes) = (Some(requests), Some(bytes));
        rows.push(row);
        names.iter().try_for_each(|name| farm.same(&tree, name))?;
    }
    Ok(())
}

/// Two releases of one file of `len` bytes.
pub fn pair(farm: &Farm, len: u64, rows: &mut Vec<Row>) -> Result<(), String> {
    let case = format!("pair of {} MB", len / 1_000_000);
    two_releases(farm, &case, rows, |tree, release| {
        fs::create_dir(tree).map_err(crate::text)?;
        trees::large(&tree.join("large"), len, release)
    })
}

/// One file of `len` bytes, which few machines could hold in memory.
pub fn huge(farm: &Farm, len: u64, rows: &mut Vec<Row>) -> Result<(), String> {
    let case = format!("file of {} MB", len / 1_000_000);
    fs::create_dir(farm.at("tree")).map_err(crate::text)?;
    trees::sparse(&farm.at("tree/huge"), len)?;
    rows.push(farm.publish(&case, 1, "tree")?);
    farm.site("site", &farm.folder_source())?;
    rows.push(farm.update(&case, "first update", "site")?);
    farm.same("tree", "site")
}
