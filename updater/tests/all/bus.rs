//! The daemon on a real session bus: it announces a fetched release and applies it when asked.

use crate::held::Held;
use crate::world::{World, runs, update, write};
use elfup::farm::publish;
use elfup::{Quiet, site::Site};
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use zbus::blocking::{Connection, Proxy, connection::Builder};
use zbus::proxy::CacheProperties;

/// A bus that ends with the test: `dbus-run-session` lasts as long as its command.
struct Session {
    address: String,
    _held: Held,
}

impl Session {
    fn start() -> Option<Session> {
        let mut run = Command::new("dbus-run-session");
        run.args(["--", "sh", "-c", "echo $DBUS_SESSION_BUS_ADDRESS; exec cat"]);
        Session::of(run)
    }

    /// With NetworkManager on it, which has one link, in a network of its own.
    fn with_network(place: &Path) -> Option<Session> {
        if !rustix::process::geteuid().is_root() || Command::new("nmcli").arg("--version").output().is_err() {
            eprintln!("skipped: not root, or NetworkManager is not installed");
            return None;
        }
        let mut run = Command::new("unshare");
        run.args(["-n", "-m", "dbus-run-session", "--", "sh", "-c", NETWORK]);
        run.current_dir(place);
        Session::of(run)
    }

    fn of(run: Command) -> Option<Session> {
        let Some(held) = Held::start(run) else {
            eprintln!("skipped: dbus-run-session is not installed");
            return None;
        };
        let address = held.said.clone();
        if address.is_empty() {
            eprintln!("skipped: no bus, or no link on it");
            return None;
        }
        Some(Session { address, _held: held })
    }
}

/// A link that NetworkManager looks after, without udev: then it takes what is there. `cat` ends with the test, and it
/// with `cat`.
const NETWORK: &str = r#"
mount -t sysfs -o ro sysfs /sys
ip link set lo up
ip link add link0 type veth peer name link1
ip link set link1 up
printf '[main]\nplugins=keyfile\ndns=none\n[keyfile]\npath=%s/connections\n' "$PWD" > manager.conf
mkdir connections
export DBUS_SYSTEM_BUS_ADDRESS="$DBUS_SESSION_BUS_ADDRESS"
NetworkManager --no-daemon --config manager.conf --config-dir none --system-config-dir none \
    --state-file state --intern-config intern --pid-file pid >manager.log 2>&1 &
manager=$!
exec 3>&1 >made.log 2>&1
for try in $(seq 100); do nmcli general status && break; sleep 0.1; done
nmcli connection add type ethernet ifname link0 con-name link ip4 192.0.2.1/24 gw4 192.0.2.2 connection.metered yes
for try in $(seq 50); do nmcli connection up link && up=yes && break; sleep 0.1; done
[ "$up" ] || DBUS_SESSION_BUS_ADDRESS=
echo "$DBUS_SESSION_BUS_ADDRESS" >&3
cat >/dev/null
kill $manager
wait $manager
"#;

/// `elfup site run` on that bus, ended by SIGTERM.
struct Daemon(Child);

impl Daemon {
    fn start(world: &World, session: &Session, apply: &str) -> Daemon {
        let mut run = Command::new(env!("CARGO_BIN_EXE_elfup"));
        run.arg("site").arg("--site").arg(world.path("site"));
        run.args([
            "run", "--bus", "session", "--every", "100000", "--jitter", "0", "--apply", apply,
        ]);
        run.env("DBUS_SESSION_BUS_ADDRESS", &session.address);
        Daemon(run.stdout(Stdio::null()).spawn().unwrap())
    }

