//! The built programs as child processes.

use std::fs::File;
use std::net::{IpAddr, Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use reqwest::{Certificate, Client, ClientBuilder};
use tempfile::TempDir;

use crate::{Api, databases};

/// The address of this machine that only it reaches.
const LOCALHOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// The admin's password in every test.
pub const PASSWORD: &str = "correct horse battery";

/// The program `name`, built beside the tests, or in the folder that `MUSTER_PROGRAMS` names.
///
/// # Panics
/// When it was not built.
pub fn program(name: &str) -> PathBuf {
    let folder = std::env::var_os("MUSTER_PROGRAMS").map_or_else(
        || {
            let own = std::env::current_exe().unwrap();
            own.ancestors().find(|path| path.join(name).is_file()).unwrap_or(&own).to_owned()
        },
        PathBuf::from,
    );
    let program = folder.join(name);
    assert!(program.is_file(), "{name} is not built: run `cargo build --workspace --bins` first");
    program
}

/// A port that was free a moment ago.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Makes a client trust the certificates in `pem` and no others.
///
/// # Panics
/// When it is not PEM.
pub fn trusting(builder: ClientBuilder, pem: &[u8]) -> ClientBuilder {
    builder.tls_certs_only(Certificate::from_pem_bundle(pem).expect("certificates as PEM"))
}

/// A child whose log is kept, and which ends with the test.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
}

impl Process {
    pub(crate) fn start(command: &mut Command, log: &Path) -> Self {
        let log = File::options().create(true).append(true).open(log).unwrap();
        let child = command
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .expect("the program starts");
        Self { child }
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).unwrap())
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).expect("the program still runs");
    }

    pub(crate) fn signal_and_wait(&mut self, signal: Signal) -> std::process::ExitStatus {
        self.signal(signal);
        self.child.wait().unwrap()
    }

    fn resident_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    fn cpu_seconds(&self) -> f64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap();
        // After the program's name: the fields 14 and 15 are ticks, of which Linux has 100 a second.
        let (_, fields) = stat.rsplit_once(')').unwrap();
        let ticks = fields.split_whitespace().skip(11).take(2);
        ticks.map(|ticks| ticks.parse::<f64>().unwrap() / 100.0).sum()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `muster serve`.
#[derive(Debug)]
pub struct Server {
    folder: TempDir,
    host: IpAddr,
    port: u16,
    database_url: String,
    settings: Vec<(String, String)>,
    process: Option<Process>,
}

impl Server {
    /// A fresh installation, running.
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// A fresh installation with these environment variables, running.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn start_with(settings: &[(&str, &str)]) -> Self {
        let folder = TempDir::new().unwrap();
        let database_url = databases::fresh(folder.path()).await;
        Self::start_in(folder, LOCALHOST, database_url, settings).await
    }

    /// The same at this address of the machine.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn start_at(host: IpAddr, settings: &[(&str, &str)]) -> Self {
        let folder = TempDir::new().unwrap();
        let database_url = databases::fresh(folder.path()).await;
        Self::start_in(folder, host, database_url, settings).await
    }

    /// A fresh installation on SQLite, running: for what is about its files.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn on_sqlite() -> Self {
        let folder = TempDir::new().unwrap();
        let database_url = databases::in_folder(folder.path());
        Self::start_in(folder, LOCALHOST, database_url, &[]).await
    }

    /// An installation on this database, running.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn on_database(url: &str, settings: &[(&str, &str)]) -> Self {
        Self::start_in(TempDir::new().unwrap(), LOCALHOST, url.to_owned(), settings).await
    }

    async fn start_in(
        folder: TempDir,
        host: IpAddr,
        database_url: String,
        settings: &[(&str, &str)],
    ) -> Self {
        let settings =
            settings.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        let port = free_port();
        let mut server = Self { folder, host, port, database_url, settings, process: None };
        server.restart().await;
        server
    }

    /// Starts it and waits until it answers; says how long that took.
    ///
    /// # Panics
    /// When it does not answer within 30 seconds.
    pub async fn restart(&mut self) -> Duration {
        self.launch();
        let begun = Instant::now();
        let url = format!("{}/api/v1/system/health", self.url());
        let mut client = self.client();
        loop {
            if let Some(client) = &client
                && let Ok(answer) = client.get(&url).send().await
                && answer.status().is_success()
            {
                return begun.elapsed();
            }
            client = client.or_else(|| self.client());
            assert!(begun.elapsed() < Duration::from_secs(30), "no answer; log: {}", self.log());
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// Starts it and waits for nothing.
    pub fn launch(&mut self) {
        let mut command = self.command(&["serve"]);
        command
            .env("MUSTER_LISTEN", format!("{}:{}", self.host, self.port))
            .env("MUSTER_ADMIN_PASSWORD", PASSWORD)
            .envs(self.settings.iter().cloned());
        self.process = Some(Process::start(&mut command, &self.folder.path().join("log")));
    }

    /// `muster` with these arguments, on this installation.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(program("muster"));
        command
            .args(arguments)
            .env("MUSTER_DATA_DIR", self.data_dir())
            .env("DATABASE_URL", &self.database_url)
            .current_dir(self.folder.path());
        command
    }

    /// Kills it with SIGKILL.
    ///
    /// # Panics
    /// When it does not run.
    pub fn kill(&mut self) {
        self.process.take().expect("it runs").signal_and_wait(Signal::SIGKILL);
    }

    /// Ends it gently and says whether it ended well.
    ///
    /// # Panics
    /// When it does not run.
    pub fn stop(&mut self) -> bool {
        self.process.take().expect("it runs").signal_and_wait(Signal::SIGTERM).success()
    }

    /// Where its database is.
    pub fn database_url(&self) -> &str {
        &self.database_url
    }

    /// Has it work with another database from its next start on.
    pub fn move_to(&mut self, database_url: &str) {
        database_url.clone_into(&mut self.database_url);
    }

    /// Where it listens, such as `http://127.0.0.1:40123`.
    pub fn url(&self) -> String {
        let scheme = if self.certificate().is_some() { "https" } else { "http" };
        format!("{scheme}://{}:{}", self.host, self.port)
    }

    /// The file with its certificate, when it does TLS.
    pub fn certificate(&self) -> Option<PathBuf> {
        let setting = |wanted| {
            self.settings.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.as_str())
        };
        match setting("MUSTER_TLS")? {
            "self-signed" => Some(self.data_dir().join("tls.crt")),
            "files" => setting("MUSTER_TLS_CERT").map(PathBuf::from),
            _ => None,
        }
    }

    /// A client that trusts its certificate, once there is one, and no other.
    ///
    /// # Panics
    /// When the certificate can't be used.
    pub fn client(&self) -> Option<Client> {
        let builder = match self.certificate() {
            Some(path) => trusting(Client::builder(), &std::fs::read(path).ok()?),
            None => Client::builder(),
        };
        Some(builder.build().unwrap())
    }

    /// Where its secret is, and its database if that is a file.
    pub fn data_dir(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// Its resident memory, in KiB.
    ///
    /// # Panics
    /// When it does not run.
    pub fn resident_kib(&self) -> u64 {
        self.process.as_ref().expect("it runs").resident_kib()
    }

    /// How much processor time it has used, in seconds.
    ///
    /// # Panics
    /// When it does not run.
    pub fn cpu_seconds(&self) -> f64 {
        self.process.as_ref().expect("it runs").cpu_seconds()
    }

    /// A client that is signed in as the admin.
    ///
    /// # Panics
    /// When there is no certificate yet.
    pub async fn admin(&self) -> Api {
        Api::sign_in_with(self.client().expect("it runs"), &self.url()).await
    }
}

