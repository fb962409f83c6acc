//! The contract of [`CommandLedger`] and [`CommandArchive`].
#![expect(clippy::indexing_slicing, reason = "a test ends where it fails")]

use bytes::Bytes;
use chrono::TimeDelta;
use muster_kernel::{AgentId, Author, CustomerId, PageRequest, TenantScope};

use super::{command_for, completed, event, noon};
use crate::{
    Command, CommandArchive, CommandFilter, CommandLedger, CommandRetention, Due, Effect, Entry,
    Event, Failure, Once, Outcome, OutputBytes, OutputCompression, OutputStream, Report, Status,
    Submitted, Waiting,
};

/// What the suite needs: an empty ledger that is its own archive, and two agents it knows.
#[derive(Debug)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Subject<'a, L> {
    pub ledger: &'a L,
    pub agent: (AgentId, CustomerId),
    pub other_agent: (AgentId, CustomerId),
}

/// Everything that is to be kept of commands.
pub trait Store: CommandLedger + CommandArchive + CommandRetention + OutputCompression {}

impl<T: CommandLedger + CommandArchive + CommandRetention + OutputCompression> Store for T {}

/// Runs the suite.
///
/// # Panics
/// When the ledger breaks the contract.
pub async fn contract<L: Store>(subject: &Subject<'_, L>) {
    what_is_submitted_is_found_within_its_scope(subject).await;
    the_same_key_gives_the_same_command(subject).await;
    every_state_is_read_back_as_it_was_written(subject).await;
    an_agent_reports_on_its_own_commands_only(subject).await;
    output_is_kept_once_in_order_and_without_gaps(subject).await;
    what_was_dispatched_and_what_waits_are_told_apart(subject).await;
    what_waits_for_some_agents_is_found_and_what_waits_for_others_is_not(subject).await;
    what_was_sent_and_not_accepted_is_found_until_it_is_of_no_use(subject).await;
    lists_show_the_newest_first(subject).await;
    what_nobody_will_end_is_due(subject).await;
    old_output_reads_the_same_when_it_is_compressed(subject).await;
    what_ended_long_ago_is_let_go(subject).await;
}

async fn what_waits_for_some_agents_is_found_and_what_waits_for_others_is_not<L: Store>(
    subject: &Subject<'_, L>,
) {
    let (at, agent) = (noon(), subject.agent.0);
    let waiting = async || {
        let mut waiting = subject.ledger.waiting(&[agent]).await.unwrap();
        waiting.sort_unstable();
        waiting
    };
    let open: Vec<_> = waiting().await;
    assert!(!open.contains(&Waiting::Backlog(subject.other_agent.0)));
    let dispatched = subject.given(95).await;
    subject.happens(&dispatched, event(Event::Dispatched { at })).await;
    let cancel = Waiting::Cancel(agent, dispatched.id);
    assert!(!waiting().await.contains(&cancel), "nobody asked for its end");
    subject.happens(&dispatched, event(Event::CancelRequested { at })).await;
    assert!(waiting().await.contains(&cancel));
    subject.happens(&dispatched, event(Event::Finished(completed(at)))).await;
    assert!(!waiting().await.contains(&cancel), "it has ended");
    let new = subject.given(96).await;
    assert_eq!(waiting().await.iter().filter(|it| **it == Waiting::Backlog(agent)).count(), 1);
    subject.happens(&new, event(Event::Expired { at })).await;
    assert_eq!(waiting().await, open);
    assert_eq!(subject.ledger.waiting(&[]).await.unwrap(), []);
}

async fn what_was_sent_and_not_accepted_is_found_until_it_is_of_no_use<L: Store>(
    subject: &Subject<'_, L>,
) {
    let (at, later) = (noon(), noon() + TimeDelta::seconds(1));
    let commands = [subject.given(97).await, subject.given(98).await, subject.given(99).await];
    let found = async |before, now| {
        let found = subject.ledger.unaccepted(&[subject.agent.0], before, now).await.unwrap();
        let ours = found.into_iter().filter(|it| commands.iter().any(|own| own.id == it.id));
        ours.map(|command| command.id).collect::<Vec<_>>()
    };
    assert_eq!(found(later, later).await, [], "nobody sent it");
    for command in &commands {
        subject.happens(command, event(Event::Dispatched { at })).await;
    }
    assert_eq!(found(at, later).await, [], "it has just left");
    assert_eq!(found(later, later).await, [commands[0].id, commands[1].id, commands[2].id]);
    assert_eq!(found(later, commands[2].expires_at).await, [], "they have expired");
    let others = [subject.other_agent.0];
    let others = subject.ledger.unaccepted(&others, later, later).await.unwrap();
    assert!(others.iter().all(|it| it.agent_id == subject.other_agent.0));
    subject.happens(&commands[0], event(Event::Accepted { at })).await;
    subject.happens(&commands[1], event(Event::CancelRequested { at })).await;
    assert_eq!(found(later, later).await, [commands[2].id]);
    for command in &commands {
        subject.happens(command, event(Event::Finished(completed(at)))).await;
    }
    assert_eq!(found(later, later).await, []);
}

