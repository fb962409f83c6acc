//! The contract that every store of metrics keeps.

use chrono::TimeDelta;
use muster_kernel::{AgentId, Timestamp};

use super::{day_of_samples, noon, rolled};
use crate::metrics::{
    Ageing, Bucket, Gauge, MetricsStore, Pack, Resolution, Rolled, Sample, Step, Traffic,
};

/// What the contract suite needs of a store: itself, empty, and machines.
#[derive(Debug)]
pub struct Subject<'a, S> {
    /// The store.
    pub store: &'a S,
    /// Two machines that are registered.
    pub agents: [AgentId; 2],
    /// One that is not.
    pub gone: AgentId,
}

const ALWAYS: (Timestamp, Timestamp) = (Timestamp::UNIX_EPOCH, Timestamp::MAX_UTC);

/// The contract of [`MetricsStore`], to be run on an empty store.
///
/// # Panics
/// When the store breaks it.
pub async fn contract<S: MetricsStore>(subject: &Subject<'_, S>) {
    samples_come_back_as_they_were_in_the_order_of_their_times(subject).await;
    a_write_that_is_repeated_changes_nothing(subject).await;
    buckets_come_back_as_they_were(subject).await;
    machines_are_gone_through_in_the_order_of_their_ids(subject).await;
    what_is_old_goes_in_small_parts_and_nothing_else_does(subject).await;
}

async fn append<S: MetricsStore>(store: &S, agent_id: AgentId, samples: &[Sample]) {
    store.append(vec![Pack { agent_id, samples: samples.to_vec() }]).await.unwrap();
}

async fn samples_come_back_as_they_were_in_the_order_of_their_times<S: MetricsStore>(
    &Subject { store, agents: [mine, other], .. }: &Subject<'_, S>,
) {
    let day = day_of_samples();
    let extreme = Sample {
        at: day[0].at + TimeDelta::microseconds(1),
        cpu: 10_000,
        memory: 0,
        disk: 1,
        processes: u32::MAX,
        received: u64::MAX,
        sent: 0,
        uptime: u64::MAX,
    };
    // A clock was set back: the third was heard before the second.
    append(store, mine, &[day[0], day[2], day[1]]).await;
    append(store, mine, &[extreme]).await;
    append(store, other, &day[..1]).await;
    let all = store.samples(mine, ALWAYS.0, ALWAYS.1).await.unwrap();
    assert_eq!(all, [day[0], extreme, day[1], day[2]]);
    let some = store.samples(mine, day[1].at, day[2].at).await.unwrap();
    assert_eq!(some, [day[1]]);
    assert_eq!(store.samples(other, ALWAYS.0, ALWAYS.1).await.unwrap(), day[..1]);
    let hours = day[200..1400].chunk_by(|a, b| Step::HOUR.floor(a.at) == Step::HOUR.floor(b.at));
    let packs = hours.map(|samples| Pack { agent_id: other, samples: samples.to_vec() });
    store.append(packs.collect()).await.unwrap();
    let (from, to) = (day[333].at, day[1111].at);
    assert_eq!(store.samples(other, from, to).await.unwrap(), day[333..1111]);
}

async fn a_write_that_is_repeated_changes_nothing<S: MetricsStore>(
    &Subject { store, agents: [mine, _], .. }: &Subject<'_, S>,
) {
    let day = day_of_samples();
    let (from, to) = (day[120].at, day[240].at);
    append(store, mine, &day[120..123]).await;
    append(store, mine, &day[120..123]).await;
    append(store, mine, &day[120..126]).await;
    assert_eq!(store.samples(mine, from, to).await.unwrap(), day[120..126]);
}

