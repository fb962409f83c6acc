//! What agents have in tables of their own: tags, groups, and the text that they are searched by.

use std::collections::{BTreeSet, HashMap};

use muster_agents::Agent;
use muster_kernel::{GroupId, StorageError, Tags};
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::{ExprTrait, OnConflict, Query, SelectStatement};
use sea_orm::{ActiveValue, DatabaseTransaction, IntoActiveModel, QuerySelect};

use super::entity::Model;
use super::{IDS_AT_ONCE, reading};
use crate::alerts::deviations;
use crate::catalog::entity::imaged;
use crate::compliance::standings;
use crate::groups::{entity as groups, member};
use crate::{Database, DatabaseError};

/// The table `agent_tags`.
pub(crate) mod tag {
    use sea_orm::entity::prelude::*;

    #[derive(Debug, Clone, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "agent_tags")]
    pub(crate) struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub agent_id: Uuid,
        #[sea_orm(primary_key, auto_increment = false)]
        pub tag: String,
    }

    #[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
    pub(crate) enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// The table `agent_texts`.
pub(crate) mod text {
    use sea_orm::entity::prelude::*;

    #[derive(Debug, Clone, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "agent_texts")]
    pub(crate) struct Model {
        #[sea_orm(primary_key)]
        pub number: i64,
        #[sea_orm(unique)]
        pub agent_id: Uuid,
        pub text: String,
    }

    #[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
    pub(crate) enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// The agents in these rows, in their order, with what they have in other tables.
pub(crate) async fn complete<C: ConnectionTrait>(
    connection: &C,
    rows: Vec<Model>,
) -> Result<Vec<Agent>, DatabaseError> {
    let ids: Vec<_> = rows.iter().map(|row| row.id).collect();
    let (mut tags, mut of_groups) = (HashMap::new(), HashMap::new());
    for ids in ids.chunks(IDS_AT_ONCE) {
        let these = tag::Column::AgentId.is_in(ids.iter().copied());
        for row in tag::Entity::find().filter(these).all(connection).await? {
            tags.entry(row.agent_id).or_insert_with(Vec::new).push(row.tag);
        }
        let these = member::Column::AgentId.is_in(ids.iter().copied());
        for row in member::Entity::find().filter(these).all(connection).await? {
            let groups = of_groups.entry(row.agent_id).or_insert_with(BTreeSet::new);
            groups.insert(GroupId::from_uuid(row.group_id));
        }
    }
    let agent = |row: Model| {
        let id = row.id;
        let tags = Tags::parse(tags.remove(&id).unwrap_or_default())
            .map_err(|_| DatabaseError::bad_row("agent_tags.tag"))?;
        row.read(tags, of_groups.remove(&id).unwrap_or_default())
    };
    rows.into_iter().map(agent).collect()
}

/// The one agent in this row.
pub(crate) async fn complete_one<C: ConnectionTrait>(
    connection: &C,
    row: Model,
) -> Result<Agent, DatabaseError> {
    let agent = complete(connection, vec![row]).await?.pop();
    agent.ok_or(DatabaseError::bad_row("agents.id"))
}

impl super::SeaAgents {
    /// The agents in these rows, for whoever reads.
    pub(super) async fn read(&self, rows: Vec<Model>) -> Result<Vec<Agent>, StorageError> {
        Ok(complete(self.database.reader(), rows).await?)
    }

