//! Flags over environment over `muster.toml` over defaults. What can't be used stops the start,
//! with the name of the setting and what it takes.

mod otlp;
mod tls;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use ipnet::IpNet;
use muster_commands::Limits;
use muster_crypto::MasterKey;
use muster_http::Web;
use muster_identity::Password;
use muster_kernel::Secret;
use muster_redis::RedisUrl;
use muster_sea_orm::DatabaseUrl;
use serde::Deserialize;

pub(crate) use self::otlp::Otlp;
pub(crate) use self::tls::{TlsMode, TlsSource};

/// The longest timeout that an installation may allow.
const LONGEST_TIMEOUT: u64 = 7 * 24 * 3600;

/// The settings as they are given. Whatever is left out is looked up in `muster.toml`, under the
/// same name in snake case, and has a default after that.
#[derive(Debug, Default, Clone, Args, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Settings {
    /// A file with settings [default: muster.toml, where there is one].
    #[arg(long, env = "MUSTER_CONFIG")]
    #[serde(skip)]
    pub(crate) config: Option<PathBuf>,
    /// Where to listen [default: 127.0.0.1:8000].
    #[arg(long, env = "MUSTER_LISTEN")]
    pub(crate) listen: Option<SocketAddr>,
    /// Allow to listen beyond this machine without TLS.
    #[arg(long, env = "MUSTER_INSECURE_HTTP", num_args = 0..=1, default_missing_value = "true")]
    pub(crate) insecure_http: Option<bool>,
    /// Addresses or networks of the proxies in front, comma separated: they do the TLS, and their
    /// X-Forwarded-For is believed.
    #[arg(long, env = "MUSTER_TRUSTED_PROXIES", value_delimiter = ',')]
    pub(crate) trusted_proxies: Option<Vec<String>>,
    /// Other origins whose pages may use the API, such as `https://panel.example.org`,
    /// comma separated.
    #[arg(long, env = "MUSTER_CORS_ORIGINS", value_delimiter = ',')]
    pub(crate) cors_origins: Option<Vec<String>>,
    /// What agents and links are told [default: follows from listen].
    #[arg(long, env = "MUSTER_PUBLIC_URL")]
    pub(crate) public_url: Option<String>,
    /// `off`, `self-signed` (made at the first start) or `files` [default: off].
    #[arg(long, env = "MUSTER_TLS")]
    pub(crate) tls: Option<TlsMode>,
    /// The certificate and its chain, PEM; read again when it changes.
    #[arg(long, env = "MUSTER_TLS_CERT")]
    pub(crate) tls_cert: Option<PathBuf>,
    /// The certificate's private key, PEM; read again when it changes.
    #[arg(long, env = "MUSTER_TLS_KEY")]
    pub(crate) tls_key: Option<PathBuf>,
    /// Where the database and the generated secret are kept [default: ./muster-data].
    #[arg(long, env = "MUSTER_DATA_DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// `sqlite://PATH` or `postgres://USER:PASSWORD@HOST/NAME` [default: muster.db in the data
    /// folder].
    #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
    pub(crate) database_url: Option<Hidden>,
    /// How many reads the database answers at a time, 1 to 100 [default: 4 on SQLite, 8 on
    /// PostgreSQL]. One connection more writes.
    #[arg(long, env = "MUSTER_DATABASE_CONNECTIONS")]
    pub(crate) database_connections: Option<u32>,
    /// `redis://USER:PASSWORD@HOST` or `rediss://…`, by which several servers on one PostgreSQL
    /// are one [default: none, this server is the only one].
    #[arg(long, env = "REDIS_URL", hide_env_values = true)]
    pub(crate) redis_url: Option<Hidden>,
    /// 32 random bytes in base64 [default: generated, kept in the data folder].
    #[arg(long, env = "MUSTER_SECRET_KEY", hide_env_values = true)]
    pub(crate) secret_key: Option<Hidden>,
    /// The first admin's password [default: drawn, printed once].
    #[arg(long, env = "MUSTER_ADMIN_PASSWORD", hide_env_values = true)]
    pub(crate) admin_password: Option<Hidden>,
    /// Seconds that a command may run which names no timeout [default: 30].
    #[arg(long, env = "MUSTER_DEFAULT_TIMEOUT")]
    pub(crate) default_timeout: Option<u64>,
    /// Seconds that a command may name as its timeout at most [default: 3600].
    #[arg(long, env = "MUSTER_MAX_TIMEOUT")]
    pub(crate) max_timeout: Option<u64>,
    /// Bytes of each stream of a command's output that are kept [default: 16777216].
    #[arg(long, env = "MUSTER_OUTPUT_LIMIT")]
    pub(crate) output_limit: Option<u64>,
    /// Let admins run commands on this machine, as the user that runs the server [default: false].
    // Not a setting of the API: whoever takes over an admin's session has the agents already, and
    // is not to switch on the way to the machine that holds the keys.
    #[arg(long, env = "MUSTER_LOCAL_EXECUTION", num_args = 0..=1, default_missing_value = "true")]
    pub(crate) local_execution: Option<bool>,
    /// Where scrapers find `/metrics` without a credential, such as 127.0.0.1:9464 [default: nowhere].
    #[arg(long, env = "MUSTER_METRICS_LISTEN")]
    pub(crate) metrics_listen: Option<SocketAddr>,
    /// Where traces go by OTLP over HTTP, such as `http://collector:4318` [default: nowhere].
    #[arg(long, env = "MUSTER_OTLP_ENDPOINT")]
    pub(crate) otlp_endpoint: Option<String>,
    /// Headers that the collector asks for, as `NAME=VALUE`, comma separated.
    #[arg(long, env = "MUSTER_OTLP_HEADERS", hide_env_values = true)]
    pub(crate) otlp_headers: Option<Hidden>,
    /// The part of traces that is kept, 0 to 1; a caller who sends `traceparent` decides about its
    /// own [default: 1].
    #[arg(long, env = "MUSTER_OTLP_SAMPLE_RATIO")]
    pub(crate) otlp_sample_ratio: Option<f64>,
    /// `text` or `json` [default: text on a terminal, else json].
    #[arg(long, env = "MUSTER_LOG_FORMAT")]
    pub(crate) log_format: Option<LogFormat>,
}

