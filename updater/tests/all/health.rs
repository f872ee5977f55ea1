//! Trials: what is held against a release, and what is not.

use crate::world::{World, assert_same, runs, update};
use elfup::site::{Health, Settled, Site, UpdateOptions};
use elfup::{Error, Quiet, Watch};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

#[test]
fn a_failed_health_check_rolls_back() {
    for (command, timeout) in [("false", 60), ("sleep 600", 1)] {
        let world = World::new();
        world.publish("r1", "one").unwrap();
        let site = world.site("site", |c| {
            c.health = Some(Health {
                command: command.split(' ').map(str::to_owned).collect(),
                timeout,
            });
        });
        update(&site).unwrap();
        world.publish("r2", "two").unwrap();
        assert!(matches!(update(&site), Err(Error::Unhealthy(_))), "{command}");
        assert_eq!(runs(&site), "r1");
        // It is not tried again by itself.
        assert!(matches!(update(&site), Err(Error::Unhealthy(_))));
        let status = fs::read_dir(world.path("site/state")).unwrap().flatten();
        assert!(status.into_iter().all(|e| e.file_name() != "trial"));
    }
}

#[test]
fn a_healthy_release_stays() {
    let world = World::new();
    world.publish("r1", "one").unwrap();
    let site = world.site("site", |c| {
        let command = vec!["sh".into(), "-c".into(), "test -x \"$ELFUP_TREE/bin/ls\"".into()];
        c.health = Some(Health { command, timeout: 60 });
    });
    update(&site).unwrap();
    world.publish("r2", "two").unwrap();
    update(&site).unwrap();
    assert_eq!(runs(&site), "r2");
}

/// A site at the first release whose next health check runs this script.
fn on_trial(script: &str) -> (World, Site) {
    let world = World::new();
    world.publish("r1", "one").unwrap();
    let site = world.site("site", |c| {
        let command = vec!["sh".into(), "-c".into(), script.to_owned()];
        c.health = Some(Health { command, timeout: 60 });
    });
    update(&site).unwrap();
    world.publish("r2", "two").unwrap();
    (world, site)
}

/// Stops as soon as a file is there.
struct StopAt<'a>(&'a Path);
impl Watch for StopAt<'_> {
    fn cancelled(&self) -> bool {
        self.0.exists()
    }
}

/// Stops as soon as a link leads elsewhere.
struct StopAtOther<'a>(&'a Path, PathBuf);
impl Watch for StopAtOther<'_> {
    fn cancelled(&self) -> bool {
        fs::read_link(self.0).unwrap() != self.1
    }
}

#[test]
fn a_stop_during_the_check_goes_on_with_the_trial() {
    // The second script is told to end before the stop reaches the site, as all of a service are.
    for script in ["touch began; sleep 600", "ended kill -TERM $$"] {
        for answer in ["true", "false"] {
            let (world, site) = on_trial("true");
            let mut config = site.config().clone();
            drop(site);
            let mark = world.path("mark");
            let script = script.replace("began", mark.to_str().unwrap());
            let script = script.replace("ended", &format!("(sleep 0.2; touch {}) &", mark.display()));
            let with = |config: &mut elfup::site::Config, script: &str| {
                let command = vec!["sh".into(), "-c".into(), script.to_owned()];
                config.health = Some(Health { command, timeout: 60 });
                config.save(&world.path("site/site.json")).unwrap();
                Site::open(&world.path("site")).unwrap()
            };
            let site = with(&mut config, &script);
            let stopped = site.update(&UpdateOptions::default(), &StopAt(&mark));
            assert!(matches!(stopped, Err(Error::Cancelled)), "{script}: {stopped:?}");
            assert_eq!(runs(&site), "r2");
            assert_eq!(site.on_trial().unwrap(), Some(("r2".into(), "r1".into())));
            drop(site);
            // What comes back after a failure stays, whatever is cleaned up meanwhile.
            config.keep = 0;
            let site = with(&mut config, answer);
            site.gc(true, &Quiet).unwrap();
            if answer == "true" {
                assert_eq!(site.settle(&Quiet).unwrap(), Settled::Passed("r2".into()));
                assert_eq!(runs(&site), "r2");
                assert!(!update(&site).unwrap().changed);
            } else {
                assert!(matches!(update(&site), Err(Error::Unhealthy(_))));
                assert_eq!(runs(&site), "r1");
                assert_same(&world.path("one"), &world.path("site/current"));
            }
            assert_eq!(site.on_trial().unwrap(), None);
            assert_eq!(site.ready().unwrap(), None);
        }
    }
}

