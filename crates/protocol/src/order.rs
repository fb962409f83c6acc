//! Orders: what makes an agent do something, signed for one agent and one connection.
//!
//! Whoever breaks TLS, a proxy in between or the database still can't run code on the fleet: an
//! agent obeys only what its pinned key signed, for it, on this connection, in sequence, in time.

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::separate::Separate;

/// An order's text and the signature over it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Signed {
    /// Which key signed: [`key_id`] of it.
    pub key_id: String,
    /// The JSON text of an [`Order`], exactly as it was signed.
    pub payload: String,
    /// The Ed25519 signature over the payload's bytes, base64.
    pub signature: String,
}

/// An instruction and whom, when and where it is for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Order {
    /// The only agent that may obey it.
    pub agent_id: Uuid,
    /// The nonce of the `hello` that opened the only connection on which it counts.
    pub nonce: String,
    /// Its number on that connection; each is greater than the one before.
    pub sequence: u64,
    /// After this instant, by the server's clock, it is void.
    pub expires_at: DateTime<Utc>,
    /// What to do.
    pub instruction: Instruction,
}

/// What an agent is told to do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Instruction {
    /// The answer to `hello`; until it comes the agent obeys nothing.
    Welcome(Welcome),
    /// Run a command, once.
    Execute(Box<Execute>),
    /// End a command and its whole process tree, or never start it.
    Cancel(Cancel),
    /// Be another agent from now on: this machine is a copy of one.
    Separate(Separate),
}

/// The answer to `hello`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Welcome {
    /// The connection's id, for logs on both sides.
    pub connection_id: Uuid,
    /// The server's clock: what the agent measures expiry by, however wrong its own is.
    pub server_time: DateTime<Utc>,
    /// How to behave.
    pub settings: Settings,
    /// For each journalled command, how much of its output the server has.
    #[serde(default)]
    pub resume: Vec<ResumePoint>,
}

/// How an agent is to behave on this connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Settings {
    /// Seconds between heartbeats.
    pub heartbeat_interval: u64,
    /// Bytes of each stream of a command that are kept; more is counted and thrown away.
    pub output_limit_bytes: u64,
    /// Bytes of a stream that may be sent before the first `credit` for it.
    pub initial_credit_bytes: u64,
}

/// How much of a command's output the server has, and under which stream it goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ResumePoint {
    /// Which command.
    pub command_id: Uuid,
    /// Its stream on this connection.
    pub stream_id: u32,
    /// Bytes of standard output that are durable.
    pub stdout_bytes: u64,
    /// Bytes of standard error that are durable.
    pub stderr_bytes: u64,
}

/// The program that reads a command's text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ShellType {
    /// Windows PowerShell.
    Powershell,
    /// PowerShell 7 and later, on every system.
    Pwsh,
    /// The Windows command prompt.
    Cmd,
    /// GNU Bash.
    Bash,
    /// The POSIX shell.
    Sh,
}

/// Run a command, once.
#[derive(Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Execute {
    /// Which command: an id that the journal knows is never started again.
    pub command_id: Uuid,
    /// The stream of this connection for its output.
    pub stream_id: u32,
    /// The program that reads `command`.
    pub shell_type: ShellType,
    /// The text for the shell.
    pub command: String,
    /// Arguments that the shell hands to the command, each as it is, never read as code.
    #[serde(default)]
    pub args: Vec<String>,
    /// Where to run; the agent's own choice when absent.
    #[serde(default)]
    pub working_directory: Option<String>,
    /// Variables on top of the agent's own.
    #[serde(default)]
    pub environment: BTreeMap<String, String>,
    /// More of them, which the agent keeps out of everything that the command writes.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub secrets: BTreeMap<String, String>,
    /// The script that runs instead of `command`; its text came before, as frames of the kind 5 on
    /// this stream.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub script: Option<ScriptText>,
    /// Seconds after which the whole process tree is ended.
    pub timeout: f64,
    /// By the server's clock: not to be started later than this.
    pub deadline: DateTime<Utc>,
    /// Where the command stands in a trace, as W3C Trace Context writes it; the agent's log names
    /// it with the command. Absent where nobody follows the command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
}

/// By what the text of a script is recognised.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ScriptText {
    /// The SHA-256 of the text, as 64 hexadecimal digits.
    pub sha256: String,
    /// How long it is, in bytes; at most 1 MiB.
    pub bytes: u32,
}

/// The values of secrets are not shown.
impl fmt::Debug for Execute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Execute")
            .field("command_id", &self.command_id)
            .field("stream_id", &self.stream_id)
            .field("shell_type", &self.shell_type)
            .field("command", &self.command)
            .field("args", &self.args)
            .field("working_directory", &self.working_directory)
            .field("environment", &self.environment)
            .field("secrets", &self.secrets.keys())
            .field("script", &self.script)
            .field("timeout", &self.timeout)
            .field("deadline", &self.deadline)
            .field("traceparent", &self.traceparent)
            .finish()
    }
}

