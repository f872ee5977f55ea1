//! D-Bus: announces what the daemon finds, and lets others ask for a check or for the new release.

use clap::ValueEnum;
use elfup::site::daemon::{Ask, Event, Link};
use elfup::{Error, Result, clock};
use std::sync::mpsc::Sender;
use zbus::blocking::{Connection, Proxy, connection::Builder};
use zbus::fdo::RequestNameFlags;
use zbus::object_server::SignalEmitter;
use zbus::{block_on, fdo, interface};

const NAME: &str = "org.elfdelta.Updater1";
const PATH: &str = "/org/elfdelta/Updater1";

/// Which bus.
#[derive(Clone, Copy, ValueEnum)]
pub enum Which {
    /// The machine's.
    System,
    /// The user's.
    Session,
}

/// The daemon on a bus.
pub struct Bus {
    connection: Connection,
}

impl Bus {
    /// Takes the daemon's name on the bus; what is asked there goes to `asks`.
    ///
    /// Fails if there is no such bus, or another daemon has the name.
    pub fn open(which: Which, asks: Sender<Ask>) -> Result<Bus> {
        let open = || -> zbus::Result<Bus> {
            let builder = match which {
                Which::System => Builder::system()?,
                Which::Session => Builder::session()?,
            };
            let updater = Updater {
                asks,
                state: "unknown",
                release: String::new(),
                urgent: false,
                problem: String::new(),
                checked: 0,
            };
            let connection = builder.serve_at(PATH, updater)?.build()?;
            // Neither taken from a running daemon nor waited for.
            connection.request_name_with_flags(NAME, RequestNameFlags::DoNotQueue.into())?;
            Ok(Bus { connection })
        };
        open().map_err(|e| failed("take the name", e))
    }

    /// Tells what a round found.
    pub fn tell(&self, event: &Event) -> Result<()> {
        self.announce(event).map_err(|e| failed("tell", e))
    }

    fn announce(&self, event: &Event) -> zbus::Result<()> {
        let updater = self.connection.object_server().interface::<_, Updater>(PATH)?;
        let (state, release, urgent, problem) = match event {
            Event::UpToDate => ("up-to-date", "", false, ""),
            Event::Available { release, urgent } => ("available", release.as_str(), *urgent, ""),
            Event::Fetching { release, urgent } => ("fetching", release.as_str(), *urgent, ""),
            Event::Ready { release, urgent } => ("ready", release.as_str(), *urgent, ""),
            Event::Applied(release) => ("applied", release.as_str(), false, ""),
            Event::Failed(problem) => ("failed", "", false, problem.as_str()),
        };
        let news = {
            let mut now = updater.get_mut();
            let news = (now.state, now.release.as_str()) != (state, release);
            (now.state, now.urgent) = (state, urgent);
            (now.release, now.problem) = (release.to_owned(), problem.to_owned());
            now.checked = u64::try_from(clock::now()).unwrap_or_default();
            news
        };
        let (now, emitter) = (updater.get(), updater.signal_emitter());
        block_on(async {
            now.state_changed(emitter).await?;
            now.release_changed(emitter).await?;
            now.urgent_changed(emitter).await?;
            now.problem_changed(emitter).await?;
            // The last: whoever waits for the end of a round finds the rest as it is.
            now.last_check_changed(emitter).await?;
            if news && state == "ready" {
                Updater::update_ready(emitter, release, urgent).await?;
            }
            Ok(())
        })
    }
}

fn failed(what: &str, e: zbus::Error) -> Error {
    Error::io(format!("{what} on D-Bus"), std::io::Error::other(e))
}

/// The network, as NetworkManager sees it.
pub struct Network;

impl Link for Network {
    /// Where nobody says so it is not.
    fn metered(&self) -> bool {
        let ask = || -> zbus::Result<u32> {
            let name = "org.freedesktop.NetworkManager";
            let connection = Builder::system()?.build()?;
            Proxy::new(&connection, name, "/org/freedesktop/NetworkManager", name)?.get_property("Metered")
        };
        // Known to be, and guessed to be: of a telephone, say.
        matches!(ask(), Ok(1 | 3))
    }
}

/// What the bus sees.
struct Updater {
    asks: Sender<Ask>,
    state: &'static str,
    release: String,
    urgent: bool,
    problem: String,
    checked: u64,
}

impl Updater {
    fn ask(&self, ask: Ask) -> fdo::Result<()> {
        let gone = |_| fdo::Error::Failed("the daemon is stopping".into());
        self.asks.send(ask).map_err(gone)
    }
}

/// Methods return at once: a round may take hours. Its end is a change of `LastCheck`.
#[interface(name = "org.elfdelta.Updater1")]
impl Updater {
    /// Asks for a round by policy.
    fn check(&self) -> fdo::Result<()> {
        self.ask(Ask::Check)
    }

    /// Asks for a round that fetches and applies whatever is newer.
    fn apply(&self) -> fdo::Result<()> {
        self.ask(Ask::Apply)
    }

    /// `unknown`, `up-to-date`, `available`, `fetching`, `ready`, `applied` or `failed`.
    #[zbus(property)]
    fn state(&self) -> &str {
        self.state
    }

    /// The release that `State` speaks of, or nothing.
    #[zbus(property)]
    fn release(&self) -> &str {
        &self.release
    }

    /// Whether that release is marked as urgent.
    #[zbus(property)]
    fn urgent(&self) -> bool {
        self.urgent
    }

    /// Why the last round failed, or nothing.
    #[zbus(property)]
    fn problem(&self) -> &str {
        &self.problem
    }

    /// End of the last round, seconds since 1970; 0 before the first.
    #[zbus(property)]
    fn last_check(&self) -> u64 {
        self.checked
    }

    /// A release was fetched and waits to be applied.
    #[zbus(signal)]
    async fn update_ready(emitter: &SignalEmitter<'_>, release: &str, urgent: bool) -> zbus::Result<()>;
}
