//! Two nodes of a real Slurm on one host make a release's deltas over a real S3 server, while a node dies and the
//! bucket is away; what is published is what one machine makes.

use crate::weed::{Fault, Relay, Weed, ends, repo};
use crate::workers::{content, on, two_worlds};
use crate::world::write;
use elfup::store::LocalStore;
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::atomic::Ordering;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// A controller and two nodes.
struct Slurm {
    dir: tempfile::TempDir,
    children: Vec<Child>,
}

fn run(command: &mut Command) -> Option<String> {
    let output = command.output().ok()?;
    output
        .status
        .success()
        .then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

fn until(what: &str, longest: u64, mut done: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !done() {
        assert!(begin.elapsed() < Duration::from_secs(longest), "never: {what}");
        sleep(Duration::from_millis(100));
    }
}

impl Slurm {
    /// `None`, with a reason printed, where it is not installed or may not run.
    fn start() -> Option<Slurm> {
        let there = |tool: &str| Command::new(tool).arg("-V").output().is_ok();
        let tools = [
            "/usr/sbin/slurmctld",
            "/usr/sbin/slurmd",
            "/usr/sbin/munged",
            "sbatch",
        ];
        if !rustix::process::geteuid().is_root() || !tools.into_iter().all(there) {
            eprintln!("skipped: no Slurm (slurmctld, slurmd, slurm-client, munge), or not root");
            return None;
        }
        let mut slurm = Slurm {
            dir: tempfile::tempdir().unwrap(),
            children: Vec::new(),
        };
        slurm.configure();
        let [conf, key] = ["slurm.conf", "munge.key"].map(|n| slurm.path(n));
        let conf = conf.to_str().unwrap();
        let mut munged = Command::new("/usr/sbin/munged");
        munged.args(["--foreground", "--force", "--key-file"]).arg(&key);
        for (option, name) in [
            ("socket", "sock"),
            ("pid-file", "pid"),
            ("log-file", "log"),
            ("seed-file", "seed"),
        ] {
            munged
                .arg(format!("--{option}"))
                .arg(slurm.path(&format!("munge.{name}")));
        }
        slurm.spawn(&mut munged, "munged");
        until("munged listens", 30, || slurm.path("munge.sock").exists());
        slurm.spawn(
            Command::new("/usr/sbin/slurmctld").args(["-D", "-c", "-f", conf]),
            "ctld",
        );
        for node in ["n1", "n2"] {
            slurm.spawn(
                Command::new("/usr/sbin/slurmd").args(["-D", "-N", node, "-f", conf]),
                node,
            );
        }
        until("both nodes are idle", 60, || {
            let states = slurm.ask("sinfo", &["-h", "-N", "-o", "%t"]);
            states.is_some_and(|s| s.lines().filter(|l| *l == "idle").count() == 2)
        });
        Some(slurm)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn configure(&self) {
        let ports: Vec<TcpListener> = (0..3)
            .map(|_| TcpListener::bind("127.0.0.1:0").unwrap())
            .collect();
        let ports: Vec<u16> = ports.iter().map(|l| l.local_addr().unwrap().port()).collect();
        let host = run(&mut Command::new("hostname")).unwrap();
        let (host, dir) = (host.trim(), self.dir.path().display());
        let nodes = |n: usize| {
            let port = ports[n];
            format!(
                "NodeName=n{n} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs=1 RealMemory=1000\n"
            )
        };
        let text = format!(
            "ClusterName=elfup\nSlurmctldHost={host}(127.0.0.1)\nSlurmctldPort={}\nSlurmUser=root\nSlurmdUser=root\n\
            AuthType=auth/munge\nAuthInfo=socket={dir}/munge.sock,cred_expire=6\n\
            CommunicationParameters=NoInAddrAny,NoCtldInAddrAny\nSlurmctldPidFile={dir}/ctld.pid\n\
            SlurmctldLogFile={dir}/ctld.log\nSlurmdPidFile={dir}/%n.pid\nSlurmdLogFile={dir}/%n.log\n\
            SlurmdSpoolDir={dir}/%n.spool\nStateSaveLocation={dir}/state\nProctrackType=proctrack/linuxproc\n\
            TaskPlugin=task/none\nJobAcctGatherType=jobacct_gather/none\n\
            AccountingStorageType=accounting_storage/none\nJobCompType=jobcomp/none\nMpiDefault=none\n\
            SelectType=select/cons_tres\nSelectTypeParameters=CR_Core\nSlurmdParameters=config_overrides\n\
            ReturnToService=2\nSlurmdTimeout=10\nSchedulerType=sched/builtin\n\
            SchedulerParameters=sched_min_interval=0,sched_interval=1,batch_sched_delay=0\n\
            JobRequeue=1\nRequeueExit=75\n{}{}PartitionName=all Nodes=n1,n2 Default=YES MaxTime=INFINITE State=UP\n",
            ports[0],
            nodes(1),
            nodes(2),
        );
        write(self.path("slurm.conf"), text);
        write(self.path("munge.key"), crate::world::noise(11, 1024));
        fs::set_permissions(self.path("munge.key"), fs::Permissions::from_mode(0o600)).unwrap();
        for name in ["state", "n1.spool", "n2.spool"] {
            fs::create_dir(self.path(name)).unwrap();
        }
    }

    fn spawn(&mut self, command: &mut Command, name: &str) {
        let log = fs::File::create(self.path(&format!("{name}.out"))).unwrap();
        command.stdout(log.try_clone().unwrap()).stderr(log);
        self.children.push(command.spawn().unwrap());
    }

    fn ask(&self, tool: &str, arguments: &[&str]) -> Option<String> {
        run(Command::new(tool)
            .args(arguments)
            .env("SLURM_CONF", self.path("slurm.conf")))
    }

    /// The first node goes, with whatever runs on it.
    fn kill_first_node(&mut self, task: u32) {
        self.children[2].kill().unwrap();
        self.children[2].wait().unwrap();
        // The one above the task first: it would tell the controller that the task failed.
        for pid in [parent(task), task] {
            let _ = Command::new("kill").args(["-KILL", &pid.to_string()]).status();
        }
    }
}

impl Drop for Slurm {
    fn drop(&mut self) {
        let _ = self.ask("scancel", &["-u", "root"]);
        for child in self.children.iter_mut().rev() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn parent(pid: u32) -> u32 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("PPid:"));
    line.and_then(|l| l.trim().parse().ok())
        .expect("a task has a parent")
}

/// Lines that tasks wrote when they began: task, restarts, node, process.
fn begun(dir: &Path) -> Vec<[String; 4]> {
    let text = fs::read_to_string(dir.join("begun")).unwrap_or_default();
    let line = |l: &str| {
        let words: Vec<String> = l.split(' ').map(String::from).collect();
        words.try_into().ok()
    };
    text.lines().filter_map(line).collect()
}

/// What the job script starts in the place of elfup: notes where it runs, and becomes elfup.
fn noting(dir: &Path) -> PathBuf {
    let script = dir.join("elfup");
    let line = "echo $SLURM_ARRAY_TASK_ID ${SLURM_RESTART_COUNT:-0} $SLURMD_NODENAME $$";
    let elfup = env!("CARGO_BIN_EXE_elfup");
    write(
        &script,
        format!(
            "#!/bin/bash\n{line} >> {}/begun\nexec {elfup} \"$@\"\n",
            dir.display()
        ),
    );
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    script
}

fn submit(slurm: &Slurm, relay: &Relay, repo: &str) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("slurm/job.sh");
    let log = slurm.path("task-%a.log");
    let mut sbatch = relay.with(Command::new("sbatch"));
    sbatch
        .env("SLURM_CONF", slurm.path("slurm.conf"))
        .env("ELFUP", noting(slurm.dir.path()));
    sbatch
        .env("REPO", repo)
        .env("PRODUCT", "demo")
        .env("ARCH", "x86_64")
        .env("RELEASE", "r2");
    sbatch
        .args(["--parsable", "--array=0-3", "--output"])
        .arg(log)
        .arg(script);
    ends(sbatch, 0);
}

#[test]
fn a_release_is_made_by_two_nodes_one_of_which_dies() {
    let Some(weed) = Weed::start() else { return };
    let Some(mut slurm) = Slurm::start() else { return };
    let (world, alone) = two_worlds();
    let text = |name: &str| world.path(name).to_str().unwrap().to_owned();
    let (repo, keys) = (repo("slurm"), text("keys"));
    let about = ["--product", "demo", "--arch", "x86_64"];
    let publish = |release: &str, tree: &str| {
        let all = [
            "publish",
            "--repo",
            &repo,
            "--keys",
            &keys,
            "--config",
            "etc/**",
            "--release",
            release,
        ];
        ends(weed.elfup(&[&all[..], &about, &[&text(tree)]].concat()), 0);
    };
    ends(weed.elfup(&["repo", "init", &repo, "--keys", &keys]), 0);
    publish("r1", "one");
    let plan = on(&repo, "plan", &[&text("two")]);
    ends(
        weed.elfup(&plan.iter().map(String::as_str).collect::<Vec<_>>()),
        0,
    );

    let relay = weed.relay(Fault::Slow(100));
    submit(&slurm, &relay, &repo);
    until("a task runs on each node", 60, || {
        let nodes: Vec<String> = begun(slurm.dir.path())
            .into_iter()
            .map(|[_, _, node, _]| node)
            .collect();
        ["n1", "n2"].iter().all(|n| nodes.iter().any(|node| node == n))
    });
    let first = begun(slurm.dir.path())
        .into_iter()
        .find(|[_, _, node, _]| node == "n1");
    let [dead, _, _, pid] = first.unwrap();
    slurm.kill_first_node(pid.parse().unwrap());
    // The bucket is away until a task has given up.
    relay.cut.store(true, Ordering::Relaxed);
    until("a task is asked to try again", 120, || {
        let restarted = begun(slurm.dir.path());
        restarted
            .iter()
            .any(|[task, restarts, _, _]| *task != dead && restarts != "0")
    });
    relay.cut.store(false, Ordering::Relaxed);
    until("all tasks are done", 300, || {
        slurm
            .ask("squeue", &["-h"])
            .is_some_and(|queue| queue.trim().is_empty())
    });
    let all = begun(slurm.dir.path());
    assert!(
        all.iter()
            .any(|[task, restarts, node, _]| *task == dead && restarts != "0" && node == "n2"),
        "{all:?}"
    );
    let done = ends(
        weed.elfup(&plan.iter().map(String::as_str).collect::<Vec<_>>()),
        0,
    );
    let (jobs, rest) = done.split_once(" jobs, ").unwrap();
    assert!(rest.starts_with(&format!("{jobs} of them done")), "{done}");

    publish("r2", "two");
    weed.copy("slurm", &world.path("copy"));
    assert_eq!(content(&LocalStore::new(&world.path("copy"))), alone);
}