/// A setting that nobody prints.
#[derive(Debug, Clone, Deserialize)]
#[serde(from = "String")]
pub(crate) struct Hidden(Secret);

impl From<String> for Hidden {
    fn from(text: String) -> Self {
        Self(Secret::from_text(text))
    }
}

/// How the log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum LogFormat {
    Text,
    Json,
}

/// The settings, checked.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    pub(crate) listen: SocketAddr,
    pub(crate) web: Web,
    pub(crate) tls: TlsSource,
    pub(crate) data_dir: PathBuf,
    pub(crate) database: DatabaseUrl,
    pub(crate) database_connections: Option<u32>,
    /// Where there is one, this is one of several nodes.
    pub(crate) redis: Option<RedisUrl>,
    pub(crate) secret_key: Option<MasterKey>,
    pub(crate) admin_password: Option<Password>,
    pub(crate) limits: Limits,
    pub(crate) output_limit: u64,
    pub(crate) local_execution: bool,
    pub(crate) metrics_listen: Option<SocketAddr>,
    pub(crate) otlp: Option<Otlp>,
    pub(crate) log_format: Option<LogFormat>,
}

impl Config {
    /// Reads the file, if there is one, and checks everything.
    pub(crate) fn load(given: Settings) -> anyhow::Result<Self> {
        let file = match &given.config {
            Some(path) => read_file(path)?,
            None if std::path::Path::new("muster.toml").exists() => {
                read_file(std::path::Path::new("muster.toml"))?
            }
            None => Settings::default(),
        };
        Self::check(given.over(file))
    }

