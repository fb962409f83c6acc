//! Five nodes, one run over all machines, and one node killed in the middle of it.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use muster_tests::{RedisServer, Server};

use crate::Skipped;
use crate::postgres::Postgres;
use crate::run::{each_once, ended, start};
use crate::swarm::{Swarm, Wish, needs_files, prepared};

const NODES: usize = 5;
/// 32 bytes in base64: all nodes have the same.
const SECRET: &str = "ibT1gelG5qpqczn6/ehwaTixEPimqVl5lsc7qpmfdBo=";

pub(crate) async fn measure(agents: usize) -> Result<(), Skipped> {
    needs_files(agents / NODES * 5 / 4)?;
    let postgres = Postgres::start()?;
    let (database, redis) = (postgres.url(), RedisServer::start());
    let redis_url = redis.url();
    let settings = [
        ("DATABASE_URL", database.as_str()),
        ("REDIS_URL", redis_url.as_str()),
        ("MUSTER_SECRET_KEY", SECRET),
    ];
    let mut nodes = Vec::with_capacity(NODES);
    for _ in 0..NODES {
        nodes.push(Server::start_with(&settings).await);
    }
    let (api, token) = prepared(&nodes[0]).await;
    // Other nodes read settings every few seconds.
    tokio::time::sleep(Duration::from_secs(10)).await;
    let servers = nodes.iter().map(Server::url).collect::<Vec<_>>().join(",");
    let folder = tempfile::tempdir().unwrap();
    let begun = Instant::now();
    let mut swarms: Vec<_> = (0..NODES)
        .map(|number| {
            Wish {
                servers: &servers,
                token: &token,
                agents: agents / NODES,
                state: &folder.path().join(number.to_string()),
                name: &format!("n{number}"),
                more: &["--answer-delay", "0-2000"],
                namespace: None,
            }
            .start()
        })
        .collect();
    join_all(swarms.iter_mut().map(Swarm::connected)).await;
    let all = agents / NODES * NODES;
    println!(
        "  {all} machines on {NODES} nodes, enrolled and connected in {:.1?}",
        begun.elapsed()
    );
    let begun = Instant::now();
    let run = start(&api).await;
    println!("  accepted after {:.2?}", begun.elapsed());
    loop {
        let now = api.get(&format!("/runs/{run}")).await;
        let done = now["counts"]["completed"].as_u64().unwrap_or(0);
        if usize::try_from(done).unwrap() >= all / 4 {
            println!("  a node is killed after {:.2?}, with {done} done", begun.elapsed());
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    nodes[NODES - 1].kill();
    let run = ended(&api, &run, begun).await;
    println!("  all results durable after {:.2?}: {}", begun.elapsed(), run["counts"]);
    assert_eq!(run["counts"]["completed"], all, "{run}");
    for (number, node) in nodes.iter().enumerate().take(NODES - 1) {
        let (cpu, mib) = (node.cpu_seconds(), node.resident_kib() / 1024);
        println!("  node {number}: {cpu:.1} s of processor time in all, {mib} MiB");
    }
    // An acknowledgement may be on its way still.
    tokio::time::sleep(Duration::from_secs(5)).await;
    let summaries = join_all(swarms.into_iter().map(Swarm::stop)).await;
    each_once(&summaries, all);
    Ok(())
}
