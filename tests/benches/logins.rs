//! What wrong passwords cost a real server, and those who are signed in. `make bench` runs it.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::indexing_slicing,
    reason = "a benchmark ends where it fails, and prints what it found"
)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use muster_tests::{Api, Server};
use reqwest::Method;
use serde_json::json;

const AT_ONCE: usize = 64;
/// Between two requests of one person's page; without it they would be too many.
const PAUSE: Duration = Duration::from_millis(15);
const QUIET: Duration = Duration::from_secs(3);

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(run());
}

async fn run() {
    let server = Server::start_with(&[("MUSTER_TRUSTED_PROXIES", "127.0.0.1")]).await;
    let api = server.admin().await;
    let begun = Instant::now();
    api.login("admin").await;
    println!("one login                                 {:.0?}", begun.elapsed());
    let quiet = beside(&api, || begun.elapsed() > QUIET).await;
    println!("others' requests, nobody signing in       {quiet}");
    attack(&server, &api, 1000, "from one address against one account", |_| {
        ("admin".to_owned(), "203.0.113.1".to_owned())
    })
    .await;
    // No limit holds these up, and each is hashed.
    attack(&server, &api, 200, "each from another address against another account", |n| {
        (format!("user-{n}"), format!("203.0.{}.{}", n / 250, n % 250))
    })
    .await;
}

/// Times of requests.
struct Figures(Vec<Duration>);

impl std::fmt::Display for Figures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut times = self.0.clone();
        times.sort();
        let at = |share: usize| times[(times.len() - 1) * share / 1000];
        write!(f, "p50 {:>8.2?}  p99 {:>8.2?}  ({} requests)", at(500), at(990), times.len())
    }
}

/// What somebody who is signed in sees, until `over`: one request after the other, as a person's
/// page sends them.
async fn beside(api: &Api, over: impl Fn() -> bool) -> Figures {
    let mut times = Vec::new();
    while !over() {
        let begun = Instant::now();
        api.get("/agents").await;
        times.push(begun.elapsed());
        tokio::time::sleep(PAUSE).await;
    }
    Figures(times)
}

/// Sends `attempts` wrong passwords, `AT_ONCE` at a time, and says what that cost.
async fn attack(
    server: &Server,
    api: &Api,
    attempts: usize,
    name: &str,
    target: impl Fn(usize) -> (String, String) + Send + Sync + 'static,
) {
    let (next, over) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let target = Arc::new(target);
    let (cpu, begun) = (server.cpu_seconds(), Instant::now());
    let attackers: Vec<_> = (0..AT_ONCE)
        .map(|_| {
            let (api, next, target) = (api.clone(), Arc::clone(&next), Arc::clone(&target));
            tokio::spawn(async move {
                let mut answers = BTreeMap::new();
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    if n >= attempts {
                        return answers;
                    }
                    let (username, address) = target(n);
                    let body = json!({ "username": username, "password": "wrong password" });
                    let request = api.request(Method::POST, "/auth/login").json(&body);
                    let answer = request.header("X-Forwarded-For", address).send().await.unwrap();
                    *answers.entry(answer.status().as_u16()).or_insert(0_usize) += 1;
                }
            })
        })
        .collect();
    let watching = {
        let (api, over) = (api.clone(), Arc::clone(&over));
        tokio::spawn(async move { beside(&api, || over.load(Ordering::Relaxed)).await })
    };
    let mut answers = BTreeMap::new();
    for attacker in attackers {
        for (status, count) in attacker.await.unwrap() {
            *answers.entry(status).or_insert(0) += count;
        }
    }
    over.store(true, Ordering::Relaxed);
    let (cpu, took) = (server.cpu_seconds() - cpu, begun.elapsed());
    println!("{attempts} wrong passwords {name}, {AT_ONCE} at once:");
    println!("  answers {answers:?} in {took:.1?}; the server used {cpu:.1} s of processor time");
    println!("  others' requests meanwhile              {}", watching.await.unwrap());
}
