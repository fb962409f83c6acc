//! What models may know, read by the same use cases that people read with.

use std::sync::Arc;

use async_trait::async_trait;
use chrono::TimeDelta;
use muster_agents::metrics::{Bucket, Gauge, History, MetricsError, Span};
use muster_agents::{
    AgentFilter, AgentOrder, AgentStatus, AgentView, Agents, AgentsError, Criteria, OsType,
};
use muster_commands::library::{LibraryError, LibraryFilter, Parameter, Scripts};
use muster_commands::{Command, CommandFilter, Commands, CommandsError, OutputStream, Status};
use muster_kernel::{AgentId, Clock, CommandId, PageRequest, RunId};
use serde_json::{Value, json};

use super::{AgentSearch, CommandSearch, Fleet, Rights, ToolError};

/// How many things a list shows.
const SHOWN: u16 = 25;
/// How many commands of a run are looked at.
const SHOWN_OF_A_RUN: u16 = 10;
/// How much of each stream of a command is shown, in bytes.
const SHOWN_OUTPUT: usize = 4096;
/// The same of each command of a run.
const SHOWN_OUTPUT_OF_A_RUN: usize = 1024;

/// The use cases that are read with.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "the names are those of the use cases")]
pub struct KnownFleetPorts {
    pub agents: Agents,
    pub metrics: History,
    pub commands: Commands,
    pub scripts: Arc<Scripts>,
    pub clock: Arc<dyn Clock>,
}

/// What the use cases of machines, commands and the library say.
#[derive(Debug, Clone)]
pub struct KnownFleet(KnownFleetPorts);

impl KnownFleet {
    /// Made of the use cases.
    pub const fn new(ports: KnownFleetPorts) -> Self {
        Self(ports)
    }

    async fn told(
        &self,
        command: &Command,
        most: usize,
    ) -> Result<serde_json::Map<String, Value>, ToolError> {
        let mut told = brief(command);
        for (name, stream) in [("output", OutputStream::Stdout), ("error", OutputStream::Stderr)] {
            let head = self.0.commands.output_head(command, stream, most).await.map_err(refused)?;
            told.insert(name.to_owned(), String::from_utf8_lossy(&head).into());
            let cut = command.output.of(stream) > u64::try_from(head.len()).unwrap_or(u64::MAX);
            told.insert(format!("{name}_cut_off"), cut.into());
        }
        Ok(told)
    }
}

#[async_trait]
impl Fleet for KnownFleet {
    async fn search(&self, rights: &Rights, wish: &AgentSearch) -> Result<Value, ToolError> {
        let reach = |name: &str| {
            let all = [AgentStatus::Online, AgentStatus::Offline];
            all.into_iter().find(|status| status.as_str() == name)
        };
        let status = named(wish.status.as_deref(), reach, "status: online or offline")?;
        let expected = "os_type: linux, windows, macos or other";
        let os_type = named(wish.os_type.as_deref(), OsType::parse, expected)?;
        let criteria = Criteria {
            status,
            os_type,
            tags: wish.tags.iter().cloned().collect(),
            q: wish.q.clone(),
            ..Criteria::default()
        };
        let criteria = criteria.checked().map_err(|error| useless(&error))?;
        let filter = AgentFilter { criteria, ..AgentFilter::default() };
        let page = PageRequest::new(SHOWN, None);
        let order = AgentOrder::default();
        let (page, _) =
            self.0.agents.list(rights.agents()?, &filter, order, &page).await.map_err(of_agents)?;
        let agents: Vec<_> = page.items.iter().map(agent_in_list).collect();
        Ok(json!({ "total": page.total, "agents": agents }))
    }

    async fn agent(&self, rights: &Rights, id: AgentId) -> Result<Value, ToolError> {
        let view = self.0.agents.get(rights.agents()?, id).await.map_err(of_agents)?;
        Ok(inventory(&view))
    }

    async fn metrics(&self, rights: &Rights, id: AgentId, hours: u32) -> Result<Value, ToolError> {
        let hours = hours.clamp(1, 168);
        let from = self.0.clock.now() - TimeDelta::hours(i64::from(hours));
        let step = (hours * 3600 / 24).max(60);
        let span = Span { from: Some(from), to: None, step: Some(step) };
        let series = self.0.metrics.read(rights.agents()?, id, span).await;
        let series = series.map_err(|error| match error {
            MetricsError::NotFound => useless(&error),
            MetricsError::Invalid(error) => useless(&error),
            MetricsError::Storage(error) => error.into(),
        })?;
        let points: Vec<_> = series.points.iter().map(point).collect();
        Ok(json!({ "step_seconds": series.step.seconds(), "points": points }))
    }

    async fn commands(&self, rights: &Rights, wish: &CommandSearch) -> Result<Value, ToolError> {
        let status = named(wish.status.as_deref(), Status::parse, "status: that of a command")?;
        let (agent_id, q) = (wish.agent_id, wish.q.clone().filter(|q| !q.trim().is_empty()));
        let filter = CommandFilter { agent_id, status, q, ..CommandFilter::default() };
        let page = PageRequest::new(SHOWN, None);
        let page = self.0.commands.list(rights.commands()?, &filter, &page).await;
        let page = page.map_err(refused)?;
        let commands: Vec<_> = page.items.iter().map(brief).collect();
        Ok(json!({ "total": page.total, "commands": commands }))
    }

