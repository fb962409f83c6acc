//! Lists of agents: a page, and how many there are.
//!
//! What few agents pass is found by the index of the filter and sorted here. What many pass is read
//! along the index of the order, a page at a time; how many these are is counted along one index
//! that holds all that counting looks at, and remembered for a moment.

use std::cmp::Ordering;
use std::sync::Arc;

use chrono::TimeDelta;
use muster_agents::{
    Agent, AgentFilter, AgentOrder, AgentPage, AgentSort, AgentStatus, Criteria, StatusCounts,
};
use muster_kernel::{Cursor, Page, PageRequest, StorageError, TenantScope, Timestamp};
use parking_lot::Mutex;
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::{Expr, ExprTrait, Func, SimpleExpr};
use sea_orm::{Condition, Order, QueryOrder, QuerySelect, Select};

use super::entity::{Column, Entity};
use super::filter::{Conditions, Lead, online_since};
use super::{SeaAgents, reading};
use crate::columns::from_count;

/// So many agents or fewer are sorted here.
const FEW: usize = 2000;
/// For how long it is remembered how many agents pass what many pass.
const REMEMBERED_FOR: TimeDelta = TimeDelta::seconds(5);
/// Of how many filters.
const REMEMBERED: usize = 64;

/// How many agents passed lately what many pass.
#[derive(Debug, Clone, Default)]
pub(super) struct RecentCounts(Arc<Mutex<Vec<RecentCount>>>);

/// When it was counted, what, and what came out.
type RecentCount = (Timestamp, TenantScope, AgentFilter, StatusCounts);

impl RecentCounts {
    fn find(
        &self,
        scope: &TenantScope,
        filter: &AgentFilter,
        now: Timestamp,
    ) -> Option<StatusCounts> {
        let mut known = self.0.lock();
        known.retain(|(at, ..)| now - *at < REMEMBERED_FOR);
        let same = known.iter().find(|(_, of, by, _)| of == scope && by == filter);
        same.map(|(.., counts)| *counts)
    }

    fn keep(
        &self,
        scope: &TenantScope,
        filter: &AgentFilter,
        now: Timestamp,
        counts: StatusCounts,
    ) {
        let mut known = self.0.lock();
        if known.len() >= REMEMBERED {
            known.remove(0);
        }
        known.push((now, scope.clone(), filter.clone(), counts));
    }
}

/// The value that an agent is sorted by.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Number(i64),
    Text(String),
    Id(Uuid),
}

impl Key {
    fn of(order: AgentOrder, text: &str) -> Self {
        match order.sort {
            AgentSort::CreatedAt | AgentSort::LastSeen => Self::Number(text.parse().unwrap_or(0)),
            AgentSort::CustomerId => Self::Id(text.parse().unwrap_or_default()),
            AgentSort::Hostname | AgentSort::Version | AgentSort::OsType => {
                Self::Text(text.to_owned())
            }
        }
    }

    fn text(&self) -> String {
        match self {
            Self::Number(number) => number.to_string(),
            Self::Text(text) => text.clone(),
            Self::Id(id) => id.to_string(),
        }
    }

    fn value(self) -> SimpleExpr {
        match self {
            Self::Number(number) => Expr::value(number),
            Self::Text(text) => Expr::value(text),
            Self::Id(id) => Expr::value(id),
        }
    }
}

const fn column(sort: AgentSort) -> Column {
    match sort {
        AgentSort::CreatedAt => Column::CreatedAt,
        AgentSort::Hostname => Column::CanonicalHostname,
        AgentSort::LastSeen => Column::LastSeen,
        AgentSort::Version => Column::Version,
        AgentSort::OsType => Column::OsType,
        AgentSort::CustomerId => Column::CustomerId,
    }
}

/// An agent of which few things were read.
struct Found {
    id: Uuid,
    key: Key,
    last_seen: i64,
}

impl SeaAgents {
    pub(super) fn conditions(&self, now: Timestamp) -> Conditions {
        Conditions { backend: self.database.reader().get_database_backend(), now }
    }

