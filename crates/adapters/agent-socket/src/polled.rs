//! Connections of agents whose network lets no WebSocket through: the same sessions, fed and
//! emptied by requests.

use std::sync::Arc;
use std::time::Duration;

use dashmap::DashMap;
use muster_agents::Transport;
use muster_kernel::{AgentId, ConnectionId, ProblemCode};
use muster_protocol::{
    MAX_POLL_BYTES, MAX_WAIT_SECONDS, PollAnswer, PollRequest, Polled, ServerMessage,
};
use serde_json::Value;
use tokio::sync::{Mutex, mpsc};
use tokio::time::{Instant, timeout_at};

use crate::AgentSocketPorts;
use crate::scrub::scrub;
use crate::session::{End, Incoming, Outgoing, Session, letters};

/// How many frames wait in either direction before their sender waits.
const QUEUE: usize = 16;

/// Why a request of a polled connection is not answered. The connection is over then, and the
/// agent says hello anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PollRefusal {
    /// What went wrong.
    pub code: ProblemCode,
    /// What to do about it.
    pub detail: String,
}

impl PollRefusal {
    fn over() -> Self {
        let detail = "there is no such connection any more; open one with a hello";
        Self { code: ProblemCode::WrongState, detail: detail.into() }
    }

    pub(crate) fn unwritable(error: &serde_json::Error) -> Self {
        tracing::error!(error.cause = %error, "an answer could not be written");
        Self { code: ProblemCode::Internal, detail: "the answer could not be written".into() }
    }

    fn malformed(error: &serde_json::Error) -> Self {
        let detail = format!("the request can't be read: {error}");
        Self { code: ProblemCode::Malformed, detail }
    }
}

/// A direction of a connection: how many frames went through it, and its end in requests.
type Direction<T> = Mutex<(u64, T)>;

/// One polled connection.
struct Mailbox {
    agent_id: AgentId,
    connection_id: ConnectionId,
    /// From the agent; `None` when the agent has closed it.
    incoming: Direction<Option<mpsc::Sender<Result<Incoming, End>>>>,
    outgoing: Direction<mpsc::Receiver<Polled<ServerMessage>>>,
}

/// The polled connections of this process; cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Polls {
    mailboxes: Arc<DashMap<ConnectionId, Arc<Mailbox>>>,
}

impl Polls {
    /// Takes what a request of the agent brings, and answers with what there is for it.
    pub(crate) async fn exchange(
        &self,
        ports: &Arc<AgentSocketPorts>,
        agent_id: AgentId,
        peer_address: Option<String>,
        mut request: Value,
    ) -> Result<PollAnswer, PollRefusal> {
        scrub(&mut request);
        let request: PollRequest =
            serde_json::from_value(request).map_err(|error| PollRefusal::malformed(&error))?;
        let mailbox = match request.connection_id {
            None => self.open(ports, agent_id, peer_address),
            Some(id) => self.find(agent_id, ConnectionId::from_uuid(id))?,
        };
        let answer = mailbox.serve(request).await;
        if answer.is_err() {
            self.mailboxes.remove(&mailbox.connection_id);
        }
        answer
    }

    fn find(&self, agent_id: AgentId, id: ConnectionId) -> Result<Arc<Mailbox>, PollRefusal> {
        let mailbox = self.mailboxes.get(&id).map(|mailbox| Arc::clone(&mailbox));
        mailbox.filter(|mailbox| mailbox.agent_id == agent_id).ok_or_else(PollRefusal::over)
    }

