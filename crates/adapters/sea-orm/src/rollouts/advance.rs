//! Machines that go on, many at a time.

use std::collections::BTreeMap;

use muster_commands::{Command, Status};
use muster_deployment_profiles::rollouts::{Advance, Advanced};
use muster_kernel::{AgentId, Author, Deed, RolloutId};
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::{ExprTrait, OnConflict};
use sea_orm::{DatabaseTransaction, IntoActiveModel, QuerySelect};

use super::DEVICES_AT_ONCE;
use super::entity::device::{Column, Entity, Model};
use super::entity::from_number;
use crate::DatabaseError;
use crate::agents::IDS_AT_ONCE;
use crate::audit::Trail;
use crate::commands::entity as commands;
use crate::compliance::standings;
use crate::runs::COMMANDS_AT_ONCE;

/// Writes those machines that are as they were before, each with its command; answers for each of
/// them, and with how far the commands are.
pub(super) async fn advance(
    transaction: &DatabaseTransaction,
    trail: &Trail,
    id: RolloutId,
    advances: Vec<Advance>,
    author: &Author,
) -> Result<(Vec<Advanced>, Vec<Status>), DatabaseError> {
    let mut revisions = revisions(transaction, id, &advances).await?;
    let mut outcomes = Vec::with_capacity(advances.len());
    // Of a machine that goes on twice the last row counts, and every command.
    let (mut rows, mut given, mut known) = (BTreeMap::new(), Vec::new(), BTreeMap::new());
    for Advance { device, before, command, standing } in advances {
        if revisions.get(&device.agent_id) != Some(&before) {
            outcomes.push(Advanced::Stale);
            continue;
        }
        outcomes.push(Advanced::Written);
        revisions.insert(device.agent_id, device.revision);
        rows.insert(device.agent_id, Model::of(id, &device));
        given.extend(command);
        known.extend(standing.map(|it| ((it.profile_id, it.agent_id), it)));
    }
    write_devices(transaction, rows.into_values().collect()).await?;
    give(transaction, trail, &given, author).await?;
    standings::write(transaction, known.into_values().collect()).await?;
    Ok((outcomes, given.iter().map(Command::status).collect()))
}

/// The revisions of these machines, as far as the rollout has them.
async fn revisions(
    transaction: &DatabaseTransaction,
    id: RolloutId,
    advances: &[Advance],
) -> Result<BTreeMap<AgentId, u32>, DatabaseError> {
    let mut revisions = BTreeMap::new();
    for some in advances.chunks(IDS_AT_ONCE) {
        let ids = some.iter().map(|advance| advance.device.agent_id.as_uuid());
        let rows: Vec<(Uuid, i32)> = Entity::find()
            .select_only()
            .columns([Column::AgentId, Column::Revision])
            .filter(Column::RolloutId.eq(id.as_uuid()).and(Column::AgentId.is_in(ids)))
            .into_tuple()
            .all(transaction)
            .await?;
        for (agent, revision) in rows {
            let revision = from_number(revision, "rollout_devices.revision")?;
            revisions.insert(AgentId::from_uuid(agent), revision);
        }
    }
    Ok(revisions)
}

async fn write_devices(
    transaction: &DatabaseTransaction,
    rows: Vec<Model>,
) -> Result<(), DatabaseError> {
    for some in rows.chunks(DEVICES_AT_ONCE) {
        // All of these are there: to insert them in vain writes them in one statement.
        let instead = OnConflict::columns([Column::RolloutId, Column::AgentId])
            .update_columns([
                Column::Status,
                Column::WithErrors,
                Column::Stage,
                Column::Position,
                Column::Attempt,
                Column::Results,
                Column::Revision,
                Column::StartedAt,
                Column::FinishedAt,
            ])
            .to_owned();
        let rows = some.iter().map(|row| row.clone().into_active_model().reset_all());
        Entity::insert_many(rows).on_conflict(instead).exec_without_returning(transaction).await?;
    }
    Ok(())
}

async fn give(
    transaction: &DatabaseTransaction,
    trail: &Trail,
    given: &[Command],
    author: &Author,
) -> Result<(), DatabaseError> {
    for some in given.chunks(COMMANDS_AT_ONCE) {
        let rows = some
            .iter()
            .map(|command| commands::Model::from(command).into_active_model().reset_all());
        commands::Entity::insert_many(rows).exec_without_returning(transaction).await?;
    }
    let deed = |command: &Command| {
        (author.clone(), command.created_at, Deed::created("command.run", command))
    };
    trail.enter_all(transaction, given.iter().map(deed).collect()).await
}
