//! Commands on their way to the agent.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use muster_commands::{Command, Entry, PayloadError};
use muster_kernel::CommandId;
use muster_protocol::{
    Cancel, Instruction, MAX_CHUNK_BYTES, MAX_UNFINISHED_COMMANDS, StreamFrame, StreamKind,
};
use tokio::time::Instant;

use super::{End, Live, Then};
use crate::traces::Delivery;
use crate::translate;

/// A command that was not accepted for so long is sent again.
const ACCEPT_PATIENCE: Duration = Duration::from_secs(30);

/// A command that the agent has or is being sent.
#[derive(Debug)]
pub(super) struct Unfinished {
    pub(super) command: Arc<Command>,
    pub(super) accepted: bool,
    sent_at: Instant,
}

impl Unfinished {
    /// The agent has it.
    pub(super) fn accepted(command: Arc<Command>) -> Self {
        Self { command, accepted: true, sent_at: Instant::now() }
    }
}

impl Live {
    /// Sends a command whose dispatch is recorded, now or when there is room for it.
    pub(super) async fn deliver(&mut self, command: Arc<Command>) -> Result<(), End> {
        let known = self.unfinished.contains_key(&command.id)
            || self.waiting.iter().any(|waiting| waiting.id == command.id);
        if known {
            return Ok(());
        }
        if self.unfinished.len() >= MAX_UNFINISHED_COMMANDS {
            self.waiting.push_back(command);
            return Ok(());
        }
        let held =
            Unfinished { command: Arc::clone(&command), accepted: false, sent_at: Instant::now() };
        self.unfinished.insert(command.id, held);
        self.link.set_unfinished(self.unfinished.len() + self.waiting.len());
        self.send(&command).await
    }

    /// Sends what waits for room, then what the archive has.
    pub(super) async fn fill_window(&mut self) -> Result<(), End> {
        while self.unfinished.len() < MAX_UNFINISHED_COMMANDS {
            let Some(command) = self.waiting.pop_front() else { break };
            self.deliver(command).await?;
        }
        loop {
            let room = MAX_UNFINISHED_COMMANDS.saturating_sub(self.unfinished.len());
            if !self.more || room == 0 {
                break;
            }
            let (commands, more) = self.ports.channel.next(self.agent_id, room).await?;
            self.more = more;
            for command in commands {
                self.deliver(command).await?;
            }
        }
        self.link.set_unfinished(self.unfinished.len() + self.waiting.len());
        Ok(())
    }

    /// When something that was sent would have to be accepted.
    pub(super) fn send_again_at(&self) -> Option<Instant> {
        let waiting = self.unfinished.values().filter(|held| !held.accepted);
        waiting.map(|held| held.sent_at + ACCEPT_PATIENCE).min()
    }

    /// Sends again what was not accepted in time.
    pub(super) async fn send_again(&mut self) -> Result<(), End> {
        let late: Vec<_> = self
            .unfinished
            .values_mut()
            .filter(|held| !held.accepted && held.sent_at.elapsed() >= ACCEPT_PATIENCE)
            .map(|held| {
                held.sent_at = Instant::now();
                Arc::clone(&held.command)
            })
            .collect();
        for command in late {
            self.send(&command).await?;
        }
        Ok(())
    }

    /// Sends a command with all that it needs: the text of its script first, so that it is there
    /// when the order comes.
    async fn send(&mut self, command: &Command) -> Result<(), End> {
        let delivery = self.ports.connections.traces().map(|traces| traces.sends(command));
        let traceparent = delivery.as_ref().and_then(Delivery::traceparent);
        let payload = match self.ports.payloads.of(command).await {
            Ok(payload) => payload,
            Err(error) => return self.give_up(command.id, error).await,
        };
        let stream_id = self.streams.open(command.id);
        if let Some(text) = &payload.script {
            self.send_file(stream_id, text.as_bytes()).await?;
        }
        let execute = translate::execute(command, stream_id, &payload, traceparent);
        self.order(Instruction::Execute(Box::new(execute))).await
    }

    async fn send_file(&mut self, stream_id: u32, text: &[u8]) -> Result<(), End> {
        let mut offset = 0;
        for chunk in text.chunks(MAX_CHUNK_BYTES) {
            let bytes = Bytes::copy_from_slice(chunk);
            let frame = StreamFrame { kind: StreamKind::File, stream_id, offset, bytes };
            self.outgoing.write(frame).await?;
            offset += u64::try_from(chunk.len()).unwrap_or(0);
        }
        Ok(())
    }

    /// Ends a command that can't be sent as it was meant, rather than send it otherwise.
    async fn give_up(&mut self, id: CommandId, error: PayloadError) -> Result<(), End> {
        let detail = error.to_string();
        let verdict = error.verdict(self.ports.clock.now())?;
        tracing::warn!(
            agent.id = %self.agent_id, command.id = %id, error.detail = detail,
            "a command was ended before it began"
        );
        self.record(id, Entry::Event(verdict), Then::LetGo(id));
        // Of an earlier sending the agent may have it all the same.
        self.order(Instruction::Cancel(Cancel { command_id: id.as_uuid() })).await
    }
}
