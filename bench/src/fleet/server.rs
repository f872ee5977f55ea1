//! The servers behind the link: nginx and an rsync daemon on loopback, ended with the run.

use super::command::run;
use std::{
    fs,
    net::{Ipv4Addr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

/// nginx over one folder.
pub struct Nginx {
    child: Child,
    config: PathBuf,
    log: PathBuf,
    /// Its port on loopback.
    pub port: u16,
}

/// An rsync daemon with one module, `new`.
pub struct Rsync {
    child: Child,
    /// Its port on loopback.
    pub port: u16,
}

impl Nginx {
    /// Serves `www`; configuration, log and temporary files go to `work`.
    pub fn start(www: &Path, work: &Path) -> Result<Nginx, String> {
        let port = free_port()?;
        let (log, config) = (work.join("access.log"), work.join("nginx.conf"));
        let (www, at) = (www.display(), work.display());
        // The processes run as whoever started them: root's trees are not for others to read.
        let text = format!(
            "daemon off;\nuser root;\nworker_processes 1;\npid {at}/nginx.pid;\nerror_log {at}/error.log;\n\
             events {{}}\nhttp {{\n  log_format sizes '$status $body_bytes_sent';\n  access_log {at}/access.log sizes;\n\
             sendfile on;\n  keepalive_requests 1000000;\n  keepalive_timeout 1h;\n  client_body_temp_path {at}/t1;\n\
             proxy_temp_path {at}/t2;\n  fastcgi_temp_path {at}/t3;\n  uwsgi_temp_path {at}/t4;\n  scgi_temp_path {at}/t5;\n\
             server {{ listen 127.0.0.1:{port}; root {www}; }}\n}}\n"
        );
        fs::write(&config, text).map_err(crate::text)?;
        let mut command = Command::new("nginx");
        command
            .arg("-c")
            .arg(&config)
            .stdin(Stdio::null())
            .stderr(Stdio::null());
        let child = command.spawn().map_err(|error| format!("nginx: {error}"))?;
        let server = Nginx {
            child,
            config,
            log,
            port,
        };
        answers(port)?;
        Ok(server)
    }

    /// Requests and bytes of content since the last call.
    pub fn served(&self) -> Result<(u64, u64), String> {
        // A line is written when its request ends, a moment after the client has the last byte.
        thread::sleep(Duration::from_millis(300));
        let text = fs::read_to_string(&self.log).map_err(crate::text)?;
        fs::OpenOptions::new()
            .write(true)
            .truncate(true)
            .open(&self.log)
            .map_err(crate::text)?;
        let sizes = text
            .lines()
            .filter_map(|line| line.split(' ').nth(1)?.parse::<u64>().ok());
        Ok((text.lines().count() as u64, sizes.sum()))
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let stop = ["nginx", "-s", "stop", "-c"].map(str::to_owned);
        let mut stop = stop.to_vec();
        stop.push(self.config.display().to_string());
        if run(&stop).is_err() {
            let _ = self.child.kill();
        }
        let _ = self.child.wait();
    }
}

impl Rsync {
    /// Serves `tree` as the module `new`.
    pub fn start(tree: &Path, work: &Path) -> Result<Rsync, String> {
        let port = free_port()?;
        let config = work.join("rsyncd.conf");
        let text = format!(
            "address = 127.0.0.1\nport = {port}\nuse chroot = no\nuid = root\ngid = root\n\
             pid file =\n[new]\npath = {}\nread only = yes\n",
            tree.display()
        );
        fs::write(&config, text).map_err(crate::text)?;
        let mut command = Command::new("rsync");
        command.args(["--daemon", "--no-detach", "--config"]).arg(&config);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let child = command.spawn().map_err(|error| format!("rsync: {error}"))?;
        let server = Rsync { child, port };
        answers(port)?;
        Ok(server)
    }
}

impl Drop for Rsync {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_port() -> Result<u16, String> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(crate::text)?;
    Ok(listener.local_addr().map_err(crate::text)?.port())
}

/// Waits until something listens.
fn answers(port: u16) -> Result<(), String> {
    for _ in 0..100 {
        if TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return Ok(());
        }
        thread::sleep(Duration::from_millis(50));
    }
    Err(format!("the server on port {port} does not answer"))
}
