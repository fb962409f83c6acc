//! What `muster-swarm` is told.

use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use anyhow::bail;
use bytes::Bytes;
use clap::Parser;
use muster_swarm::{Behaviour, Pace, Reconnect};
use muster_trust::Fingerprint;
use reqwest::Url;

/// Thousands of simulated agents, to size and to measure a server.
#[derive(Debug, Parser)]
#[command(name = "muster-swarm", version)]
pub(crate) struct Options {
    /// The server's address; several for an installation of several nodes, over which the machines
    /// spread, and among which each goes to the next when its own does not answer.
    #[arg(long, env = "MUSTER_SERVER", required = true, value_delimiter = ',')]
    pub(crate) server: Vec<Url>,
    /// The enrollment token, for machines that are not enrolled; the variable keeps it out of the
    /// process list.
    #[arg(long, env = "MUSTER_ENROLLMENT_TOKEN", hide_env_values = true)]
    pub(crate) enrollment_token: Option<String>,
    /// How many machines.
    #[arg(long)]
    pub(crate) agents: usize,
    /// Keep who the machines are in this file, and connect the same ones when it is there.
    #[arg(long, env = "MUSTER_SWARM_STATE")]
    pub(crate) state: Option<PathBuf>,
    /// Names of machines that enrol begin with this.
    #[arg(long, default_value = "swarm")]
    pub(crate) name: String,
    /// End after so many seconds from the first connection on; else at Ctrl-C.
    #[arg(long)]
    pub(crate) duration: Option<f64>,
    /// Print the summary as one JSON object.
    #[arg(long)]
    pub(crate) json: bool,
    /// Connect from these addresses of this machine, in turn. Without them many loopback
    /// addresses are used for a server on this machine, and the usual address for any other.
    #[arg(long, value_delimiter = ',')]
    pub(crate) source: Vec<IpAddr>,
    /// How long a command takes: milliseconds, or a range of them such as 100-5000.
    #[arg(long, default_value = "0")]
    pub(crate) answer_delay: Delay,
    /// How many bytes each command writes.
    #[arg(long, default_value_t = 3)]
    pub(crate) output_bytes: usize,
    /// The share of commands that fail, 0 to 1.
    #[arg(long, default_value_t = 0.0, value_parser = share)]
    pub(crate) failure_rate: f64,
    /// The share of machines that drop their connection and come back each minute, 0 to 1.
    #[arg(long, default_value_t = 0.0, value_parser = share)]
    pub(crate) churn: f64,
    /// Seconds between heartbeats; else as the server says.
    #[arg(long, value_parser = positive)]
    pub(crate) heartbeat: Option<f64>,
    /// How many machines begin to connect each second; else all at once.
    #[arg(long, value_parser = positive)]
    pub(crate) connect_rate: Option<f64>,
    /// How many machines connect at a time.
    #[arg(long, default_value_t = 256)]
    pub(crate) connect_parallel: usize,
    /// How many machines enrol at a time.
    #[arg(long, default_value_t = 64)]
    pub(crate) enrol_parallel: usize,
    /// PEM certificates to trust beside the usual roots.
    #[arg(long, env = "MUSTER_CA_FILE", conflicts_with = "server_fingerprint")]
    pub(crate) ca_file: Option<PathBuf>,
    /// The SHA-256 of the only certificate to trust.
    #[arg(long, env = "MUSTER_SERVER_FINGERPRINT")]
    pub(crate) server_fingerprint: Option<Fingerprint>,
    /// Allow plain connections to a server that is not this machine.
    #[arg(long)]
    pub(crate) insecure_http: bool,
}

/// From how long to how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Delay {
    at_least: Duration,
    at_most: Duration,
}

impl FromStr for Delay {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (least, most) = text.split_once('-').unwrap_or((text, text));
        let read = |text: &str| text.trim().parse().map(Duration::from_millis);
        match (read(least), read(most)) {
            (Ok(at_least), Ok(at_most)) if at_least <= at_most => Ok(Self { at_least, at_most }),
            _ => Err("milliseconds are expected, such as 200 or 100-5000"),
        }
    }
}