async fn buckets_come_back_as_they_were<S: MetricsStore>(
    &Subject { store, agents: [mine, _], .. }: &Subject<'_, S>,
) {
    let rolled = rolled(5);
    let all: Vec<Bucket> = rolled.iter().flat_map(|pack| pack.buckets.clone()).collect();
    let age = async |rolled: Vec<Rolled>| {
        store.age(vec![Ageing { agent_id: mine, rolled, forget: Vec::new() }]).await.unwrap()
    };
    age(rolled.clone()).await;
    age(rolled[4..].to_vec()).await;
    let five = Resolution::FiveMinutes;
    assert_eq!(store.buckets(mine, five, ALWAYS.0, ALWAYS.1).await.unwrap(), all);
    let part = store.buckets(mine, five, all[7].at, all[31].at).await.unwrap();
    assert_eq!(part, all[7..31]);
    assert_eq!(store.buckets(mine, Resolution::Hours, ALWAYS.0, ALWAYS.1).await.unwrap(), []);

    let last = async |before| store.last_pack(mine, five, before).await.unwrap();
    assert_eq!(last(noon()).await, Some(rolled[4].at));
    assert_eq!(last(rolled[4].at).await, Some(rolled[3].at));
    assert_eq!(last(rolled[0].at).await, None);

    let greatest = Traffic { bytes: u64::MAX, peak: u64::MAX };
    let gauge = Gauge { min: 0, max: u32::MAX, sum: u64::MAX };
    let extreme = Bucket {
        at: Step::DAY.floor(noon()),
        samples: u64::MAX,
        cpu: gauge,
        memory: gauge,
        disk: gauge,
        processes: gauge,
        known_for: u64::MAX,
        received: greatest,
        sent: greatest,
        uptime: u64::MAX,
    };
    let (resolution, at) = (Resolution::Hours, extreme.at);
    age(vec![Rolled { resolution, at, buckets: vec![extreme] }]).await;
    let hours = store.buckets(mine, resolution, ALWAYS.0, ALWAYS.1).await.unwrap();
    assert_eq!(hours, [extreme]);
}

async fn machines_are_gone_through_in_the_order_of_their_ids<S: MetricsStore>(
    &Subject { store, agents, gone }: &Subject<'_, S>,
) {
    append(store, gone, &day_of_samples()[..1]).await;
    let mut expected = vec![(agents[0], true), (agents[1], true), (gone, false)];
    expected.sort_by_key(|machine| machine.0);
    assert_eq!(store.machines(None, 10).await.unwrap(), expected);
    assert_eq!(store.machines(None, 2).await.unwrap(), expected[..2]);
    assert_eq!(store.machines(Some(expected[0].0), 10).await.unwrap(), expected[1..]);
    assert_eq!(store.machines(Some(expected[2].0), 10).await.unwrap(), []);
}

async fn what_is_old_goes_in_small_parts_and_nothing_else_does<S: MetricsStore>(
    &Subject { store, agents: [mine, other], gone }: &Subject<'_, S>,
) {
    let day = day_of_samples();
    let packs = day.iter().map(|sample| Pack { agent_id: gone, samples: vec![*sample] });
    store.append(packs.collect()).await.unwrap();
    let left = async |id| store.samples(id, ALWAYS.0, ALWAYS.1).await.unwrap();
    let kept = (left(mine).await, left(other).await);
    let forget = async |before| {
        let forget = vec![(Resolution::Samples, before)];
        store.age(vec![Ageing { agent_id: gone, rolled: Vec::new(), forget }]).await.unwrap()
    };
    let first = forget(noon()).await;
    assert!((1..=500).contains(&first), "{first}");
    let first = usize::try_from(first).unwrap();
    assert_eq!(left(gone).await, day[first..], "the oldest go first");
    while forget(noon()).await > 0 {}
    assert!(left(gone).await.iter().all(|sample| sample.at >= noon()));
    assert_eq!(left(gone).await.len(), 1440);
    while forget(Timestamp::MAX_UTC).await > 0 {}
    assert_eq!(left(gone).await, []);
    assert_eq!((left(mine).await, left(other).await), kept);
    assert_eq!(store.machines(None, 10).await.unwrap().len(), 2);
}