    async fn command(&self, rights: &Rights, id: CommandId) -> Result<Value, ToolError> {
        let command = self.0.commands.get(rights.commands()?, id).await.map_err(refused)?;
        Ok(self.told(&command, SHOWN_OUTPUT).await?.into())
    }

    async fn results(&self, rights: &Rights, id: RunId) -> Result<Value, ToolError> {
        let mut shown = Vec::new();
        let mut total = 0;
        for status in [Status::Failed, Status::Completed] {
            let room =
                SHOWN_OF_A_RUN.saturating_sub(u16::try_from(shown.len()).unwrap_or(u16::MAX));
            let filter = CommandFilter {
                run_id: Some(id),
                status: Some(status),
                ..CommandFilter::default()
            };
            let page = PageRequest::new(room.max(1), None);
            let page = self.0.commands.list(rights.commands()?, &filter, &page).await;
            let page = page.map_err(refused)?;
            total += page.total;
            for command in page.items.iter().take(usize::from(room)) {
                shown.push(self.told(command, SHOWN_OUTPUT_OF_A_RUN).await?);
            }
        }
        Ok(json!({ "ended": total, "commands": shown }))
    }

    async fn scripts(&self, rights: &Rights, q: Option<&str>) -> Result<Value, ToolError> {
        let q = q.map(ToOwned::to_owned).filter(|q| !q.trim().is_empty());
        let filter = LibraryFilter { q, ..LibraryFilter::default() };
        let page = PageRequest::new(SHOWN, None);
        let page = self.0.scripts.list(rights.scripts()?, &filter, &page).await;
        let page = page.map_err(|error| match error {
            LibraryError::Storage(error) => error.into(),
            other => useless(&other),
        })?;
        let scripts: Vec<_> = page
            .items
            .iter()
            .map(|script| {
                let about = &script.version.about;
                json!({
                    "id": script.id,
                    "name": about.name,
                    "description": about.description,
                    "shell_type": about.shell_type.as_str(),
                    "target_os_type": about.target_os_type.map(OsType::as_str),
                    "safety_level": script.version.safety_level.as_str(),
                    "parameters": about.parameters.iter().map(parameter).collect::<Vec<_>>(),
                })
            })
            .collect();
        Ok(json!({ "total": page.total, "scripts": scripts }))
    }
}

/// What is meant by a name, if one was said.
fn named<T>(
    name: Option<&str>,
    parse: impl Fn(&str) -> Option<T>,
    expected: &str,
) -> Result<Option<T>, ToolError> {
    let missing = || ToolError::Useless(format!("{expected} is expected"));
    name.map(|name| parse(name).ok_or_else(missing)).transpose()
}

fn useless(error: &impl std::fmt::Display) -> ToolError {
    ToolError::Useless(error.to_string())
}

fn of_agents(error: AgentsError) -> ToolError {
    match error {
        AgentsError::Storage(error) => error.into(),
        AgentsError::Denied(denied) => denied.into(),
        other => useless(&other),
    }
}

fn refused(error: CommandsError) -> ToolError {
    match error {
        CommandsError::Storage(error) => error.into(),
        CommandsError::Denied(denied) => denied.into(),
        other => useless(&other),
    }
}

fn agent_in_list(view: &AgentView) -> Value {
    let agent = &view.agent;
    json!({
        "id": agent.id,
        "hostname": agent.hostname,
        "status": view.status.as_str(),
        "os_type": agent.os_type.as_str(),
        "os": agent.os,
        "tags": agent.tags,
        "last_seen": agent.last_seen,
    })
}

fn inventory(view: &AgentView) -> Value {
    let agent = &view.agent;
    json!({
        "id": agent.id,
        "hostname": agent.hostname,
        "status": view.status.as_str(),
        "ip_address": agent.ip_address,
        "os_type": agent.os_type.as_str(),
        "os": agent.os,
        "agent_version": agent.version,
        "capabilities": agent.capabilities,
        "tags": agent.tags,
        "notes": agent.notes,
        "last_seen": agent.last_seen,
        "system": agent.system_info,
    })
}

fn brief(command: &Command) -> serde_json::Map<String, Value> {
    let end = command.end();
    let told = json!({
        "id": command.id,
        "agent_id": command.agent_id,
        "run_id": command.run_id,
        "command": command.spec.command,
        "args": command.spec.args,
        "shell_type": command.spec.shell_type.as_str(),
        "safety_level": command.safety_level.as_str(),
        "status": command.status().as_str(),
        "exit_code": end.and_then(|end| end.exit_code),
        "created_at": command.created_at,
        "finished_at": end.map(|end| end.at),
    });
    match told {
        Value::Object(told) => told,
        _ => serde_json::Map::new(),
    }
}

fn parameter(parameter: &Parameter) -> Value {
    serde_json::to_value(parameter).unwrap_or_default()
}

/// A share in percent, of what is kept in hundredths.
fn percent(gauge: Gauge, samples: u64) -> Value {
    let average = gauge.sum / samples.max(1) / 100;
    json!({ "average": average, "highest": gauge.max / 100 })
}

fn point(bucket: &Bucket) -> Value {
    json!({
        "at": bucket.at,
        "cpu_percent": percent(bucket.cpu, bucket.samples),
        "memory_percent": percent(bucket.memory, bucket.samples),
        "disk_percent": percent(bucket.disk, bucket.samples),
        "processes": bucket.processes.max,
        "received_bytes": bucket.received.bytes,
        "sent_bytes": bucket.sent.bytes,
        "uptime_seconds": bucket.uptime,
    })
}
