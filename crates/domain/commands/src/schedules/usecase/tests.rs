//! What people do, with schedules in memory and a clock that stands still.

use std::sync::Arc;

use chrono::TimeDelta;
use muster_kernel::testing::{FakeClock, SeededEntropy, permit, permit_in};
use muster_kernel::{AgentId, Sealed};

use super::*;
use crate::schedules::Zone;
use crate::testing::noon;
use crate::testing::schedules::{AllInUtc, FakeSchedules, KeepsAll, customer, template};

const LIMITS: Limits =
    Limits { default_timeout: Duration::from_secs(30), max_timeout: Duration::from_hours(1) };

struct World {
    schedules: Schedules,
    rows: Arc<FakeSchedules>,
    clock: Arc<FakeClock>,
}

impl World {
    /// Two customers, of which the first is the operator's.
    fn new() -> Self {
        let rows = Arc::new(FakeSchedules::of([customer(1), customer(2)]));
        let clock = Arc::new(FakeClock::at(noon()));
        let entropy = Arc::new(SeededEntropy::new(1));
        let schedules = Schedules::new(
            rows.clone(),
            Arc::new(AllInUtc),
            Arc::new(KeepsAll),
            clock.clone(),
            entropy,
            LIMITS,
        );
        Self { schedules, rows, clock }
    }

    async fn create(&self, wish: NewSchedule) -> Result<Schedule, SchedulesError> {
        Ok(self.schedules.create(&operator(7), wish).await?.schedule)
    }

    async fn update(
        &self,
        seed: u64,
        id: ScheduleId,
        wish: ScheduleUpdate,
    ) -> Result<Schedule, SchedulesError> {
        Ok(self.schedules.update(&operator(seed), id, wish).await?.schedule)
    }
}

/// The person `seed`, an operator of the first customer.
fn operator<A: muster_kernel::Act>(seed: u64) -> Permit<A> {
    permit_in(seed, TenantScope::one(customer(1)))
}

fn daily() -> NewSchedule {
    let timing = TimingWish { cron: Some("30 2 * * *".into()), ..TimingWish::default() };
    NewSchedule {
        confirm: false,
        customer_id: None,
        name: " Updates ".into(),
        description: Some(String::new()),
        timing,
        template: template(),
        missed_runs: MissedPolicy::default(),
        overlap: OverlapPolicy::default(),
        jitter: Duration::ZERO,
        windows: Vec::new(),
        enabled: true,
    }
}

fn timed(cron: Option<&str>, at: Option<Timestamp>, zone: Option<&str>) -> TimingWish {
    TimingWish { cron: cron.map(Into::into), at, time_zone: zone.map(Into::into) }
}

