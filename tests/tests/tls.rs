//! TLS of the server itself: who trusts it, who does not, and a certificate that changes.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test ends where it fails")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use muster_tests::{Agent, Api, PASSWORD, Server, eventually, program, trusting};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rcgen::{CertifiedKey, KeyPair, generate_simple_self_signed};
use reqwest::Client;
use reqwest::tls::TlsInfo;
use serde_json::json;
use tempfile::TempDir;

const SELF_SIGNED: &[(&str, &str)] = &[("MUSTER_TLS", "self-signed")];

/// What the server says about its certificate.
fn logged_fingerprint(server: &Server) -> String {
    let log = server.log();
    let (_, rest) = log.rsplit_once("\"tls.fingerprint\":\"").unwrap();
    rest.split_once('"').unwrap().0.to_owned()
}

/// Runs a command on the agent of that name.
async fn runs_a_command(admin: &Api, name: &str) {
    let agent = admin.connected(name).await;
    let id = admin.queue(&agent, &json!({ "command": "echo hello" })).await;
    assert_eq!(admin.ended(&id).await["status"], "completed");
}

/// How often an agent has connected.
fn connections(agent: &Agent) -> usize {
    agent.log().lines().filter(|line| line.contains(" connected agent.id")).count()
}

async fn logs(agent: &Agent, text: &str) {
    eventually(text, async || agent.log().contains(text).then_some(())).await;
}

/// A certificate for this machine, in two files.
struct Files {
    folder: TempDir,
}

impl Files {
    fn new() -> (Self, CertifiedKey<KeyPair>) {
        let files = Self { folder: TempDir::new().unwrap() };
        let made = files.renew();
        (files, made)
    }

    fn renew(&self) -> CertifiedKey<KeyPair> {
        let made = generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        fs::write(self.cert(), made.cert.pem()).unwrap();
        fs::write(self.key(), made.signing_key.serialize_pem()).unwrap();
        made
    }

    fn cert(&self) -> PathBuf {
        self.folder.path().join("cert.pem")
    }

    fn key(&self) -> PathBuf {
        self.folder.path().join("key.pem")
    }

    async fn server(&self) -> Server {
        Server::start_with(&[
            ("MUSTER_TLS", "files"),
            ("MUSTER_TLS_CERT", self.cert().to_str().unwrap()),
            ("MUSTER_TLS_KEY", self.key().to_str().unwrap()),
        ])
        .await
    }
}

/// The certificate that a new connection is shown.
async fn shown(server: &Server) -> Vec<u8> {
    let probe = Client::builder().tls_info(true).tls_danger_accept_invalid_certs(true);
    let answer = probe.build().unwrap().get(server.url()).send().await.unwrap();
    answer.extensions().get::<TlsInfo>().unwrap().peer_certificate().unwrap().to_owned()
}

