//! Pages of lists by id, which is the order in which things came to be.

use muster_kernel::{Cursor, Page, PageRequest};
use sea_orm::entity::prelude::*;
use sea_orm::{Condition, DatabaseConnection, Order, QueryOrder, QuerySelect, Select};

/// A page of what is `matching`, the oldest first; `id` is the column of that, and `of` a row's.
pub(crate) async fn oldest_first<E>(
    reader: &DatabaseConnection,
    matching: Select<E>,
    id: E::Column,
    page: &PageRequest,
    of: fn(&E::Model) -> Uuid,
) -> Result<Page<E::Model>, DbErr>
where
    E: EntityTrait<Model: Send + Sync>,
{
    by_id(reader, matching, (id, Order::Asc), page, of).await
}

/// The same, the newest first.
pub(crate) async fn newest_first<E>(
    reader: &DatabaseConnection,
    matching: Select<E>,
    id: E::Column,
    page: &PageRequest,
    of: fn(&E::Model) -> Uuid,
) -> Result<Page<E::Model>, DbErr>
where
    E: EntityTrait<Model: Send + Sync>,
{
    by_id(reader, matching, (id, Order::Desc), page, of).await
}

async fn by_id<E>(
    reader: &DatabaseConnection,
    matching: Select<E>,
    (id, order): (E::Column, Order),
    page: &PageRequest,
    of: fn(&E::Model) -> Uuid,
) -> Result<Page<E::Model>, DbErr>
where
    E: EntityTrait<Model: Send + Sync>,
{
    let total = matching.clone().count(reader).await?;
    let behind = page
        .cursor
        .as_ref()
        .map(|cursor| if order == Order::Desc { id.lt(cursor.id) } else { id.gt(cursor.id) });
    let rows = matching
        .filter(Condition::all().add_option(behind))
        .order_by(id, order)
        .limit(u64::from(page.limit()) + 1)
        .all(reader)
        .await?;
    Ok(Page::from_rows(rows, page, total, |row| Cursor::after(of(row))))
}
