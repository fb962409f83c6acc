//! Profiles as people keep them in files: with the scripts and software that they name, by name.

use std::collections::BTreeSet;
use std::sync::Arc;

use muster_agents::OsType;
use muster_commands::library::{
    About, Change as ScriptChange, Draft, Kind, LibraryError, LibraryFilter, Script, Scripts,
};
use muster_kernel::{
    CustomerId, PageRequest, Permit, ProfileId, ScriptId, SoftwareId, StorageError, TaskId, act,
};
use uuid::Uuid;

use crate::catalog::{Catalog, CatalogError, Change, MAX_DESCRIPTION, MAX_NAME, owner};
use crate::invalid::{line, prose};
use crate::profile::MAX_TASKS;
use crate::software::SoftwareBody;
use crate::{Action, Invalid, Profile, ProfileBody, Profiles, ProfilesError, Task, TaskWish};

/// How many names one look is about.
const AT_ONCE: u16 = 200;

/// A task of a file.
#[derive(Debug, Clone, PartialEq)]
pub struct Part {
    /// What it says. Which script or software it means, `named` tells.
    pub wish: TaskWish,
    /// What its script or software is called.
    pub named: Option<String>,
}

/// A script of a file.
#[derive(Debug, Clone, PartialEq)]
pub struct ScriptPart {
    /// What it says beside its text.
    pub about: About,
    /// Its text.
    pub text: Arc<str>,
}

/// A piece of software of a file.
#[derive(Debug, Clone, PartialEq)]
pub struct SoftwarePart {
    /// What it is called.
    pub name: String,
    /// What it is good for.
    pub description: Option<String>,
    /// What it says.
    pub body: SoftwareBody,
}

/// A profile with all that it names.
#[derive(Debug, Clone, PartialEq)]
pub struct Bundle {
    /// What the profile is called.
    pub name: String,
    /// What it is good for.
    pub description: Option<String>,
    /// The systems that it is made for.
    pub target_os_type: Option<OsType>,
    /// Whether it is only there to be copied.
    pub is_template: bool,
    /// What it does.
    pub tasks: Vec<Part>,
    /// The scripts that it names.
    pub scripts: Vec<ScriptPart>,
    /// The software that it names.
    pub software: Vec<SoftwarePart>,
}

/// What came of a thing in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum ImportedAs {
    Created,
    Updated,
    Unchanged,
}

impl ImportedAs {
    /// The name in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Updated => "updated",
            Self::Unchanged => "unchanged",
        }
    }
}

/// What came of something in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Imported {
    /// What it is: `script`, `software`, `profile`.
    pub kind: &'static str,
    /// What it is called.
    pub name: String,
    /// Its id here.
    pub id: Uuid,
    /// What came of it.
    pub result: ImportedAs,
}

