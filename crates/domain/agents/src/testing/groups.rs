//! Groups in memory, and the contract that every repository of groups keeps.

use std::collections::BTreeSet;

use async_trait::async_trait;
use muster_kernel::testing::{FakeClock, SeededEntropy};
use muster_kernel::{
    AgentId, Author, Clock, Cursor, CustomerId, GroupId, Page, PageRequest, StorageError, Tags,
    TenantScope, Timestamp,
};

use super::contract::{Subject, candidate};
use super::{FakeAgents, takes};
use crate::groups::{
    Group, GroupFilter, GroupKind, GroupName, GroupRepository, GroupWriteError, MemberChange,
    MembersChanged,
};
use crate::{
    AgentChange, AgentFilter, AgentOrder, AgentRepository, AgentSelection, BulkEdit,
    BulkWriteError, Criteria, Enrol,
};

fn sees(scope: &TenantScope, group: &Group) -> bool {
    group.customer_id.is_none_or(|customer| scope.contains(customer))
}

fn same_name(one: &Group, other: &Group) -> bool {
    one.id != other.id
        && one.customer_id == other.customer_id
        && one.name.canonical() == other.name.canonical()
}

#[async_trait]
impl GroupRepository for FakeAgents {
    async fn create(&self, group: Group, _author: &Author) -> Result<(), GroupWriteError> {
        let mut groups = self.groups.lock();
        if groups.values().any(|other| same_name(&group, other)) {
            return Err(GroupWriteError::NameTaken);
        }
        groups.insert(group.id, group);
        Ok(())
    }

    async fn find(&self, scope: &TenantScope, id: GroupId) -> Result<Option<Group>, StorageError> {
        Ok(self.groups.lock().get(&id).filter(|group| sees(scope, group)).cloned())
    }

    async fn list(
        &self,
        scope: &TenantScope,
        filter: &GroupFilter,
        page: &PageRequest,
    ) -> Result<Page<Group>, StorageError> {
        let groups = self.groups.lock();
        let q = filter.q.as_ref().map(|q| q.to_lowercase());
        let passing = groups.values().filter(|group| {
            sees(scope, group)
                && (filter.customer_id.is_none() || group.customer_id == filter.customer_id)
                && q.as_ref().is_none_or(|q| group.name.canonical().contains(q))
        });
        let mut items: Vec<_> = passing.cloned().collect();
        items.sort_by_key(|group| (group.name.canonical(), group.id));
        let total = u64::try_from(items.len()).unwrap_or(u64::MAX);
        if let Some(cursor) = &page.cursor {
            let behind = (cursor.key.clone().unwrap_or_default(), GroupId::from_uuid(cursor.id));
            items.retain(|group| (group.name.canonical(), group.id) > behind);
        }
        items.truncate(usize::from(page.limit()) + 1);
        Ok(Page::from_rows(items, page, total, |group| {
            Cursor::after_key(group.id.as_uuid(), group.name.canonical())
        }))
    }

    async fn update(
        &self,
        before: &Group,
        after: Group,
        _author: &Author,
    ) -> Result<(), GroupWriteError> {
        let mut groups = self.groups.lock();
        if groups.values().any(|other| same_name(&after, other)) {
            return Err(GroupWriteError::NameTaken);
        }
        match groups.get_mut(&before.id).filter(|group| group.version == before.version) {
            Some(group) => *group = after,
            None => return Err(GroupWriteError::Stale),
        }
        Ok(())
    }

    async fn remove(
        &self,
        group: &Group,
        _author: &Author,
        _now: Timestamp,
    ) -> Result<(), GroupWriteError> {
        let mut groups = self.groups.lock();
        if groups.get(&group.id).is_none_or(|there| there.version != group.version) {
            return Err(GroupWriteError::Stale);
        }
        groups.remove(&group.id);
        for (agent, _) in self.rows.lock().values_mut() {
            agent.groups.remove(&group.id);
        }
        Ok(())
    }