fn field<T: std::fmt::Debug>(result: Result<T, SchedulesError>) -> &'static str {
    match result {
        Err(SchedulesError::Invalid(error)) => error.field,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_new_schedule_is_the_askers_customers_and_shows_its_next_runs() {
    let world = World::new();
    let planned = world.schedules.create(&operator(7), daily()).await.unwrap();
    let Planned { schedule, next_runs } = planned;
    assert_eq!(schedule.customer_id, Some(customer(1)));
    assert_eq!((schedule.name.as_str(), &schedule.description), ("Updates", &None));
    assert_eq!(schedule.timing.zone(), Some(Zone::UTC));
    assert_eq!(schedule.made_by.name, "ann");
    let first: Timestamp = "2026-01-02T02:30:00Z".parse().unwrap();
    assert_eq!(next_runs, [0, 1, 2, 3, 4].map(|day| first + TimeDelta::days(day)));
}

#[tokio::test]
async fn only_who_may_use_all_machines_makes_a_schedule_for_all() {
    let world = World::new();
    let admin = permit(1);
    let planned = world.schedules.create(&admin, daily()).await.unwrap();
    assert_eq!(planned.schedule.customer_id, None);
    let both = TenantScope::Customers([customer(1), customer(2)].into());
    let torn = world.schedules.create(&permit_in(7, both), daily()).await;
    assert_eq!(field(torn), "customer_id");
    for seed in [2, 99] {
        let elsewhere = NewSchedule { customer_id: Some(customer(seed)), ..daily() };
        let refused = world.create(elsewhere).await;
        assert!(matches!(refused, Err(SchedulesError::CustomerNotFound)));
    }
    let homeless = NewSchedule { customer_id: Some(customer(99)), ..daily() };
    let refused = world.schedules.create(&admin, homeless).await;
    assert!(matches!(refused, Err(SchedulesError::CustomerNotFound)));
}

#[tokio::test]
async fn what_breaks_a_rule_is_named() {
    let world = World::new();
    let past = noon() - TimeDelta::seconds(1);
    let timing = |timing| NewSchedule { timing, ..daily() };
    let cases = [
        ("name", NewSchedule { name: " ".into(), ..daily() }),
        ("description", NewSchedule { description: Some("x".repeat(4001)), ..daily() }),
        ("jitter", NewSchedule { jitter: Duration::from_secs(86_401), ..daily() }),
        ("cron", timing(timed(None, None, None))),
        ("cron", timing(timed(Some("0 0 30 2 *"), None, None))),
        ("cron", timing(timed(None, None, Some("UTC")))),
        ("at", timing(timed(Some("0 0 * * *"), Some(noon()), None))),
        ("at", timing(timed(None, Some(past), None))),
        ("at", timing(timed(None, Some(Timestamp::MAX_UTC), None))),
        ("time_zone", timing(timed(Some("0 0 * * *"), None, Some("Atlantis")))),
        ("time_zone", timing(timed(None, Some(noon() + TimeDelta::days(1)), Some("UTC")))),
    ];
    for (expected, wish) in cases {
        let shown = format!("{wish:?}");
        assert_eq!(field(world.create(wish).await), expected, "{shown}");
    }
}

#[tokio::test]
async fn a_template_that_could_never_run_is_refused() {
    type Change = fn(&mut Template);
    let cases: [(&str, Change); 8] = [
        ("target", |it| it.target = Target::default()),
        ("command", |it| it.work = Work::Command(crate::runs::Wording::default())),
        ("timeout", |it| {
            let script_id = muster_kernel::ScriptId::from_uuid(uuid::Uuid::nil());
            let timeout = Some(-1.0);
            it.work = Work::Script { script_id, parameters: [].into(), timeout };
        }),
        ("strategy/max_concurrency", |it| it.strategy.max_concurrency = Some(0)),
        ("strategy/canary", |it| it.strategy.canary = Some(0)),
        ("expires_in", |it| it.expires_in = Some(Duration::ZERO)),
        ("expires_in", |it| it.expires_in = Some(Duration::from_hours(400 * 24))),
        ("target/agent_ids", |it| {
            let id = |number| AgentId::from_uuid(uuid::Uuid::from_u128(number));
            it.target.agent_ids = (0..100_001).map(id).collect();
        }),
    ];
    let world = World::new();
    for (expected, change) in cases {
        let mut wish = daily();
        change(&mut wish.template);
        assert_eq!(field(world.create(wish).await), expected);
    }
}

#[tokio::test]
async fn a_change_leaves_what_it_does_not_name_and_makes_its_author_answer_for_it() {
    let world = World::new();
    let mut wish = daily();
    wish.timing.time_zone = Some("Europe/Berlin".into());
    wish.template.secrets = Some(Sealed(vec![1]));
    let before = world.create(wish).await.unwrap();
    world.clock.advance(TimeDelta::hours(1));
    let strategy = Some(Strategy { canary: Some(3), ..Strategy::default() });
    let wish = ScheduleUpdate { strategy, ..ScheduleUpdate::default() };
    let after = world.update(8, before.id, wish).await.unwrap();
    assert_ne!(after.made_by, before.made_by);
    assert_eq!(after.template.secrets, before.template.secrets);
    assert_eq!(after.course, before.course, "its times are what they were");
    let template = Template { strategy: after.template.strategy, ..before.template.clone() };
    let expected = Schedule {
        template,
        made_by: after.made_by.clone(),
        updated_at: after.updated_at,
        ..before.clone()
    };
    assert_eq!(after, expected);

    let work = Some(before.template.work.clone());
    let wish = ScheduleUpdate { work, ..ScheduleUpdate::default() };
    let after = world.update(7, before.id, wish).await.unwrap();
    assert_eq!(after.template.secrets, None, "they belonged to what ran before");
}

#[tokio::test]
async fn new_times_count_from_now_on() {
    let world = World::new();
    let before = world.create(daily()).await.unwrap();
    world.clock.advance(TimeDelta::days(3));
    let now = noon() + TimeDelta::days(3);
    let timing = timed(None, None, Some("Asia/Tokyo"));
    let wish = ScheduleUpdate { timing, ..ScheduleUpdate::default() };
    let after = world.update(7, before.id, wish).await.unwrap();
    assert_eq!(after.timing, crate::testing::schedules::cron("30 2 * * *", "Asia/Tokyo"));
    assert_eq!((after.course.decided_until, after.course.wakes_at), (now, Some(now)));

    let at = now + TimeDelta::hours(1);
    let wish = ScheduleUpdate { timing: timed(None, Some(at), None), ..ScheduleUpdate::default() };
    let after = world.update(7, before.id, wish).await.unwrap();
    assert_eq!(after.timing, Timing::Once { at });
    let zone = timed(None, None, Some("UTC"));
    let wish = ScheduleUpdate { timing: zone, ..ScheduleUpdate::default() };
    assert_eq!(field(world.update(7, before.id, wish).await), "cron");
}

#[tokio::test]
async fn another_tenants_schedule_is_not_there() {
    let world = World::new();
    let id = world.create(daily()).await.unwrap().id;
    let scope = TenantScope::one(customer(2));
    let gone = |result: Result<(), SchedulesError>| {
        assert!(matches!(result, Err(SchedulesError::NotFound)), "{result:?}");
    };
    let page = PageRequest::default();
    gone(world.schedules.get(&permit_in(9, scope.clone()), id).await.map(|_| ()));
    gone(world.schedules.history(&permit_in(9, scope.clone()), id, &page).await.map(|_| ()));
    let outsider = permit_in(9, scope.clone());
    gone(world.schedules.update(&outsider, id, ScheduleUpdate::default()).await.map(|_| ()));
    gone(world.schedules.run_now(&outsider, id).await.map(|_| ()));
    gone(world.schedules.delete(&outsider, id).await);
    let any = ScheduleFilter::default();
    let list = world.schedules.list(&permit_in(9, scope), &any, &page).await.unwrap();
    assert_eq!(list.total, 0);
    assert!(world.rows.one(id).enabled);
    world.schedules.delete(&operator(7), id).await.unwrap();
}
