//! One tool from farm to site: what it makes, what crosses the link, and how long that takes.

use super::{
    command::stoppable,
    disk,
    link::{Link, Shape},
    server::{Nginx, Rsync},
    tools::{TAR, Tool},
};
use crate::measure::{self, Step, Usage};
use serde::{Deserialize, Serialize};
use std::{
    fs, io,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
};

/// What the farm spent on the new release.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Made {
    /// Which build of the tool, and of its commands, made it.
    version: String,
    /// Seconds and memory.
    pub usage: Usage,
    /// Bytes on the disk that are served, the old release included where the tool keeps it there.
    pub stored: u64,
}

/// What one way to the new release took.
#[derive(Clone, Debug, Serialize)]
pub struct Pulled {
    /// Bytes of content that the servers sent; those of all directions where the tool has its own protocol.
    pub content: u64,
    /// Bytes on the wire to the site, headers and repetitions included.
    pub down: u64,
    /// Bytes on the wire from the site.
    pub up: u64,
    /// HTTP requests; none where the tool has its own protocol.
    pub requests: u64,
    /// Seconds and memory of the site's commands.
    pub usage: Usage,
    /// Most disk beyond the old release, in bytes.
    pub disk: u64,
}

/// Where the two releases are.
pub struct Releases {
    /// What the site runs.
    pub old: PathBuf,
    /// What it is to run.
    pub new: PathBuf,
}

/// Everything that the tools are run with.
pub struct Race {
    releases: Releases,
    work: PathBuf,
    elfup: PathBuf,
    link: Option<Link>,
    plan: &'static str,
    nginx: Nginx,
    _rsync: Option<Rsync>,
    web: SocketAddr,
    rsync: Option<SocketAddr>,
    _scratch: tempfile::TempDir,
}

impl Race {
    /// Starts the servers over what is, or will be, in `work`; without a link the site is at the servers, and our
    /// updater is told by the options `plan` what to plan for.
    pub fn start(
        releases: Releases,
        work: &Path,
        elfup: PathBuf,
        mut link: Option<Link>,
        plan: &'static str,
    ) -> Result<Race, String> {
        let scratch = tempfile::tempdir().map_err(crate::text)?;
        let www = work.join("www");
        fs::create_dir_all(&www).map_err(crate::text)?;
        let nginx = Nginx::start(&www, scratch.path())?;
        let mut open = |port: u16| match &mut link {
            Some(link) => link.open(port),
            None => Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, port))),
        };
        let web = open(nginx.port)?;
        let started = crate::tools::lacks("rsync")
            .is_none()
            .then(|| Rsync::start(&releases.new, scratch.path()));
        let daemon = started.transpose()?;
        let rsync = daemon.as_ref().map(|daemon| open(daemon.port)).transpose()?;
        Ok(Race {
            releases,
            work: work.into(),
            elfup,
            link,
            plan,
            nginx,
            _rsync: daemon,
            web,
            rsync,
            _scratch: scratch,
        })
    }

    /// Lets the farm make the new release, or takes what this build of the tool made in an earlier run.
    pub fn make(&self, tool: &Tool, fresh: bool) -> Result<Made, String> {
        let (farm, www) = (self.farm(tool), self.www(tool));
        let said = stoppable(&self.script(tool, tool.version))?;
        let version = format!("{said}{}{}{TAR}", tool.before, tool.make);
        let note = farm.join("made.json");
        let earlier = fs::read(&note)
            .ok()
            .and_then(|json| serde_json::from_slice::<Made>(&json).ok());
        if let Some(made) = earlier.filter(|made| made.version == version && !fresh) {
            return Ok(made);
        }
        for folder in [&farm, &www] {
            empty(folder).map_err(crate::text)?;
        }
        stoppable(&self.script(tool, tool.before))?;
        let usage = measure::steps(&[Step {
            argv: self.script(tool, tool.make),
            ..Step::default()
        }])?;
        let stored = disk::taken(&www);
        let made = Made {
            version,
            usage,
            stored,
        };
        fs::write(&note, serde_json::to_vec(&made).map_err(crate::text)?).map_err(crate::text)?;
        Ok(made)
    }

    /// Brings a site from the old release to the new one over a link of this shape (`None`: of no limits).
    pub fn pull(&self, tool: &Tool, shape: Option<Shape>) -> Result<Pulled, String> {
        let site = self.site();
        empty(&site).map_err(crate::text)?;
        self.shape(None)?;
        stoppable(&self.script(tool, tool.ready))?;
        self.nginx.served()?;
        self.shape(shape)?;
        let before = self.crossed()?;
        let step = Step {
            argv: match &self.link {
                Some(link) => link.at_site(&self.script(tool, tool.pull)),
                None => self.script(tool, tool.pull),
            },
            ..Step::default()
        };
        let (usage, disk) = disk::peak(&site, || measure::steps(&[step]));
        let (usage, after) = (usage?, self.crossed()?);
        let (requests, content) = self.nginx.served()?;
        let (down, up) = (after.0 - before.0, after.1 - before.1);
        self.shape(None)?;
        stoppable(&self.script(tool, tool.check))?;
        let content = if requests == 0 { down + up } else { content };
        Ok(Pulled {
            content,
            down,
            up,
            requests,
            usage,
            disk,
        })
    }

    /// What a script of a tool says, which is not measured.
    pub fn ask(&self, tool: &Tool, script: &str) -> Result<String, String> {
        stoppable(&self.script(tool, script))
    }

    fn shape(&self, shape: Option<Shape>) -> Result<(), String> {
        self.link.as_ref().map_or(Ok(()), |link| link.shape(shape))
    }
    /// Bytes on the wire so far, down and up; none without a link.
    fn crossed(&self) -> Result<(u64, u64), String> {
        self.link.as_ref().map_or(Ok((0, 0)), Link::crossed)
    }

    /// The command line that runs a script of a tool.
    fn script(&self, tool: &Tool, script: &str) -> Vec<String> {
        let url = format!("http://{}/{}", self.web, slug(tool));
        let rsync = self
            .rsync
            .map_or(String::new(), |address| format!("rsync://{address}/new"));
        let variables = [
            ("OLD", self.releases.old.display().to_string()),
            ("NEW", self.releases.new.display().to_string()),
            ("FARM", self.farm(tool).display().to_string()),
            ("WWW", self.www(tool).display().to_string()),
            ("SITE", self.site().display().to_string()),
            ("ELFUP", self.elfup.display().to_string()),
            ("URL", url),
            ("RSYNC", rsync),
            ("TAR", TAR.into()),
            ("PLAN", self.plan.into()),
        ];
        let mut line = vec!["env".to_owned()];
        line.extend(variables.map(|(name, value)| format!("{name}={value}")));
        line.extend(["bash", "-euo", "pipefail", "-c", script].map(str::to_owned));
        line
    }

    fn farm(&self, tool: &Tool) -> PathBuf {
        self.work.join("farm").join(slug(tool))
    }
    fn www(&self, tool: &Tool) -> PathBuf {
        self.work.join("www").join(slug(tool))
    }
    fn site(&self) -> PathBuf {
        self.work.join(format!("site-{}", std::process::id()))
    }
}

impl Drop for Race {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(self.site());
    }
}

fn slug(tool: &Tool) -> String {
    tool.name.replace([' ', '-'], "")
}

fn empty(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    fs::create_dir_all(folder)
}
