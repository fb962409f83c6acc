//! What is found out, with a clock that tests move.
#![expect(clippy::unwrap_used, reason = "a test ends where it fails")]

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use muster_alerts::testing::{FakeAlerts, condition, machine, noon, rule, window};
use muster_alerts::{
    Alert, Alerts, AlertsError, Announcer, Condition, ConditionWish, Deed, Ended, Machine,
    MaintenanceWindow, Rule, RuleWish, Rules, Sample, Selector, Severity, State, Watcher,
    WatcherPorts,
};
use muster_kernel::testing::{FakeClock, SeededEntropy, SilentBus, permit};
use muster_kernel::{Clock, CommandId, RolloutId, RunId, UserId};
use proptest::prelude::*;

struct World {
    fake: Arc<FakeAlerts>,
    clock: Arc<FakeClock>,
    watcher: Watcher,
    announcer: Announcer,
}

impl World {
    fn new(rules: impl IntoIterator<Item = Rule>) -> Self {
        let fake = Arc::new(FakeAlerts::default());
        fake.rules.lock().extend(rules.into_iter().map(|rule| (rule.id, rule)));
        Self::on(fake, Arc::new(FakeClock::default()), 1)
    }

    /// A process on this database; each draws its own ids.
    fn on(fake: Arc<FakeAlerts>, clock: Arc<FakeClock>, seed: u64) -> Self {
        let entropy = Arc::new(SeededEntropy::new(seed));
        let bus = Arc::new(SilentBus);
        let announcer = Announcer::new(fake.clone(), bus, clock.clone(), entropy.clone());
        let watcher = Watcher::new(WatcherPorts {
            rules: fake.clone(),
            windows: fake.clone(),
            alerts: fake.clone(),
            occurrences: fake.clone(),
            deviations: fake.clone(),
            connected: fake.clone(),
            announcer: announcer.clone(),
            clock: clock.clone(),
            entropy,
        });
        Self { fake, clock, watcher, announcer }
    }

    /// The process dies, and another one starts after `time`.
    fn restart(self, time: TimeDelta) -> Self {
        self.clock.advance(time);
        Self::on(self.fake, self.clock, 2)
    }

    /// A machine that is connected now.
    fn connect(&self, machine: &Machine) {
        self.fake.connected.lock().insert(machine.id);
        let mut fleet = self.fake.fleet.lock();
        fleet.retain(|(it, _)| it.id != machine.id);
        fleet.push((machine.clone(), self.clock.now()));
    }

    fn disconnect(&self, machine: &Machine) {
        self.fake.connected.lock().remove(&machine.id);
    }

    /// Looks every other second for so long; whoever is connected is seen.
    async fn watch(&self, time: TimeDelta) {
        let end = self.clock.now() + time;
        while self.clock.now() < end {
            self.clock.advance(TimeDelta::seconds(2));
            let connected = self.fake.connected.lock().clone();
            for (machine, seen) in &mut *self.fake.fleet.lock() {
                if connected.contains(&machine.id) {
                    *seen = self.clock.now();
                }
            }
            self.watcher.tick().await.unwrap();
        }
    }

    /// Has a machine say how busy its processors are, every ten seconds.
    async fn load(&self, machine: &Machine, values: &[f64]) {
        for cpu in values {
            self.clock.advance(TimeDelta::seconds(10));
            self.watcher.tick().await.unwrap();
            let sample = Sample {
                agent_id: machine.id,
                customer_id: machine.customer_id,
                cpu: Some(*cpu),
                memory: None,
                disk: None,
                at: self.clock.now(),
            };
            self.watcher.samples(&[sample]).await.unwrap();
        }
    }

    fn alerts(&self) -> Vec<Alert> {
        self.fake.alerts.lock().values().map(|(alert, _)| alert.clone()).collect()
    }

    fn states(&self) -> Vec<State> {
        self.alerts().iter().map(|alert| alert.state).collect()
    }

    /// What people were told.
    fn told(&self) -> Vec<String> {
        self.fake.deliveries.lock().iter().map(|it| it.message.event.clone()).collect()
    }
}

