//! The part of the contract that is about lists.

use muster_kernel::testing::{FakeClock, SeededEntropy};
use muster_kernel::{AgentId, Author, Clock, PageRequest, Tags, TenantScope};

use super::contract::{Subject, candidate};
use crate::{
    AgentChange, AgentFilter, AgentOrder, AgentRepository, AgentSort, AgentStatus, Criteria, Enrol,
    HostnamePattern, ONLINE_FOR, StatusCounts,
};

/// How many agents pass.
pub(super) async fn found<R: AgentRepository>(
    registry: &R,
    scope: &TenantScope,
    criteria: Criteria,
    clock: &FakeClock,
) -> u64 {
    let filter = AgentFilter { criteria, ..AgentFilter::default() };
    let (order, page) = (AgentOrder::default(), PageRequest::default());
    let list = registry.list(scope, &filter, order, &page, clock.now()).await.unwrap();
    assert_eq!(list.page.items.len(), usize::try_from(list.page.total.min(50)).unwrap());
    list.page.total
}

/// All ids of a list, two at a time.
async fn all<R: AgentRepository>(
    registry: &R,
    scope: &TenantScope,
    filter: &AgentFilter,
    order: AgentOrder,
    clock: &FakeClock,
) -> Vec<AgentId> {
    let (mut ids, mut cursor) = (Vec::new(), None);
    loop {
        let page = PageRequest::new(2, cursor);
        let list = registry.list(scope, filter, order, &page, clock.now()).await.unwrap();
        ids.extend(list.page.items.iter().map(|agent| agent.id));
        cursor = list.page.next_cursor;
        match &cursor {
            Some(cursor) => assert_eq!(order.check(cursor), Ok(())),
            None => return ids,
        }
    }
}

pub(super) async fn lists_are_filtered_and_paged<R: AgentRepository + Enrol>(
    &Subject { registry, customers }: &Subject<'_, R>,
    clock: &FakeClock,
    entropy: &SeededEntropy,
) {
    let [(mine, token), _] = *customers;
    let mut ids = Vec::new();
    for n in 0..5 {
        clock.advance(chrono::TimeDelta::milliseconds(1));
        let name = format!("page-{n}-100%_\"x");
        ids.push(
            registry.enrol(token.into(), candidate(&name, None, clock, entropy)).await.unwrap(),
        );
    }
    let scope = TenantScope::one(mine);
    let criteria = Criteria { q: Some("PAGE-".into()), ..Criteria::default() };
    let filter = AgentFilter { criteria: criteria.clone(), ..AgentFilter::default() };
    let order = AgentOrder::default();
    let first = PageRequest::new(3, None);
    let first = registry.list(&scope, &filter, order, &first, clock.now()).await.unwrap();
    assert_eq!((first.page.items.len(), first.page.total), (3, 5));
    assert_eq!(all(registry, &scope, &filter, order, clock).await, ids);

    let now = clock.now();
    let two = ids.iter().take(2).copied().collect();
    assert_eq!(registry.record_seen(two, now).await.unwrap(), []);
    let counts = registry.count(&scope, &filter, now).await.unwrap();
    assert_eq!(counts, StatusCounts { online: 2, offline: 3 });
    for (status, total) in [(AgentStatus::Online, 2), (AgentStatus::Offline, 3)] {
        let criteria = Criteria { status: Some(status), ..criteria.clone() };
        assert_eq!(found(registry, &scope, criteria, clock).await, total);
    }
    let offline = Criteria { status: Some(AgentStatus::Offline), ..criteria.clone() };
    let offline = AgentFilter { criteria: offline, ..AgentFilter::default() };
    let (page, later) = (PageRequest::default(), now + ONLINE_FOR);
    let list = registry.list(&scope, &offline, order, &page, later).await.unwrap();
    assert_eq!((list.page.total, list.counts), (5, StatusCounts { online: 0, offline: 5 }));

    let say = |q: &str| Criteria { q: Some(q.into()), ..Criteria::default() };
    let texts = [("100%_", 5), ("100_", 0), ("page-%", 0), ("_\"X", 5), ("pa", 5), ("ge", 0)];
    for (text, total) in texts {
        let found = found(registry, &scope, say(text), clock).await;
        assert_eq!(found, total, "text is taken as it is: {text}");
    }
    for (pattern, total) in [("page-*", 5), ("PAGE-3*", 1), ("page-?-*x", 5), ("*100_*", 0)] {
        let hostname = Some(HostnamePattern::parse(pattern).unwrap());
        let criteria = Criteria { hostname, ..Criteria::default() };
        assert_eq!(found(registry, &scope, criteria, clock).await, total, "{pattern}");
    }
    tags_are_found_whole(registry, &scope, &ids, clock).await;
}

