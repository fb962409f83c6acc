//! Settings, data keys, and everything that is sealed with them.

mod entity;

use async_trait::async_trait;
use futures_util::FutureExt;
use muster_kernel::{Author, Deed, Place, Sealed, StorageError, Timestamp};
use muster_settings::{
    DataKeyRepository, Key, SealedRows, SettingChange, SettingRepository, SettingRow, Stored,
    WrappedKey,
};
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::{Expr, ExprTrait, OnConflict, Query};
use sea_orm::{ConnectionTrait, IntoActiveModel, QueryOrder};

use crate::columns::micros;
use crate::identity::second_factor;
use crate::{Database, DatabaseError};
use entity::{Column, Entity, Model, data_key};

/// The tables whose rows have secrets, sealed for `TABLE/ID/secrets` in `secrets`.
const WITH_SECRETS: [&str; 7] =
    ["alert_channels", "approvals", "catalog_entries", "commands", "rollouts", "runs", "schedules"];

/// The settings, in the tables `settings` and `data_keys`, and the secrets of second factors.
#[derive(Debug, Clone)]
pub struct SeaSettings {
    database: Database,
}

impl SeaSettings {
    /// In this database.
    pub const fn new(database: Database) -> Self {
        Self { database }
    }
}

fn reading(error: DbErr) -> StorageError {
    DatabaseError::new("reading settings", error).into()
}

#[async_trait]
impl SettingRepository for SeaSettings {
    async fn all(&self) -> Result<Vec<SettingRow>, StorageError> {
        let rows = Entity::find().all(self.database.reader()).await.map_err(reading)?;
        let rows: Result<Vec<_>, _> =
            rows.into_iter().filter_map(|row| row.read().transpose()).collect();
        Ok(rows?)
    }

    async fn change(
        &self,
        changes: Vec<SettingChange>,
        author: &Author,
        now: Timestamp,
    ) -> Result<(), StorageError> {
        let (trail, author) = (self.database.trail(), author.clone());
        let write = self.database.write(move |transaction| {
            async move {
                let mut deeds = Vec::with_capacity(changes.len());
                for SettingChange { key, value, deed } in changes {
                    deeds.push((author.clone(), now, deed));
                    let Some(value) = value else {
                        Entity::delete_by_id(key.as_str().to_owned()).exec(transaction).await?;
                        continue;
                    };
                    let (value, sealed) = match value {
                        Stored::Plain(text) => (Some(text), None),
                        Stored::Sealed(Sealed(bytes)) => (None, Some(bytes)),
                    };
                    let key = key.as_str().to_owned();
                    let row = Model { key, value, sealed, updated_at: micros(now) };
                    let replaced = OnConflict::column(Column::Key)
                        .update_columns([Column::Value, Column::Sealed, Column::UpdatedAt])
                        .to_owned();
                    Entity::insert(row.into_active_model().reset_all())
                        .on_conflict(replaced)
                        .exec_without_returning(transaction)
                        .await?;
                }
                trail.enter_all(transaction, deeds).await
            }
            .boxed()
        });
        Ok(write.await?)
    }
}

#[async_trait]
impl DataKeyRepository for SeaSettings {
    async fn data_keys(&self) -> Result<Vec<WrappedKey>, StorageError> {
        let rows = data_key::Entity::find()
            .order_by_asc(data_key::Column::CreatedAt)
            .order_by_asc(data_key::Column::Id)
            .all(self.database.reader())
            .await
            .map_err(reading)?;
        Ok(rows.into_iter().map(WrappedKey::try_from).collect::<Result<_, _>>()?)
    }

    async fn add_data_key(
        &self,
        key: WrappedKey,
        only_first: bool,
        author: &Author,
    ) -> Result<(), StorageError> {
        let (trail, author) = (self.database.trail(), author.clone());
        let write = self.database.write(move |transaction| {
            async move {
                if only_first && data_key::Entity::find().one(transaction).await?.is_some() {
                    return Ok(());
                }
                let row = data_key::Model {
                    id: key.id.as_uuid(),
                    wrapped: key.wrapped.0,
                    created_at: micros(key.created_at),
                };
                let row = row.into_active_model().reset_all();
                data_key::Entity::insert(row).exec_without_returning(transaction).await?;
                let place = Place { kind: "data_key", id: key.id.as_uuid(), customer_id: None };
                let deed = Deed::done("data_key.create", place, None);
                trail.enter(transaction, &author, key.created_at, deed).await?;
                Ok::<_, DatabaseError>(())
            }
            .boxed()
        });
        Ok(write.await?)
    }
}

/// A place, taken apart.
enum At {
    Setting(String),
    SecondFactor(Uuid),
    /// The secret parameters of something that runs.
    Secrets(&'static str, Uuid),
}

fn at(place: &str) -> Option<At> {
    match place.split_once('/')? {
        ("settings", key) => Some(At::Setting(key.to_owned())),
        ("second_factors", user) => user.parse().ok().map(At::SecondFactor),
        (table, rest) => {
            let table = WITH_SECRETS.into_iter().find(|known| *known == table)?;
            Some(At::Secrets(table, rest.strip_suffix("/secrets")?.parse().ok()?))
        }
    }
}

#[async_trait]
impl SealedRows for SeaSettings {
    async fn sealed(&self) -> Result<Vec<(String, Sealed)>, StorageError> {
        let reader = self.database.reader();
        let settings = Entity::find().all(reader).await.map_err(reading)?;
        let settings = settings
            .into_iter()
            .filter_map(|row| Some((Key::parse(&row.key)?.place(), Sealed(row.sealed?))));
        let factors = second_factor::Entity::find().all(reader).await.map_err(reading)?;
        let factors = factors
            .into_iter()
            .map(|row| (format!("second_factors/{}", row.user_id), Sealed(row.secret)));
        let mut all: Vec<_> = settings.chain(factors).collect();
        for table in WITH_SECRETS {
            let query = Query::select()
                .columns(["id", "secrets"])
                .from(table)
                .and_where(Expr::col("secrets").is_not_null())
                .take();
            for row in reader.query_all(&query).await.map_err(reading)? {
                let id: Uuid = row.try_get("", "id").map_err(reading)?;
                let secrets = row.try_get("", "secrets").map_err(reading)?;
                all.push((format!("{table}/{id}/secrets"), Sealed(secrets)));
            }
        }
        Ok(all)
    }

