//! What machines were made from: in memory, and the contract of whoever keeps it.

use async_trait::async_trait;
use chrono::TimeDelta;
use muster_commands::testing::noon;
use muster_kernel::{
    AgentId, Author, Cursor, CustomerId, OsImageId, Page, PageRequest, StorageError, TenantScope,
    Timestamp,
};
use uuid::Uuid;

use super::{FakeCatalog, entry, os_image_bodies, page_of};
use crate::{CatalogRepository, Entry, ImagedAgent, ImagedAgents, OsImage, OsImageBody};

impl FakeCatalog<OsImageBody> {
    async fn imaged(
        &self,
        scope: &TenantScope,
        wanted: impl Fn(AgentId, OsImageId) -> bool,
    ) -> Result<Vec<ImagedAgent>, StorageError> {
        let rows: Vec<_> = self.imaged.lock().iter().map(|(agent, row)| (*agent, *row)).collect();
        let mut found = Vec::new();
        for (agent_id, (os_image_id, imaged_at)) in rows {
            let customer_id = self.agents[&agent_id];
            let image = self.find(&TenantScope::All, os_image_id).await?;
            let image = image.filter(|_| scope.contains(customer_id));
            if let Some(OsImage { name, .. }) = image.filter(|_| wanted(agent_id, os_image_id)) {
                found.push(ImagedAgent { agent_id, customer_id, os_image_id, name, imaged_at });
            }
        }
        Ok(found)
    }
}

#[async_trait]
impl ImagedAgents for FakeCatalog<OsImageBody> {
    async fn set(
        &self,
        scope: &TenantScope,
        agent: AgentId,
        image: &OsImage,
        imaged_at: Timestamp,
        _: &Author,
        _: Timestamp,
    ) -> Result<Option<ImagedAgent>, StorageError> {
        let there = self.agents.get(&agent).is_some_and(|customer| scope.contains(*customer));
        let image = self.find(&TenantScope::All, image.id).await?.filter(|_| there);
        let Some(image) = image else { return Ok(None) };
        self.imaged.lock().insert(agent, (image.id, imaged_at));
        self.of(scope, agent).await
    }

    async fn of(
        &self,
        scope: &TenantScope,
        agent: AgentId,
    ) -> Result<Option<ImagedAgent>, StorageError> {
        Ok(self.imaged(scope, |it, _| it == agent).await?.pop())
    }

    async fn unset(
        &self,
        scope: &TenantScope,
        agent: AgentId,
        _: &Author,
        _: Timestamp,
    ) -> Result<bool, StorageError> {
        let known = self.of(scope, agent).await?.is_some();
        if known {
            self.imaged.lock().remove(&agent);
        }
        Ok(known)
    }

    async fn made_from(
        &self,
        scope: &TenantScope,
        image: OsImageId,
        page: &PageRequest,
    ) -> Result<Page<ImagedAgent>, StorageError> {
        let machines = self.imaged(scope, |_, it| it == image).await?;
        Ok(page_of(&machines, page, |machine| Cursor::after(machine.agent_id.as_uuid())))
    }
}

/// What the suite needs: no images, and two machines of two customers.
#[derive(Debug)]
#[expect(missing_docs, reason = "the names say it")]
pub struct ImagedSubject<'a> {
    pub images: &'a dyn CatalogRepository<OsImageBody>,
    pub agents: &'a dyn ImagedAgents,
    pub machine: (AgentId, CustomerId),
    pub other_machine: (AgentId, CustomerId),
}

