//! A bad link: a network namespace behind a veth pair of limited rate, with relays for the delay.

use super::{
    command::{run, words},
    relay::{Delay, Relay},
};
use std::{
    fs,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};

/// What is emulated.
#[derive(Clone, Copy, Debug, serde::Serialize)]
pub struct Shape {
    /// Rate in each direction, in kbit/s.
    pub kbit: u32,
    /// Round trip in milliseconds.
    pub rtt_ms: u64,
}

impl Shape {
    /// Seconds that so many bytes need.
    pub fn seconds(self, bytes: u64) -> f64 {
        bytes as f64 * 8.0 / (f64::from(self.kbit) * 1e3)
    }
    /// The round trip in seconds.
    pub fn rtt(self) -> f64 {
        self.rtt_ms as f64 / 1e3
    }
}

/// The namespace and its way out; both go when dropped.
pub struct Link {
    namespace: String,
    host: String,
    site: String,
    address: IpAddr,
    delay: Delay,
    relays: Vec<Relay>,
}

impl Link {
    /// Makes namespace and veth pair, without limits yet. Needs root.
    pub fn make() -> Result<Link, String> {
        let id = std::process::id();
        // 198.18.0.0/15 is set aside for benchmarks (RFC 2544).
        let third = (id % 251) as u8;
        let link = Link {
            namespace: format!("fleet-{id}"),
            host: format!("fh-{id}"),
            site: format!("fs-{id}"),
            address: Ipv4Addr::new(198, 18, third, 1).into(),
            delay: Delay::default(),
            relays: Vec::new(),
        };
        let (namespace, host, site) = (&link.namespace, &link.host, &link.site);
        let lines = [
            format!("ip netns add {namespace}"),
            format!("ip link add {host} type veth peer name {site} netns {namespace}"),
            format!("ip addr add {}/30 dev {host}", link.address),
            format!("ip link set {host} up"),
            format!("ip -n {namespace} addr add 198.18.{third}.2/30 dev {site}"),
            format!("ip -n {namespace} link set {site} up"),
            format!("ip -n {namespace} link set lo up"),
        ];
        lines.iter().try_for_each(|line| run(&words(line)))?;
        Ok(link)
    }

    /// Passes on to a server on loopback; returns the address that the site sees.
    pub fn open(&mut self, port: u16) -> Result<SocketAddr, String> {
        let server = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let relay =
            Relay::start((self.address, 0).into(), server, self.delay.clone()).map_err(crate::text)?;
        let address = relay.address();
        self.relays.push(relay);
        Ok(address)
    }

    /// Sets rate and delay in both directions; `None` takes both away.
    pub fn shape(&self, shape: Option<Shape>) -> Result<(), String> {
        let (namespace, host, site) = (&self.namespace, &self.host, &self.site);
        // There may be none yet.
        let _ = run(&words(&format!("tc qdisc del dev {host} root")));
        let _ = run(&words(&format!("tc -n {namespace} qdisc del dev {site} root")));
        self.delay
            .set(Duration::from_millis(shape.map_or(0, |shape| shape.rtt_ms)));
        let Some(shape) = shape else { return Ok(()) };
        let limit = format!("root tbf rate {}kbit burst 8kb latency 400ms", shape.kbit);
        run(&words(&format!("tc qdisc add dev {host} {limit}")))?;
        run(&words(&format!("tc -n {namespace} qdisc add dev {site} {limit}")))
    }

    /// The command line that runs `argv` at the site.
    pub fn at_site(&self, argv: &[String]) -> Vec<String> {
        let mut line = words(&format!("ip netns exec {}", self.namespace));
        line.extend_from_slice(argv);
        line
    }

    /// Bytes that have crossed the link so far, headers included: down to the site, up from it.
    pub fn crossed(&self) -> Result<(u64, u64), String> {
        let read = |name: &str| {
            let path = format!("/sys/class/net/{}/statistics/{name}", self.host);
            let text = fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))?;
            text.trim().parse().map_err(|error| format!("{path}: {error}"))
        };
        Ok((read("tx_bytes")?, read("rx_bytes")?))
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.relays.clear();
        // Removing one end of the pair removes the other.
        let _ = run(&words(&format!("ip link del {}", self.host)));
        let _ = run(&words(&format!("ip netns del {}", self.namespace)));
    }
}