    pub(super) async fn count_tags(
        database: &Database,
        of: Option<SelectStatement>,
    ) -> Result<Vec<(String, u64)>, StorageError> {
        let of = of.map(|agents| tag::Column::AgentId.in_subquery(agents));
        let rows: Vec<(String, i64)> = tag::Entity::find()
            .select_only()
            .column(tag::Column::Tag)
            .column_as(tag::Column::AgentId.count(), "agents")
            .filter(sea_orm::Condition::all().add_option(of))
            .group_by(tag::Column::Tag)
            .into_tuple()
            .all(database.reader())
            .await
            .map_err(reading)?;
        let counted = |(tag, count)| {
            Ok((tag, crate::columns::from_count(count, "the number of agents with a tag")?))
        };
        let mut tags: Vec<_> =
            rows.into_iter().map(counted).collect::<Result<_, DatabaseError>>()?;
        // The same order on every database.
        tags.sort();
        Ok(tags)
    }
}

/// Writes what an agent has in other tables: the tags and groups that differ from those `before`,
/// and the text that it is searched by. Groups that it can't be in are left out; answers with those
/// that it is in.
pub(super) async fn write(
    transaction: &DatabaseTransaction,
    before: Option<&Agent>,
    agent: &Agent,
) -> Result<BTreeSet<GroupId>, DatabaseError> {
    let id = agent.id.as_uuid();
    let had: BTreeSet<_> = before.iter().flat_map(|agent| agent.tags.iter()).collect();
    let has: BTreeSet<_> = agent.tags.iter().collect();
    let lost: Vec<_> = had.difference(&has).copied().collect();
    if !lost.is_empty() {
        let these = tag::Column::AgentId.eq(id).and(tag::Column::Tag.is_in(lost));
        tag::Entity::delete_many().filter(these).exec(transaction).await?;
    }
    let new = has.difference(&had).map(|tag| tag::Model { agent_id: id, tag: (*tag).to_owned() });
    let new: Vec<_> = new.map(|row| row.into_active_model().reset_all()).collect();
    if !new.is_empty() {
        tag::Entity::insert_many(new).exec_without_returning(transaction).await?;
    }
    let text = search_text(agent);
    if before.map(search_text).as_ref() != Some(&text) {
        write_text(transaction, id, text).await?;
    }
    write_groups(transaction, before, agent).await
}

async fn write_groups(
    transaction: &DatabaseTransaction,
    before: Option<&Agent>,
    agent: &Agent,
) -> Result<BTreeSet<GroupId>, DatabaseError> {
    use groups::Column as Of;
    let had = before.map(|agent| agent.groups.clone()).unwrap_or_default();
    let has = if agent.groups.is_empty() {
        BTreeSet::new()
    } else {
        let own = Of::CustomerId.is_null().or(Of::CustomerId.eq(agent.customer_id.as_uuid()));
        let can: Vec<Uuid> = groups::Entity::find()
            .select_only()
            .column(Of::Id)
            .filter(Of::Id.is_in(agent.groups.iter().map(|id| id.as_uuid())))
            .filter(own.and(Of::Filter.is_null()))
            .into_tuple()
            .all(transaction)
            .await?;
        can.into_iter().map(GroupId::from_uuid).collect()
    };
    let id = agent.id.as_uuid();
    let lost: Vec<_> = had.difference(&has).map(|group| group.as_uuid()).collect();
    if !lost.is_empty() {
        let these = member::Column::AgentId.eq(id).and(member::Column::GroupId.is_in(lost));
        member::Entity::delete_many().filter(these).exec(transaction).await?;
    }
    let new = has.difference(&had);
    let new = new.map(|group| member::Model { group_id: group.as_uuid(), agent_id: id });
    let new: Vec<_> = new.map(|row| row.into_active_model().reset_all()).collect();
    if !new.is_empty() {
        member::Entity::insert_many(new).exec_without_returning(transaction).await?;
    }
    Ok(has)
}

/// What an agent is searched by, in lower case.
pub(crate) fn search_text(agent: &Agent) -> String {
    text_of(&agent.hostname, [&agent.ip_address, &agent.os, &agent.notes])
}

pub(super) fn text_of(hostname: &str, others: [&Option<String>; 3]) -> String {
    let mut text = hostname.to_lowercase();
    for other in others {
        // No search has a line break in it, so none finds the end of one and the beginning of
        // the next.
        text.push('\n');
        text.push_str(&other.as_deref().unwrap_or_default().to_lowercase());
    }
    text
}

pub(super) async fn write_text(
    transaction: &DatabaseTransaction,
    id: Uuid,
    text: String,
) -> Result<(), DatabaseError> {
    use text::Column as Of;
    let row = text::ActiveModel {
        number: ActiveValue::NotSet,
        agent_id: ActiveValue::Set(id),
        text: ActiveValue::Set(text),
    };
    let known = OnConflict::column(Of::AgentId).update_column(Of::Text).to_owned();
    text::Entity::insert(row).on_conflict(known).exec_without_returning(transaction).await?;
    Ok(())
}

/// Removes what agents have in other tables: of those that `agents` selects, within the
/// transaction that deletes them.
pub(crate) async fn remove(
    transaction: &DatabaseTransaction,
    agents: &SelectStatement,
) -> Result<(), DbErr> {
    let tags = tag::Column::AgentId.in_subquery(agents.clone());
    tag::Entity::delete_many().filter(tags).exec(transaction).await?;
    let texts = text::Column::AgentId.in_subquery(agents.clone());
    text::Entity::delete_many().filter(texts).exec(transaction).await?;
    let members = member::Column::AgentId.in_subquery(agents.clone());
    member::Entity::delete_many().filter(members).exec(transaction).await?;
    let imaged = imaged::Column::AgentId.in_subquery(agents.clone());
    imaged::Entity::delete_many().filter(imaged).exec(transaction).await?;
    let standings = standings::Column::AgentId.in_subquery(agents.clone());
    standings::Entity::delete_many().filter(standings).exec(transaction).await?;
    let loads = deviations::Column::AgentId.in_subquery(agents.clone());
    deviations::Entity::delete_many().filter(loads).exec(transaction).await.map(|_| ())
}

/// Selects the id of one agent.
pub(super) fn only(id: Uuid) -> SelectStatement {
    use super::entity::{Column, Entity};
    Query::select().column(Column::Id).from(Entity).and_where(Column::Id.eq(id)).take()
}