async fn old_output_reads_the_same_when_it_is_compressed<L: Store>(subject: &Subject<'_, L>) {
    let compress = async |before, limit| subject.ledger.compress(before, limit).await.unwrap();
    let at = noon() + TimeDelta::milliseconds(90);
    while compress(at, 2).await == 2 {}
    let text = Bytes::from("starting unit, done\n".repeat(10_000));
    let commands = [subject.given(90).await, subject.given(91).await];
    for command in &commands {
        let entry = Entry::Output { stream: OutputStream::Stdout, offset: 0, bytes: text.clone() };
        subject.happens(command, entry).await;
    }
    assert_eq!(compress(at, 1000).await, 0, "nothing was given before that");
    assert!(compress(at + TimeDelta::milliseconds(1), 1000).await >= 1);
    assert_eq!(compress(at + TimeDelta::milliseconds(1), 1000).await, 0, "only once");
    // What it writes from then on is kept as well.
    let more = Entry::Output { stream: OutputStream::Stdout, offset: 200_000, bytes: text.clone() };
    subject.happens(&commands[0], more).await;
    let all = [&text[..], &text[..]].concat();
    for from in [0, 1, 65_535, 65_536, 65_537, 131_072, 199_999, 200_000, 399_999, 400_000] {
        let chunks = subject.ledger.output(
            commands[0].id,
            OutputStream::Stdout,
            u64::try_from(from).unwrap(),
            u64::MAX,
        );
        let read: Vec<u8> = chunks.await.unwrap().iter().flat_map(|it| it.bytes.clone()).collect();
        assert!(read == all[from..], "from {from}");
    }
}

async fn what_ended_long_ago_is_let_go<L: Store>(subject: &Subject<'_, L>) {
    let (old, open) = (subject.given(80).await, subject.given(81).await);
    let output = Bytes::from_static(b"gone");
    let entry = Entry::Output { stream: OutputStream::Stdout, offset: 0, bytes: output };
    subject.happens(&old, entry).await;
    subject.happens(&old, event(Event::Expired { at: noon() })).await;
    let forget = async |before| {
        subject.ledger.forget(before, 1000, &Author::system(), noon()).await.unwrap()
    };
    assert_eq!(forget(noon()).await, 0, "nothing ended before that");
    let gone = forget(noon() + std::time::Duration::from_secs(1)).await;
    assert!(gone >= 1);
    let found = async |id| subject.ledger.find(&TenantScope::All, id).await.unwrap();
    assert!(found(old.id).await.is_none() && found(open.id).await.is_some());
    let left = subject.ledger.output(old.id, OutputStream::Stdout, 0, u64::MAX).await.unwrap();
    assert!(left.is_empty());
}

impl<L: Store> Subject<'_, L> {
    async fn given(&self, seed: u64) -> Command {
        let (agent_id, customer_id) = self.agent;
        let command = command_for(seed, agent_id, customer_id);
        self.ledger.submit(command.clone(), None, Author::system()).await.unwrap();
        command
    }

    async fn happens(&self, command: &Command, entry: Entry) -> Effect {
        let recorded = self.ledger.record(command.agent_id, command.id, entry).await;
        recorded.unwrap().expect("the command is known").effect
    }

    async fn found(&self, command: &Command) -> Command {
        self.ledger.find(&TenantScope::All, command.id).await.unwrap().expect("it was submitted")
    }
}

async fn what_is_submitted_is_found_within_its_scope<L: Store>(subject: &Subject<'_, L>) {
    let command = subject.given(10).await;
    let (inside, outside) = (subject.agent.1, subject.other_agent.1);
    let find = async |customer| {
        subject.ledger.find(&TenantScope::one(customer), command.id).await.unwrap()
    };
    assert_eq!(find(inside).await, Some(command.clone()));
    assert_eq!(find(outside).await, None);
}

