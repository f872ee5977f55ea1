//! Boxes near by, announced by multicast DNS in one network and looked for from another, with a wire between them.

use crate::held::Held;
use crate::world::{World, runs, update};
use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

/// Two networks and a wire. The second one is entered by the process that is printed; both end with the input.
const NETWORKS: &str = r#"
set -e
ip link set lo up
unshare -n sh -c 'ip link set lo up; echo ready; exec cat' <&0 >ready &
there=$!
while ! grep -q ready ready; do sleep 0.05; done
ip link add wire0 type veth peer name wire1
ip link set wire1 netns $there
ip address add 10.9.0.1/24 dev wire0
ip link set wire0 up
ip route add 224.0.0.0/4 dev wire0
nsenter -t $there -n sh -c 'ip address add 10.9.0.2/24 dev wire1; ip link set wire1 up; ip route add 224.0.0.0/4 dev wire1'
echo $$ $there
wait $there
"#;

struct Networks {
    /// A process in each.
    inside: [String; 2],
    _held: Held,
}

impl Networks {
    fn new(world: &World) -> Option<Networks> {
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped: not root");
            return None;
        }
        let mut run = Command::new("unshare");
        run.args(["-n", "sh", "-c", NETWORKS]).current_dir(world.path(""));
        let held = Held::start(run)?;
        let Some((here, there)) = held.said.split_once(' ') else {
            eprintln!("skipped: no networks of its own");
            return None;
        };
        Some(Networks {
            inside: [here, there].map(str::to_owned),
            _held: held,
        })
    }

    /// elfup in one of them.
    fn elfup(&self, number: usize) -> Command {
        let mut run = Command::new("nsenter");
        run.args(["-t", &self.inside[number], "-n", env!("CARGO_BIN_EXE_elfup")]);
        run
    }
}

/// A box in the first network.
struct Nearby(Child);

impl Nearby {
    fn start(networks: &Networks, world: &World, name: &str, source: &str, port: u16) -> Nearby {
        let mut run = networks.elfup(0);
        run.args([
            "serve",
            "--announce",
            "--follow",
            "demo/stable/x86_64",
            "--source",
            source,
        ]);
        run.arg("--dir").arg(world.path(name));
        run.arg("--root").arg(world.repo().join("tuf/1.root.json"));
        run.args(["--listen", &format!("0.0.0.0:{port}")]);
        let mut child = run.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap())
            .read_line(&mut line)
            .unwrap();
        assert!(line.starts_with("serves at"), "{line}");
        Nearby(child)
    }
}

impl Drop for Nearby {
    fn drop(&mut self) {
        let pid = rustix::process::Pid::from_child(&self.0);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let _ = self.0.wait();
    }
}

#[test]
fn a_site_finds_the_box_of_its_place() {
    let world = World::new();
    let Some(networks) = Networks::new(&world) else {
        return;
    };
    world.publish("r1", "one").unwrap();
    let site = world.site("site", |_| {});
    update(&site).unwrap();
    drop(site);
    world.publish("r2", "two").unwrap();
    // From there the configured source is out of reach.
    let path = world.path("site/site.json");
    let config = fs::read_to_string(&path).unwrap();
    let far = config.replace(&world.repo().display().to_string(), "http://198.51.100.1");
    let told = |nearby: bool| match nearby {
        true => far.replacen('{', "{\n  \"nearby\": true,", 1),
        false => far.clone(),
    };
    let go = |nearby: bool| {
        fs::write(&path, told(nearby)).unwrap();
        let mut run = networks.elfup(1);
        run.arg("--verbose")
            .arg("site")
            .arg("--site")
            .arg(world.path("site"))
            .arg("update");
        run.output().unwrap()
    };
    let repo = world.repo().display().to_string();
    // One that has nothing itself costs no site its update.
    let _useless = Nearby::start(&networks, &world, "useless", "http://198.51.100.1", 8281);
    let failed = go(true);
    assert_eq!(failed.status.code(), Some(5), "{failed:?}");
    let _good = Nearby::start(&networks, &world, "good", &repo, 8282);
    // Who was not told to look does not.
    assert_eq!(go(false).status.code(), Some(5));
    let done = go(true);
    assert!(done.status.success(), "{done:?}");
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(said.contains("a box near by: http://10.9.0.1:8282"), "{said}");
    assert_eq!(runs(&elfup::site::Site::open(&world.path("site")).unwrap()), "r2");
}
