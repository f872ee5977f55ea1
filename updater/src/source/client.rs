//! Connections: direct or through a proxy, plain or by TLS; one request without redirects.

use super::secrets::{self, basic};
use super::transfer::Failure;
use super::{Access, Patience};
use crate::{Error, Result, disk};
use std::fmt::Debug;
use std::sync::OnceLock;
use std::time::Duration;
use ureq::http::header::{HOST, HeaderName, HeaderValue, PROXY_AUTHORIZATION};
use ureq::http::{Response, Uri};
use ureq::unversioned::resolver::DefaultResolver;
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, DefaultConnector, NextTimeout, Transport,
};
use ureq::{Agent, Body, Proxy};

/// Longest wait for a connection: a box that is switched off answers nothing at all.
const CONNECT: Duration = Duration::from_secs(15);

/// Makes requests; connections are kept for the next one.
pub struct Client {
    patience: Patience,
    plain: Agent,
    forward: Agent,
    secure: OnceLock<Agent>,
    authorities: Option<Vec<Vec<u8>>>,
    proxies: Proxies,
}

impl Client {
    /// Reads what the environment says of proxies, and the file of certificate authorities if there is one.
    pub fn new(access: &Access) -> Result<Client> {
        let patience = access.patience;
        let connector = DefaultConnector::new().chain(AbsoluteForm);
        Ok(Client {
            patience,
            plain: config(patience).build().new_agent(),
            forward: Agent::with_parts(config(patience).build(), connector, DefaultResolver::default()),
            secure: OnceLock::new(),
            authorities: access.ca.as_deref().map(authorities).transpose()?,
            proxies: Proxies::from_environment(&|name| std::env::var(name).ok()),
        })
    }

    /// One request, within so much time, the body included.
    pub fn get(
        &self,
        uri: &Uri,
        headers: &[(HeaderName, HeaderValue)],
        total: Duration,
    ) -> std::result::Result<Response<Body>, Failure> {
        let secure = uri.scheme_str() == Some("https");
        let proxy = self.proxies.of(uri);
        let mut more = Vec::new();
        let (agent, uri, connect) = match (proxy, secure) {
            (None, false) => (&self.plain, uri.clone(), None),
            (proxy, true) => {
                let proxy = proxy
                    .map(Proxy::new)
                    .transpose()
                    .map_err(|_| "the proxy's address is wrong")?;
                (self.secure(), uri.clone(), proxy)
            }
            // The proxy is asked for the whole URL; what makes it one is the `Host` (see `AbsoluteForm`).
            (Some(proxy), false) => {
                let (to, authorization) = through(proxy, uri).ok_or("the proxy's address is wrong")?;
                let host = HeaderValue::from_str(authority(uri)).map_err(|_| "a wrong host")?;
                more.push((HOST, host));
                more.extend(authorization.map(|a| (PROXY_AUTHORIZATION, a)));
                (&self.forward, to, None)
            }
        };
        let mut request = agent.get(uri);
        for (name, value) in headers.iter().chain(&more) {
            request = request.header(name, value);
        }
        let request = request
            .config()
            .proxy(connect)
            .timeout_global(Some(total))
            .build();
        Ok(request.call()?)
    }

    fn secure(&self) -> &Agent {
        self.secure
            .get_or_init(|| tls(config(self.patience), self.authorities.as_deref()))
    }
}

type Builder = ureq::config::ConfigBuilder<ureq::typestate::AgentScope>;

fn config(patience: Patience) -> Builder {
    ureq::Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .proxy(None)
        .timeout_connect(Some(patience.stall.min(CONNECT)))
        .timeout_recv_response(Some(patience.stall))
        .timeout_per_read(Some(patience.stall))
        .max_response_header_size(32 << 10)
        .user_agent(concat!("elfup/", env!("CARGO_PKG_VERSION")))
}