#[test]
fn a_command_without_a_verdict_blames_nobody() {
    let world = World::new();
    world.publish("r1", "one").unwrap();
    let plain = world.path("plain");
    fs::write(&plain, "exit 0\n").unwrap();
    let lost = world.path("lost");
    fs::write(&lost, "#!/no/such/interpreter\n").unwrap();
    fs::set_permissions(&lost, fs::Permissions::from_mode(0o755)).unwrap();
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    let commands = [
        vec!["/does/not/exist".to_owned()],
        vec![text(&plain)],
        vec![text(&lost)],
        vec![text(&world.path("one"))],
        // A hang-up may be ignored by whoever runs this.
        vec!["sh".into(), "-c".into(), "kill -TERM $$".into()],
    ];
    let site = world.site("site", |_| {});
    update(&site).unwrap();
    let mut config = site.config().clone();
    world.publish("r2", "two").unwrap();
    drop(site);
    for command in commands {
        config.health = Some(Health { command, timeout: 60 });
        config.save(&world.path("site/site.json")).unwrap();
        let site = Site::open(&world.path("site")).unwrap();
        let error = update(&site).unwrap_err();
        assert!(
            matches!(error, Error::NoVerdict(_)) && error.exit_code() == 11,
            "{error}"
        );
        assert_eq!(runs(&site), "r1");
        assert_eq!(site.on_trial().unwrap(), None);
    }
    config.health = Some(Health {
        command: vec!["true".into()],
        timeout: 60,
    });
    config.save(&world.path("site/site.json")).unwrap();
    let site = Site::open(&world.path("site")).unwrap();
    // The fetched release is still there.
    assert_eq!(site.activate(&Quiet).unwrap().release, "r2");
    assert_eq!(runs(&site), "r2");
}

/// The kernel kills where memory is short, whoever has used it up; a shell tells of it by its exit code.
#[test]
fn a_killed_command_is_asked_once_more() {
    for killed in ["kill -KILL $$", "sh -c 'kill -KILL $$'; exit $?"] {
        let (world, site) = on_trial("true");
        let mut config = site.config().clone();
        drop(site);
        let mark = world.path("mark");
        let scripts = [
            format!("echo >> {}; {killed}", mark.display()),
            format!("test -e {0} || {{ echo > {0}; {killed}; }}", mark.display()),
        ];
        for (times, script) in scripts.into_iter().enumerate() {
            let command = vec!["sh".into(), "-c".into(), script];
            config.health = Some(Health { command, timeout: 60 });
            config.save(&world.path("site/site.json")).unwrap();
            let site = Site::open(&world.path("site")).unwrap();
            let again = UpdateOptions {
                again: true,
                ..UpdateOptions::default()
            };
            let result = site.update(&again, &Quiet);
            if times == 0 {
                assert!(matches!(result, Err(Error::Unhealthy(_))), "{killed}: {result:?}");
                assert_eq!(fs::read_to_string(&mark).unwrap(), "\n\n", "{killed}");
                assert_eq!(runs(&site), "r1");
                assert!(matches!(update(&site), Err(Error::Unhealthy(_))));
                fs::remove_file(&mark).unwrap();
            } else {
                result.unwrap();
                assert_eq!(runs(&site), "r2", "{killed}");
            }
        }
    }
}

/// The command itself, as a service manager stops it.
#[test]
fn a_terminated_update_is_healthy_with_the_next_one() {
    let (world, site) = on_trial("test ! -e \"$ELFUP_TREE/../../../slow\" || sleep 600");
    drop(site);
    fs::write(world.path("site/slow"), "").unwrap();
    let elfup = |command: &str| {
        let mut elfup = Command::new(env!("CARGO_BIN_EXE_elfup"));
        elfup
            .args(["site", "--site"])
            .arg(world.path("site"))
            .arg(command);
        elfup.stdout(Stdio::null()).stderr(Stdio::null());
        elfup
    };
    let mut child = elfup("update").spawn().unwrap();
    while !world.path("site/state/trial").exists() {
        assert!(child.try_wait().unwrap().is_none());
        std::thread::sleep(Duration::from_millis(10));
    }
    std::thread::sleep(Duration::from_millis(300));
    let id = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(id, rustix::process::Signal::TERM).unwrap();
    let told = Instant::now();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(told.elapsed() < Duration::from_secs(5));
    fs::remove_file(world.path("site/slow")).unwrap();
    assert_eq!(elfup("update").status().unwrap().code(), Some(0));
    assert_eq!(runs(&Site::open(&world.path("site")).unwrap()), "r2");
}

/// The way back by reverse deltas is made later if a stop came before it.
#[test]
fn a_stop_before_the_reverse_delta_loses_no_way_back() {
    let world = World::new();
    world.publish("r1", "one").unwrap();
    let site = world.site("site", |c| {
        c.keep = 0;
        c.keep_reverse = true;
    });
    update(&site).unwrap();
    world.publish("r2", "two").unwrap();
    let current = world.path("site/current");
    let before = fs::read_link(&current).unwrap();
    let stop = StopAtOther(&current, before);
    let stopped = site.update(&UpdateOptions::default(), &stop);
    assert!(matches!(stopped, Err(Error::Cancelled)), "{stopped:?}");
    assert_eq!(runs(&site), "r2");
    site.gc(true, &Quiet).unwrap();
    assert_eq!(site.deployments().unwrap().len(), 1);
    assert_eq!(site.rollback(&Quiet).unwrap().release, "r1");
    assert_same(&world.path("one"), &world.path("site/current"));
}