    async fn change_members(
        &self,
        group: &Group,
        change: MemberChange,
        _author: &Author,
        _now: Timestamp,
    ) -> Result<MembersChanged, GroupWriteError> {
        if !self.groups.lock().contains_key(&group.id) {
            return Err(GroupWriteError::Stale);
        }
        let mut counts = MembersChanged { added: 0, removed: 0, total: 0 };
        for (agent, _) in self.rows.lock().values_mut() {
            let was = agent.groups.contains(&group.id);
            let is = match &change {
                MemberChange::Add(ids) => was || ids.contains(&agent.id),
                MemberChange::Remove(ids) => was && !ids.contains(&agent.id),
                MemberChange::Replace(ids) => ids.contains(&agent.id),
            };
            let is = is && takes(group, agent.customer_id);
            if is {
                agent.groups.insert(group.id);
            } else {
                agent.groups.remove(&group.id);
            }
            counts.added += u64::from(is && !was);
            counts.removed += u64::from(was && !is);
            counts.total += u64::from(is);
        }
        Ok(counts)
    }
}

fn group(customer_id: Option<CustomerId>, name: &str, kind: GroupKind, clock: &FakeClock) -> Group {
    clock.advance(chrono::TimeDelta::milliseconds(1));
    Group {
        id: GroupId::new(clock, &SeededEntropy::new(3)),
        customer_id,
        name: GroupName::parse(name).unwrap(),
        description: Some("the ones downstairs".into()),
        kind,
        version: 1,
        created_at: clock.now(),
        updated_at: clock.now(),
    }
}

/// The contract of [`GroupRepository`], to be run on a repository without groups.
///
/// # Panics
/// When the repository breaks it.
pub async fn group_contract<R: AgentRepository + Enrol, G: GroupRepository>(
    subject: &Subject<'_, R>,
    groups: &G,
) {
    let clock = FakeClock::default();
    clock.advance(chrono::TimeDelta::days(1));
    groups_are_kept_by_name_and_version(subject, groups, &clock).await;
    members_come_and_go(subject, groups, &clock).await;
    many_are_changed_at_once_or_none(subject, groups, &clock).await;
}

async fn groups_are_kept_by_name_and_version<R: AgentRepository + Enrol, G: GroupRepository>(
    &Subject { customers, .. }: &Subject<'_, R>,
    groups: &G,
    clock: &FakeClock,
) {
    let author = Author::system();
    let [(mine, _), (other, _)] = *customers;
    let criteria =
        Criteria { tags: ["web".to_owned()].into(), ..Criteria::default() }.checked().unwrap();
    let web = group(Some(mine), "Web", GroupKind::Filter(criteria), clock);
    let everywhere = group(None, "everywhere", GroupKind::Static, clock);
    for new in [&web, &everywhere, &group(Some(other), "web", GroupKind::Static, clock)] {
        groups.create(new.clone(), &author).await.unwrap();
    }
    let taken = groups.create(group(Some(mine), "WEB", GroupKind::Static, clock), &author).await;
    assert!(matches!(taken, Err(GroupWriteError::NameTaken)));
    let (inside, outside) = (TenantScope::one(mine), TenantScope::one(other));
    assert_eq!(groups.find(&inside, web.id).await.unwrap(), Some(web.clone()));
    assert_eq!(groups.find(&outside, web.id).await.unwrap(), None);
    assert_eq!(groups.find(&outside, everywhere.id).await.unwrap(), Some(everywhere.clone()));

    let after = Group { version: 2, name: GroupName::parse("site").unwrap(), ..web.clone() };
    groups.update(&web, after.clone(), &author).await.unwrap();
    let late = groups.update(&web, after.clone(), &author).await;
    assert!(matches!(late, Err(GroupWriteError::Stale)), "it was another version");
    let first = groups.list(&inside, &GroupFilter::default(), &PageRequest::new(1, None)).await;
    let first = first.unwrap();
    assert_eq!((first.items[0].id, first.total), (everywhere.id, 2));
    let rest = PageRequest::new(1, first.next_cursor);
    let rest = groups.list(&inside, &GroupFilter::default(), &rest).await.unwrap();
    assert_eq!((rest.items, rest.next_cursor), (vec![after.clone()], None));
    let filter = GroupFilter { customer_id: Some(mine), q: Some("SIT".into()) };
    let found = groups.list(&TenantScope::All, &filter, &PageRequest::default()).await.unwrap();
    assert_eq!(found.total, 1);

    assert!(groups.remove(&web, &author, clock.now()).await.is_err(), "it was another version");
    groups.remove(&after, &author, clock.now()).await.unwrap();
    assert_eq!(groups.find(&TenantScope::All, web.id).await.unwrap(), None);
    groups.create(group(Some(mine), "Site", GroupKind::Static, clock), &author).await.unwrap();
}