    fn stop(mut self) {
        let pid = rustix::process::Pid::from_child(&self.0);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        assert!(self.0.wait().unwrap().success());
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

const NAME: &str = "org.elfdelta.Updater1";
const PATH: &str = "/org/elfdelta/Updater1";

fn proxy(connection: &Connection) -> Proxy<'static> {
    // A cache would be filled before the daemon is there.
    let builder = zbus::blocking::proxy::Builder::new(connection).cache_properties(CacheProperties::No);
    let builder = builder
        .destination(NAME)
        .and_then(|b| b.path(PATH))
        .and_then(|b| b.interface(NAME));
    builder.and_then(|b| b.build()).unwrap()
}

fn get<T>(proxy: &Proxy, name: &str) -> Option<T>
where
    T: TryFrom<zbus::zvariant::OwnedValue>,
    T::Error: Into<zbus::Error>,
{
    proxy.get_property(name).ok()
}

/// Waits for the end of a round that leaves this state.
fn wait_for(proxy: &Proxy, state: &str) {
    for _ in 0..600 {
        if get::<String>(proxy, "State").as_deref() == Some(state) {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    panic!("{:?} instead of {state}", get::<String>(proxy, "State"));
}

#[test]
fn a_release_is_announced_and_applied_on_request() {
    let Some(session) = Session::start() else { return };
    let (world, site) = World::ready();
    drop(site);
    let address = session.address.as_str();
    let connection = Builder::address(address).unwrap().build().unwrap();
    let proxy = proxy(&connection);
    let mut signals = proxy.receive_signal("UpdateReady").unwrap();
    let daemon = Daemon::start(&world, &session, "never");
    // By policy it is fetched, and announced; nothing is switched.
    let signal = signals.next().unwrap();
    let said: (String, bool) = signal.body().deserialize().unwrap();
    assert_eq!(said, ("r2".into(), false));
    wait_for(&proxy, "ready");
    assert_eq!(get::<String>(&proxy, "Release").unwrap(), "r2");
    assert!(get::<u64>(&proxy, "LastCheck").unwrap() > 0);
    assert_eq!(runs(&Site::open(&world.path("site")).unwrap()), "r1");
    proxy.call_method("Apply", &()).unwrap();
    wait_for(&proxy, "applied");
    assert_eq!(runs(&Site::open(&world.path("site")).unwrap()), "r2");
    proxy.call_method("Check", &()).unwrap();
    wait_for(&proxy, "up-to-date");
    // An urgent one is told as such.
    write(world.path("two/share/fix"), "fix");
    let mut urgent = world.publishing("r3", "two");
    urgent.urgent = true;
    publish(&world.store(), &urgent, &Quiet).unwrap();
    proxy.call_method("Check", &()).unwrap();
    let said: (String, bool) = signals.next().unwrap().body().deserialize().unwrap();
    assert_eq!(said, ("r3".into(), true));
    // A failure has its reason.
    std::fs::rename(world.repo(), world.path("away")).unwrap();
    proxy.call_method("Check", &()).unwrap();
    wait_for(&proxy, "failed");
    assert!(get::<String>(&proxy, "Problem").unwrap().contains("no source"));
    daemon.stop();
}

#[test]
fn a_policy_applies_without_being_asked() {
    let Some(session) = Session::start() else { return };
    let (world, site) = World::ready();
    drop(site);
    let address = session.address.as_str();
    let connection = Builder::address(address).unwrap().build().unwrap();
    let daemon = Daemon::start(&world, &session, "always");
    wait_for(&proxy(&connection), "applied");
    daemon.stop();
    assert_eq!(runs(&Site::open(&world.path("site")).unwrap()), "r2");
}

/// What one round says, with the machine's bus there.
fn a_round(world: &World, bus: &str, metered: &str) -> String {
    let mut run = Command::new(env!("CARGO_BIN_EXE_elfup"));
    run.arg("site").arg("--site").arg(world.path("site"));
    run.args(["run", "--once", "--apply", "always", "--metered", metered]);
    let output = run.env("DBUS_SYSTEM_BUS_ADDRESS", bus).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_metered_link_brings_what_is_urgent() {
    let world = World::new();
    fs::create_dir(world.path("network")).unwrap();
    let Some(session) = Session::with_network(&world.path("network")) else {
        return;
    };
    let said = || fs::read_to_string(world.path("network/made.log")).unwrap();
    world.publish("r1", "one").unwrap();
    let site = world.site("site", |_| {});
    update(&site).unwrap();
    drop(site);
    world.publish("r2", "two").unwrap();
    let round = |metered| a_round(&world, &session.address, metered);
    for metered in ["urgent", "never"] {
        assert_eq!(round(metered), "r2 is available\n", "{}", said());
    }
    let mut urgent = world.publishing("r3", "two");
    urgent.urgent = true;
    publish(&world.store(), &urgent, &Quiet).unwrap();
    assert_eq!(round("never"), "r3 is available, urgent\n", "{}", said());
    assert_eq!(round("urgent"), "r3 runs\n", "{}", said());
    write(world.path("two/share/more"), "more");
    world.publish("r4", "two").unwrap();
    // Where nobody says that it is metered it is not.
    assert_eq!(a_round(&world, "unix:path=/nowhere", "never"), "r4 runs\n");
}

#[test]
fn a_second_daemon_does_not_get_the_name() {
    let Some(session) = Session::start() else { return };
    let (world, site) = World::ready();
    drop(site);
    let address = session.address.as_str();
    let connection = Builder::address(address).unwrap().build().unwrap();
    let first = Daemon::start(&world, &session, "never");
    wait_for(&proxy(&connection), "ready");
    let mut second = Daemon::start(&world, &session, "never");
    assert!(!second.0.wait().unwrap().success());
    first.stop();
}
