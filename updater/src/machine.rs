//! What the machine has of memory, for work that says what it takes.

use std::fs;
use std::path::{Path, PathBuf};

/// Where the kernel shows its groups of processes.
const GROUPS: &str = "/sys/fs/cgroup";

/// Bytes of memory that this process may use: the machine's, or what a container or a scheduler allows it of that.
pub fn memory() -> u64 {
    let told = rustix::system::sysinfo();
    let all = (told.totalram as u64).saturating_mul(u64::from(told.mem_unit).max(1));
    let own = fs::read_to_string("/proc/self/cgroup").ok();
    let own = own.as_deref().and_then(group);
    own.map_or(all, |group| allowed(Path::new(GROUPS), &group, all))
}

/// The group of a process, by what the kernel says of it (version 2).
fn group(told: &str) -> Option<PathBuf> {
    let path = told.lines().find_map(|line| line.strip_prefix("0::/"))?;
    Some(PathBuf::from(path))
}

/// The least that a group and those around it are allowed.
fn allowed(groups: &Path, own: &Path, all: u64) -> u64 {
    let limit = |group: &Path| {
        let text = fs::read_to_string(groups.join(group).join("memory.max")).ok()?;
        // "max" where there is none.
        text.trim().parse::<u64>().ok()
    };
    own.ancestors().filter_map(limit).fold(all, u64::min)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_limit_around_holds() {
        assert!(memory() > 1 << 20);
        let folder = std::env::temp_dir().join(format!("elfup-machine-{}", std::process::id()));
        let inner = folder.join("a/b");
        fs::create_dir_all(&inner).unwrap();
        let own = group("1:name=systemd:/x\n0::/a/b\n").unwrap();
        assert_eq!(allowed(&folder, &own, 900), 900);
        fs::write(inner.join("memory.max"), "max\n").unwrap();
        assert_eq!(allowed(&folder, &own, 900), 900);
        fs::write(folder.join("a/memory.max"), "500\n").unwrap();
        assert_eq!(allowed(&folder, &own, 900), 500);
        fs::write(inner.join("memory.max"), "700\n").unwrap();
        assert_eq!(allowed(&folder, &own, 900), 500);
        fs::remove_dir_all(folder).unwrap();
    }
}