async fn members_come_and_go<R: AgentRepository + Enrol, G: GroupRepository>(
    &Subject { registry, customers }: &Subject<'_, R>,
    groups: &G,
    clock: &FakeClock,
) {
    let (author, entropy) = (Author::system(), SeededEntropy::new(99));
    let [(mine, token), (other, other_token)] = *customers;
    let mut ids: Vec<AgentId> = Vec::new();
    for (name, token) in [("member-1", token), ("member-2", token), ("member-3", other_token)] {
        let candidate = candidate(name, None, clock, &entropy);
        ids.push(registry.enrol(token.into(), candidate).await.unwrap());
    }
    let rack = group(Some(mine), "rack", GroupKind::Static, clock);
    groups.create(rack.clone(), &author).await.unwrap();
    let change = async |change: MemberChange| {
        let changed = groups.change_members(&rack, change, &author, clock.now()).await.unwrap();
        (changed.added, changed.removed, changed.total)
    };
    let set = |ids: &[AgentId]| ids.iter().copied().collect::<BTreeSet<_>>();
    assert_eq!(change(MemberChange::Add(set(&ids))).await, (2, 0, 2), "one is another's");
    assert_eq!(change(MemberChange::Add(set(&ids[..1]))).await, (0, 0, 2));
    assert_eq!(change(MemberChange::Remove(set(&ids[..1]))).await, (0, 1, 1));
    assert_eq!(change(MemberChange::Replace(set(&ids[..1]))).await, (1, 1, 1));
    let found = async |id| registry.find(&TenantScope::All, id).await.unwrap().unwrap();
    assert_eq!(found(ids[0]).await.groups, [rack.id].into());
    assert_eq!(found(ids[1]).await.groups, [].into());

    let members = async |scope: &TenantScope| {
        let filter = AgentFilter { group: Some(rack.membership()), ..AgentFilter::default() };
        let (order, page) = (AgentOrder::default(), PageRequest::default());
        let list = registry.list(scope, &filter, order, &page, clock.now()).await.unwrap();
        list.page.items.into_iter().map(|agent| agent.id).collect::<Vec<_>>()
    };
    assert_eq!(members(&TenantScope::All).await, [ids[0]]);
    assert_eq!(members(&TenantScope::one(other)).await, []);

    let q = Criteria { q: Some("member-".into()), ..Criteria::default() };
    let live = group(Some(mine), "live", GroupKind::Filter(q), clock).membership();
    let pick = async |groups| {
        let selection = AgentSelection { groups: Some(groups), ..AgentSelection::default() };
        let picked = registry.select(&TenantScope::All, &selection, clock.now()).await.unwrap();
        picked.into_iter().map(|agent| agent.id).collect::<BTreeSet<_>>()
    };
    assert_eq!(pick(vec![live.clone()]).await, set(&ids[..2]), "its customer's alone");
    assert_eq!(pick(vec![rack.membership()]).await, set(&ids[..1]));
    assert_eq!(pick(vec![rack.membership(), live]).await, set(&ids[..2]), "in any of them");
    assert_eq!(pick(Vec::new()).await, set(&[]), "in none, nobody is meant");

    let joined = AgentChange { groups: Some([rack.id].into()), ..AgentChange::default() };
    let joined = registry.update(&TenantScope::All, ids[1], joined, &author, clock.now()).await;
    assert_eq!(joined.unwrap().unwrap().groups, [rack.id].into());
    let moved = AgentChange { customer_id: Some(other), ..AgentChange::default() };
    let moved = registry.update(&TenantScope::All, ids[1], moved, &author, clock.now()).await;
    assert_eq!(moved.unwrap().unwrap().groups, [].into(), "it left its old customer's");
    assert_eq!(found(ids[1]).await.groups, [].into());
    groups.remove(&rack, &author, clock.now()).await.unwrap();
    assert_eq!(found(ids[0]).await.groups, [].into(), "the group is gone");
    let gone = groups.change_members(&rack, MemberChange::Add(set(&ids)), &author, clock.now());
    assert!(matches!(gone.await, Err(GroupWriteError::Stale)));
}