/// The contract of [`ImagedAgents`].
///
/// # Panics
/// When it is broken.
pub async fn imaged_contract(subject: &ImagedSubject<'_>) {
    let ImagedSubject { images, agents, .. } = subject;
    let (author, all) = (Author::system(), TenantScope::All);
    let [one, other] = [subject.machine, subject.other_machine];
    let scope = TenantScope::one(one.1);
    let [linux, windows] = os_image_bodies();
    let [first, second] = [entry(21, None, linux), entry(22, Some(one.1), windows)];
    for image in [&first, &second] {
        images.create(image.clone(), &author).await.unwrap();
    }
    let set = async |scope: &TenantScope, agent, image: &OsImage, hours| {
        let at = noon() + TimeDelta::hours(hours);
        agents.set(scope, agent, image, at, &author, noon()).await.unwrap()
    };
    let made = |(agent_id, customer_id), image: &OsImage, hours| ImagedAgent {
        agent_id,
        customer_id,
        os_image_id: image.id,
        name: image.name.clone(),
        imaged_at: noon() + TimeDelta::hours(hours),
    };
    assert_eq!(agents.of(&all, one.0).await.unwrap(), None);
    assert_eq!(set(&scope, one.0, &first, 1).await, Some(made(one, &first, 1)));
    assert_eq!(set(&scope, other.0, &first, 1).await, None, "the machine is another's");
    assert_eq!(set(&all, AgentId::from_uuid(Uuid::nil()), &first, 1).await, None);
    let gone = entry(23, None, first.body.clone());
    assert_eq!(set(&all, other.0, &gone, 1).await, None, "there is no such image");
    assert_eq!(agents.of(&scope, one.0).await.unwrap(), Some(made(one, &first, 1)));
    assert_eq!(agents.of(&TenantScope::one(other.1), one.0).await.unwrap(), None);

    // What was kept before makes room.
    assert_eq!(set(&all, one.0, &second, 2).await, Some(made(one, &second, 2)));
    assert_eq!(set(&all, one.0, &first, 3).await, Some(made(one, &first, 3)));
    assert_eq!(set(&all, other.0, &first, 4).await, Some(made(other, &first, 4)));
    machines_are_told_by_their_image(
        subject,
        &first,
        [made(one, &first, 3), made(other, &first, 4)],
    )
    .await;

    let renamed = Entry { name: "Kiosk".into(), version: 2, ..first.clone() };
    images.replace(1, renamed.clone(), &author).await.unwrap();
    assert_eq!(agents.of(&all, one.0).await.unwrap(), Some(made(one, &renamed, 3)));
    let unset = async |scope: &TenantScope, agent| {
        agents.unset(scope, agent, &author, noon()).await.unwrap()
    };
    assert!(!unset(&scope, other.0).await, "the machine is another's");
    assert!(unset(&all, other.0).await && !unset(&all, other.0).await);
    assert_eq!(agents.of(&all, other.0).await.unwrap(), None);
    images.remove(first.id, 2, &author, noon()).await.unwrap();
    assert_eq!(agents.of(&all, one.0).await.unwrap(), None, "it went with its image");
    assert!(!unset(&all, one.0).await);
}

async fn machines_are_told_by_their_image(
    ImagedSubject { agents, machine, .. }: &ImagedSubject<'_>,
    image: &OsImage,
    mut machines: [ImagedAgent; 2],
) {
    machines.sort_by_key(|machine| machine.agent_id);
    let list = async |scope: &TenantScope, image, page| {
        agents.made_from(scope, image, &page).await.unwrap()
    };
    let (all, whole) = (TenantScope::All, PageRequest::default());
    let page = list(&all, image.id, whole.clone()).await;
    assert_eq!((page.items.as_slice(), page.total), (&machines[..], 2));
    let first = list(&all, image.id, PageRequest::new(1, None)).await;
    assert_eq!((first.items.as_slice(), first.total), (&machines[..1], 2));
    let second = list(&all, image.id, PageRequest::new(1, first.next_cursor)).await;
    assert_eq!((second.items.as_slice(), second.next_cursor), (&machines[1..], None));
    let own = list(&TenantScope::one(machine.1), image.id, whole.clone()).await;
    let ids: Vec<_> = own.items.iter().map(|machine| machine.agent_id).collect();
    assert_eq!((ids, own.total), (vec![machine.0], 1));
    let nothing = OsImageId::from_uuid(Uuid::nil());
    assert_eq!(list(&all, nothing, whole).await.total, 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_fake_keeps_the_contract_of_what_machines_were_made_from() {
        let id = Uuid::from_u128;
        let customers = [1, 2].map(|number| CustomerId::from_uuid(id(number)));
        let machine = |number| AgentId::from_uuid(id(number));
        let [one, other] = [(machine(3), customers[0]), (machine(4), customers[1])];
        let catalog = FakeCatalog::new(&customers).with_agents(&[one, other]);
        let subject = ImagedSubject {
            images: &catalog,
            agents: &catalog,
            machine: one,
            other_machine: other,
        };
        imaged_contract(&subject).await;
    }
}
