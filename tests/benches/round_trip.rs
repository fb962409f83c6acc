//! Command round trips against a real server, and beside them in the same run the bare parts that
//! no implementation can do without: a WebSocket echo and a durable commit. `make bench` runs it.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::indexing_slicing,
    reason = "a benchmark ends where it fails, and prints what it found"
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use muster_protocol::{
    Accepted, AgentMessage, Finished, Instruction, Order, Outcome, ServerMessage, Started,
    StreamFrame, StreamKind,
};
use muster_tests::{Api, Enrolled, RawAgent, Server, now};
use sea_orm::{ConnectOptions, ConnectionTrait, Database};
use serde_json::json;
use tokio::net::TcpListener;
use tokio_tungstenite::tungstenite::Message;

const AGENTS: usize = 200;
const CALLERS: usize = 64;
const ROUNDS: usize = 2000;
const LOAD: Duration = Duration::from_secs(10);

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(run());
}

async fn run() {
    let echo = Figures::of(bare_echo().await);
    let commit = Figures::of(bare_commit().await);
    println!("bare WebSocket echo          {echo}");
    println!("bare SQLite commit (FULL)    {commit}");

    let mut server = Server::start().await;
    let api = server.admin().await;
    // One caller stands for many here.
    api.put("/settings", &json!({ "rate_limits": false })).await;
    let agents = agents(&server, &api).await;
    let alone = Figures::of(one_caller(&api, &agents[0]).await);
    let allowed = echo.p50 + 2 * commit.p50 + Duration::from_millis(1);
    println!("one command, one caller      {alone}");
    println!(
        "  p50 is {:.2} of echo + 2 commits + 1 ms ({allowed:.2?})",
        alone.p50.as_secs_f64() / allowed.as_secs_f64()
    );
    let (rate, loaded) = many_callers(&api, &agents).await;
    println!("{CALLERS} callers, {AGENTS} agents       {loaded}");
    println!("  {rate:.0} completed commands/s, each durable");
    println!(
        "  {:.2} of what one caller could commit bare, one commit each",
        rate * commit.p50.as_secs_f64()
    );
    println!("resident memory under load   {} MiB", server.resident_kib() / 1024);
    server.stop();
    let start = server.restart().await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    println!("start to first answer        {start:.1?} with {AGENTS} agents and their history");
    server.stop();
    let mut idle = Server::start().await;
    idle.stop();
    let start = idle.restart().await;
    println!("start of an idle server      {start:.1?}");
    println!("resident memory, idle        {} MiB", idle.resident_kib() / 1024);
}

/// Times of many rounds.
struct Figures {
    p50: Duration,
    p99: Duration,
    rounds: usize,
}

impl Figures {
    fn of(mut times: Vec<Duration>) -> Self {
        times.sort();
        let at = |share: usize| times[(times.len() - 1) * share / 100];
        Self { p50: at(50), p99: at(99), rounds: times.len() }
    }
}

impl std::fmt::Display for Figures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "p50 {:>9.2?}  p99 {:>9.2?}  ({} rounds)", self.p50, self.p99, self.rounds)
    }
}

async fn bare_echo() -> Vec<Duration> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        stream.set_nodelay(true).unwrap();
        let mut socket = tokio_tungstenite::accept_async(stream).await.unwrap();
        while let Some(Ok(message)) = socket.next().await {
            if message.is_text() {
                socket.send(message).await.unwrap();
            }
        }
    });
    let url = format!("ws://{address}");
    let connected = tokio_tungstenite::connect_async_tls_with_config(url, None, true, None).await;
    let mut socket = connected.unwrap().0;
    let mut times = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        let begun = Instant::now();
        socket.send(Message::text("x".repeat(200))).await.unwrap();
        socket.next().await.unwrap().unwrap();
        times.push(begun.elapsed());
    }
    times
}