/// `muster-agent run`, in a folder of its own.
#[derive(Debug)]
pub struct Agent {
    folder: TempDir,
    name: String,
    server: String,
    token: String,
    settings: Vec<(String, String)>,
    process: Option<Process>,
}

impl Agent {
    /// An agent of that name, enrolled with `token` and running.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start(server: &Server, name: &str, token: &str) -> Self {
        Self::start_with(server, name, token, &[])
    }

    /// The same with these environment variables.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start_with(server: &Server, name: &str, token: &str, settings: &[(&str, &str)]) -> Self {
        let folder = TempDir::new().unwrap();
        let (name, server, token) = (name.to_owned(), server.url(), token.to_owned());
        let mut agent = Self { folder, name, server, token, settings: Vec::new(), process: None };
        agent.restart_with(settings);
        agent
    }

    /// Another one with a copy of its data folder, running: what a copied disk image does.
    ///
    /// # Panics
    /// When the folder can't be copied.
    #[must_use]
    pub fn copied(&self) -> Self {
        let folder = TempDir::new().unwrap();
        let status = Command::new("cp").arg("-r").arg(self.data_dir()).arg(folder.path()).status();
        assert!(status.unwrap().success(), "the data folder is copied");
        let (name, server, token) = (self.name.clone(), self.server.clone(), self.token.clone());
        let settings = self.settings.clone();
        let mut copy = Self { folder, name, server, token, settings, process: None };
        copy.restart();
        copy
    }

    /// Starts it again, now with these environment variables.
    pub fn restart_with(&mut self, settings: &[(&str, &str)]) {
        self.settings =
            settings.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        self.restart();
    }

    /// Starts it again.
    pub fn restart(&mut self) {
        let mut command = Command::new(program("muster-agent"));
        command
            .arg("run")
            .args(["--server", &self.server, "--name", &self.name])
            .arg("--data-dir")
            .arg(self.data_dir())
            .env("MUSTER_ENROLLMENT_TOKEN", &self.token)
            .envs(self.settings.iter().cloned())
            .current_dir(self.folder.path());
        self.process = Some(Process::start(&mut command, &self.folder.path().join("log")));
    }

    /// Kills it with SIGKILL.
    ///
    /// # Panics
    /// When it does not run.
    pub fn kill(&mut self) {
        self.process.take().expect("it runs").signal_and_wait(Signal::SIGKILL);
    }

    /// Ends it gently and says whether it ended well.
    ///
    /// # Panics
    /// When it does not run.
    pub fn stop(&mut self) -> bool {
        self.process.take().expect("it runs").signal_and_wait(Signal::SIGTERM).success()
    }

    /// Waits for its end and says its exit code.
    ///
    /// # Panics
    /// When it does not run.
    pub fn wait(&mut self) -> Option<i32> {
        let mut process = self.process.take().expect("it runs");
        process.child.wait().unwrap().code()
    }

    /// Where it keeps what it must not forget.
    pub fn data_dir(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}