/// Trusts the given authorities, else the system's, else, where there are none, those built in.
#[cfg(feature = "tls")]
fn tls(config: Builder, authorities: Option<&[Vec<u8>]>) -> Agent {
    use ureq::tls::{Certificate, RootCerts, TlsConfig};
    let system = || {
        let loaded = rustls_native_certs::load_native_certs();
        loaded.certs.iter().map(|c| c.to_vec()).collect()
    };
    let all: Vec<Vec<u8>> = authorities.map_or_else(system, <[_]>::to_vec);
    let roots = if all.is_empty() {
        RootCerts::WebPki
    } else {
        let all: Vec<_> = all.iter().map(|c| Certificate::from_der(c).to_owned()).collect();
        RootCerts::new_with_certs(&all)
    };
    let tls = TlsConfig::builder().root_certs(roots).build();
    config.tls_config(tls).build().new_agent()
}

#[cfg(not(feature = "tls"))]
fn tls(config: Builder, _: Option<&[Vec<u8>]>) -> Agent {
    config.build().new_agent()
}

#[cfg(feature = "tls")]
fn authorities(path: &std::path::Path) -> Result<Vec<Vec<u8>>> {
    use ureq::tls::{PemItem, parse_pem};
    let shown = path.display();
    let pem = disk::read(path, 4 << 20)?.ok_or_else(|| Error::NotFound(shown.to_string()))?;
    let items = parse_pem(&pem).collect::<std::result::Result<Vec<_>, _>>();
    let items = items.map_err(|_| Error::Usage(format!("{shown} is not a PEM file of certificates")))?;
    let found: Vec<_> = items
        .iter()
        .filter_map(|i| match i {
            PemItem::Certificate(c) => Some(c.der().to_vec()),
            _ => None,
        })
        .collect();
    if found.is_empty() {
        return Err(Error::Usage(format!("{shown} has no certificate in PEM form")));
    }
    Ok(found)
}

#[cfg(not(feature = "tls"))]
fn authorities(path: &std::path::Path) -> Result<Vec<Vec<u8>>> {
    let _ = disk::read(path, 0);
    Err(Error::Usage("this elfup was built without https".into()))
}

/// `host:port` without what may stand before it.
fn authority(uri: &Uri) -> &str {
    let authority = uri.authority().map_or("", |a| a.as_str());
    authority.rsplit_once('@').map_or(authority, |(_, host)| host)
}

/// The URL at which a proxy is asked for a plain one, and what it wants to know of us.
fn through(proxy: &str, uri: &Uri) -> Option<(Uri, Option<HeaderValue>)> {
    let proxy: Uri = proxy.parse().ok()?;
    let path = uri.path_and_query().map_or("/", |p| p.as_str());
    let to = format!("{}://{}{path}", proxy.scheme_str()?, authority(&proxy))
        .parse()
        .ok()?;
    let authorization = proxy
        .authority()
        .and_then(secrets::userinfo)
        .and_then(|userinfo| {
            let (user, password) = userinfo.split_once(':').unwrap_or((userinfo, ""));
            basic(&secrets::decoded(user), &secrets::decoded(password)).ok()
        });
    Some((to, authorization))
}

/// What the environment says of proxies.
#[derive(Default)]
struct Proxies {
    http: Option<String>,
    https: Option<String>,
    none: Vec<String>,
}

impl Proxies {
    fn from_environment(get: &dyn Fn(&str) -> Option<String>) -> Proxies {
        let first = |names: &[&str]| names.iter().find_map(|n| get(n).filter(|v| !v.trim().is_empty()));
        let with_scheme = |p: String| {
            if p.contains("://") {
                p
            } else {
                format!("http://{p}")
            }
        };
        // In a CGI script `HTTP_PROXY` is a header of the visitor.
        let http: &[&str] = match get("REQUEST_METHOD") {
            None => &["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"],
            Some(_) => &["http_proxy", "all_proxy", "ALL_PROXY"],
        };
        let none = first(&["no_proxy", "NO_PROXY"]).unwrap_or_default();
        Proxies {
            http: first(http).map(with_scheme),
            https: first(&["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"]).map(with_scheme),
            none: none
                .split([',', ' '])
                .filter(|e| !e.is_empty())
                .map(str::to_ascii_lowercase)
                .collect(),
        }
    }