async fn bare_commit() -> Vec<Duration> {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", folder.path().join("bare.db").display());
    let mut options = ConnectOptions::new(url);
    options.map_sqlx_sqlite_opts(|options| {
        options.create_if_missing(true).pragma("journal_mode", "WAL").pragma("synchronous", "FULL")
    });
    options.max_connections(1).sqlx_logging(false);
    let database = Database::connect(options).await.unwrap();
    database
        .execute_unprepared("CREATE TABLE t (id INTEGER PRIMARY KEY, text TEXT)")
        .await
        .unwrap();
    let mut times = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        let begun = Instant::now();
        database.execute_unprepared("INSERT INTO t (text) VALUES ('one row')").await.unwrap();
        times.push(begun.elapsed());
    }
    times
}

/// Connects agents that do at once what they are told.
async fn agents(server: &Server, api: &Api) -> Vec<String> {
    let token = api.enrollment_token("Bench").await;
    let mut ids = Vec::with_capacity(AGENTS);
    for n in 0..AGENTS {
        let enrolled = Enrolled::register(&server.url(), &token, &format!("bench-{n}")).await;
        let (agent, _) = RawAgent::welcomed(&server.url(), &enrolled, Vec::new()).await;
        tokio::spawn(obey(agent));
        ids.push(enrolled.agent_id.to_string());
    }
    ids
}

async fn obey(mut agent: RawAgent) {
    while let Some(message) = agent.hear().await {
        // The signature is not looked at: a machine of its own would do that.
        let ServerMessage::Signed(signed) = message else { continue };
        let order: Order = serde_json::from_str(&signed.payload).unwrap();
        let Instruction::Execute(execute) = order.instruction else { continue };
        let command_id = execute.command_id;
        let output = StreamFrame {
            kind: StreamKind::Stdout,
            stream_id: execute.stream_id,
            offset: 0,
            bytes: "done\n".into(),
        };
        let finished = Finished {
            command_id,
            outcome: Outcome::Completed,
            exit_code: Some(0),
            execution_time: Some(0.001),
            stdout_bytes: 5,
            stderr_bytes: 0,
            failure_code: None,
            detail: None,
        };
        let started = Started { command_id, pid: 1, started_at: now() };
        let text = |message: &AgentMessage| Message::text(serde_json::to_string(message).unwrap());
        let frames = [
            text(&AgentMessage::Accepted(Accepted { command_id })),
            text(&AgentMessage::Started(started)),
            Message::Binary(output.encode()),
            text(&AgentMessage::Finished(finished)),
        ];
        agent.send_all(frames).await.unwrap();
    }
}

async fn run_command(api: &Api, agent: &str) -> Duration {
    let begun = Instant::now();
    let body = json!({ "command": "echo done" });
    let result = api.post(&format!("/agents/{agent}/command"), &body).await;
    let time = begun.elapsed();
    assert!(result["status"] == "completed" && result["output"] == "done\n", "{result}");
    time
}

async fn one_caller(api: &Api, agent: &str) -> Vec<Duration> {
    for _ in 0..200 {
        run_command(api, agent).await;
    }
    let mut times = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        times.push(run_command(api, agent).await);
    }
    times
}

async fn many_callers(api: &Api, agents: &[String]) -> (f64, Figures) {
    let agents: Arc<Vec<String>> = Arc::new(agents.to_vec());
    let next = Arc::new(AtomicUsize::new(0));
    let begun = Instant::now();
    let callers: Vec<_> = (0..CALLERS)
        .map(|_| {
            let (api, agents, next) = (api.clone(), Arc::clone(&agents), Arc::clone(&next));
            tokio::spawn(async move {
                let mut times = Vec::new();
                while begun.elapsed() < LOAD {
                    let agent = &agents[next.fetch_add(1, Ordering::Relaxed) % agents.len()];
                    times.push(run_command(&api, agent).await);
                }
                times
            })
        })
        .collect();
    let mut times = Vec::new();
    for caller in callers {
        times.extend(caller.await.unwrap());
    }
    let seconds = begun.elapsed().as_secs_f64();
    let completed = u32::try_from(times.len()).unwrap();
    (f64::from(completed) / seconds, Figures::of(times))
}