fn offline(hold: TimeDelta) -> Rule {
    let hold = hold.to_std().unwrap();
    let (resolve_for, cool_down) = (Duration::from_mins(1), Duration::from_mins(5));
    rule(1, Condition::Offline { hold, resolve_for, cool_down })
}

const TEN_MINUTES: TimeDelta = TimeDelta::minutes(10);

#[tokio::test]
async fn a_machine_that_stays_away_is_told_of_once_and_again_when_it_is_back() {
    let world = World::new([offline(TEN_MINUTES)]);
    let web = machine(1, &[]);
    world.connect(&web);
    world.watch(TimeDelta::minutes(20)).await;
    assert_eq!(world.alerts(), [], "it is there");
    world.disconnect(&web);
    world.watch(TEN_MINUTES - TimeDelta::seconds(4)).await;
    assert_eq!(world.alerts(), []);
    world.watch(TimeDelta::minutes(30)).await;
    assert_eq!((world.states(), world.told()), (vec![State::Firing], vec!["alert.firing".into()]));
    assert_eq!(world.alerts()[0].summary, "web-1 is offline");
    world.connect(&web);
    world.watch(TimeDelta::seconds(50)).await;
    assert_eq!(world.states(), [State::Firing], "it has to be back for a while");
    world.watch(TimeDelta::seconds(20)).await;
    assert_eq!(world.states(), [State::Resolved]);
    assert_eq!(world.told(), ["alert.firing", "alert.resolved"]);
}

#[tokio::test]
async fn a_machine_that_comes_and_goes_is_one_alert() {
    let world = World::new([offline(TimeDelta::minutes(2))]);
    let web = machine(1, &[]);
    world.connect(&web);
    for _ in 0..10 {
        world.disconnect(&web);
        world.watch(TimeDelta::minutes(3)).await;
        world.connect(&web);
        world.watch(TimeDelta::seconds(30)).await;
    }
    assert_eq!((world.states(), world.told()), (vec![State::Firing], vec!["alert.firing".into()]));
}

#[tokio::test]
async fn after_an_alert_the_next_one_of_the_machine_waits_until_the_rule_has_cooled_down() {
    let world = World::new([offline(TimeDelta::seconds(70))]);
    let web = machine(1, &[]);
    world.connect(&web);
    world.disconnect(&web);
    world.watch(TimeDelta::minutes(2)).await;
    world.connect(&web);
    world.watch(TimeDelta::seconds(70)).await;
    assert_eq!(world.states(), [State::Resolved]);
    world.disconnect(&web);
    world.watch(TimeDelta::minutes(4)).await;
    assert_eq!(world.alerts().len(), 1);
    world.watch(TimeDelta::minutes(2)).await;
    assert_eq!(world.alerts().len(), 2, "and then it comes, for it is still true");
}

#[tokio::test]
async fn a_restart_forgets_nothing_and_a_long_one_cries_no_wolf() {
    let world = World::new([offline(TEN_MINUTES)]);
    let (web, other) = (machine(1, &[]), machine(2, &[]));
    world.connect(&web);
    world.connect(&other);
    world.disconnect(&web);
    world.watch(TimeDelta::minutes(5)).await;
    let world = world.restart(TimeDelta::seconds(5));
    world.watch(TimeDelta::minutes(5)).await;
    assert_eq!(world.states(), [State::Firing], "five minutes before and five after are ten");
    // The server was down for an hour, and everybody needs a moment to come back.
    world.disconnect(&other);
    let world = world.restart(TimeDelta::hours(1));
    world.watch(TimeDelta::minutes(9)).await;
    assert_eq!(world.alerts().len(), 1);
    world.watch(TimeDelta::minutes(2)).await;
    assert_eq!(world.alerts().len(), 2, "it really did not come back");
}

#[tokio::test]
async fn who_leads_again_gives_machines_the_time_to_come_back_that_a_restart_gives() {
    let world = World::new([offline(TimeDelta::seconds(70))]);
    let web = machine(1, &[]);
    world.connect(&web);
    world.watch(TimeDelta::minutes(5)).await;
    world.watcher.rest();
    world.disconnect(&web);
    world.clock.advance(TimeDelta::hours(1));
    world.watch(TimeDelta::seconds(60)).await;
    assert_eq!(world.alerts(), [], "nobody watched in that hour");
    world.watch(TimeDelta::seconds(20)).await;
    assert_eq!(world.states(), [State::Firing]);
}