    /// The proxy for a URL.
    fn of(&self, uri: &Uri) -> Option<&str> {
        let secure = uri.scheme_str() == Some("https");
        let host = uri.host()?.trim_matches(['[', ']']).to_ascii_lowercase();
        let port = uri
            .port_u16()
            .unwrap_or(if secure { 443 } else { 80 })
            .to_string();
        let excepted = |entry: &String| {
            let whole = entry.trim_matches(['[', ']']) == host;
            let (name, at) = match entry.rsplit_once(':') {
                Some((name, at)) if !whole => (name.trim_matches(['[', ']']), Some(at)),
                _ => (entry.as_str(), None),
            };
            let name = name.trim_start_matches('*').trim_start_matches('.');
            let within = host
                .strip_suffix(name)
                .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
            entry == "*" || whole || !name.is_empty() && within && at.is_none_or(|at| at == port)
        };
        if self.none.iter().any(excepted) {
            return None;
        }
        if secure {
            self.https.as_deref()
        } else {
            self.http.as_deref()
        }
    }
}

/// Turns `GET /path` into `GET http://host/path`, as a proxy for plain requests wants it.
#[derive(Debug)]
struct AbsoluteForm;

impl<In: Transport> Connector<In> for AbsoluteForm {
    type Out = Absolute<In>;

    fn connect(
        &self,
        _: &ConnectionDetails,
        chained: Option<In>,
    ) -> std::result::Result<Option<Absolute<In>>, ureq::Error> {
        Ok(chained.map(Absolute))
    }
}

#[derive(Debug)]
struct Absolute<T>(T);

impl<T: Transport> Transport for Absolute<T> {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self.0.buffers()
    }
    fn transmit_output(
        &mut self,
        amount: usize,
        timeout: NextTimeout,
    ) -> std::result::Result<(), ureq::Error> {
        let output = self.0.buffers().output();
        let amount = match absolute(&output[..amount]) {
            Some(request) if request.len() <= output.len() => {
                output[..request.len()].copy_from_slice(&request);
                request.len()
            }
            _ => amount,
        };
        self.0.transmit_output(amount, timeout)
    }
    fn await_input(&mut self, timeout: NextTimeout) -> std::result::Result<bool, ureq::Error> {
        self.0.await_input(timeout)
    }
    fn is_open(&mut self) -> bool {
        self.0.is_open()
    }
    fn is_tls(&self) -> bool {
        self.0.is_tls()
    }
}

fn absolute(request: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(request).ok()?;
    let rest = text.strip_prefix("GET /")?;
    let mut lines = text.split("\r\n").skip(1).filter_map(|l| l.split_once(':'));
    let (_, host) = lines.find(|(name, _)| name.eq_ignore_ascii_case("host"))?;
    Some(format!("GET http://{}/{rest}", host.trim()).into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_says_which_proxy() {
        let proxies = Proxies::from_environment(&|name| {
            let value = match name {
                "http_proxy" => "one:3128",
                "HTTPS_PROXY" => "http://two",
                "no_proxy" => "localhost, .inner.example,a.test:8080, 127.0.0.1",
                _ => return None,
            };
            Some(value.to_owned())
        });
        let of = |url: &str| proxies.of(&url.parse().unwrap());
        assert_eq!(of("http://x.test/"), Some("http://one:3128"));
        assert_eq!(of("https://x.test/"), Some("http://two"));
        assert_eq!(of("http://notlocalhost/"), Some("http://one:3128"));
        assert_eq!(of("http://a.test/"), Some("http://one:3128"));
        for direct in [
            "http://localhost:99/",
            "https://deep.inner.example/",
            "http://INNER.example/",
            "http://a.test:8080/",
            "http://127.0.0.1:1/",
        ] {
            assert_eq!(of(direct), None, "{direct}");
        }
    }

    #[test]
    fn a_proxy_is_asked_for_the_whole_url() {
        let asked = b"GET /x/y HTTP/1.1\r\nhost: a.test:80\r\nrange: bytes=1-2\r\n\r\n";
        let wanted = b"GET http://a.test:80/x/y HTTP/1.1\r\nhost: a.test:80\r\nrange: bytes=1-2\r\n\r\n";
        assert_eq!(absolute(asked).unwrap(), wanted);
    }
}