    async fn reseal(&self, place: &str, old: &Sealed, new: &Sealed) -> Result<bool, StorageError> {
        let (place, old, new) = (at(place), old.0.clone(), new.0.clone());
        let write = self.database.write(move |transaction| {
            async move {
                let done = match place {
                    None => return Ok(false),
                    Some(At::Setting(key)) => {
                        Entity::update_many()
                            .col_expr(Column::Sealed, Expr::value(new))
                            .filter(Column::Key.eq(key).and(Column::Sealed.eq(old)))
                            .exec(transaction)
                            .await?
                    }
                    Some(At::Secrets(table, id)) => {
                        let update = Query::update()
                            .table(table)
                            .value("secrets", new)
                            .and_where(Expr::col("id").eq(id))
                            .and_where(Expr::col("secrets").eq(old))
                            .take();
                        let done = transaction.execute(&update).await?;
                        return Ok(done.rows_affected() == 1);
                    }
                    Some(At::SecondFactor(user)) => {
                        let (id, secret) =
                            (second_factor::Column::UserId, second_factor::Column::Secret);
                        second_factor::Entity::update_many()
                            .col_expr(secret, Expr::value(new))
                            .filter(id.eq(user).and(secret.eq(old)))
                            .exec(transaction)
                            .await?
                    }
                };
                Ok::<_, DatabaseError>(done.rows_affected == 1)
            }
            .boxed()
        });
        Ok(write.await?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::on_each_database;

    on_each_database!(
        settings_keep_the_contract,
        the_secrets_of_what_runs_are_sealed_anew_as_well,
        the_secrets_of_profiles_and_rollouts_are_sealed_anew_as_well,
    );

    async fn settings_keep_the_contract(database: Database) {
        muster_settings::testing::contract(&SeaSettings::new(database)).await;
    }

    async fn the_secrets_of_what_runs_are_sealed_anew_as_well(database: Database) {
        use muster_commands::runs::{Run, RunRepository};
        use muster_kernel::TenantScope;
        let (settings, runs) =
            (SeaSettings::new(database.clone()), crate::SeaRuns::new(database.clone()));
        let mut run = muster_commands::testing::run(1, 0);
        let (old, new) = (Sealed(vec![1]), Sealed(vec![2]));
        run.template.secrets = Some(old.clone());
        runs.begin(run.clone(), Vec::new(), None, Author::system()).await.unwrap();
        let place = Run::secrets_place(run.id);
        assert!(settings.sealed().await.unwrap().contains(&(place.clone(), old.clone())));
        assert!(settings.reseal(&place, &old, &new).await.unwrap());
        assert!(!settings.reseal(&place, &old, &new).await.unwrap(), "it is another by now");
        let found = runs.find(&TenantScope::All, run.id).await.unwrap().unwrap();
        assert_eq!(found.template.secrets, Some(new));
    }

    async fn the_secrets_of_profiles_and_rollouts_are_sealed_anew_as_well(database: Database) {
        use muster_deployment_profiles::rollouts::{Rollout, RolloutRepository};
        use muster_deployment_profiles::testing::{entry, profile_bodies, rollout};
        use muster_deployment_profiles::{CatalogRepository, Profile};
        use muster_kernel::TenantScope;
        let settings = SeaSettings::new(database.clone());
        let (author, all, new) = (Author::system(), TenantScope::All, Sealed(vec![2]));
        let catalog = crate::SeaCatalog::new(database.clone());
        let [body, _] = profile_bodies();
        let profile: Profile = entry(1, None, body);
        catalog.create(profile.clone(), &author).await.unwrap();
        let (rollouts, rollout) = (crate::SeaRollouts::new(database), rollout(1, 0));
        rollouts.begin(rollout.clone(), Vec::new(), None, &author).await.unwrap();
        let sealed = settings.sealed().await.unwrap();
        let (place, old) = (Profile::secrets_place(profile.id), profile.secrets.unwrap());
        assert!(sealed.contains(&(place.clone(), old.clone())));
        assert!(settings.reseal(&place, &old, &new).await.unwrap());
        let (place, old) = (Rollout::secrets_place(rollout.id), rollout.secrets.unwrap());
        assert!(sealed.contains(&(place.clone(), old.clone())));
        assert!(settings.reseal(&place, &old, &new).await.unwrap());
        let profile: Option<Profile> = catalog.find(&all, profile.id).await.unwrap();
        assert_eq!(profile.unwrap().secrets.as_ref(), Some(&new));
        let rollout = rollouts.find(&all, rollout.id).await.unwrap();
        assert_eq!(rollout.unwrap().secrets, Some(new));
    }
}
