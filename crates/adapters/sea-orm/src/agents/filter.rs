//! Which agents pass, as conditions of a query.
//!
//! A condition comes in two forms: one by which an index finds the agents that pass, and one that
//! only looks at an agent that something else found. A list that few agents pass is read by the
//! first form, one that many pass is read along the index of its order, with the second. SQLite
//! can't know which is better, for it keeps no statistics unless it is told to: there a column that
//! must not lead to an index is wrapped. PostgreSQL knows, and is left alone.

use muster_agents::groups::Membership;
use muster_agents::{AgentFilter, AgentStatus, Criteria, HostnamePattern, ONLINE_FOR};
use muster_kernel::{TenantScope, Timestamp};
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::{Expr, ExprTrait, Func, LikeExpr, Query, SelectStatement, SimpleExpr};
use sea_orm::{Condition, DatabaseBackend};

use super::entity::{Column, Entity};
use super::parts::{tag, text};
use crate::columns::{contains, escaped, micros};
use crate::groups::member;

/// How the agents are found that are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lead {
    /// By whatever index finds the fewest.
    Filter,
    /// Along an index of all; no condition may lead away from it.
    Order,
    /// The same, and only as far as a page goes: what other tables say is looked up agent by agent.
    Page,
}

/// Makes conditions for one database.
#[derive(Debug, Clone, Copy)]
pub(super) struct Conditions {
    pub(super) backend: DatabaseBackend,
    pub(super) now: Timestamp,
}

/// Since when an agent was seen that counts as online.
pub(super) fn online_since(now: Timestamp) -> i64 {
    micros(now - ONLINE_FOR)
}

impl Conditions {
    /// Agents that are there, in `scope`, and pass, for reading along the index of an order.
    pub(super) fn along(self, scope: &TenantScope, filter: &AgentFilter) -> Condition {
        // Several customers have no order in common: theirs is read along the order of all.
        let several = matches!(scope, TenantScope::Customers(ids) if ids.len() > 1);
        self.all_of(scope, filter, Lead::Page, several)
    }

    /// Agents that are there, in `scope`, and pass.
    pub(super) fn list(self, scope: &TenantScope, filter: &AgentFilter, lead: Lead) -> Condition {
        let rare = filter.group.is_some() || is_rare(&filter.criteria);
        self.all_of(scope, filter, lead, lead == Lead::Filter && rare)
    }

    fn all_of(
        self,
        scope: &TenantScope,
        filter: &AgentFilter,
        lead: Lead,
        by_id: bool,
    ) -> Condition {
        let own =
            filter.customer_id.map(|id| self.column(Column::CustomerId, by_id).eq(id.as_uuid()));
        self.in_scope(scope, by_id)
            .add_option(own)
            .add_option(filter.group.as_ref().map(|group| self.member(group, lead)))
            .add(self.criteria(&filter.criteria, lead))
    }

    /// Agents that are there and in `scope`.
    pub(super) fn in_scope(self, scope: &TenantScope, wrapped: bool) -> Condition {
        let there = Condition::all().add(Column::DeletedAt.is_null());
        match scope {
            TenantScope::All => there,
            TenantScope::Customers(ids) => {
                let ids = ids.iter().map(|id| id.as_uuid());
                there.add(self.column(Column::CustomerId, wrapped).is_in(ids))
            }
        }
    }

    /// Members of a group.
    pub(super) fn member(self, group: &Membership, lead: Lead) -> Condition {
        match group {
            Membership::Static(id) => {
                let members = Query::select()
                    .column(member::Column::AgentId)
                    .from(member::Entity)
                    .and_where(member::Column::GroupId.eq(id.as_uuid()))
                    .take();
                Condition::all().add(self.among(members, member::Column::AgentId, lead))
            }
            Membership::Filter { customer_id, criteria } => {
                let wrapped = lead != Lead::Filter || is_rare(criteria);
                let own = |id: muster_kernel::CustomerId| {
                    self.column(Column::CustomerId, wrapped).eq(id.as_uuid())
                };
                Condition::all().add_option(customer_id.map(own)).add(self.criteria(criteria, lead))
            }
        }
    }