    pub(super) async fn page(
        &self,
        scope: &TenantScope,
        filter: &AgentFilter,
        order: AgentOrder,
        page: &PageRequest,
        now: Timestamp,
    ) -> Result<AgentPage, StorageError> {
        // What many passed a moment ago, many pass now.
        let many =
            filter.criteria.status.is_none() && self.recent.find(scope, filter, now).is_some();
        let few = if many { None } else { self.few(scope, filter, order, now).await? };
        let Some(few) = few else {
            let counts = self.counts(scope, filter, now).await?;
            let query = along(self.conditions(now), scope, filter, order, page);
            let rows = query.all(self.database.reader()).await.map_err(reading)?;
            let (agents, total) = (self.read(rows).await?, counts.of(filter.criteria.status));
            let page = Page::from_rows(agents, page, total, |agent: &Agent| order.behind(agent));
            return Ok(AgentPage { page, counts });
        };
        let counts = match filter.criteria.status {
            None => counted(&few, now),
            Some(_) => self.counts(scope, filter, now).await?,
        };
        let total = counts.of(filter.criteria.status);
        let (items, next_cursor) = self.sorted(few, order, page).await?;
        Ok(AgentPage { page: Page { items, next_cursor, total }, counts })
    }

    pub(super) async fn counts(
        &self,
        scope: &TenantScope,
        filter: &AgentFilter,
        now: Timestamp,
    ) -> Result<StatusCounts, StorageError> {
        let criteria = Criteria { status: None, ..filter.criteria.clone() };
        let filter = AgentFilter { criteria, ..filter.clone() };
        if let Some(counts) = self.recent.find(scope, &filter, now) {
            return Ok(counts);
        }
        if let Some(few) = self.few(scope, &filter, AgentOrder::default(), now).await? {
            return Ok(counted(&few, now));
        }
        let query = counting(self.conditions(now), scope, &filter);
        let row: Option<(i64, Option<i64>)> =
            query.into_tuple().one(self.database.reader()).await.map_err(reading)?;
        let (all, online) = row.unwrap_or_default();
        let number = |count| from_count(count, "the number of agents");
        let (all, online) = (number(all)?, number(online.unwrap_or_default())?);
        let counts = StatusCounts { online, offline: all.saturating_sub(online) };
        if counts.of(None) > u64::try_from(FEW).unwrap_or(u64::MAX) {
            self.recent.keep(scope, &filter, now, counts);
        }
        Ok(counts)
    }

    /// All that pass, if they are few.
    async fn few(
        &self,
        scope: &TenantScope,
        filter: &AgentFilter,
        order: AgentOrder,
        now: Timestamp,
    ) -> Result<Option<Vec<Found>>, StorageError> {
        let reader = self.database.reader();
        let query = finding(self.conditions(now), scope, filter, order);
        let bare = |(id, key, last_seen)| Found { id, key, last_seen };
        let found: Vec<Found> = match order.sort {
            AgentSort::CreatedAt | AgentSort::LastSeen => {
                let rows: Vec<(Uuid, i64, i64)> =
                    query.into_tuple().all(reader).await.map_err(reading)?;
                rows.into_iter().map(|(id, key, seen)| bare((id, Key::Number(key), seen))).collect()
            }
            AgentSort::CustomerId => {
                let rows: Vec<(Uuid, Uuid, i64)> =
                    query.into_tuple().all(reader).await.map_err(reading)?;
                rows.into_iter().map(|(id, key, seen)| bare((id, Key::Id(key), seen))).collect()
            }
            AgentSort::Hostname | AgentSort::Version | AgentSort::OsType => {
                let rows: Vec<(Uuid, String, i64)> =
                    query.into_tuple().all(reader).await.map_err(reading)?;
                rows.into_iter().map(|(id, key, seen)| bare((id, Key::Text(key), seen))).collect()
            }
        };
        Ok((found.len() <= FEW).then_some(found))
    }