async fn the_same_key_gives_the_same_command<L: Store>(subject: &Subject<'_, L>) {
    let (agent_id, customer_id) = subject.agent;
    let once = |fingerprint: u8| {
        Some(Once { scope: "u1".into(), key: "k".into(), fingerprint: [fingerprint; 32] })
    };
    let first = command_for(20, agent_id, customer_id);
    let second = command_for(21, agent_id, customer_id);
    let submit =
        |command: &Command, once| subject.ledger.submit(command.clone(), once, Author::system());
    assert!(matches!(submit(&first, once(1)).await.unwrap(), Submitted::New(new) if *new == first));
    let again = submit(&second, once(1)).await.unwrap();
    assert!(matches!(again, Submitted::Known(known) if known.id == first.id));
    assert_eq!(submit(&second, once(2)).await.unwrap(), Submitted::Conflict);
    assert_eq!(subject.ledger.find(&TenantScope::All, second.id).await.unwrap(), None);
    let other = Once { scope: "u2".into(), key: "k".into(), fingerprint: [2; 32] };
    let new = submit(&second, Some(other)).await.unwrap();
    assert!(matches!(new, Submitted::New(_)), "another's key is another key");
}

async fn every_state_is_read_back_as_it_was_written<L: Store>(subject: &Subject<'_, L>) {
    let at = noon() + TimeDelta::seconds(5);
    let failed = Report {
        outcome: Outcome::Failed(Failure { code: "EXIT_CODE".into(), detail: Some("3".into()) }),
        exit_code: Some(3),
        written: OutputBytes { stdout: 1 << 40, stderr: 2 },
        ..completed(at)
    };
    let stories: [&[Event]; 6] = [
        &[Event::Dispatched { at }, Event::Accepted { at }],
        &[Event::Started { at, pid: Some(4_000_000_000) }, Event::CancelRequested { at }],
        &[Event::Started { at, pid: None }, Event::Finished(completed(at))],
        &[Event::Finished(failed)],
        &[Event::CancelRequested { at }],
        &[Event::Dispatched { at }, Event::Expired { at }],
    ];
    for (seed, story) in (30_u64..).zip(stories) {
        let mut expected = subject.given(seed).await;
        for happening in story {
            assert_eq!(subject.happens(&expected, event(happening.clone())).await, Effect::Changed);
            let again = subject.happens(&expected, event(happening.clone())).await;
            assert_eq!(again, Effect::Unchanged, "{happening:?} twice");
            expected.apply(happening);
        }
        assert_eq!(subject.found(&expected).await, expected);
    }
}

async fn an_agent_reports_on_its_own_commands_only<L: Store>(subject: &Subject<'_, L>) {
    let command = subject.given(40).await;
    let finished = || event(Event::Finished(completed(noon())));
    let other = subject.ledger.record(subject.other_agent.0, command.id, finished()).await;
    assert_eq!(other.unwrap(), None);
    let unknown = command_for(41, subject.agent.0, subject.agent.1).id;
    let missing = subject.ledger.record(subject.agent.0, unknown, finished()).await;
    assert_eq!(missing.unwrap(), None);
    assert_eq!(subject.found(&command).await, command);
}

async fn output_is_kept_once_in_order_and_without_gaps<L: Store>(subject: &Subject<'_, L>) {
    let command = subject.given(50).await;
    let output = |offset, text: &'static str| Entry::Output {
        stream: OutputStream::Stdout,
        offset,
        bytes: text.into(),
    };
    let kept = |offset, text: &'static str| Effect::Kept { offset, bytes: text.into() };
    assert_eq!(subject.happens(&command, output(0, "hello ")).await, kept(0, "hello "));
    assert_eq!(subject.happens(&command, output(0, "hello ")).await, Effect::Unchanged);
    assert_eq!(subject.happens(&command, output(9, "d")).await, Effect::Gap);
    assert_eq!(subject.happens(&command, output(4, "o world")).await, kept(6, "world"));
    let big = "x".repeat(300_000);
    let entry =
        Entry::Output { stream: OutputStream::Stderr, offset: 0, bytes: big.clone().into() };
    subject.happens(&command, entry).await;
    assert_eq!(subject.found(&command).await.output, OutputBytes { stdout: 11, stderr: 300_000 });
    for (from, rest) in [(0, "hello world"), (3, "lo world"), (11, ""), (99, "")] {
        let chunks = subject.ledger.output(command.id, OutputStream::Stdout, from, 100).await;
        let text: Vec<u8> = chunks.unwrap().iter().flat_map(|chunk| chunk.bytes.clone()).collect();
        assert_eq!(String::from_utf8(text).unwrap(), rest);
    }
    let mut read = 0;
    while read < 300_000 {
        let chunks =
            subject.ledger.output(command.id, OutputStream::Stderr, read, 1).await.unwrap();
        assert!(!chunks.is_empty(), "the stream goes on at {read}");
        for chunk in chunks {
            assert_eq!(chunk.offset, read);
            read += u64::try_from(chunk.bytes.len()).unwrap();
        }
    }
    let others =
        subject.ledger.output(subject.given(51).await.id, OutputStream::Stdout, 0, 1).await;
    assert_eq!(others.unwrap(), []);
}