    /// Agents that pass all of this. Of what may lead to an index, what is likely to find the
    /// fewest does.
    fn criteria(self, criteria: &Criteria, lead: Lead) -> Condition {
        let Criteria { status, os_type, tags, tags_any, version, hostname, q } = criteria;
        let mut lead = lead;
        let mut next = |given: bool| {
            let this = lead;
            if given && lead == Lead::Filter {
                lead = Lead::Order;
            }
            this
        };
        let mut all = Condition::all();
        for tag in tags {
            all = all.add(self.has_tag([tag], next(true)));
        }
        if !tags_any.is_empty() {
            all = all.add(self.has_tag(tags_any, next(true)));
        }
        all = all.add_option(q.as_ref().map(|q| self.says(q, next(true))));
        all = all.add_option(hostname.as_ref().map(|it| self.named(it, next(true))));
        if let Some(version) = version {
            all = all.add(self.of(Column::Version, next(true)).eq(version.as_str()));
        }
        if let Some(os_type) = os_type {
            all = all.add(self.of(Column::OsType, next(true)).eq(os_type.as_str()));
        }
        if let Some(status) = status {
            let seen = self.of(Column::LastSeen, next(true));
            all = all.add(match status {
                AgentStatus::Online => seen.gt(online_since(self.now)),
                AgentStatus::Offline => seen.lte(online_since(self.now)),
            });
        }
        all
    }

    /// Agents whose text has this in it, or whose name begins with it where it is too short for
    /// the index.
    fn says(self, q: &str, lead: Lead) -> SimpleExpr {
        let q = q.to_lowercase();
        if q.chars().count() < Criteria::SUBSTRING {
            return self.begins(&q, lead);
        }
        let mut texts = Query::select();
        texts.column(text::Column::AgentId).from(text::Entity);
        if self.backend == DatabaseBackend::Sqlite && lead == Lead::Filter {
            let phrase = format!("\"{}\"", q.replace('"', "\"\""));
            let found = Query::select()
                .column("rowid")
                .from("agent_texts_index")
                .and_where(Expr::cust_with_values("agent_texts_index MATCH ?", [phrase]))
                .take();
            texts.and_where(text::Column::Number.in_subquery(found));
        } else {
            let pattern = LikeExpr::new(contains(&q)).escape('\\');
            texts.and_where(Expr::col((text::Entity, text::Column::Text)).like(pattern));
        }
        self.among(texts, text::Column::AgentId, lead)
    }

    fn named(self, pattern: &HostnamePattern, lead: Lead) -> SimpleExpr {
        let mut like = String::with_capacity(pattern.as_str().len() + 2);
        for c in pattern.as_str().chars() {
            match c {
                '*' => like.push('%'),
                '?' => like.push('_'),
                c => escaped(c, &mut like),
            }
        }
        let name = Expr::col((Entity, Column::CanonicalHostname));
        let like = name.like(LikeExpr::new(like).escape('\\'));
        match pattern.prefix() {
            "" => like,
            prefix => self.begins(prefix, lead).and(like),
        }
    }

    /// Agents whose name begins with `prefix`, which is in lower case.
    fn begins(self, prefix: &str, lead: Lead) -> SimpleExpr {
        let name = self.of(Column::CanonicalHostname, lead);
        // No character comes behind this one.
        let end = format!("{prefix}\u{10ffff}");
        name.clone().gte(prefix).and(name.lt(end))
    }

    /// Agents with one of these tags.
    pub(super) fn has_tag<'a>(
        self,
        tags: impl IntoIterator<Item = &'a String>,
        lead: Lead,
    ) -> SimpleExpr {
        let tagged = Query::select()
            .column(tag::Column::AgentId)
            .from(tag::Entity)
            .and_where(tag::Column::Tag.is_in(tags))
            .take();
        self.among(tagged, tag::Column::AgentId, lead)
    }

    /// Agents whose id `others` selects in its column `id`.
    fn among(self, mut others: SelectStatement, id: impl ColumnTrait, lead: Lead) -> SimpleExpr {
        if lead == Lead::Filter {
            return Column::Id.in_subquery(others);
        }
        let same = Expr::col(id.as_column_ref()).equals((Entity, Column::Id));
        others.and_where(same);
        // PostgreSQL would join all of it before it looks for a page.
        if lead == Lead::Page && self.backend == DatabaseBackend::Postgres {
            others.offset(0);
        }
        Expr::exists(others)
    }

    fn of(self, column: Column, lead: Lead) -> SimpleExpr {
        self.column(column, lead != Lead::Filter)
    }

    /// A column; `wrapped`, so that SQLite takes no index by it.
    fn column(self, column: Column, wrapped: bool) -> SimpleExpr {
        let plain = Expr::col((Entity, column));
        match self.backend {
            DatabaseBackend::Sqlite if wrapped => Func::coalesce([plain.clone(), plain]).into(),
            _ => plain,
        }
    }
}

/// Whether something is asked for that finds agents by their ids.
fn is_rare(criteria: &Criteria) -> bool {
    let long = |q: &String| q.chars().count() >= Criteria::SUBSTRING;
    !criteria.tags.is_empty()
        || !criteria.tags_any.is_empty()
        || criteria.q.as_ref().is_some_and(long)
}
