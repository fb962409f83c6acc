//! What people do with profiles beside keeping them: their tasks, and copies of templates.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use muster_agents::OsType;
use muster_commands::runs::{ParameterValue, RunsError, Secrets, Wording, Work, Workshop};
use muster_kernel::{
    Clock, CustomerId, Entropy, Permit, ProfileId, Secret, StorageError, TaskId, TenantScope, act,
};

use crate::catalog::{Catalog, CatalogError, WriteError, owner};
use crate::exchange::task_of;
use crate::profile::{Profile, ProfileBody, STRIDE};
use crate::software::SoftwareBody;
use crate::{Action, HeadChange, Invalid, Part, ProfilesError, Task, TaskWish};

/// How many profiles are named after a template before somebody has to say a name.
const MOST_COPIES: u32 = 1000;

/// What people do with profiles; cheap to clone.
#[derive(Debug, Clone)]
pub struct Profiles {
    /// The profiles.
    pub catalog: Catalog<ProfileBody>,
    software: Catalog<SoftwareBody>,
    workshop: Workshop,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
}

impl Profiles {
    /// Made of its ports.
    pub fn new(
        catalog: Catalog<ProfileBody>,
        software: Catalog<SoftwareBody>,
        workshop: Workshop,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Self {
        Self { catalog, software, workshop, clock, entropy }
    }

    /// One that is a template.
    ///
    /// # Errors
    /// [`ProfilesError::NoTemplate`] when it is none.
    pub async fn template(
        &self,
        permit: &Permit<act::ReadProfiles>,
        id: ProfileId,
    ) -> Result<Profile, ProfilesError> {
        self.template_in(permit.scope(), id).await
    }

    async fn template_in(
        &self,
        scope: &TenantScope,
        id: ProfileId,
    ) -> Result<Profile, ProfilesError> {
        match self.catalog.find(scope, id).await {
            Ok(profile) if profile.body.is_template => Ok(profile),
            Ok(_) | Err(CatalogError::NotFound(_)) => Err(ProfilesError::NoTemplate),
            Err(error) => Err(error.into()),
        }
    }

    /// Changes what a profile says beside its tasks.
    ///
    /// # Errors
    /// Those of [`Catalog::change`].
    pub async fn change(
        &self,
        permit: &Permit<act::ManageProfiles>,
        id: ProfileId,
        expected: Option<u32>,
        change: &HeadChange,
    ) -> Result<Profile, ProfilesError> {
        self.catalog
            .edit(permit, id, expected, async |mut profile: Profile| {
                let change = change.clone();
                profile.name = change.name.unwrap_or(profile.name);
                profile.description = change.description.unwrap_or(profile.description);
                let body = &mut profile.body;
                body.target_os_type = change.target_os_type.unwrap_or(body.target_os_type);
                body.is_template = change.is_template.unwrap_or(body.is_template);
                Ok(profile)
            })
            .await
    }

    /// Adds a task.
    ///
    /// # Errors
    /// [`ProfilesError::Work`] and [`Invalid`] say what is wrong with it.
    pub async fn add_task(
        &self,
        permit: &Permit<act::ManageProfiles>,
        id: ProfileId,
        expected: Option<u32>,
        wish: &TaskWish,
    ) -> Result<(Profile, TaskId), ProfilesError> {
        let task_id = TaskId::new(&*self.clock, &*self.entropy);
        let changed = self.put_task(permit, id, expected, task_id, wish).await?;
        Ok((changed, task_id))
    }

    /// Makes a task what `wish` says. The values of secret parameters that it does not name stay.
    ///
    /// # Errors
    /// Those of [`Profiles::add_task`], [`ProfilesError::NoTask`].
    pub async fn change_task(
        &self,
        permit: &Permit<act::ManageProfiles>,
        id: ProfileId,
        expected: Option<u32>,
        task_id: TaskId,
        wish: &TaskWish,
    ) -> Result<Profile, ProfilesError> {
        let profile = self.catalog.find(permit.scope(), id).await?;
        profile.body.task(task_id).ok_or(ProfilesError::NoTask)?;
        self.put_task(permit, id, expected, task_id, wish).await
    }

    async fn put_task(
        &self,
        permit: &Permit<act::ManageProfiles>,
        id: ProfileId,
        expected: Option<u32>,
        task_id: TaskId,
        wish: &TaskWish,
    ) -> Result<Profile, ProfilesError> {
        self.catalog
            .edit(permit, id, expected, async |profile: Profile| {
                let mut secrets = self.secrets_of(&profile).await?;
                let (mut body, before) = (profile.body.clone(), secrets.clone());
                let scope = owner_scope(profile.customer_id);
                self.place(&scope, &mut body, &mut secrets, task_id, wish.clone()).await?;
                self.with_secrets(Profile { body, ..profile }, &before, &secrets).await
            })
            .await
    }

    /// Makes a task of a wish and puts it into a profile, its secrets beside those that are there.
    pub(crate) async fn place(
        &self,
        scope: &TenantScope,
        body: &mut ProfileBody,
        secrets: &mut Secrets,
        task_id: TaskId,
        mut wish: TaskWish,
    ) -> Result<(), ProfilesError> {
        let known = body.task(task_id);
        let order_index = known.map(|task| task.order_index);
        let mut kept = own_secrets(secrets, task_id);
        secrets.retain(|name, _| !name.starts_with(&format!("{task_id}/")));
        if let Action::Script { script_id, parameters } = &mut wish.action {
            let same = |task: &Task| match &task.action {
                Action::Script { script_id: it, .. } => it == script_id,
                _ => false,
            };
            kept.retain(|name, _| known.is_some_and(same) && !parameters.contains_key(name));
            let text = |secret: Secret| ParameterValue::Text(secret.expose().to_owned());
            parameters.extend(kept.into_iter().map(|(name, secret)| (name, text(secret))));
        }
        let index = order_index.unwrap_or_else(|| body.behind_all());
        let (action, found) = self.look_at(scope, body.target_os_type, wish.action.clone()).await?;
        if let Some(check) = &wish.check {
            let checked = self.spec(check, body.target_os_type);
            checked.map_err(|invalid| invalid.within("/check"))?;
        }
        let task = task_of(task_id, TaskWish { action, ..wish }, index).check()?;
        if !matches!(task.action, Action::Reboot { .. } | Action::Wait { .. }) {
            let timed =
                Wording { command: "true".into(), timeout: task.timeout, ..Wording::default() };
            self.spec(&timed, None)?;
        }
        body.put(task)?;
        secrets.extend(found.into_iter().map(|(name, it)| (format!("{task_id}/{name}"), it)));
        Ok(())
    }

    /// That what a task is to run can be run; answers with it, and apart from it its secrets.
    async fn look_at(
        &self,
        scope: &TenantScope,
        target: Option<OsType>,
        action: Action,
    ) -> Result<(Action, Secrets), ProfilesError> {
        let none = Secrets::new();
        match action {
            Action::Script { script_id, parameters } => {
                let families: BTreeSet<_> = target.into_iter().collect();
                let work = Work::Script { script_id, parameters, timeout: None };
                let prepared = self.workshop.prepare(scope, &work, &families).await;
                let prepared = prepared.map_err(ProfilesError::Work)?;
                let Work::Script { parameters, .. } = prepared.work else {
                    return Err(ProfilesError::Work(RunsError::NothingToRun));
                };
                Ok((Action::Script { script_id, parameters }, prepared.secrets))
            }
            Action::Software { software_id, wanted, version } => {
                let item = self.software.find(scope, software_id).await?;
                if let Some(family) = target.filter(|it| item.body.for_family(*it).is_none()) {
                    let rule = format!("{} does not come to {}", item.name, family.as_str());
                    return Err(Invalid::new("/software_id", rule).into());
                }
                Ok((Action::Software { software_id, wanted, version }, none))
            }
            Action::Command(wording) => {
                self.spec(&wording, target).map_err(renamed)?;
                Ok((Action::Command(wording), none))
            }
            Action::Wait { condition, interval } => {
                self.spec(&condition, target).map_err(renamed)?;
                Ok((Action::Wait { condition, interval }, none))
            }
            Action::Reboot { only_if_changed, command } => {
                if let Some(command) = &command {
                    let checked = self.spec(command, target);
                    checked.map_err(|invalid| invalid.within("/reboot"))?;
                }
                Ok((Action::Reboot { only_if_changed, command }, none))
            }
            Action::File(file) => Ok((Action::File(file), none)),
        }
    }

    fn spec(&self, wording: &Wording, target: Option<OsType>) -> Result<(), Invalid> {
        let family = target.unwrap_or(OsType::Linux);
        self.workshop.spec(wording.clone().into(), family)?;
        Ok(())
    }

    /// Takes a task away.
    ///
    /// # Errors
    /// [`ProfilesError::NoTask`].
    pub async fn remove_task(
        &self,
        permit: &Permit<act::ManageProfiles>,
        id: ProfileId,
        expected: Option<u32>,
        task_id: TaskId,
    ) -> Result<(), ProfilesError> {
        self.catalog
            .edit(permit, id, expected, async |mut profile: Profile| {
                if !profile.body.take(task_id) {
                    return Err(ProfilesError::NoTask);
                }
                let before = self.secrets_of(&profile).await?;
                let mut secrets = before.clone();
                secrets.retain(|name, _| !name.starts_with(&format!("{task_id}/")));
                self.with_secrets(profile, &before, &secrets).await
            })
            .await
            .map(drop)
    }

    /// Puts the tasks into this order.
    ///
    /// # Errors
    /// [`Invalid`] unless each is named once.
    pub async fn reorder(
        &self,
        permit: &Permit<act::ManageProfiles>,
        id: ProfileId,
        expected: Option<u32>,
        order: &[TaskId],
    ) -> Result<Profile, ProfilesError> {
        self.catalog
            .edit(permit, id, expected, async |mut profile: Profile| {
                profile.body.reorder(order)?;
                Ok(profile)
            })
            .await
    }

    /// Makes a profile of a template: with tasks of its own, which say the same.
    ///
    /// # Errors
    /// [`ProfilesError::NoTemplate`]; those of [`Catalog::create`].
    pub async fn instantiate(
        &self,
        permit: &Permit<act::ManageProfiles>,
        id: ProfileId,
        name: Option<String>,
        description: Option<String>,
        customer: Option<CustomerId>,
    ) -> Result<Profile, ProfilesError> {
        let template = self.template_in(permit.scope(), id).await?;
        let owner = match customer {
            None if template.customer_id.is_some() => template.customer_id,
            named => owner(permit, named)?,
        };
        let secrets = self.secrets_of(&template).await?;
        let mut body = ProfileBody { is_template: false, ..template.body };
        let mut own = Secrets::new();
        for task in &mut body.tasks {
            let old = std::mem::replace(&mut task.id, TaskId::new(&*self.clock, &*self.entropy));
            let copied = own_secrets(&secrets, old);
            own.extend(copied.into_iter().map(|(name, it)| (format!("{}/{name}", task.id), it)));
        }
        let name = match name {
            Some(name) => name,
            None => self.free_name(owner, &template.name).await?,
        };
        let id = self.catalog.draw();
        let sealed = self.workshop.seal(&Profile::secrets_place(id), &own).await?;
        let words = (name, description.or(template.description));
        Ok(self.catalog.create_as(permit, id, owner, words, body, sealed).await?)
    }

    /// The name of a template, or one like it that its owner has not given away.
    async fn free_name(
        &self,
        owner: Option<CustomerId>,
        name: &str,
    ) -> Result<String, ProfilesError> {
        for number in 1..MOST_COPIES {
            let name = if number == 1 { name.to_owned() } else { format!("{name} {number}") };
            if self.catalog.named(owner, &name).await?.is_none() {
                return Ok(name);
            }
        }
        Err(CatalogError::from(WriteError::NameTaken).into())
    }

    /// What a profile says in confidence: the values of secret parameters, by `task/name`.
    pub(crate) async fn secrets_of(&self, profile: &Profile) -> Result<Secrets, StorageError> {
        self.workshop.open(&Profile::secrets_place(profile.id), profile.secrets.as_ref()).await
    }

    /// A profile that says this in confidence; what it says already is not sealed anew.
    pub(crate) async fn with_secrets(
        &self,
        profile: Profile,
        before: &Secrets,
        secrets: &Secrets,
    ) -> Result<Profile, ProfilesError> {
        let exposed = |secrets: &Secrets| -> BTreeMap<String, String> {
            secrets.iter().map(|(name, it)| (name.clone(), it.expose().to_owned())).collect()
        };
        if exposed(before) == exposed(secrets) {
            return Ok(profile);
        }
        let sealed = self.workshop.seal(&Profile::secrets_place(profile.id), secrets).await?;
        Ok(Profile { secrets: sealed, ..profile })
    }

    /// That the commands which a file says can be run, as far as that can be told.
    pub(crate) fn check_commands(
        &self,
        target: Option<OsType>,
        parts: &[Part],
    ) -> Result<(), Invalid> {
        for (number, part) in parts.iter().enumerate() {
            let place = format!("/profile/tasks/{number}");
            let wish = &part.wish;
            let timed = !matches!(wish.action, Action::Reboot { .. } | Action::Wait { .. });
            let timeout = wish.timeout.filter(|_| timed);
            let timed = Wording { command: "true".into(), timeout, ..Wording::default() };
            let checked = self.spec(&timed, None).and_then(|()| match &wish.action {
                Action::Command(wording) | Action::Wait { condition: wording, .. } => {
                    self.spec(wording, target).map_err(renamed)
                }
                _ => Ok(()),
            });
            checked.map_err(|invalid| invalid.within(&place))?;
        }
        Ok(())
    }

    /// Keeps a new profile with these tasks.
    pub(crate) async fn create_with(
        &self,
        permit: &Permit<act::ManageProfiles>,
        customer_id: Option<CustomerId>,
        (name, description): (String, Option<String>),
        body: ProfileBody,
        wishes: Vec<TaskWish>,
    ) -> Result<Profile, ProfilesError> {
        let (id, now) = (self.catalog.draw(), self.clock.now());
        let draft = Profile {
            id,
            customer_id,
            name,
            description,
            body: ProfileBody::default(),
            secrets: None,
            version: 1,
            created_at: now,
            updated_at: now,
        };
        let made = self.with_tasks(draft, body, wishes).await?;
        let words = (made.name, made.description);
        let made = self.catalog.create_as(permit, id, customer_id, words, made.body, made.secrets);
        Ok(made.await?)
    }

    /// A profile with these tasks instead of its own. A task that is called like one that it has
    /// is that one, and keeps its secrets.
    pub(crate) async fn with_tasks(
        &self,
        profile: Profile,
        body: ProfileBody,
        wishes: Vec<TaskWish>,
    ) -> Result<Profile, ProfilesError> {
        let before = self.secrets_of(&profile).await?;
        let scope = owner_scope(profile.customer_id);
        let mut old = profile.body.clone();
        let (mut body, mut secrets) = (body, before.clone());
        let mut last: Option<i32> = None;
        for (number, wish) in wishes.into_iter().enumerate() {
            let known = old.tasks.iter().position(|it| it.name.eq_ignore_ascii_case(&wish.name));
            let known = known.map(|it| old.tasks.remove(it));
            let index = known.as_ref().map(|task| task.order_index);
            let id = known.as_ref().map_or_else(|| self.draw_task(), |task| task.id);
            // What it was, so that its secrets are found.
            body.tasks.extend(known);
            let place = format!("/profile/tasks/{number}");
            let behind = last.map_or(STRIDE, |last| last.saturating_add(STRIDE));
            last = index.filter(|it| last.is_none_or(|last| *it > last)).or(Some(behind));
            let wish = TaskWish { order_index: last, ..wish };
            self.place(&scope, &mut body, &mut secrets, id, wish)
                .await
                .map_err(|error| error.within(&place))?;
        }
        for gone in old.tasks {
            secrets.retain(|name, _| !name.starts_with(&format!("{}/", gone.id)));
        }
        self.with_secrets(Profile { body, ..profile }, &before, &secrets).await
    }

    /// A new id of a task.
    fn draw_task(&self) -> TaskId {
        TaskId::new(&*self.clock, &*self.entropy)
    }
}

/// What a profile of this owner may name: what is its owner's, and what is shared.
pub(crate) fn owner_scope(owner: Option<CustomerId>) -> TenantScope {
    TenantScope::Customers(owner.into_iter().collect())
}

/// The secrets of one task, by the names of its parameters.
pub(crate) fn own_secrets(secrets: &Secrets, task: TaskId) -> Secrets {
    let prefix = format!("{task}/");
    let own =
        |(name, it): (&String, &Secret)| Some((name.strip_prefix(&prefix)?.to_owned(), it.clone()));
    secrets.iter().filter_map(own).collect()
}

/// A command's text is the `payload` of a task.
fn renamed(invalid: Invalid) -> Invalid {
    match invalid.pointer.as_str() {
        "/command" => Invalid { pointer: "/payload".to_owned(), ..invalid },
        _ => invalid,
    }
}
