//! Room that folders take, now and at most.

use std::{
    collections::HashSet,
    fs,
    os::unix::fs::MetadataExt,
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

/// Between two looks while something runs.
const EVERY: Duration = Duration::from_millis(500);

/// Bytes on the disk below a folder, each hard-linked file once; what vanishes meanwhile is not counted.
pub fn taken(folder: &Path) -> u64 {
    let (mut seen, mut folders, mut bytes) = (HashSet::new(), vec![folder.to_path_buf()], 0);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let Ok(metadata) = entry.metadata() else { continue };
            if seen.insert(metadata.ino()) {
                bytes += metadata.blocks() * 512;
            }
            if metadata.is_dir() {
                folders.push(entry.path());
            }
        }
    }
    bytes
}

/// Does `work` and returns the most that `folder` took beyond what it took before.
pub fn peak<T>(folder: &Path, work: impl FnOnce() -> T) -> (T, u64) {
    let (before, ended) = (taken(folder), AtomicBool::new(false));
    let mut most = before;
    let result = thread::scope(|scope| {
        let watch = scope.spawn(|| {
            let mut most = 0;
            while !ended.load(Ordering::Relaxed) {
                most = most.max(taken(folder));
                thread::sleep(EVERY);
            }
            most
        });
        let result = work();
        ended.store(true, Ordering::Relaxed);
        most = most.max(watch.join().unwrap_or(0)).max(taken(folder));
        result
    });
    (result, most - before)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hard_links_count_once_and_the_peak_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a");
        let ((), grown) = peak(folder.path(), || {
            fs::write(&file, vec![1; 1 << 20]).unwrap();
            fs::hard_link(&file, folder.path().join("b")).unwrap();
        });
        assert!((1 << 20..3 << 19).contains(&grown), "{grown}");
        let ((), none) = peak(folder.path(), || ());
        assert_eq!(none, 0);
    }
}
