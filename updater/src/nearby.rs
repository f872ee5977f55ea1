//! Boxes of a place, announced and found by multicast DNS (RFC 6762, RFC 6763).
//!
//! Anybody on a network can announce anything. So sites look only if they were told to, take a few addresses of the
//! place's own network and none beyond, and believe what comes from there no more than any other source.

use crate::names::Follow;
use crate::{Error, Result, Watch};
use mdns_sd::{Receiver, ServiceDaemon, ServiceEvent, ServiceInfo};
use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

/// What boxes are announced as.
const SERVICE: &str = "_elfup._tcp.local.";
/// How long a site listens for answers, and after the first good one for more.
const WAIT: Duration = Duration::from_millis(1500);
const MORE: Duration = Duration::from_millis(200);
/// Addresses that a site takes.
const MOST: usize = 3;
/// Channels that an announcement names: all of it goes into one packet.
const CHANNELS: usize = 4;

/// An announcement, taken back when dropped.
pub struct Announced {
    daemon: ServiceDaemon,
    name: String,
}

impl Drop for Announced {
    fn drop(&mut self) {
        // Whoever still listens hears that it is gone; nobody waits long for that.
        if let Ok(gone) = self.daemon.unregister(&self.name) {
            let _ = gone.recv_timeout(MORE);
        }
        end(&self.daemon);
    }
}

/// Announces the box at a port of this machine, for the channels that it holds.
pub fn announce(port: u16, follow: &[Follow]) -> Result<Announced> {
    let host = host();
    let channels: Vec<(String, String)> = follow
        .iter()
        .take(CHANNELS)
        .enumerate()
        .map(|(i, follow)| (format!("follow{i}"), channel(follow)))
        .collect();
    let daemon = ServiceDaemon::new().map_err(failed)?;
    let name = format!("elfup box on {host}, port {port}");
    let info = ServiceInfo::new(SERVICE, &name, &format!("{host}.local."), "", port, &channels[..]);
    let info = info.map_err(failed)?.enable_addr_auto();
    let announced = Announced {
        name: info.get_fullname().to_owned(),
        daemon,
    };
    announced.daemon.register(info).map_err(failed)?;
    Ok(announced)
}

/// Addresses of boxes near by that hold a channel. None is an answer, too: a site goes on with its other sources.
pub fn find(follow: &Follow, watch: &dyn Watch) -> Result<Vec<String>> {
    let Ok(daemon) = ServiceDaemon::new() else {
        return Ok(Vec::new());
    };
    let found = match daemon.browse(SERVICE) {
        Ok(heard) => listen(&heard, &channel(follow), watch),
        Err(_) => Ok(BTreeSet::new()),
    };
    end(&daemon);
    Ok(found?.into_iter().collect())
}

fn listen(heard: &Receiver<ServiceEvent>, wanted: &str, watch: &dyn Watch) -> Result<BTreeSet<String>> {
    let mut found = BTreeSet::new();
    let mut end = Instant::now() + WAIT;
    while found.len() < MOST {
        watch.check()?;
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break;
        }
        let Ok(ServiceEvent::ServiceResolved(heard)) = heard.recv_timeout(left.min(MORE)) else {
            continue;
        };
        let mut channels = heard.txt_properties.iter();
        if !channels.any(|channel| channel.val_str() == wanted) {
            continue;
        }
        let near = heard.addresses.iter().map(|ip| ip.to_ip_addr()).filter(is_near);
        if let Some(ip) = near.min() {
            if found.is_empty() {
                end = end.min(Instant::now() + MORE);
            }
            found.insert(format!("http://{}", SocketAddr::new(ip, heard.port)));
        }
    }
    Ok(found)
}

/// Whether an address is of the place's own network: nobody there sends sites to machines elsewhere.
fn is_near(ip: &IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_private() || ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unique_local(),
    }
}

fn channel(follow: &Follow) -> String {
    format!("{}/{}/{}", follow.product, follow.channel, follow.arch)
}

/// This machine's name, as far as it can be one in a network.
fn host() -> String {
    let name = rustix::system::uname();
    let name = name.nodename().to_string_lossy();
    let good = |c: &char| c.is_ascii_alphanumeric() || *c == '-';
    let name: String = name
        .chars()
        .take_while(|c| *c != '.')
        .filter(good)
        .take(40)
        .collect();
    match name.is_empty() {
        true => "box".to_owned(),
        false => name,
    }
}

fn end(daemon: &ServiceDaemon) {
    if let Ok(ended) = daemon.shutdown() {
        let _ = ended.recv_timeout(MORE);
    }
}

fn failed(e: mdns_sd::Error) -> Error {
    Error::io("announce the box by multicast DNS", std::io::Error::other(e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_elsewhere_are_not_near() {
        let near = |text: &str| is_near(&text.parse().unwrap());
        assert!(near("192.168.1.7") && near("10.0.0.1") && near("172.16.3.4") && near("169.254.9.9"));
        assert!(near("fd12::1"));
        assert!(!near("203.0.113.5") && !near("127.0.0.1") && !near("0.0.0.0") && !near("224.0.0.251"));
        assert!(!near("2001:db8::1") && !near("::1") && !near("fe80::1"));
    }
}