#[tokio::test]
async fn a_load_that_lasts_is_told_of_and_a_restart_in_between_changes_nothing() {
    let high = rule(1, condition("metric"));
    let world = World::new([high]);
    let web = machine(1, &[]);
    world.connect(&web);
    world.load(&web, &[95.0; 20]).await;
    let world = world.restart(TimeDelta::seconds(20));
    assert_eq!(world.alerts(), []);
    world.load(&web, &[95.0; 11]).await;
    assert_eq!(world.states(), [State::Firing], "after five minutes, all in all");
    assert_eq!(world.alerts()[0].summary, "web-1: its processors are busy to 95 percent");
    let world = world.restart(TimeDelta::seconds(20));
    world.load(&web, &[85.0; 60]).await;
    assert_eq!(world.states(), [State::Firing], "between the limits it is neither");
    world.load(&web, &[70.0; 7]).await;
    assert_eq!(world.states(), [State::Resolved]);
    assert_eq!(world.told(), ["alert.firing", "alert.resolved"]);
    assert!(world.fake.deviations.lock().is_empty());
}

#[tokio::test]
async fn a_load_that_somebody_calls_over_while_it_lasts_is_told_of_again_after_a_while() {
    let world = World::new([rule(1, condition("metric"))]);
    let web = machine(1, &[]);
    world.connect(&web);
    world.load(&web, &[95.0; 32]).await;
    assert_eq!(world.states(), [State::Firing]);
    let alerts = Alerts::new(world.fake.clone(), world.announcer.clone(), world.clock.clone());
    alerts.resolve(&permit(1), world.alerts()[0].id).await.unwrap();
    world.load(&web, &[95.0; 29]).await;
    assert_eq!(world.states(), [State::Resolved], "the rule cools down");
    world.load(&web, &[95.0; 8]).await;
    assert_eq!(world.states(), [State::Resolved, State::Firing]);
    world.load(&web, &[70.0; 8]).await;
    assert_eq!(world.states(), [State::Resolved, State::Resolved]);
}

#[tokio::test]
async fn a_machine_that_goes_to_another_node_takes_its_load_along() {
    let world = World::new([rule(1, condition("metric"))]);
    let other = World::on(world.fake.clone(), world.clock.clone(), 2);
    let (web, db) = (machine(1, &[]), machine(2, &[]));
    world.connect(&web);
    // Each node has heard of both before.
    other.load(&web, &[10.0]).await;
    other.load(&db, &[10.0]).await;
    world.load(&web, &[95.0; 20]).await;
    other.load(&web, &[95.0; 12]).await;
    assert_eq!(world.states(), [State::Firing], "five minutes on two nodes are five minutes");
    world.clock.advance(TimeDelta::seconds(20));
    world.load(&web, &[70.0; 8]).await;
    assert_eq!(world.states(), [State::Resolved], "whoever hears that it is over");
    other.clock.advance(TimeDelta::minutes(2));
    other.load(&web, &[95.0; 12]).await;
    assert_eq!(world.states(), [State::Resolved], "two minutes are not five");
}

#[tokio::test]
async fn a_load_of_a_machine_that_is_not_meant_any_more_is_over() {
    let mut tagged = rule(1, condition("metric"));
    tagged.selector.tags = ["web".to_owned()].into();
    let world = World::new([tagged]);
    world.connect(&machine(1, &["web"]));
    world.load(&machine(1, &["web"]), &[95.0; 32]).await;
    assert_eq!(world.states(), [State::Firing]);
    world.connect(&machine(1, &["db"]));
    world.load(&machine(1, &["db"]), &[95.0]).await;
    assert_eq!(world.states(), [State::Resolved]);
    assert!(world.fake.deviations.lock().is_empty());
}

