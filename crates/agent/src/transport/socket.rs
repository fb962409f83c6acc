//! Frames over a WebSocket.

use anyhow::{Context, bail};
use futures_util::{SinkExt, StreamExt};
use muster_protocol::{AgentMessage, MAX_FRAME_BYTES, SUBPROTOCOL, StreamFrame};
use reqwest::Url;
use rustls::ClientConfig;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{
    Connector, MaybeTlsStream, WebSocketStream, connect_async_tls_with_config,
};

use super::{FAREWELL, Incoming, address};
use crate::identity::Identity;

/// A WebSocket to the server.
pub(crate) struct Socket(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Socket {
    pub(super) async fn open(
        server: &Url,
        identity: &Identity,
        tls: &ClientConfig,
    ) -> anyhow::Result<Self> {
        let url = address(server, "/ws/agent").replacen("http", "ws", 1);
        let mut request =
            url.into_client_request().context("the server's address can't be used")?;
        let bearer = HeaderValue::from_str(&format!("Bearer {}", identity.agent_token))?;
        let headers = request.headers_mut();
        headers.insert("Authorization", bearer);
        headers.insert("Sec-WebSocket-Protocol", HeaderValue::from_static(SUBPROTOCOL));
        let config = WebSocketConfig::default()
            .max_frame_size(Some(MAX_FRAME_BYTES))
            .max_message_size(Some(MAX_FRAME_BYTES));
        // It is asked for wss addresses only.
        let tls = Connector::Rustls(tls.clone().into());
        let (socket, _) = connect_async_tls_with_config(request, Some(config), true, Some(tls))
            .await
            .context("can't connect")?;
        Ok(Self(socket))
    }

    pub(super) async fn next(&mut self) -> anyhow::Result<Incoming> {
        let message = self.0.next().await.context("the server closed the connection")?;
        match message.context("the connection broke")? {
            Message::Text(text) => {
                let message = serde_json::from_str(&text);
                Ok(Incoming::Message(message.context("the server sent what can't be read")?))
            }
            Message::Binary(bytes) => {
                let frame = StreamFrame::decode(bytes);
                Ok(Incoming::Frame(frame.context("the server sent what can't be read")?))
            }
            Message::Close(reason) => bail!("the server closed the connection: {reason:?}"),
            Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => Ok(Incoming::Alive),
        }
    }

    pub(super) async fn say(&mut self, message: &AgentMessage) -> anyhow::Result<()> {
        let text = serde_json::to_string(message)?;
        self.0.send(Message::text(text)).await.context("sending")
    }

    pub(super) async fn write(&mut self, frame: &StreamFrame) -> anyhow::Result<()> {
        self.0.send(Message::Binary(frame.encode())).await.context("sending output")
    }

    pub(super) async fn ping(&mut self) -> anyhow::Result<()> {
        self.0.send(Message::Ping(Vec::new().into())).await.context("sending")
    }

    pub(super) async fn close(&mut self) {
        let farewell = async {
            self.0.close(None).await?;
            // What comes is heard out: a connection that is dropped with something unread in it is
            // reset, and takes the good-bye with it.
            while self.0.next().await.transpose()?.is_some() {}
            Ok::<_, tokio_tungstenite::tungstenite::Error>(())
        };
        let _ = tokio::time::timeout(FAREWELL, farewell).await;
    }
}