async fn many_are_changed_at_once_or_none<R: AgentRepository + Enrol, G: GroupRepository>(
    &Subject { registry, customers }: &Subject<'_, R>,
    groups: &G,
    clock: &FakeClock,
) {
    let (author, entropy) = (Author::system(), SeededEntropy::new(123));
    let [(mine, token), (_, other_token)] = *customers;
    let mut ids: Vec<AgentId> = Vec::new();
    for (name, token) in [("many-1", token), ("many-2", token), ("many-3", other_token)] {
        let candidate = candidate(name, None, clock, &entropy);
        ids.push(registry.enrol(token.into(), candidate).await.unwrap());
    }
    let row = group(Some(mine), "row", GroupKind::Static, clock);
    groups.create(row.clone(), &author).await.unwrap();
    let tags = |tags: &[&str]| Tags::parse(tags.iter().map(|tag| (*tag).to_owned())).unwrap();
    let edit = BulkEdit {
        add_tags: tags(&["new"]),
        remove_tags: tags(&["web"]),
        add_to_groups: [row.id].into(),
        notes: Some("moved".into()),
        ..BulkEdit::default()
    };
    let scope = TenantScope::one(mine);
    let change = async |edit: &BulkEdit| {
        registry.update_many(&scope, ids.clone(), edit.clone(), &author, clock.now()).await
    };
    assert_eq!(change(&edit).await.unwrap(), 2, "one is another's");
    assert_eq!(change(&edit).await.unwrap(), 0, "nothing is another then");
    let found = async |id| registry.find(&TenantScope::All, id).await.unwrap();
    let second = found(ids[1]).await.unwrap();
    assert_eq!((second.groups, second.notes.as_deref()), ([row.id].into(), Some("moved")));
    assert!(second.tags.iter().any(|tag| tag == "new"));
    assert!(!second.tags.iter().any(|tag| tag == "web"));
    assert_eq!(found(ids[2]).await.unwrap().notes, None);

    let full = AgentChange {
        tags: Some(Tags::parse((0..64).map(|n| n.to_string())).unwrap()),
        ..AgentChange::default()
    };
    registry.update(&scope, ids[1], full, &author, clock.now()).await.unwrap();
    let more = BulkEdit { add_tags: tags(&["more"]), ..BulkEdit::default() };
    let refused = change(&more).await;
    assert!(matches!(refused, Err(BulkWriteError::TooManyTags(id)) if id == ids[1]));
    assert!(!found(ids[0]).await.unwrap().tags.iter().any(|tag| tag == "more"));

    let gone = registry.delete_many(&scope, ids.clone(), &author, clock.now()).await.unwrap();
    assert_eq!(gone, ids[..2]);
    assert!(found(ids[0]).await.is_none() && found(ids[2]).await.is_some());
}