fn share(text: &str) -> Result<f64, &'static str> {
    let share = text.parse().ok().filter(|share| (0.0..=1.0).contains(share));
    share.ok_or("a share from 0 to 1 is expected, such as 0.05")
}

fn positive(text: &str) -> Result<f64, &'static str> {
    let number = text.parse().ok().filter(|number: &f64| number.is_finite() && *number > 0.0);
    number.ok_or("a number above 0 is expected")
}

impl Options {
    /// Says what can't be meant.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        self.server.iter().try_for_each(|server| self.check_transport(server))?;
        if self.agents == 0 {
            bail!("--agents: at least one machine is needed");
        }
        if self.duration.is_some_and(|seconds| Duration::try_from_secs_f64(seconds).is_err()) {
            bail!("--duration: a number of seconds is expected");
        }
        Ok(())
    }

    /// Tokens and output must not cross a network in plain text.
    fn check_transport(&self, server: &Url) -> anyhow::Result<()> {
        let host = server.host_str().unwrap_or_default().trim_matches(['[', ']']);
        let here = host == "localhost"
            || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
        match server.scheme() {
            "https" => Ok(()),
            "http" if self.ca_file.is_some() || self.server_fingerprint.is_some() => {
                bail!("{server} shows no certificate: use https, or drop what is said about it")
            }
            "http" if here || self.insecure_http => Ok(()),
            "http" => bail!("{server} is not encrypted: use https, or pass --insecure-http"),
            scheme => bail!("a server's address starts with https, not {scheme}"),
        }
    }

    /// How the machines work.
    pub(crate) fn behaviour(&self) -> Behaviour {
        let Delay { at_least, at_most } = self.answer_delay;
        let line = b"The quick brown fox jumps over the lazy dog, again and again.\n";
        let output: Vec<u8> = match self.output_bytes {
            3 => b"ok\n".to_vec(),
            many => line.iter().copied().cycle().take(many).collect(),
        };
        Behaviour {
            takes: at_least,
            varies_by: at_most.saturating_sub(at_least),
            failing: Vec::new(),
            failure_rate: self.failure_rate,
            ignores_cancel: false,
            output: Bytes::from(output),
            heartbeat: self.heartbeat.map(Duration::from_secs_f64),
            churn: self.churn,
            reconnect: Reconnect::LikeAgents,
        }
    }

    /// How fast they connect.
    pub(crate) fn pace(&self) -> Pace {
        Pace { per_second: self.connect_rate, at_once: self.connect_parallel }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(more: &[&str]) -> Result<Options, String> {
        let line = ["muster-swarm", "--agents", "1"].iter().chain(more);
        let options = Options::try_parse_from(line).map_err(|error| error.to_string())?;
        options.check().map_err(|error| error.to_string())?;
        Ok(options)
    }

    #[test]
    fn a_delay_is_a_number_of_milliseconds_or_a_range_of_them() {
        let delay = |text: &str| text.parse::<Delay>();
        let milliseconds = Duration::from_millis;
        let both =
            |least, most| Delay { at_least: milliseconds(least), at_most: milliseconds(most) };
        assert_eq!(delay("200"), Ok(both(200, 200)));
        assert_eq!(delay("100-5000"), Ok(both(100, 5000)));
        for wrong in ["", "-5", "5-1", "soon", "1.5"] {
            assert!(delay(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn tokens_leave_this_machine_in_plain_text_only_when_asked_to() {
        let server = |url, more: &[&str]| options(&[&["--server", url], more].concat());
        assert!(server("http://127.0.0.1:8000", &[]).is_ok());
        assert!(server("http://muster.example", &[]).unwrap_err().contains("--insecure-http"));
        assert!(server("http://muster.example", &["--insecure-http"]).is_ok());
        assert!(server("https://muster.example", &[]).is_ok());
        assert!(server("ftp://muster.example", &["--insecure-http"]).is_err());
    }

    #[test]
    fn a_share_is_from_nothing_to_all() {
        let churn = |text| options(&["--server", "http://127.0.0.1:1", "--churn", text]);
        assert!(churn("0").is_ok() && churn("1").is_ok());
        assert!(churn("5").unwrap_err().contains("0 to 1"));
    }
}
