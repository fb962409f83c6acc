//! The way to the server.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use muster_protocol::{MAX_FRAME_BYTES, SUBPROTOCOL};
use muster_trust::Trust;
use reqwest::{Client, Url};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

use crate::Failure;

/// How many machines share one address of the loopback network.
const MACHINES_PER_ADDRESS: usize = 1000;
/// What one read of a connection takes at most; almost all frames are smaller.
const READ_BYTES: usize = 1024;
/// From how much on frames go out before the last of them was written.
const WRITE_BYTES: usize = 4096;
/// How long an enrolment may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// A connection, with TLS or without.
pub(crate) trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}
impl<W: AsyncRead + AsyncWrite + Send + Unpin> Wire for W {}

/// A WebSocket of the protocol.
pub(crate) type Socket = WebSocketStream<Box<dyn Wire>>;

/// Where one node of the server is.
struct Node {
    base: String,
    address: SocketAddr,
    tls: Option<(TlsConnector, ServerName<'static>)>,
}

/// The way to the server, from one or several addresses of this machine to one or several nodes.
pub struct Endpoint {
    nodes: Vec<Node>,
    sources: Vec<IpAddr>,
    /// For enrolment, one for each source address.
    clients: Vec<Client>,
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint")
            .field("nodes", &self.nodes.iter().map(|node| &node.base).collect::<Vec<_>>())
            .field("sources", &self.sources)
            .finish_non_exhaustive()
    }
}

impl Endpoint {
    /// The way to the nodes at `servers`, whose certificates are measured by `trust`, for `machines`
    /// machines that connect from `sources` in turn. Without sources they connect from this
    /// machine's usual address, or where that is the loopback network of Linux from enough
    /// addresses of it.
    ///
    /// # Errors
    /// When an address can't be found or used.
    pub async fn open(
        servers: &[Url],
        trust: &Trust,
        sources: Vec<IpAddr>,
        machines: usize,
    ) -> anyhow::Result<Self> {
        let config = trust.client_config()?;
        let mut nodes = Vec::with_capacity(servers.len());
        for server in servers {
            nodes.push(Node::find(server, &config).await?);
        }
        let first = nodes.first().context("no server is named")?.address;
        let sources = if sources.is_empty() { usual_sources(first, machines) } else { sources };
        for Node { address, .. } in &nodes {
            if let Some(other) = sources.iter().find(|from| from.is_ipv4() != address.is_ipv4()) {
                bail!("{address} can't be reached from {other}: use addresses of one kind");
            }
        }
        let client = |source: Option<IpAddr>| {
            Client::builder()
                .timeout(PATIENCE)
                .local_address(source)
                .tls_backend_preconfigured((*config).clone())
                .build()
                .context("can't set up HTTPS")
        };
        let clients = if sources.is_empty() {
            vec![client(None)?]
        } else {
            sources.iter().map(|source| client(Some(*source))).collect::<Result<_, _>>()?
        };
        Ok(Self { nodes, sources, clients })
    }

    /// The client with which a machine enrols, and where it does.
    pub(crate) fn enrolment(&self, machine: usize) -> Option<(&Client, String)> {
        let client = self.clients.get(machine % self.clients.len().max(1))?;
        let node = self.nodes.get(machine % self.nodes.len().max(1))?;
        Some((client, format!("{}/agents/register", node.base)))
    }

    /// Connects a machine: to a node of its own, and to the next one with each further `attempt`.
    pub(crate) async fn connect(
        &self,
        machine: usize,
        attempt: usize,
        token: &str,
    ) -> Result<Socket, Failure> {
        let node = self.nodes.get((machine + attempt) % self.nodes.len().max(1));
        let node = node.ok_or(Failure::Unreadable)?;
        let url = format!("{}/ws/agent", node.base).replacen("http", "ws", 1);
        let mut request = url.into_client_request()?;
        let bearer = HeaderValue::from_str(&format!("Bearer {token}"));
        let headers = request.headers_mut();
        headers.insert("Authorization", bearer.map_err(|_| Failure::Unreadable)?);
        headers.insert("Sec-WebSocket-Protocol", HeaderValue::from_static(SUBPROTOCOL));
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BYTES)
            .write_buffer_size(WRITE_BYTES)
            .max_frame_size(Some(MAX_FRAME_BYTES))
            .max_message_size(Some(MAX_FRAME_BYTES));
        let plain = self.reach(node.address, machine).await?;
        let wire: Box<dyn Wire> = match &node.tls {
            Some((connector, name)) => Box::new(connector.connect(name.clone(), plain).await?),
            None => Box::new(plain),
        };
        let shaken = tokio_tungstenite::client_async_with_config(request, wire, Some(config));
        Ok(shaken.await?.0)
    }

    async fn reach(&self, address: SocketAddr, machine: usize) -> Result<TcpStream, Failure> {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        if let Some(source) = self.sources.get(machine % self.sources.len().max(1)) {
            socket.bind(SocketAddr::new(*source, 0))?;
        }
        let stream = socket.connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}

impl Node {
    async fn find(server: &Url, config: &Arc<ClientConfig>) -> anyhow::Result<Self> {
        let host = server.host_str().context("the server's address has no host")?;
        let port = server.port_or_known_default().context("the server's address has no port")?;
        let host = host.trim_matches(['[', ']']);
        let mut found = tokio::net::lookup_host((host, port))
            .await
            .with_context(|| format!("finding {host}"))?;
        let address = found.next().with_context(|| format!("{host} has no address"))?;
        let tls = match server.scheme() {
            "https" => {
                let name = ServerName::try_from(host.to_owned()).context("no name for TLS")?;
                Some((TlsConnector::from(Arc::clone(config)), name))
            }
            _ => None,
        };
        let base = format!("{}/api/v1", server.as_str().trim_end_matches('/'));
        Ok(Self { base, address, tls })
    }
}

/// On Linux all of 127.0.0.0/8 is this machine; elsewhere only 127.0.0.1 is.
fn usual_sources(server: SocketAddr, machines: usize) -> Vec<IpAddr> {
    let IpAddr::V4(server) = server.ip() else { return Vec::new() };
    if !server.is_loopback() || !cfg!(target_os = "linux") {
        return Vec::new();
    }
    let addresses = machines.div_ceil(MACHINES_PER_ADDRESS).clamp(1, 250);
    (1..=addresses)
        .filter_map(|last| u8::try_from(last).ok())
        .map(|last| Ipv4Addr::new(127, 0, 1, last).into())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_os = "linux")]
    #[test]
    fn many_machines_use_many_addresses_of_the_loopback_network_and_only_of_that() {
        let here = "127.0.0.1:8000".parse().unwrap();
        assert_eq!(usual_sources(here, 1).len(), 1);
        assert_eq!(usual_sources(here, 18_000).len(), 18);
        assert_eq!(usual_sources(here, 1_000_000).len(), 250);
        assert!(usual_sources("192.0.2.1:80".parse().unwrap(), 18_000).is_empty());
    }

    #[tokio::test]
    async fn addresses_that_do_not_fit_the_server_are_named() {
        let server = "http://127.0.0.1:9".parse().unwrap();
        let sources = vec!["::1".parse().unwrap()];
        let refusal = Endpoint::open(&[server], &Trust::WebRoots, sources, 1).await.unwrap_err();
        assert!(refusal.to_string().contains("::1"), "{refusal}");
    }
}