    /// Begins a session; one that is polled no more ends as a silent WebSocket does.
    fn open(
        &self,
        ports: &Arc<AgentSocketPorts>,
        agent_id: AgentId,
        peer_address: Option<String>,
    ) -> Arc<Mailbox> {
        let connection_id = ConnectionId::new(&*ports.clock, &*ports.entropy);
        let (to_session, requests) = mpsc::channel(QUEUE);
        let (to_agent, answers) = mpsc::channel(QUEUE);
        let mailbox = Arc::new(Mailbox {
            agent_id,
            connection_id,
            incoming: Mutex::new((0, Some(to_session))),
            outgoing: Mutex::new((0, answers)),
        });
        self.mailboxes.insert(connection_id, Arc::clone(&mailbox));
        let session = Session {
            ports: Arc::clone(ports),
            agent_id,
            connection_id,
            transport: Transport::Http,
            outgoing: Outgoing::Polled(to_agent),
            peer_address,
            token: None,
            began_at: ports.clock.now(),
        };
        let polls = self.clone();
        actix_web::rt::spawn(async move {
            session.run(letters(requests)).await;
            polls.mailboxes.remove(&connection_id);
        });
        mailbox
    }
}

impl Mailbox {
    async fn serve(&self, request: PollRequest) -> Result<PollAnswer, PollRefusal> {
        let PollRequest { sent, messages, received, wait, close, .. } = request;
        let bringing = self.bring(sent, messages, close);
        let Some(seconds) = wait else {
            bringing.await?;
            return Ok(self.answer(Vec::new()));
        };
        let wait = Duration::from_secs(seconds.min(MAX_WAIT_SECONDS));
        // Together: a session may have to be rid of something before it takes more.
        let (brought, collected) = tokio::join!(bringing, self.collect(received, wait));
        brought?;
        Ok(self.answer(collected?))
    }

    fn answer(&self, messages: Vec<Polled<ServerMessage>>) -> PollAnswer {
        PollAnswer { connection_id: self.connection_id.as_uuid(), messages }
    }

    /// Hands what the agent says to the session.
    async fn bring(
        &self,
        sent: u64,
        messages: Vec<Polled<muster_protocol::AgentMessage>>,
        close: bool,
    ) -> Result<(), PollRefusal> {
        let mut incoming = self.incoming.lock().await;
        let (count, session) = &mut *incoming;
        if !messages.is_empty() && sent != *count {
            return Err(PollRefusal::over());
        }
        let open = session.as_ref().ok_or_else(PollRefusal::over)?;
        let signs = messages.is_empty().then_some(Incoming::Alive);
        for message in messages.into_iter().map(Incoming::from).chain(signs) {
            *count += u64::from(!matches!(message, Incoming::Alive));
            open.send(Ok(message)).await.map_err(|_| PollRefusal::over())?;
        }
        if close && let Some(session) = session.take() {
            // It may be over already.
            let _ = session.send(Err(End::Closed)).await;
        }
        Ok(())
    }

    /// Waits for something to say, then takes what there is, up to the size of an answer.
    async fn collect(
        &self,
        received: u64,
        wait: Duration,
    ) -> Result<Vec<Polled<ServerMessage>>, PollRefusal> {
        let deadline = Instant::now() + wait;
        let Ok(mut outgoing) = timeout_at(deadline, self.outgoing.lock()).await else {
            return Ok(Vec::new());
        };
        let (count, answers) = &mut *outgoing;
        if received != *count {
            return Err(PollRefusal::over());
        }
        let mut collected = match timeout_at(deadline, answers.recv()).await {
            Ok(Some(first)) => vec![first],
            Ok(None) => return Err(PollRefusal::over()),
            Err(_) => return Ok(Vec::new()),
        };
        let mut size = collected.iter().map(size_of_polled).sum::<usize>();
        while size < MAX_POLL_BYTES / 2
            && let Ok(next) = answers.try_recv()
        {
            size += size_of_polled(&next);
            collected.push(next);
        }
        *count += u64::try_from(collected.len()).unwrap_or(0);
        Ok(collected)
    }
}

/// About how many bytes it takes in an answer.
fn size_of_polled(polled: &Polled<ServerMessage>) -> usize {
    match polled {
        Polled::Frame(frame) => frame.bytes.len() * 4 / 3 + 128,
        Polled::Message(ServerMessage::Signed(signed)) => signed.payload.len() * 2 + 256,
        Polled::Message(_) => 256,
    }
}

#[cfg(test)]
mod tests;