async fn what_was_dispatched_and_what_waits_are_told_apart<L: Store>(subject: &Subject<'_, L>) {
    let (agent_id, _) = subject.other_agent;
    let mut commands = Vec::new();
    for seed in 60..65 {
        let command = command_for(seed, agent_id, subject.other_agent.1);
        subject.ledger.submit(command.clone(), None, Author::system()).await.unwrap();
        commands.push(command);
    }
    let at = noon();
    subject.happens(&commands[0], event(Event::Dispatched { at })).await;
    subject.happens(&commands[1], event(Event::Finished(completed(at)))).await;
    let cancel = || Entry::Cancel { author: Author::system(), at };
    assert_eq!(subject.happens(&commands[2], cancel()).await, Effect::Changed);
    assert_eq!(subject.happens(&commands[2], cancel()).await, Effect::Unchanged);
    let waiting = subject.ledger.backlog(agent_id, 10).await.unwrap();
    assert_eq!(waiting, commands[3..], "the oldest first, without what ended or is on its way");
    assert_eq!(subject.ledger.backlog(agent_id, 1).await.unwrap(), commands[3..4]);
    let in_flight = subject.ledger.in_flight(agent_id, &[commands[1].id]).await.unwrap();
    let ids: Vec<_> = in_flight.keys().copied().collect();
    assert_eq!(ids, [commands[0].id, commands[1].id], "on its way, or in the journal");
    let foreign = subject.ledger.in_flight(subject.agent.0, &[commands[1].id]).await.unwrap();
    assert!(!foreign.contains_key(&commands[1].id), "another agent's journal shows nothing");
}

async fn lists_show_the_newest_first<L: Store>(subject: &Subject<'_, L>) {
    let (agent_id, customer_id) = subject.other_agent;
    let all = CommandFilter { agent_id: Some(agent_id), ..CommandFilter::default() };
    let scope = TenantScope::one(customer_id);
    let first = subject.ledger.list(&scope, &all, &PageRequest::new(3, None)).await.unwrap();
    assert_eq!((first.items.len(), first.total), (3, 5));
    let rest = PageRequest::new(3, first.next_cursor);
    let rest = subject.ledger.list(&scope, &all, &rest).await.unwrap();
    assert_eq!((rest.items.len(), rest.next_cursor), (2, None));
    let ids: Vec<_> = first.items.iter().chain(&rest.items).map(|command| command.id).collect();
    assert!(ids.is_sorted_by(|a, b| a > b));
    let count = async |filter: CommandFilter| {
        subject.ledger.list(&scope, &filter, &PageRequest::default()).await.unwrap().total
    };
    for (status, total) in
        [(Status::Pending, 3), (Status::Completed, 1), (Status::Cancelled, 1), (Status::Failed, 0)]
    {
        assert_eq!(count(CommandFilter { status: Some(status), ..all.clone() }).await, total);
    }
    assert_eq!(count(CommandFilter { q: Some("ECHO 6".into()), ..all.clone() }).await, 5);
    assert_eq!(count(CommandFilter { q: Some("echo_6".into()), ..all.clone() }).await, 0);
    let asker = first.items.first().unwrap().requested_by.id();
    assert!(count(CommandFilter { requested_by: Some(asker), ..all.clone() }).await >= 1);
    let nobody = Some(subject.agent.0.as_uuid());
    assert_eq!(count(CommandFilter { requested_by: nobody, ..all.clone() }).await, 0);
    let given_at = first.items.first().unwrap().created_at;
    let (from, to) = (Some(given_at), Some(given_at));
    let newest = count(CommandFilter { from, ..all.clone() }).await;
    assert_eq!(newest + count(CommandFilter { to, ..all.clone() }).await, 5);
    let outside = TenantScope::one(subject.agent.1);
    let page = subject.ledger.list(&outside, &all, &PageRequest::default()).await.unwrap();
    assert_eq!(page.total, 0);
}

async fn what_nobody_will_end_is_due<L: Store>(subject: &Subject<'_, L>) {
    let waiting = subject.given(70).await;
    let running = subject.given(71).await;
    subject.happens(&running, event(Event::Started { at: noon(), pid: None })).await;
    let due = async |now| {
        let due = subject.ledger.due(now, 100).await.unwrap();
        due.into_iter().map(|(_, id, reason)| (id, reason)).collect::<Vec<_>>()
    };
    assert!(
        !due(waiting.expires_at - TimeDelta::seconds(1))
            .await
            .contains(&(waiting.id, Due::Expired))
    );
    let late = due(waiting.expires_at).await;
    assert!(late.contains(&(waiting.id, Due::Expired)));
    assert!(!late.iter().any(|(id, _)| *id == running.id));
}