async fn shown_soon(server: &Server, certificate: &[u8]) {
    let begun = Instant::now();
    eventually("the new certificate is served", async || {
        (shown(server).await == certificate).then_some(())
    })
    .await;
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn an_agent_that_pins_a_self_signed_certificate_connects_and_goes_on_without_the_flag() {
    let mut server = Server::start_with(SELF_SIGNED).await;
    let pin = logged_fingerprint(&server);
    let admin = server.admin().await;
    let token = admin.enrollment_token("TLS").await;
    let settings = [("MUSTER_SERVER_FINGERPRINT", pin.as_str())];
    let mut agent = Agent::start_with(&server, "pinned", &token, &settings);
    runs_a_command(&admin, "pinned").await;
    agent.kill();
    server.kill();
    server.restart().await;
    assert_eq!(logged_fingerprint(&server), pin, "the certificate stays");
    agent.restart_with(&[]);
    runs_a_command(&server.admin().await, "pinned").await;
}

#[tokio::test]
async fn an_agent_accepts_no_certificate_that_it_was_not_told_of() {
    let server = Server::start_with(SELF_SIGNED).await;
    let admin = server.admin().await;
    let token = admin.enrollment_token("TLS").await;
    let wrong = "0f".repeat(32);
    let stranger = Files::new().0;
    let other_ca = stranger.cert();
    let (trusting_nobody, pinning_another, trusting_another) = (
        Agent::start(&server, "nobody", &token),
        Agent::start_with(&server, "pin", &token, &[("MUSTER_SERVER_FINGERPRINT", &wrong)]),
        Agent::start_with(&server, "ca", &token, &[("MUSTER_CA_FILE", other_ca.to_str().unwrap())]),
    );
    for agent in [&trusting_nobody, &trusting_another] {
        logs(agent, "invalid peer certificate: UnknownIssuer").await;
    }
    logs(&pinning_another, &format!("{wrong} is pinned")).await;
    logs(&pinning_another, &logged_fingerprint(&server)).await;
    assert!(admin.get("/agents").await["items"].as_array().unwrap().is_empty());
}

#[tokio::test]
async fn an_enrolled_agent_holds_on_to_what_it_trusts_until_it_is_told_otherwise() {
    let server = Server::start_with(SELF_SIGNED).await;
    let (pin, ca) = (logged_fingerprint(&server), server.certificate().unwrap());
    let admin = server.admin().await;
    let token = admin.enrollment_token("TLS").await;
    let ca = [("MUSTER_CA_FILE", ca.to_str().unwrap())];
    let mut agent = Agent::start_with(&server, "steady", &token, &ca);
    runs_a_command(&admin, "steady").await;
    agent.kill();
    let wrong = "0f".repeat(32);
    agent.restart_with(&[("MUSTER_SERVER_FINGERPRINT", &wrong)]);
    logs(&agent, &format!("{wrong} is pinned")).await;
    agent.kill();
    agent.restart_with(&[]);
    eventually("it still refuses", async || {
        (agent.log().matches("is pinned").count() > 1).then_some(())
    })
    .await;
    assert_eq!(connections(&agent), 1);
    agent.kill();
    agent.restart_with(&[("MUSTER_SERVER_FINGERPRINT", &pin.to_uppercase())]);
    runs_a_command(&admin, "steady").await;
}

#[tokio::test]
async fn a_certificate_that_changes_on_disk_is_served_and_a_broken_one_is_not() {
    let (files, first) = Files::new();
    let server = files.server().await;
    assert_eq!(shown(&server).await, first.cert.der().to_vec());
    let token = server.admin().await.enrollment_token("TLS").await;
    let ca = files.cert();
    let mut agent =
        Agent::start_with(&server, "steady", &token, &[("MUSTER_CA_FILE", ca.to_str().unwrap())]);
    runs_a_command(&server.admin().await, "steady").await;

    let second = files.renew();
    shown_soon(&server, second.cert.der()).await;
    let client = trusting(Client::builder(), second.cert.pem().as_bytes()).build().unwrap();
    let admin = Api::sign_in_with(client, &server.url()).await;
    runs_a_command(&admin, "steady").await;
    assert_eq!(connections(&agent), 1, "the connection stayed");

    fs::write(files.cert(), "-----BEGIN CERTIFICATE-----\nbroken").unwrap();
    let complaints = || server.log().matches("the one before is still served").count();
    eventually("the broken one is told", async || (complaints() > 0).then_some(())).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(complaints(), 1, "once: {}", server.log());
    assert_eq!(shown(&server).await, second.cert.der().to_vec());

    agent.kill();
    agent.restart_with(&[]);
    logs(&agent, "invalid peer certificate").await;
    assert_eq!(connections(&agent), 1, "the new certificate is not the one that it trusts");
    agent.kill();
    let third = files.renew();
    shown_soon(&server, third.cert.der()).await;
    agent.restart_with(&[("MUSTER_CA_FILE", ca.to_str().unwrap())]);
    let client = trusting(Client::builder(), third.cert.pem().as_bytes()).build().unwrap();
    runs_a_command(&Api::sign_in_with(client, &server.url()).await, "steady").await;
}

#[test]
fn files_that_do_not_belong_together_stop_the_start_by_name() {
    let ((one, _), (other, _)) = (Files::new(), Files::new());
    let missing = one.folder.path().join("missing");
    let data = one.folder.path().join("data");
    let refusal = |cert: &Path, key: &Path| {
        let output = Command::new(program("muster"))
            .args(["serve", "--listen", "127.0.0.1:0", "--tls", "files", "--tls-cert"])
            .arg(cert)
            .arg("--tls-key")
            .arg(key)
            .arg("--data-dir")
            .arg(&data)
            .output()
            .unwrap();
        assert!(!output.status.success() && output.stdout.is_empty());
        String::from_utf8(output.stderr).unwrap()
    };
    for (cert, key, setting) in [
        (one.cert(), other.key(), "MUSTER_TLS_KEY"),
        (missing.clone(), one.key(), "MUSTER_TLS_CERT"),
        (one.key(), one.key(), "MUSTER_TLS_CERT"),
        (one.cert(), missing, "MUSTER_TLS_KEY"),
    ] {
        let refusal = refusal(&cert, &key);
        assert!(refusal.contains(setting), "{refusal}");
    }
    assert!(!data.exists(), "nothing is left behind");
}

#[tokio::test]
async fn browsers_get_http_2_and_nobody_gets_plain_http() {
    let server = Server::start_with(SELF_SIGNED).await;
    let health = format!("{}/api/v1/system/health", server.url());
    let answer = server.client().unwrap().get(&health).send().await.unwrap();
    assert_eq!(answer.version(), reqwest::Version::HTTP_2);
    assert!(reqwest::get(health.replacen("https", "http", 1)).await.is_err());
}

#[tokio::test]
async fn a_quickstart_with_either_certificate_brings_its_agent_online() {
    let (files, _) = Files::new();
    for mode in ["self-signed", "files"] {
        let folder = TempDir::new().unwrap();
        let shown = folder.path().join("shown");
        let mut command = Command::new(program("muster"));
        if mode == "files" {
            command.env("MUSTER_TLS_CERT", files.cert()).env("MUSTER_TLS_KEY", files.key());
        }
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let mut quickstart = command
            .args(["quickstart", "--data-dir", "data", "--tls", mode])
            .args(["--listen", &port.to_string()])
            .env("MUSTER_ADMIN_PASSWORD", PASSWORD)
            .current_dir(folder.path())
            .stdout(fs::File::create(&shown).unwrap())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        eventually("the agent is online", async || {
            fs::read_to_string(&shown).unwrap().contains("is online").then_some(())
        })
        .await;
        kill(Pid::from_raw(quickstart.id().try_into().unwrap()), Signal::SIGTERM).unwrap();
        assert!(quickstart.wait().unwrap().success());
    }
}
