//! Machines that are connected and do nothing: how fast they come, and what they cost.

use std::time::Duration;

use muster_tests::Server;

use crate::Skipped;
use crate::echo;
use crate::swarm::{Wish, needs_files, prepared};

/// How long the processor time is measured: two heartbeats of every machine.
const WATCHED: Duration = Duration::from_mins(1);
/// What comes after the storm has passed by then.
const SETTLING: Duration = Duration::from_secs(15);

pub(crate) async fn measure(agents: usize) -> Result<(), Skipped> {
    needs_files(agents)?;
    let bare = echo::kib_per_connection(agents).await;
    println!("  bare actix-ws echo            {bare:.1} KiB a connection ({agents} of them)");
    let mut server = Server::start().await;
    let (_, token) = prepared(&server).await;
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("machines");
    let url = server.url();
    let wish = Wish {
        servers: &url,
        token: &token,
        agents,
        state: &state,
        name: "m",
        more: &[],
        namespace: None,
    };
    wish.enrol();
    server.stop();
    server.restart().await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let (before, cpu) = (server.resident_kib(), server.cpu_seconds());
    let mut swarm = wish.start();
    let took = swarm.connected().await;
    let storm = server.cpu_seconds() - cpu;
    println!(
        "  connect storm                 {agents} machines in {took:.2} s, {:.0} a second; {storm:.1} s \
         of the server's processor time (asked: < 15 s)",
        agents as f64 / took
    );
    let peak = server.resident_kib();
    tokio::time::sleep(SETTLING).await;
    let each = server.resident_kib().saturating_sub(before) as f64 / agents as f64;
    println!(
        "  resident memory               {} MiB, {} MiB before any machine, {} MiB right after the \
         storm; {each:.1} KiB a machine, {:.1} KiB above bare (asked: <= 24 KiB)",
        server.resident_kib() / 1024,
        before / 1024,
        peak / 1024,
        each - bare
    );
    let cpu = server.cpu_seconds();
    tokio::time::sleep(WATCHED).await;
    let share = (server.cpu_seconds() - cpu) / WATCHED.as_secs_f64() * 100.0;
    println!(
        "  at rest                       {share:.1} % of one core, a heartbeat with metrics each \
         30 s, over {} s (asked: <= 10 %); {} MiB at the end",
        WATCHED.as_secs(),
        server.resident_kib() / 1024
    );
    let summary = swarm.stop().await;
    println!(
        "  as the machines saw it        connection {}; heartbeat {}; errors {}",
        summary["connect_ms"], summary["heartbeat_ms"], summary["errors"]
    );
    Ok(())
}