async fn tags_are_found_whole<R: AgentRepository>(
    registry: &R,
    scope: &TenantScope,
    ids: &[AgentId],
    clock: &FakeClock,
) {
    let tags = Tags::parse(["web".to_owned(), "Rack 7".to_owned()]).unwrap();
    let change = AgentChange { tags: Some(tags), ..AgentChange::default() };
    registry.update(scope, ids[0], change, &Author::system(), clock.now()).await.unwrap().unwrap();
    let set = |tags: &[&str]| tags.iter().map(|tag| (*tag).to_owned()).collect();
    let page = || Criteria { q: Some("page-".into()), ..Criteria::default() };
    for (all, total) in
        [(&["web"][..], 5), (&["we"], 0), (&["web", "Rack 7"], 1), (&["web", "db"], 0)]
    {
        let criteria = Criteria { tags: set(all), ..page() };
        assert_eq!(found(registry, scope, criteria, clock).await, total, "{all:?}");
    }
    for (any, total) in [(&["db", "Rack 7"][..], 1), (&["web", "Rack 7"], 5), (&["db"], 0)] {
        let criteria = Criteria { tags_any: set(any), ..page() };
        assert_eq!(found(registry, scope, criteria, clock).await, total, "{any:?}");
    }
    let counts = registry.tags(scope).await.unwrap();
    assert!(counts.contains(&("Rack 7".to_owned(), 1)), "{counts:?}");
}

pub(super) async fn lists_are_sorted_and_stable<R: AgentRepository + Enrol>(
    &Subject { registry, customers }: &Subject<'_, R>,
    clock: &FakeClock,
    entropy: &SeededEntropy,
) {
    let [(mine, token), (_, other_token)] = *customers;
    for (name, token) in
        [("sort-b", token), ("Sort-A", token), ("sort-c", other_token), ("sort-d", other_token)]
    {
        clock.advance(chrono::TimeDelta::milliseconds(1));
        let candidate = candidate(name, None, clock, entropy);
        let id = registry.enrol(token.into(), candidate).await.unwrap();
        if name != "sort-b" {
            registry.record_seen(vec![id], clock.now()).await.unwrap();
        }
    }
    let criteria = Criteria { q: Some("sort-".into()), ..Criteria::default() };
    let narrow = AgentFilter { criteria, ..AgentFilter::default() };
    for filter in [narrow.clone(), AgentFilter::default()] {
        for sort in AgentSort::ALL.iter().copied() {
            for scope in [TenantScope::All, TenantScope::one(mine)] {
                let order = AgentOrder { sort, descending: false };
                let up = all(registry, &scope, &filter, order, clock).await;
                let order = AgentOrder { sort, descending: true };
                let mut down = all(registry, &scope, &filter, order, clock).await;
                let page = PageRequest::new(500, None);
                let list = registry.list(&scope, &filter, order, &page, clock.now()).await;
                let whole = list.unwrap().page.items;
                let whole: Vec<_> = whole.iter().map(|agent| agent.id).collect();
                assert_eq!(down, whole, "pages are parts of the whole: {sort:?}");
                down.reverse();
                assert_eq!(up, down, "{sort:?}");
            }
        }
    }
    let by_name = AgentOrder { sort: AgentSort::Hostname, descending: false };
    let page = PageRequest::new(500, None);
    let list = registry.list(&TenantScope::All, &narrow, by_name, &page, clock.now()).await;
    let names: Vec<_> = list.unwrap().page.items.into_iter().map(|agent| agent.hostname).collect();
    assert_eq!(names, ["Sort-A", "sort-b", "sort-c", "sort-d"]);
    let by_seen = AgentOrder { sort: AgentSort::LastSeen, descending: false };
    let list = registry.list(&TenantScope::All, &narrow, by_seen, &page, clock.now()).await;
    let seen = list.unwrap().page.items;
    assert_eq!(
        (seen[0].hostname.as_str(), seen[0].last_seen),
        ("sort-b", None),
        "never comes first"
    );
}