#[tokio::test]
async fn a_load_is_judged_by_what_its_rule_says_now() {
    let world = World::new([rule(1, condition("metric"))]);
    let web = machine(1, &[]);
    world.connect(&web);
    world.load(&web, &[95.0; 32]).await;
    let rules = Rules::new(
        world.fake.clone(),
        world.fake.clone(),
        world.clock.clone(),
        Arc::new(SeededEntropy::new(3)),
    );
    let wish = |above: f64, enabled| RuleWish {
        name: "Busy".into(),
        severity: Severity::Warning,
        condition: ConditionWish {
            kind: "metric".into(),
            metric: Some("cpu".into()),
            above: Some(above),
            ..ConditionWish::default()
        },
        selector: Selector::default(),
        channel_ids: BTreeSet::new(),
        enabled,
    };
    let id = rule(1, condition("metric")).id;
    rules.replace(&permit(1), id, None, wish(97.0, true)).await.unwrap();
    assert_eq!(world.states(), [State::Resolved], "it found something else");
    assert!(world.fake.deviations.lock().is_empty());
    world.load(&web, &[95.0; 70]).await;
    assert_eq!(world.states(), [State::Resolved], "95 is not above 97");
    world.load(&web, &[98.0; 32]).await;
    assert_eq!(world.states(), [State::Resolved, State::Firing]);
    rules.replace(&permit(1), id, None, wish(97.0, false)).await.unwrap();
    assert_eq!(world.states(), [State::Resolved, State::Resolved], "nothing is watched for");
}

fn failed(seed: u64, machine: &Machine, clock: &FakeClock) -> Ended {
    let id = CommandId::new(clock, &SeededEntropy::new(seed));
    Ended::Command { id, agent_id: machine.id, failure: "EXIT_CODE".into(), at: clock.now() }
}

#[tokio::test]
async fn every_failure_counts_once_whatever_is_read_again() {
    let world = World::new([rule(1, condition("failed_command"))]);
    let web = machine(1, &[]);
    world.connect(&web);
    world.watch(TimeDelta::seconds(10)).await;
    for seed in 0..5 {
        let ended = failed(seed, &web, &world.clock);
        world.fake.failed.lock().push(ended);
        world.watch(TimeDelta::seconds(4)).await;
    }
    // The process dies before it has kept how far it was.
    let world = world.restart(TimeDelta::seconds(1));
    world.watch(TimeDelta::minutes(3)).await;
    let alerts = world.alerts();
    assert_eq!((alerts.len(), alerts[0].count), (1, 5));
    assert_eq!(world.told(), ["alert.firing"]);
}

#[tokio::test]
async fn what_failed_while_nobody_watched_is_found_afterwards() {
    let world = World::new([rule(1, condition("failed_command"))]);
    let web = machine(1, &[]);
    world.connect(&web);
    world.watch(TimeDelta::seconds(30)).await;
    let ended = failed(1, &web, &world.clock);
    world.fake.failed.lock().push(ended);
    let world = world.restart(TimeDelta::hours(3));
    world.watch(TimeDelta::seconds(2)).await;
    assert_eq!(world.states(), [State::Firing]);
}

#[tokio::test]
async fn runs_rollouts_enrolments_and_new_admins_are_told_of() {
    let kinds = ["failed_run", "failed_rollout", "enrolment", "new_admin"];
    let world = World::new((1..).zip(kinds).map(|(seed, kind)| rule(seed, condition(kind))));
    let web = machine(1, &[]);
    world.connect(&web);
    world.watch(TimeDelta::seconds(10)).await;
    let (id, at) = (RunId::new(&*world.clock, &SeededEntropy::new(9)), world.clock.now());
    let summary = "uptime".to_owned();
    let run = Ended::Run { id, customer_id: None, summary, failed: 3, at };
    let id = RolloutId::new(&*world.clock, &SeededEntropy::new(7));
    let rollout = Ended::Rollout { id, customer_id: None, name: "Web".to_owned(), failed: 2, at };
    world.fake.failed.lock().extend([run, rollout]);
    let ann = UserId::new(&*world.clock, &SeededEntropy::new(8));
    let deeds =
        [(1, Deed::Enrolled(web.id), at), (2, Deed::MadeAdmin(ann, Some("ann".into())), at)];
    world.fake.deeds.lock().extend(deeds);
    world.watch(TimeDelta::seconds(20)).await;
    let mut said: Vec<_> = world.alerts().into_iter().map(|alert| alert.summary).collect();
    said.sort();
    assert_eq!(
        said,
        [
            "a rollout failed on 2 machines: Web",
            "a run failed on 3 machines: uptime",
            "ann became an admin",
            "web-1 enrolled",
        ]
    );
}

