//! What an idle agent costs the server in resident memory, and beside it in the same run what a bare
//! actix-ws echo connection costs. Both are slopes: the memory of many connections less that of few.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::expect_used,
    reason = "a benchmark ends where it fails, and prints what it found"
)]

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use futures_util::{StreamExt, stream};
use muster_tests::{Enrolled, RawAgent, Server};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

/// How many connections are few, and how many are many.
const FEW: usize = 1000;
const MANY: usize = 6000;
/// How many machines enrol or connect at a time.
const AT_ONCE: usize = 32;
/// How long memory is let settle.
const SETTLE: Duration = Duration::from_secs(5);
/// For how long processor time is measured.
const IDLE: Duration = Duration::from_mins(1);
/// The environment variable that makes this program the echo server, on that port.
const ECHO: &str = "MUSTER_BENCH_ECHO_PORT";

fn main() {
    if let Ok(port) = std::env::var(ECHO) {
        actix_web::rt::System::new().block_on(echo_server(port.parse().unwrap()));
        return;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(run());
}

async fn run() {
    let bare = bare_echo().await;
    println!("a bare WebSocket echo connection   {bare:.1} KiB");
    let (agent, processor) = idle_agents().await;
    println!("an idle agent                      {agent:.1} KiB");
    println!("  above the bare connection        {:.1} KiB", agent - bare);
    println!(
        "processor time of the server       {:.2} s in {} s with {MANY} idle agents",
        processor,
        IDLE.as_secs()
    );
}

/// KiB for each connection between few and many.
fn slope(few: u64, many: u64) -> f64 {
    let connections = u32::try_from(MANY - FEW).unwrap();
    f64::from(u32::try_from(many.saturating_sub(few)).unwrap()) / f64::from(connections)
}

async fn echo_server(port: u16) {
    let connect = async |request: HttpRequest, body: web::Payload| {
        let (response, mut outgoing, mut incoming) = actix_ws::handle(&request, body)?;
        actix_web::rt::spawn(async move {
            while let Some(Ok(message)) = incoming.recv().await {
                if let actix_ws::Message::Text(text) = message
                    && outgoing.text(text).await.is_err()
                {
                    break;
                }
            }
        });
        Ok::<HttpResponse, actix_web::Error>(response)
    };
    let server = HttpServer::new(move || App::new().route("/", web::get().to(connect)));
    server.bind(("127.0.0.1", port)).unwrap().run().await.unwrap();
}

struct Echo(Child);

impl Drop for Echo {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Echo {
    fn resident_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.0.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }
}

type Client = WebSocketStream<MaybeTlsStream<tokio::net::TcpStream>>;

async fn bare_echo() -> f64 {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut command = Command::new(std::env::current_exe().unwrap());
    let child = command.env(ECHO, port.to_string()).stdin(Stdio::null()).spawn().unwrap();
    let echo = Echo(child);
    let url = format!("ws://127.0.0.1:{port}/");
    while connect_async(&url).await.is_err() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let mut clients: Vec<Client> = Vec::with_capacity(MANY);
    let mut resident = Vec::new();
    for count in [FEW, MANY] {
        let more: Vec<Client> = stream::iter(clients.len()..count)
            .map(|_| async {
                let mut client = connect_async(&url).await.expect("it connects").0;
                // As much is said as an agent says in its hello, and is answered.
                futures_util::SinkExt::send(&mut client, Message::text("x".repeat(600)))
                    .await
                    .unwrap();
                client.next().await.unwrap().unwrap();
                client
            })
            .buffered(AT_ONCE)
            .collect()
            .await;
        clients.extend(more);
        tokio::time::sleep(SETTLE).await;
        resident.push(echo.resident_kib());
    }
    slope(*resident.first().unwrap(), *resident.last().unwrap())
}

async fn idle_agents() -> (f64, f64) {
    let server = Server::start().await;
    let api = server.admin().await;
    let token = api.enrollment_token("Bench").await;
    let (url, token) = (&server.url(), &token);
    let enrolled: Vec<Enrolled> = stream::iter(0..MANY)
        .map(|n| async move { Enrolled::register(url, token, &format!("idle-{n}")).await })
        .buffered(AT_ONCE)
        .collect()
        .await;
    let mut resident = Vec::new();
    let mut begun = 0;
    for count in [FEW, MANY] {
        let more: Vec<RawAgent> = stream::iter(enrolled.iter().take(count).skip(begun))
            .map(|enrolled| async { RawAgent::welcomed(url, enrolled, Vec::new()).await.0 })
            .buffered(AT_ONCE)
            .collect()
            .await;
        begun = count;
        for mut agent in more {
            // Reading answers pings.
            tokio::spawn(async move { while agent.hear().await.is_some() {} });
        }
        tokio::time::sleep(SETTLE).await;
        resident.push(server.resident_kib());
    }
    let before = server.cpu_seconds();
    tokio::time::sleep(IDLE).await;
    let processor = server.cpu_seconds() - before;
    (slope(*resident.first().unwrap(), *resident.last().unwrap()), processor)
}