impl ScriptText {
    /// What `text` is recognised by.
    pub fn of(text: &[u8]) -> Self {
        Self {
            sha256: hex(&Sha256::digest(text)),
            bytes: u32::try_from(text.len()).unwrap_or(u32::MAX),
        }
    }

    /// From the SHA-256 of a text and its length in bytes.
    pub fn from_parts(sha256: &[u8; 32], bytes: u32) -> Self {
        Self { sha256: hex(sha256), bytes }
    }

    /// Whether `text` is the one that is meant.
    pub fn matches(&self, text: &[u8]) -> bool {
        *self == Self::of(text)
    }
}

/// End a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Cancel {
    /// Which.
    pub command_id: Uuid,
}

/// Why an agent does not obey.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OrderError {
    /// Signed with a key that is not pinned.
    #[error("the order is signed with a key that is not pinned")]
    UnknownKey,
    /// The signature is not over this payload.
    #[error("the signature does not match the payload")]
    BadSignature,
    /// The payload is no order.
    #[error("the payload is not an order of this protocol version")]
    Malformed,
    /// Meant for another agent.
    #[error("the order is for another agent")]
    WrongAgent,
    /// Meant for another connection, or seen before on this one.
    #[error("the order was made for another connection or repeats an earlier one")]
    Replayed,
    /// Too late.
    #[error("the order has expired")]
    Expired,
}

impl OrderError {
    /// The code for the `error` message.
    pub const fn code(self) -> &'static str {
        match self {
            Self::UnknownKey => "UNKNOWN_KEY",
            Self::BadSignature => "BAD_SIGNATURE",
            Self::Malformed => "MALFORMED_ORDER",
            Self::WrongAgent => "WRONG_AGENT",
            Self::Replayed => "REPLAYED",
            Self::Expired => "EXPIRED",
        }
    }
}

/// The short name of a key: the first 16 hex digits of its SHA-256.
pub fn key_id(key: &VerifyingKey) -> String {
    let mut id = hex(&Sha256::digest(key.as_bytes()));
    id.truncate(16);
    id
}

fn hex(bytes: &[u8]) -> String {
    use fmt::Write as _;
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The payload is not shown: there may be secrets in it.
impl fmt::Debug for Signed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signed").field("key_id", &self.key_id).finish_non_exhaustive()
    }
}

impl Signed {
    /// Signs `order` with `key`.
    ///
    /// # Errors
    /// When the order can't be written as JSON, which a number that is not finite causes.
    pub fn sign(order: &Order, key: &SigningKey) -> Result<Self, serde_json::Error> {
        let payload = serde_json::to_string(order)?;
        let signature = STANDARD.encode(key.sign(payload.as_bytes()).to_bytes());
        Ok(Self { key_id: key_id(&key.verifying_key()), payload, signature })
    }
}

/// Checks the orders of one connection, in the order in which they come.
#[derive(Debug)]
pub struct Verifier {
    key: VerifyingKey,
    key_id: String,
    agent_id: Uuid,
    nonce: String,
    last_sequence: Option<u64>,
}

impl Verifier {
    /// For the connection that agent `agent_id` opened with a `hello` carrying `nonce`.
    pub fn new(key: VerifyingKey, agent_id: Uuid, nonce: String) -> Self {
        Self { key_id: key_id(&key), key, agent_id, nonce, last_sequence: None }
    }

