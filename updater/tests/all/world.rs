//! A farm, a repository and sites in a temporary directory, with two releases of a small real tree.

use elfup::farm::{GcReport, Keep, Publish, gc, publish};
use elfup::manifest::ScanOptions;
use elfup::names::Follow;
use elfup::site::{Config, Site, UpdateOptions, Updated};
use elfup::store::LocalStore;
use elfup::trust::{Lifetimes, Signer};
use elfup::{Quiet, Result};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

/// Everything that a test needs; removed at the end.
pub struct World {
    dir: tempfile::TempDir,
}

impl World {
    /// Keys, an empty repository, and the trees `one` and `two`.
    pub fn new() -> World {
        let world = World {
            dir: tempfile::tempdir().unwrap(),
        };
        Signer::make_keys(&world.path("keys"), 1).unwrap();
        Signer::new(&world.store(), &world.path("keys"), Lifetimes::default())
            .init(1)
            .unwrap();
        first_tree(&world.path("one"));
        second_tree(&world.path("two"));
        world
    }

    /// Both releases published, a site at the first.
    pub fn ready() -> (World, Site) {
        let world = World::new();
        world.publish("r1", "one").unwrap();
        let site = world.site("site", |_| {});
        site.update(&UpdateOptions::default(), &Quiet).unwrap();
        world.publish("r2", "two").unwrap();
        (world, site)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
    pub fn repo(&self) -> PathBuf {
        self.path("repo")
    }

    pub fn store(&self) -> LocalStore {
        LocalStore::new(&self.repo())
    }

    pub fn follow() -> Follow {
        Follow::new("demo", "stable", "x86_64").unwrap()
    }

    pub fn publishing(&self, release: &str, tree: &str) -> Publish {
        Publish {
            keys: self.path("keys"),
            follow: World::follow(),
            release: release.into(),
            tree: self.path(tree),
            keep: Keep {
                last: 2,
                ..Default::default()
            },
            config: vec!["etc/**".into()],
            urgent: false,
            floor: None,
            scan: ScanOptions::default(),
            lifetimes: Lifetimes::default(),
            threads: 0,
            memory: 0,
            sites: elfup::farm::SiteLimits::default(),
        }
    }

    pub fn publish(&self, release: &str, tree: &str) -> Result<()> {
        publish(&self.store(), &self.publishing(release, tree), &Quiet).map(drop)
    }

    /// Keeps of the channel what `keep` says.
    pub fn gc(&self, keep: &Keep) -> GcReport {
        gc(&self.store(), &self.path("keys"), &World::follow(), keep, &Quiet).unwrap()
    }

    pub fn site(&self, name: &str, change: impl FnOnce(&mut Config)) -> Site {
        let mut config = Config::new(World::follow(), vec![self.repo().to_str().unwrap().into()]);
        config.reserve = 0;
        change(&mut config);
        let root = fs::read(self.repo().join("tuf/1.root.json")).unwrap();
        Site::init(&self.path(name), &config, &root).unwrap()
    }

    pub fn reopen(&self, site: Site) -> Site {
        let root = site.root().to_owned();
        drop(site);
        Site::open(&root).unwrap()
    }
}

pub fn update(site: &Site) -> Result<Updated> {
    site.update(&UpdateOptions::default(), &Quiet)
}

/// The release that a site runs, with its tree proven.
pub fn runs(site: &Site) -> String {
    assert_eq!(site.verify(&Quiet).unwrap(), Vec::new());
    site.deployments()
        .unwrap()
        .into_iter()
        .find(|d| d.current)
        .map_or(String::new(), |d| d.release)
}

/// Same paths, types and bytes.
pub fn assert_same(a: &Path, b: &Path) {
    // The slash-dot, as `b` may be the symlink `current` itself.
    let output = std::process::Command::new("diff")
        .args(["-r", "--no-dereference"])
        .arg(a.join("."))
        .arg(b.join("."))
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
}

/// Makes one directory as another is, whatever was there.
pub fn copy(from: &Path, to: &Path) {
    let removed = fs::remove_dir_all(to);
    assert!(removed.is_ok() || !to.exists(), "{removed:?}");
    let copied = std::process::Command::new("cp")
        .arg("-a")
        .args([from, to])
        .status();
    assert!(copied.unwrap().success());
}

pub fn write(path: impl AsRef<Path>, bytes: impl AsRef<[u8]>) {
    fs::create_dir_all(path.as_ref().parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

/// Bytes that do not compress.
pub fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let step = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    std::iter::repeat_with(step).take(length).collect()
}

fn first_tree(at: &Path) {
    for (i, name) in ["ls", "cat", "cp"].iter().enumerate() {
        let bytes = fs::read(Path::new("/bin").join(name)).unwrap_or_else(|_| noise(i as u64, 40_000));
        write(at.join("bin").join(name), bytes);
        fs::set_permissions(at.join("bin").join(name), fs::Permissions::from_mode(0o755)).unwrap();
    }
    for i in 0..60 {
        write(
            at.join(format!("share/doc/page{i}.txt")),
            format!("page {i}\n").repeat(i + 1),
        );
    }
    write(at.join("share/data.bin"), noise(7, 300_000));
    write(at.join("etc/app.conf"), "colour = blue\n");
    write(at.join("etc/other.conf"), "size = 1\n");
    write(at.join("share/empty"), "");
    symlink("bin/ls", at.join("list")).unwrap();
    fs::hard_link(at.join("bin/cat"), at.join("bin/dog")).unwrap();
    fs::create_dir_all(at.join("var/empty")).unwrap();
}

/// The first one with small changes, a moved file, a new one and one gone.
fn second_tree(at: &Path) {
    first_tree(at);
    for name in ["ls", "cp"] {
        let mut bytes = fs::read(at.join("bin").join(name)).unwrap();
        for i in (5000..bytes.len()).step_by(9973) {
            bytes[i] = bytes[i].wrapping_add(1);
        }
        write(at.join("bin").join(name), bytes);
    }
    for i in 0..30 {
        write(
            at.join(format!("share/doc/page{i}.txt")),
            format!("page {i}, changed\n").repeat(i + 1),
        );
    }
    let mut data = fs::read(at.join("share/data.bin")).unwrap();
    data[1000] ^= 1;
    fs::remove_file(at.join("share/data.bin")).unwrap();
    write(at.join("share/moved/elsewhere.dat"), data);
    write(at.join("share/new.bin"), noise(9, 80_000));
    fs::remove_file(at.join("share/doc/page59.txt")).unwrap();
    write(at.join("etc/app.conf"), "colour = green\n");
}
