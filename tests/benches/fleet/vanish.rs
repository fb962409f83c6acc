//! Half of the machines vanish behind a firewall without a word, and come back at once.

use std::net::{IpAddr, Ipv4Addr};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use muster_tests::{Api, Server};

use crate::Skipped;
use crate::postgres::run;
use crate::swarm::{Wish, needs_files, prepared};

const NAMESPACE: &str = "muster-vanish";
const HERE: Ipv4Addr = Ipv4Addr::new(10, 203, 0, 1);
const THERE: Ipv4Addr = Ipv4Addr::new(10, 203, 0, 2);
/// Sooner or later than that it is a failure, but the figure is worth knowing.
const PATIENCE: Duration = Duration::from_mins(3);

/// A network namespace with one way to this machine.
struct Network;

impl Network {
    fn make() -> Result<Self, Skipped> {
        if !nix::unistd::geteuid().is_root() {
            return Err("network namespaces need root".into());
        }
        let ip = |arguments: &str| run(Command::new("ip").args(arguments.split(' ')));
        let network = Self;
        ip(&format!("netns add {NAMESPACE}"))?;
        ip(&format!("link add mv-here type veth peer name mv-there netns {NAMESPACE}"))?;
        ip(&format!("addr add {HERE}/24 dev mv-here"))?;
        ip("link set mv-here up")?;
        ip(&format!("-n {NAMESPACE} addr add {THERE}/24 dev mv-there"))?;
        ip(&format!("-n {NAMESPACE} link set mv-there up"))?;
        Ok(network)
    }

    /// Has the firewall swallow everything, or nothing any more.
    fn swallow(yes: bool) -> Result<(), Skipped> {
        let nft = |rule: &str| {
            let exec = ["netns", "exec", NAMESPACE, "nft"];
            run(Command::new("ip").args(exec).args(rule.split(' ')))
        };
        if !yes {
            return nft("delete table ip wall");
        }
        nft("add table ip wall")?;
        nft("add chain ip wall in { type filter hook input priority 0 ; policy drop ; }")?;
        nft("add chain ip wall out { type filter hook output priority 0 ; policy drop ; }")
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["link", "del", "mv-here"]).output();
        let _ = Command::new("ip").args(["netns", "del", NAMESPACE]).output();
    }
}

pub(crate) async fn measure(agents: usize) -> Result<(), Skipped> {
    needs_files(agents)?;
    let _network = Network::make()?;
    Network::swallow(true)?;
    Network::swallow(false)?;
    let server = Server::start_at(IpAddr::V4(HERE), &[("MUSTER_INSECURE_HTTP", "true")]).await;
    let (api, token) = prepared(&server).await;
    let folder = tempfile::tempdir().unwrap();
    let url = server.url();
    let states = [folder.path().join("stay"), folder.path().join("vanish")];
    let wish = |number: usize, name, namespace| Wish {
        servers: &url,
        token: &token,
        agents: agents / 2,
        state: &states[number],
        name,
        more: &["--insecure-http", "--connect-parallel", "1000"],
        namespace,
    };
    let (stay, vanish) = (wish(0, "stay", None), wish(1, "vanish", Some(NAMESPACE)));
    let mut staying = stay.start();
    staying.connected().await;
    let mut vanishing = vanish.start();
    vanishing.connected().await;
    let half = agents / 2;
    println!("  {} machines connected", 2 * half);
    Network::swallow(true)?;
    let gone = Instant::now();
    // Its goodbyes are swallowed as well.
    vanishing.kill();
    let offline = until(&api, "offline", half, gone).await;
    println!("  {half} vanished: {offline} (asked: < 75 s)");
    let prober = Prober::start(api.clone());
    Network::swallow(false)?;
    let mut back = vanish.start();
    let took = back.connected().await;
    let (p50, p99, count) = prober.stop().await;
    println!(
        "  all {half} back at once: welcomed after {took:.2} s (asked: < 30 s); meanwhile {count} \
         other requests, p50 {p50:.1?}, p99 {p99:.1?} (asked: <= 250 ms)"
    );
    let stayed = staying.stop().await;
    println!(
        "  those that stayed: {} connections lost, heartbeat {}, errors {}",
        stayed["connections_lost"], stayed["heartbeat_ms"], stayed["errors"]
    );
    let returned = back.stop().await;
    println!("  those that came back: connection {}", returned["connect_ms"]);
    assert_eq!(stayed["connections_lost"], 0, "none of the others is touched");
    Ok(())
}

/// Waits until so many machines have that status, and says after how long.
async fn until(api: &Api, status: &str, wanted: usize, since: Instant) -> String {
    loop {
        let page = api.get(&format!("/agents?status={status}&limit=1")).await;
        let count = page["total"].as_u64().unwrap_or(0);
        if usize::try_from(count).unwrap() == wanted {
            return format!("all {status} after {:.1?}", since.elapsed());
        }
        if since.elapsed() > PATIENCE {
            return format!("NOT {status} within {PATIENCE:?}: {count} of {wanted}");
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// Somebody who looks at machines meanwhile.
struct Prober {
    stopped: Arc<AtomicBool>,
    task: tokio::task::JoinHandle<Vec<Duration>>,
}

impl Prober {
    fn start(api: Api) -> Self {
        let stopped = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stopped);
        let task = tokio::spawn(async move {
            let mut times = Vec::new();
            while !told.load(Ordering::Relaxed) {
                let begun = Instant::now();
                api.get("/agents?limit=50").await;
                times.push(begun.elapsed());
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            times
        });
        Self { stopped, task }
    }

    /// The times that half and almost all of the requests stayed below, and how many there were.
    async fn stop(self) -> (Duration, Duration, usize) {
        self.stopped.store(true, Ordering::Relaxed);
        let mut times = self.task.await.unwrap();
        times.sort();
        let at = |share: usize| times[(times.len() - 1) * share / 100];
        (at(50), at(99), times.len())
    }
}