    /// The agents of a page of `found`, and where the next one begins.
    async fn sorted(
        &self,
        mut found: Vec<Found>,
        order: AgentOrder,
        page: &PageRequest,
    ) -> Result<(Vec<Agent>, Option<Cursor>), StorageError> {
        let directed = |ordering: Ordering| {
            if order.descending { ordering.reverse() } else { ordering }
        };
        found.sort_by(|one, other| directed((&one.key, one.id).cmp(&(&other.key, other.id))));
        if let Some(cursor) = &page.cursor {
            let key = Key::of(order, cursor.key.as_deref().unwrap_or_default());
            let behind = |it: &Found| directed((&it.key, it.id).cmp(&(&key, cursor.id)));
            found.retain(|it| behind(it) == Ordering::Greater);
        }
        let more = found.len() > usize::from(page.limit());
        found.truncate(usize::from(page.limit()));
        let last = found.last().filter(|_| more);
        let next = last.map(|last| Cursor::in_order(order.name(), last.id, last.key.text()));
        let ids: Vec<Uuid> = found.iter().map(|it| it.id).collect();
        let these = Column::Id.is_in(ids.iter().copied()).and(Column::DeletedAt.is_null());
        let rows = Entity::find().filter(these).all(self.database.reader()).await;
        let mut agents = self.read(rows.map_err(reading)?).await?;
        let place = |agent: &Agent| ids.iter().position(|id| *id == agent.id.as_uuid());
        agents.sort_by_key(place);
        Ok((agents, next))
    }
}

fn counted(found: &[Found], now: Timestamp) -> StatusCounts {
    let since = online_since(now);
    found.iter().fold(StatusCounts::default(), |mut counts, agent| {
        let status =
            if agent.last_seen > since { AgentStatus::Online } else { AgentStatus::Offline };
        match status {
            AgentStatus::Online => counts.online += 1,
            AgentStatus::Offline => counts.offline += 1,
        }
        counts
    })
}

/// Finds those that pass by the filter, and one more than are few.
pub(super) fn finding(
    conditions: Conditions,
    scope: &TenantScope,
    filter: &AgentFilter,
    order: AgentOrder,
) -> Select<Entity> {
    Entity::find()
        .select_only()
        .column(Column::Id)
        .column_as(column(order.sort), "sort_key")
        .column_as(Column::LastSeen, "seen")
        .filter(conditions.list(scope, filter, Lead::Filter))
        .limit(u64::try_from(FEW).unwrap_or(u64::MAX).saturating_add(1))
}

/// Counts those that pass, and those of them that are online, along one index.
pub(super) fn counting(
    conditions: Conditions,
    scope: &TenantScope,
    filter: &AgentFilter,
) -> Select<Entity> {
    let online = Expr::case(Column::LastSeen.gt(online_since(conditions.now)), 1).finally(0);
    Entity::find()
        .select_only()
        .column_as(Column::Id.count(), "agents")
        .expr_as(Func::sum(online), "online")
        .filter(conditions.list(scope, filter, Lead::Order))
}

/// Reads a page along the index of its order.
pub(super) fn along(
    conditions: Conditions,
    scope: &TenantScope,
    filter: &AgentFilter,
    order: AgentOrder,
    page: &PageRequest,
) -> Select<Entity> {
    let column = column(order.sort);
    let direction = if order.descending { Order::Desc } else { Order::Asc };
    let behind = |cursor: &Cursor| {
        let place = Expr::tuple([Expr::col((Entity, column)), Expr::col((Entity, Column::Id))]);
        let key = Key::of(order, cursor.key.as_deref().unwrap_or_default());
        let last = Expr::tuple([key.value(), Expr::value(cursor.id)]);
        if order.descending { place.lt(last) } else { place.gt(last) }
    };
    Entity::find()
        .filter(conditions.along(scope, filter))
        .filter(Condition::all().add_option(page.cursor.as_ref().map(behind)))
        .order_by(column, direction.clone())
        .order_by(Column::Id, direction)
        .limit(u64::from(page.limit()) + 1)
}