    fn check(settings: Settings) -> anyhow::Result<Self> {
        let listen = settings.listen.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 8000)));
        let tls = tls::tls(settings.tls, settings.tls_cert, settings.tls_key)?;
        let plain = !tls.is_on();
        let trusted_proxies = networks(&settings.trusted_proxies.unwrap_or_default())?;
        let asked_for = !trusted_proxies.is_empty() || settings.insecure_http == Some(true);
        if plain && !listen.ip().is_loopback() && !asked_for {
            bail!(
                "MUSTER_LISTEN: {listen} can be reached from other machines, without TLS. Turn it \
                 on with MUSTER_TLS, listen on a loopback address, name the proxy that does TLS \
                 in MUSTER_TRUSTED_PROXIES, or set MUSTER_INSECURE_HTTP=true"
            );
        }
        let data_dir = settings.data_dir.unwrap_or_else(|| PathBuf::from("muster-data"));
        let database = match settings.database_url {
            Some(url) => url.0.expose().parse().context("DATABASE_URL")?,
            None => format!("sqlite://{}", data_dir.join("muster.db").display()).parse()?,
        };
        if settings.database_connections.is_some_and(|number| !(1..=100).contains(&number)) {
            bail!("MUSTER_DATABASE_CONNECTIONS: 1 to 100 are expected");
        }
        let redis = settings.redis_url.map(|url| url.0.expose().parse::<RedisUrl>()).transpose();
        let redis = redis.context("REDIS_URL")?;
        if redis.is_some() && matches!(database, DatabaseUrl::Sqlite(_)) {
            bail!(
                "REDIS_URL: several servers share one PostgreSQL; set DATABASE_URL to it, or leave \
                 REDIS_URL out"
            );
        }
        let secret_key =
            settings.secret_key.map(|key| MasterKey::parse(key.0.expose())).transpose();
        let admin_password =
            settings.admin_password.map(|password| Password::parse(password.0)).transpose();
        let limits = limits(settings.default_timeout, settings.max_timeout)?;
        let scheme = if plain { "http" } else { "https" };
        let public_url = settings.public_url.unwrap_or_else(|| format!("{scheme}://{listen}"));
        let allowed = if plain { &["https://", "http://"][..] } else { &["https://"] };
        if !allowed.iter().any(|scheme| public_url.starts_with(scheme)) {
            bail!("MUSTER_PUBLIC_URL: a URL such as https://muster.example.org is expected");
        }
        Ok(Self {
            listen,
            web: Web {
                public_url: public_url.trim_end_matches('/').to_owned(),
                trusted_proxies,
                origins: origins(settings.cors_origins.unwrap_or_default())?,
            },
            tls,
            data_dir,
            database,
            database_connections: settings.database_connections,
            redis,
            secret_key: secret_key.context("MUSTER_SECRET_KEY")?,
            admin_password: admin_password.context("MUSTER_ADMIN_PASSWORD")?,
            limits,
            output_limit: settings.output_limit.unwrap_or(16 * 1024 * 1024),
            local_execution: settings.local_execution.unwrap_or(false),
            metrics_listen: settings.metrics_listen,
            otlp: Otlp::check(
                settings.otlp_endpoint,
                settings.otlp_headers.as_ref().map(|headers| headers.0.expose()),
                settings.otlp_sample_ratio,
            )?,
            log_format: settings.log_format,
        })
    }
}

fn networks(texts: &[String]) -> anyhow::Result<Vec<IpNet>> {
    let read = |text: &String| {
        muster_http::network(text).with_context(|| {
            format!("MUSTER_TRUSTED_PROXIES: {text} is neither an address nor a network")
        })
    };
    texts.iter().map(read).collect()
}

/// An origin is compared to the letter, as browsers send it.
fn origins(texts: Vec<String>) -> anyhow::Result<Vec<String>> {
    for text in &texts {
        let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
        let is_origin = host.is_some_and(|host| !host.is_empty() && !host.contains(['/', '*']));
        if !is_origin || text.to_lowercase() != *text {
            bail!("MUSTER_CORS_ORIGINS: {text} is no origin such as https://panel.example.org");
        }
    }
    Ok(texts)
}

fn limits(default: Option<u64>, max: Option<u64>) -> anyhow::Result<Limits> {
    let (default, max) = (default.unwrap_or(30), max.unwrap_or(3600));
    if !(1..=LONGEST_TIMEOUT).contains(&max) {
        bail!("MUSTER_MAX_TIMEOUT: 1 to {LONGEST_TIMEOUT} seconds are expected");
    }
    if !(1..=max).contains(&default) {
        bail!("MUSTER_DEFAULT_TIMEOUT: 1 to {max} seconds (MUSTER_MAX_TIMEOUT) are expected");
    }
    Ok(Limits {
        default_timeout: Duration::from_secs(default),
        max_timeout: Duration::from_secs(max),
    })
}

