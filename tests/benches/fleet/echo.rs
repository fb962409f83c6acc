//! The least that a connection can cost: a bare echo of actix-ws, as a process of its own.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use futures_util::{SinkExt, StreamExt, TryStreamExt, stream};
use tokio::net::{TcpSocket, TcpStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

use crate::swarm::resident_kib;

/// Serves until it is killed; the first line that it prints is its port.
pub(crate) fn serve() {
    actix_web::rt::System::new().block_on(async {
        let app = || App::new().route("/", web::get().to(echo));
        let server = HttpServer::new(app).backlog(1024).bind("127.0.0.1:0").unwrap();
        println!("{}", server.addrs()[0].port());
        server.run().await.unwrap();
    });
}

async fn echo(request: HttpRequest, body: web::Payload) -> Result<HttpResponse, actix_web::Error> {
    let (answer, mut session, mut messages) = actix_ws::handle(&request, body)?;
    actix_web::rt::spawn(async move {
        while let Some(Ok(message)) = messages.next().await {
            if let actix_ws::Message::Text(text) = message
                && session.text(text).await.is_err()
            {
                return;
            }
        }
    });
    Ok(answer)
}

struct Echo(Child);

impl Drop for Echo {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// How much resident memory each of so many connections takes, in KiB.
pub(crate) async fn kib_per_connection(connections: usize) -> f64 {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .arg("echo")
        .stdout(Stdio::piped())
        .spawn()
        .expect("the echo starts");
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let port: u16 = line.trim().parse().unwrap();
    let server = Echo(child);
    // What the first connection of all takes is not what each takes.
    let first: Vec<_> = connect(port, 100).await;
    let before = resident_kib(server.0.id());
    let rest = connect(port, connections).await;
    let after = resident_kib(server.0.id());
    drop((first, rest));
    after.saturating_sub(before) as f64 / connections as f64
}

async fn connect(port: u16, connections: usize) -> Vec<WebSocketStream<TcpStream>> {
    stream::iter(0..connections)
        .map(|number| async move {
            let socket = TcpSocket::new_v4().unwrap();
            let source = format!("127.0.2.{}:0", 1 + number / 1000);
            socket.bind(source.parse().unwrap()).unwrap();
            let stream = socket.connect(([127, 0, 0, 1], port).into()).await?;
            let config = WebSocketConfig::default().read_buffer_size(512);
            let url = format!("ws://127.0.0.1:{port}/");
            let shaken = tokio_tungstenite::client_async_with_config(url, stream, Some(config));
            let (mut socket, _) = shaken.await.expect("the echo answers");
            socket.send(Message::text("x".repeat(200))).await.unwrap();
            socket.next().await.unwrap().unwrap();
            Ok::<_, std::io::Error>(socket)
        })
        .buffered(256)
        .try_collect()
        .await
        .expect("the echo takes connections")
}