    /// The instruction in `signed`, if this agent has to obey it. `now` is the server's time as
    /// the agent knows it; before the welcome has told it, `None`.
    ///
    /// # Errors
    /// [`OrderError`] says why not; nothing of the payload may then be used.
    pub fn verify(
        &mut self,
        signed: &Signed,
        now: Option<DateTime<Utc>>,
    ) -> Result<Instruction, OrderError> {
        if signed.key_id != self.key_id {
            return Err(OrderError::UnknownKey);
        }
        let signature = STANDARD
            .decode(&signed.signature)
            .ok()
            .and_then(|bytes| Signature::from_slice(&bytes).ok())
            .ok_or(OrderError::BadSignature)?;
        self.key
            .verify_strict(signed.payload.as_bytes(), &signature)
            .map_err(|_| OrderError::BadSignature)?;
        let order: Order =
            serde_json::from_str(&signed.payload).map_err(|_| OrderError::Malformed)?;
        if order.agent_id != self.agent_id {
            return Err(OrderError::WrongAgent);
        }
        if order.nonce != self.nonce
            || self.last_sequence.is_some_and(|last| order.sequence <= last)
        {
            return Err(OrderError::Replayed);
        }
        if now.is_some_and(|now| now > order.expires_at) {
            return Err(OrderError::Expired);
        }
        self.last_sequence = Some(order.sequence);
        Ok(order.instruction)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::TimeDelta;

    const NONCE: &str = "n-1";

    fn key(seed: u8) -> SigningKey {
        SigningKey::from_bytes(&[seed; 32])
    }

    fn noon() -> DateTime<Utc> {
        DateTime::from_timestamp_nanos(1_767_268_800_000_000_000)
    }

    fn order(sequence: u64) -> Order {
        Order {
            agent_id: Uuid::from_u128(1),
            nonce: NONCE.into(),
            sequence,
            expires_at: noon() + TimeDelta::seconds(60),
            instruction: Instruction::Cancel(Cancel { command_id: Uuid::from_u128(2) }),
        }
    }

    fn verifier() -> Verifier {
        Verifier::new(key(1).verifying_key(), Uuid::from_u128(1), NONCE.into())
    }

    fn verdict(order: &Order, by: &SigningKey, now: DateTime<Utc>) -> Result<(), OrderError> {
        let signed = Signed::sign(order, by).unwrap();
        verifier().verify(&signed, Some(now)).map(|_| ())
    }

    fn execute() -> Execute {
        Execute {
            command_id: Uuid::from_u128(2),
            stream_id: 1,
            shell_type: ShellType::Sh,
            command: "backup".into(),
            args: Vec::new(),
            working_directory: None,
            environment: BTreeMap::new(),
            secrets: [("TOKEN".to_owned(), "hunter2".to_owned())].into(),
            script: Some(ScriptText::of(b"echo hi")),
            timeout: 30.0,
            deadline: noon(),
            traceparent: None,
        }
    }

    #[test]
    fn the_value_of_a_secret_is_never_printed_and_its_name_is() {
        let order = Order { instruction: Instruction::Execute(Box::new(execute())), ..order(1) };
        let message = crate::ServerMessage::Signed(Signed::sign(&order, &key(1)).unwrap());
        let printed = format!("{order:?} {order:#?} {message:?}");
        assert!(!printed.contains("hunter2") && printed.contains("TOKEN"), "{printed}");
    }

    #[test]
    fn a_command_that_nobody_follows_is_written_as_ever_and_older_orders_can_be_read() {
        let plain = serde_json::to_value(execute()).unwrap();
        assert!(plain.get("traceparent").is_none(), "{plain}");
        assert_eq!(serde_json::from_value::<Execute>(plain).unwrap(), execute());
    }

    #[test]
    fn a_text_is_recognised_by_its_length_and_every_byte() {
        let script = ScriptText::of(b"echo hi");
        assert!(script.matches(b"echo hi"));
        assert!(!script.matches(b"echo ho") && !script.matches(b"echo hi\n"));
        assert!(!ScriptText { bytes: 8, ..script.clone() }.matches(b"echo hi"));
        assert_eq!(ScriptText::from_parts(&Sha256::digest(b"echo hi").into(), 7), script);
    }

    #[test]
    fn an_order_for_this_agent_and_connection_is_obeyed() {
        assert_eq!(verdict(&order(1), &key(1), noon()), Ok(()));
    }

    #[test]
    fn an_order_signed_by_anybody_else_is_not_obeyed() {
        assert_eq!(verdict(&order(1), &key(2), noon()), Err(OrderError::UnknownKey));
        let mut signed = Signed::sign(&order(1), &key(2)).unwrap();
        signed.key_id = key_id(&key(1).verifying_key());
        assert_eq!(verifier().verify(&signed, None), Err(OrderError::BadSignature));
    }

    #[test]
    fn an_order_changed_on_the_way_is_not_obeyed() {
        let mut signed = Signed::sign(&order(1), &key(1)).unwrap();
        signed.payload = signed.payload.replace("\"sequence\":1", "\"sequence\":2");
        assert_eq!(verifier().verify(&signed, None), Err(OrderError::BadSignature));
    }

    #[test]
    fn an_order_for_another_agent_is_not_obeyed() {
        let other = Order { agent_id: Uuid::from_u128(9), ..order(1) };
        assert_eq!(verdict(&other, &key(1), noon()), Err(OrderError::WrongAgent));
    }

    #[test]
    fn an_order_recorded_on_this_or_another_connection_is_not_obeyed_again() {
        let elsewhere = Order { nonce: "n-2".into(), ..order(1) };
        assert_eq!(verdict(&elsewhere, &key(1), noon()), Err(OrderError::Replayed));
        let mut verifier = verifier();
        let signed = Signed::sign(&order(3), &key(1)).unwrap();
        assert!(verifier.verify(&signed, None).is_ok());
        assert_eq!(verifier.verify(&signed, None), Err(OrderError::Replayed));
        let earlier = Signed::sign(&order(2), &key(1)).unwrap();
        assert_eq!(verifier.verify(&earlier, None), Err(OrderError::Replayed));
    }

    #[test]
    fn an_order_held_back_until_it_expired_is_not_obeyed() {
        let late = noon() + TimeDelta::seconds(61);
        assert_eq!(verdict(&order(1), &key(1), late), Err(OrderError::Expired));
    }

    #[test]
    fn a_payload_that_is_no_order_is_refused_even_when_signed() {
        let payload = r#"{"type":"execute"}"#.to_owned();
        let signature = STANDARD.encode(key(1).sign(payload.as_bytes()).to_bytes());
        let signed = Signed { key_id: key_id(&key(1).verifying_key()), payload, signature };
        assert_eq!(verifier().verify(&signed, None), Err(OrderError::Malformed));
    }
}