fn read_file(path: &std::path::Path) -> anyhow::Result<Settings> {
    let name = path.display();
    let text = std::fs::read_to_string(path).with_context(|| format!("reading {name}"))?;
    toml::from_str(&text).map_err(|error| {
        // Not the line itself, as the error would show it: it may hold a secret.
        let before = error.span().and_then(|span| text.get(..span.start));
        let line = before.unwrap_or_default().matches('\n').count() + 1;
        anyhow::anyhow!("{name} can't be used: line {line}: {}", error.message())
    })
}

impl Settings {
    /// These settings, and where they say nothing, those of `file`.
    fn over(self, file: Self) -> Self {
        Self {
            config: self.config,
            listen: self.listen.or(file.listen),
            insecure_http: self.insecure_http.or(file.insecure_http),
            trusted_proxies: self.trusted_proxies.or(file.trusted_proxies),
            cors_origins: self.cors_origins.or(file.cors_origins),
            public_url: self.public_url.or(file.public_url),
            tls: self.tls.or(file.tls),
            tls_cert: self.tls_cert.or(file.tls_cert),
            tls_key: self.tls_key.or(file.tls_key),
            data_dir: self.data_dir.or(file.data_dir),
            database_url: self.database_url.or(file.database_url),
            database_connections: self.database_connections.or(file.database_connections),
            redis_url: self.redis_url.or(file.redis_url),
            secret_key: self.secret_key.or(file.secret_key),
            admin_password: self.admin_password.or(file.admin_password),
            default_timeout: self.default_timeout.or(file.default_timeout),
            max_timeout: self.max_timeout.or(file.max_timeout),
            output_limit: self.output_limit.or(file.output_limit),
            local_execution: self.local_execution.or(file.local_execution),
            metrics_listen: self.metrics_listen.or(file.metrics_listen),
            otlp_endpoint: self.otlp_endpoint.or(file.otlp_endpoint),
            otlp_headers: self.otlp_headers.or(file.otlp_headers),
            otlp_sample_ratio: self.otlp_sample_ratio.or(file.otlp_sample_ratio),
            log_format: self.log_format.or(file.log_format),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(change: impl FnOnce(&mut Settings)) -> String {
        let mut settings = Settings::default();
        change(&mut settings);
        format!("{:#}", Config::check(settings).unwrap_err())
    }

    #[test]
    fn nothing_given_is_enough() {
        let config = Config::check(Settings::default()).unwrap();
        assert_eq!(config.web.public_url, "http://127.0.0.1:8000");
        assert_eq!(config.limits.default_timeout, Duration::from_secs(30));
        assert!(!config.local_execution, "it has to be asked for");
    }

    #[test]
    fn what_can_not_be_used_stops_the_start_by_name() {
        type Change = fn(&mut Settings);
        let cases: [(&str, Change); 17] = [
            ("REDIS_URL", |s| s.redis_url = Some("redis://h".to_owned().into())),
            ("REDIS_URL", |s| s.redis_url = Some("http://h".to_owned().into())),
            ("MUSTER_TRUSTED_PROXIES", |s| s.trusted_proxies = Some(vec!["proxy".into()])),
            ("MUSTER_CORS_ORIGINS", |s| {
                s.cors_origins = Some(vec!["https://*.example.org".into()]);
            }),
            ("MUSTER_LISTEN", |s| s.listen = Some(([0, 0, 0, 0], 80).into())),
            ("DATABASE_URL", |s| s.database_url = Some("mysql://x".to_owned().into())),
            ("DATABASE_URL", |s| s.database_url = Some("postgres://x/y?ssl=1".to_owned().into())),
            ("MUSTER_DATABASE_CONNECTIONS", |s| s.database_connections = Some(0)),
            ("MUSTER_SECRET_KEY", |s| s.secret_key = Some("dev".to_owned().into())),
            ("MUSTER_ADMIN_PASSWORD", |s| s.admin_password = Some("short".to_owned().into())),
            ("MUSTER_MAX_TIMEOUT", |s| s.max_timeout = Some(0)),
            ("MUSTER_DEFAULT_TIMEOUT", |s| s.default_timeout = Some(3601)),
            ("MUSTER_PUBLIC_URL", |s| s.public_url = Some("muster.example.org".into())),
            ("MUSTER_PUBLIC_URL", |s| {
                s.tls = Some(TlsMode::SelfSigned);
                s.public_url = Some("http://muster.example.org".into());
            }),
            ("MUSTER_TLS_CERT", |s| s.tls = Some(TlsMode::Files)),
            ("MUSTER_TLS_CERT", |s| s.tls_cert = Some("tls.crt".into())),
            ("MUSTER_TLS_KEY", |s| {
                s.tls = Some(TlsMode::Files);
                s.tls_cert = Some("tls.crt".into());
            }),
        ];
        for (name, change) in cases {
            let refusal = refusal(change);
            assert!(refusal.contains(name), "{refusal}");
        }
    }

    #[test]
    fn a_listener_that_others_reach_without_tls_has_to_be_asked_for() {
        let listen = Some(([0, 0, 0, 0], 80).into());
        let proxy = Some(vec!["10.0.0.0/8".to_owned()]);
        let settings = Settings { listen, ..Settings::default() };
        for allowed in [
            Settings { insecure_http: Some(true), ..settings.clone() },
            Settings { trusted_proxies: proxy, ..settings.clone() },
            Settings { tls: Some(TlsMode::SelfSigned), ..settings },
        ] {
            assert!(Config::check(allowed).is_ok());
        }
    }

    #[test]
    fn with_tls_agents_are_told_so() {
        let file: Settings = toml::from_str("tls = \"self-signed\"").unwrap();
        let config = Config::check(file).unwrap();
        assert!(config.tls.is_on());
        assert_eq!(config.web.public_url, "https://127.0.0.1:8000");
    }

    #[test]
    fn a_file_that_can_not_be_used_is_told_of_without_its_secrets() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("muster.toml");
        for wrong in ["secert_key = \"the secret\"", "secret_key = [\"the secret\"]"] {
            std::fs::write(&path, format!("# first\n{wrong}\n")).unwrap();
            let refusal = format!("{:#}", read_file(&path).unwrap_err());
            assert!(refusal.contains("line 2") && !refusal.contains("the secret"), "{refusal}");
        }
    }

    #[test]
    fn an_unknown_key_in_the_file_is_named() {
        let error = toml::from_str::<Settings>("lisen = \"127.0.0.1:1\"").unwrap_err().to_string();
        assert!(error.contains("lisen") && error.contains("listen"), "{error}");
    }

    #[test]
    fn what_is_given_outweighs_the_file() {
        let file =
            Settings { default_timeout: Some(7), max_timeout: Some(9), ..Settings::default() };
        let given = Settings { default_timeout: Some(5), ..Settings::default() };
        let config = Config::check(given.over(file)).unwrap();
        assert_eq!(config.limits.default_timeout.as_secs(), 5);
        assert_eq!(config.limits.max_timeout.as_secs(), 9);
    }

    #[test]
    fn no_secret_is_shown_when_settings_are_printed() {
        let key = MasterKey::draw(&muster_crypto::OsEntropy).to_base64();
        let settings = Settings {
            secret_key: Some(key.to_string().into()),
            admin_password: Some("correct horse".to_owned().into()),
            database_url: Some("postgres://muster:stapled@db/muster".to_owned().into()),
            redis_url: Some("redis://:folded@redis".to_owned().into()),
            otlp_endpoint: Some("http://collector:4318".into()),
            otlp_headers: Some("x-key=spindled".to_owned().into()),
            ..Settings::default()
        };
        let printed = format!("{settings:?} {:?}", Config::check(settings.clone()).unwrap());
        assert!(!printed.contains(&**key) && !printed.contains("correct horse"), "{printed}");
        for secret in ["stapled", "folded", "spindled"] {
            assert!(!printed.contains(secret), "{printed}");
        }
    }
}