#[tokio::test]
async fn what_begins_in_a_window_is_silent_until_its_end() {
    let world = World::new([offline(TEN_MINUTES), rule(2, condition("failed_command"))]);
    let (web, other, unmeant) = (machine(1, &["db"]), machine(2, &["db"]), machine(3, &[]));
    let mut silent: MaintenanceWindow = window(1);
    silent.selector.tags = ["db".to_owned()].into();
    world.fake.windows.lock().insert(silent.id, silent);
    for machine in [&web, &other, &unmeant] {
        world.connect(machine);
        world.disconnect(machine);
    }
    let ended = failed(1, &web, &world.clock);
    world.fake.failed.lock().push(ended);
    world.watch(TimeDelta::minutes(20)).await;
    assert_eq!(world.told(), ["alert.firing"], "of the machine that nobody works on");
    assert_eq!(world.states().iter().filter(|it| **it == State::Suppressed).count(), 3);
    world.connect(&other);
    world.watch(TimeDelta::minutes(39)).await;
    assert_eq!(world.told().len(), 1);
    world.watch(TimeDelta::minutes(2)).await;
    assert_eq!(world.told(), ["alert.firing", "alert.firing"], "one is still away");
    let still: Vec<_> =
        world.alerts().into_iter().filter(|alert| alert.state == State::Firing).collect();
    assert!(still.iter().any(|alert| alert.subject.id == web.id.as_uuid()));
    assert!(!world.states().contains(&State::Suppressed), "the failure is over with its window");
}

#[tokio::test]
async fn whoever_takes_care_is_in_the_history_and_nobody_takes_care_twice() {
    let world = World::new([offline(TEN_MINUTES)]);
    let web = machine(1, &[]);
    world.connect(&web);
    world.disconnect(&web);
    world.watch(TimeDelta::minutes(11)).await;
    let alerts = Alerts::new(world.fake.clone(), world.announcer.clone(), world.clock.clone());
    let id = world.alerts()[0].id;
    let taken = alerts.acknowledge(&permit(1), id).await.unwrap();
    assert_eq!(taken.state, State::Acknowledged);
    let again = alerts.acknowledge(&permit(1), id).await;
    assert!(matches!(again, Err(AlertsError::WrongStep(_))));
    alerts.resolve(&permit(1), id).await.unwrap();
    let (_, history) = alerts.get(&permit(1), id).await.unwrap();
    let names: Vec<_> = history.iter().map(|change| change.actor_name.as_deref()).collect();
    assert_eq!(names, [None, Some("ann"), Some("ann")]);
    assert_eq!(world.told(), ["alert.firing", "alert.acknowledged", "alert.resolved"]);
    assert!(world.fake.alerts.lock().values().all(|(alert, _)| alert.first_seen_at > noon()));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// However a machine comes and goes and the process is restarted, people hear of one alert at a
    /// time, and never of one that was not away for long enough.
    #[test]
    fn people_hear_of_one_thing_at_a_time(
        steps in prop::collection::vec((0_i64..240, any::<bool>(), any::<bool>()), 1..20),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let hold = TimeDelta::minutes(2);
            let mut world = World::new([offline(hold)]);
            let web = machine(1, &[]);
            world.connect(&web);
            let mut away_since = None;
            for (seconds, there, restarts) in steps {
                if there { world.connect(&web); away_since = None; } else { world.disconnect(&web); }
                if !there && away_since.is_none() { away_since = Some(world.clock.now()); }
                let alerts = world.alerts().len();
                world.watch(TimeDelta::seconds(seconds)).await;
                if world.alerts().len() > alerts {
                    assert!(world.clock.now() - away_since.unwrap() >= hold - TimeDelta::seconds(4));
                }
                let open = world.states().into_iter().filter(|state| state.is_open()).count();
                assert!(open <= 1);
                if restarts { world = world.restart(TimeDelta::seconds(seconds)); }
            }
            let told = world.told();
            for (index, event) in told.iter().enumerate() {
                let expected = ["alert.firing", "alert.resolved"][index % 2];
                assert_eq!(event, expected, "{told:?}");
            }
        });
    }
}