/// Why a file could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum ExchangeError {
    /// Something about the profile or its software.
    #[error(transparent)]
    Profile(#[from] ProfilesError),
    /// Something about a script.
    #[error(transparent)]
    Script(#[from] LibraryError),
    /// The profile names something that is gone.
    #[error("task {0} names a script or software item that is gone; mend the task first")]
    Gone(String),
}

impl From<Invalid> for ExchangeError {
    fn from(invalid: Invalid) -> Self {
        ProfilesError::from(invalid).into()
    }
}

impl From<CatalogError> for ExchangeError {
    fn from(error: CatalogError) -> Self {
        ProfilesError::from(error).into()
    }
}

impl From<StorageError> for ExchangeError {
    fn from(error: StorageError) -> Self {
        ProfilesError::from(error).into()
    }
}

/// Writes profiles into files and reads them from there; cheap to clone.
#[derive(Debug, Clone)]
pub struct Exchange {
    profiles: Profiles,
    software: Catalog<SoftwareBody>,
    scripts: Arc<Scripts>,
}

impl Exchange {
    /// Made of what it writes and reads.
    pub const fn new(
        profiles: Profiles,
        software: Catalog<SoftwareBody>,
        scripts: Arc<Scripts>,
    ) -> Self {
        Self { profiles, software, scripts }
    }

    /// A profile with all that it names; without values of secret parameters.
    ///
    /// # Errors
    /// [`ExchangeError::Gone`] when it names what is not there.
    pub async fn export(
        &self,
        permit: &Permit<act::ReadProfiles>,
        scripts: &Permit<act::ReadScripts>,
        id: ProfileId,
    ) -> Result<Bundle, ExchangeError> {
        let profile = self.profiles.catalog.get(permit, id).await?;
        let mut bundle = Bundle {
            name: profile.name,
            description: profile.description,
            target_os_type: profile.body.target_os_type,
            is_template: profile.body.is_template,
            tasks: Vec::new(),
            scripts: Vec::new(),
            software: Vec::new(),
        };
        let (mut script_names, mut software_names) = (Names::default(), Names::default());
        for task in profile.body.tasks {
            let gone = || ExchangeError::Gone(task.name.clone());
            let mut named = None;
            match &task.action {
                Action::Script { script_id, .. } => {
                    let script = self.scripts.for_run(scripts.scope(), *script_id).await?;
                    let script = script.ok_or_else(gone)?;
                    let mut about = script.item.version.about;
                    let (name, is_new) = script_names.of(script_id.as_uuid(), &about.name);
                    if is_new {
                        about.name.clone_from(&name);
                        bundle.scripts.push(ScriptPart { about, text: script.text });
                    }
                    named = Some(name);
                }
                Action::Software { software_id, .. } => {
                    let found = self.software.find(permit.scope(), *software_id).await;
                    let item = found.map_err(|error| match error {
                        CatalogError::NotFound(_) => gone(),
                        other => other.into(),
                    })?;
                    let (name, is_new) = software_names.of(software_id.as_uuid(), &item.name);
                    if is_new {
                        let (description, body) = (item.description, item.body);
                        bundle.software.push(SoftwarePart {
                            name: name.clone(),
                            description,
                            body,
                        });
                    }
                    named = Some(name);
                }
                Action::Command(_)
                | Action::File(_)
                | Action::Reboot { .. }
                | Action::Wait { .. } => {}
            }
            bundle.tasks.push(Part { wish: wish(task), named });
        }
        Ok(bundle)
    }

    /// Makes what a file says: what the owner has under the same names says the same then. A file
    /// that breaks a rule changes nothing; one that was read in part can be read again.
    ///
    /// # Errors
    /// [`Invalid`] names the place in the file.
    pub async fn import(
        &self,
        permit: &Permit<act::ManageProfiles>,
        scripts: &Permit<act::ManageScripts>,
        customer: Option<CustomerId>,
        bundle: Bundle,
    ) -> Result<(Profile, Vec<Imported>), ExchangeError> {
        let owner = owner(permit, customer)?;
        let bundle = checked(bundle)?;
        self.profiles.check_commands(bundle.target_os_type, &bundle.tasks)?;
        let mut results = Vec::new();
        let mut software_ids = Vec::new();
        for part in &bundle.software {
            let imported = self.import_software(permit, owner, part).await?;
            software_ids
                .push((part.name.trim().to_lowercase(), SoftwareId::from_uuid(imported.id)));
            results.push(imported);
        }
        let mut script_ids = Vec::new();
        for part in &bundle.scripts {
            let imported = self.import_script(scripts, owner, part).await?;
            script_ids
                .push((part.about.name.trim().to_lowercase(), ScriptId::from_uuid(imported.id)));
            results.push(imported);
        }
        let mut wishes = Vec::with_capacity(bundle.tasks.len());
        for part in bundle.tasks {
            let name = part.named.unwrap_or_default().trim().to_lowercase();
            let mut wish = part.wish;
            match &mut wish.action {
                Action::Script { script_id, .. } => {
                    *script_id = id_of(&script_ids, &name, *script_id);
                }
                Action::Software { software_id, .. } => {
                    *software_id = id_of(&software_ids, &name, *software_id);
                }
                _ => {}
            }
            wishes.push(wish);
        }
        let head = (bundle.name, bundle.description);
        let body = ProfileBody {
            target_os_type: bundle.target_os_type,
            is_template: bundle.is_template,
            tasks: Vec::new(),
        };
        let (profile, result) = self.import_profile(permit, owner, head, body, wishes).await?;
        let (id, name) = (profile.id.as_uuid(), profile.name.clone());
        results.push(Imported { kind: "profile", name, id, result });
        Ok((profile, results))
    }

    async fn import_software(
        &self,
        permit: &Permit<act::ManageProfiles>,
        owner: Option<CustomerId>,
        part: &SoftwarePart,
    ) -> Result<Imported, ExchangeError> {
        let (name, description) = (part.name.clone(), part.description.clone());
        let body = part.body.clone();
        let (item, result) = match self.software.named(owner, &name).await? {
            None => {
                let made = self.software.create(permit, owner, name, description, body).await?;
                (made, ImportedAs::Created)
            }
            Some(known) => {
                let change =
                    Change { name: Some(name), description: Some(description), body: Some(body) };
                let after = self.software.change(permit, known.id, None, &change).await?;
                let result = result_of(known.version, after.version);
                (after, result)
            }
        };
        Ok(Imported { kind: "software", name: item.name, id: item.id.as_uuid(), result })
    }

    async fn import_script(
        &self,
        permit: &Permit<act::ManageScripts>,
        owner: Option<CustomerId>,
        part: &ScriptPart,
    ) -> Result<Imported, ExchangeError> {
        let (about, text) = (part.about.clone(), Arc::clone(&part.text));
        let (opened, result) = match self.script_named(permit, owner, &about.name).await? {
            None => {
                let draft = Draft::parse(Kind::Script, about, text).map_err(LibraryError::from)?;
                (self.scripts.create(permit, owner, draft, None).await?, ImportedAs::Created)
            }
            Some(known) => {
                let change = ScriptChange {
                    name: Some(about.name),
                    description: Some(about.description),
                    category: Some(about.category),
                    tags: Some(about.tags),
                    target_os_type: Some(about.target_os_type),
                    shell_type: Some(about.shell_type),
                    parameters: Some(about.parameters),
                    text: Some(text),
                };
                let before = known.version.number;
                let after = self.scripts.change(permit, known.id, None, change, None).await?;
                let result = result_of(before, after.item.version.number);
                (after, result)
            }
        };
        let (name, id) = (opened.item.version.about.name, opened.item.id.as_uuid());
        Ok(Imported { kind: "script", name, id, result })
    }

    /// The script of an owner with this name.
    async fn script_named(
        &self,
        permit: &Permit<act::ManageScripts>,
        owner: Option<CustomerId>,
        name: &str,
    ) -> Result<Option<Script>, ExchangeError> {
        let reads = Permit::<act::ReadScripts>::ask(permit.principal().clone(), permit.author())
            .map_err(LibraryError::from)?;
        let wanted = name.trim().to_lowercase();
        let filter = LibraryFilter {
            customer_id: owner,
            q: Some(name.trim().to_owned()),
            ..LibraryFilter::default()
        };
        let mut cursor = None;
        loop {
            let page = PageRequest::new(AT_ONCE, cursor);
            let found = self.scripts.list(&reads, &filter, &page).await?;
            let is_it = |it: &Script| {
                it.customer_id == owner && it.version.about.name.to_lowercase() == wanted
            };
            if let Some(script) = found.items.into_iter().find(is_it) {
                return Ok(Some(script));
            }
            cursor = found.next_cursor;
            if cursor.is_none() {
                return Ok(None);
            }
        }
    }

    async fn import_profile(
        &self,
        permit: &Permit<act::ManageProfiles>,
        owner: Option<CustomerId>,
        (name, description): (String, Option<String>),
        body: ProfileBody,
        wishes: Vec<TaskWish>,
    ) -> Result<(Profile, ImportedAs), ExchangeError> {
        let catalog = &self.profiles.catalog;
        let Some(known) = catalog.named(owner, &name).await? else {
            let made = self.profiles.create_with(permit, owner, (name, description), body, wishes);
            return Ok((made.await?, ImportedAs::Created));
        };
        let after = catalog
            .edit(permit, known.id, None, async |profile: Profile| {
                let (name, description) = (name.clone(), description.clone());
                let profile = Profile { name, description, ..profile };
                self.profiles.with_tasks(profile, body.clone(), wishes.clone()).await
            })
            .await?;
        Ok((after.clone(), result_of(known.version, after.version)))
    }
}

const fn result_of(before: u32, after: u32) -> ImportedAs {
    if before == after { ImportedAs::Unchanged } else { ImportedAs::Updated }
}

/// What things are called in a file, where no two have the same name: a customer's own may be called
/// like one that is shared.
#[derive(Debug, Default)]
struct Names(Vec<(Uuid, String)>);

impl Names {
    /// What the thing of this id is called, and whether that is said for the first time.
    fn of(&mut self, id: Uuid, name: &str) -> (String, bool) {
        if let Some((_, known)) = self.0.iter().find(|(it, _)| *it == id) {
            return (known.clone(), false);
        }
        let is_free = |name: &str| {
            let key = name.to_lowercase();
            !self.0.iter().any(|(_, known)| known.to_lowercase() == key)
        };
        let named = |number: u32| {
            if number == 1 { name.to_owned() } else { format!("{name} {number}") }
        };
        let free = (1..u32::MAX).map(named).find(|name| is_free(name)).unwrap_or_default();
        self.0.push((id, free.clone()));
        (free, true)
    }
}

/// The id that a name has; [`checked`] lets no other name through.
fn id_of<I: Copy>(known: &[(String, I)], name: &str, nil: I) -> I {
    known.iter().find(|(it, _)| it == name).map_or(nil, |(_, id)| *id)
}

/// Checks what can be told of a file without looking elsewhere.
fn checked(mut bundle: Bundle) -> Result<Bundle, ExchangeError> {
    line("/profile/name", &bundle.name, MAX_NAME)?;
    prose("/profile/description", bundle.description.clone(), MAX_DESCRIPTION)?;
    if bundle.tasks.len() > MAX_TASKS {
        let rule = format!("a profile has at most {MAX_TASKS} tasks");
        return Err(Invalid::new("/profile/tasks", rule).into());
    }
    let mut names = BTreeSet::new();
    for (number, part) in bundle.scripts.iter().enumerate() {
        let place = format!("/scripts/{number}");
        Draft::parse(Kind::Script, part.about.clone(), Arc::clone(&part.text)).map_err(
            |error| {
                let field = error.field.name_in(Kind::Script);
                Invalid::new(format!("{place}/{field}{}", error.within), error.rule)
            },
        )?;
        if !names.insert(part.about.name.trim().to_lowercase()) {
            return Err(Invalid::new(place, "another script of the file has that name").into());
        }
    }
    let scripts = std::mem::take(&mut names);
    for (number, part) in bundle.software.iter_mut().enumerate() {
        let place = format!("/software/{number}");
        line(&format!("{place}/name"), &part.name, MAX_NAME)?;
        prose(&format!("{place}/description"), part.description.clone(), MAX_DESCRIPTION)?;
        part.body = part.body.clone().check().map_err(|invalid| invalid.within(&place))?;
        if !names.insert(part.name.trim().to_lowercase()) {
            return Err(Invalid::new(place, "another item of the file has that name").into());
        }
    }
    for (number, part) in bundle.tasks.iter().enumerate() {
        let place = format!("/profile/tasks/{number}");
        let name = part.named.clone().unwrap_or_default().trim().to_lowercase();
        let missing = |what: &str| {
            let rule = format!("the file has no {what} of that name");
            ExchangeError::from(Invalid::new(format!("{place}/{what}"), rule))
        };
        match &part.wish.action {
            Action::Script { .. } if !scripts.contains(&name) => return Err(missing("script")),
            Action::Software { .. } if !names.contains(&name) => return Err(missing("software")),
            _ => {}
        }
        let task = task_of(TaskId::from_uuid(Uuid::nil()), part.wish.clone(), 0);
        task.check().map_err(|invalid| invalid.within(&place))?;
    }
    Ok(bundle)
}

/// The task that a wish comes to.
pub(crate) fn task_of(id: TaskId, wish: TaskWish, order_index: i32) -> Task {
    Task {
        id,
        name: wish.name,
        description: wish.description,
        order_index: wish.order_index.unwrap_or(order_index),
        action: wish.action,
        check: wish.check,
        continue_on_error: wish.continue_on_error,
        timeout: wish.timeout,
    }
}

/// The wish that a task came from; its place is told by where it stands.
fn wish(task: Task) -> TaskWish {
    TaskWish {
        name: task.name,
        description: task.description,
        order_index: None,
        action: task.action,
        check: task.check,
        continue_on_error: task.continue_on_error,
        timeout: task.timeout,
    }
}
