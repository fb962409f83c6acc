use muster_agents::{AgentChange, AgentRepository};
use muster_audit::{AuditFilter, AuditLog};
use muster_customers::CustomerRepository;
use muster_deployment_profiles::testing::{
    ImagedSubject, catalog_contract, entry, imaged_contract, os_image_bodies, profile_bodies,
    software_bodies,
};
use muster_deployment_profiles::{ImagedAgents, OsImage};
use muster_kernel::AgentId;
use sea_orm::QueryOrder;

use super::*;
use crate::agents::plans::plan;
use crate::testing::{agents, customers, on_each_database, on_sqlite};
use crate::{SeaAgents, SeaAudit, SeaCustomers};

on_each_database!(
    every_kind_keeps_the_contract_beside_the_others,
    what_machines_were_made_from_keeps_the_contract,
    a_customer_that_is_deleted_takes_what_it_has_with_it,
    a_machine_that_is_removed_was_made_from_nothing,
    a_machine_that_goes_to_another_customer_takes_no_image_of_its_own_along,
);

async fn every_kind_keeps_the_contract_beside_the_others(database: Database) {
    let customers = customers(&database).await.map(|(id, _)| id);
    let catalog = SeaCatalog::new(database);
    // The same names: each kind has its own.
    catalog_contract(&catalog, customers, profile_bodies()).await;
    catalog_contract(&catalog, customers, software_bodies()).await;
    catalog_contract(&catalog, customers, os_image_bodies()).await;
}

async fn what_machines_were_made_from_keeps_the_contract(database: Database) {
    let [machine, other_machine] = agents(&database).await;
    let catalog = SeaCatalog::new(database);
    let subject = ImagedSubject { images: &catalog, agents: &catalog, machine, other_machine };
    imaged_contract(&subject).await;
}

async fn a_customer_that_is_deleted_takes_what_it_has_with_it(database: Database) {
    let [(mine, _), (other, _)] = customers(&database).await;
    let catalog = SeaCatalog::new(database.clone());
    let author = Author::system();
    let ([profile, _], [software, _], [image, _]) =
        (profile_bodies(), software_bodies(), os_image_bodies());
    let own = entry(1, Some(mine), profile.clone());
    catalog.create(own.clone(), &author).await.unwrap();
    let own_software = entry(2, Some(mine), software);
    catalog.create(own_software.clone(), &author).await.unwrap();
    let own_image = entry(3, Some(mine), image);
    catalog.create(own_image.clone(), &author).await.unwrap();
    let left = [entry(4, Some(other), profile.clone()), entry(5, None, profile)];
    for profile in &left {
        catalog.create(profile.clone(), &author).await.unwrap();
    }
    let customers = SeaCustomers::new(database.clone());
    assert!(customers.delete(mine, false, &author, own.created_at).await.unwrap());
    let (all, page) = (TenantScope::All, PageRequest::default());
    let profiles: Page<Entry<ProfileBody>> =
        catalog.list(&all, &CatalogFilter::default(), &page).await.unwrap();
    assert_eq!(profiles.items, left);
    let software: Option<Entry<SoftwareBody>> = catalog.find(&all, own_software.id).await.unwrap();
    let image: Option<Entry<OsImageBody>> = catalog.find(&all, own_image.id).await.unwrap();
    assert_eq!((software, image), (None, None));
    let audit = SeaAudit::new(database);
    for action in ["profile.delete", "software.delete", "os_image.delete"] {
        let filter = AuditFilter { action: Some(action.to_owned()), ..AuditFilter::default() };
        assert_eq!(audit.list(&filter, &page).await.unwrap().total, 1, "{action}");
    }
    let late = catalog.create(own, &author).await;
    assert!(matches!(late, Err(WriteError::NoCustomer)), "{late:?}");
}

/// Two machines of a customer, both made from its own image and then from a shared one.
async fn imaged(catalog: &SeaCatalog, machines: [(AgentId, CustomerId); 2]) -> [OsImage; 2] {
    let author = Author::system();
    let [own, shared] = os_image_bodies();
    let images = [entry(1, Some(machines[0].1), own), entry(2, None, shared)];
    for (image, (machine, _)) in images.iter().zip(machines) {
        let now = image.created_at;
        catalog.create(image.clone(), &author).await.unwrap();
        let set = catalog.set(&TenantScope::All, machine, image, now, &author, now).await;
        assert!(set.unwrap().is_some());
    }
    images
}

async fn a_machine_that_is_removed_was_made_from_nothing(database: Database) {
    let machines = agents(&database).await;
    let catalog = SeaCatalog::new(database.clone());
    let [image, _] = imaged(&catalog, machines).await;
    let (all, author, now) = (TenantScope::All, Author::system(), image.created_at);
    let registry = SeaAgents::new(database.clone());
    assert!(registry.delete(&all, machines[0].0, &author, now).await.unwrap());
    let gone = registry.delete_many(&all, vec![machines[1].0], &author, now).await.unwrap();
    assert_eq!(gone, [machines[1].0]);
    assert_eq!(catalog.of(&all, machines[0].0).await.unwrap(), None);
    let rows = entity::imaged::Entity::find().all(database.reader()).await.unwrap();
    assert!(rows.is_empty(), "{rows:?}");
    assert_eq!(catalog.set(&all, machines[0].0, &image, now, &author, now).await.unwrap(), None);
}

async fn a_machine_that_goes_to_another_customer_takes_no_image_of_its_own_along(
    database: Database,
) {
    let machines = agents(&database).await;
    let [(first, one), (second, other)] = machines;
    let catalog = SeaCatalog::new(database.clone());
    let [image, shared] = imaged(&catalog, machines).await;
    let registry = SeaAgents::new(database);
    let (all, author) = (TenantScope::All, Author::system());
    for (machine, customer) in [(first, other), (second, one)] {
        let change = AgentChange { customer_id: Some(customer), ..AgentChange::default() };
        let moved = registry.update(&all, machine, change, &author, image.created_at).await;
        assert_eq!(moved.unwrap().unwrap().customer_id, customer);
    }
    assert_eq!(catalog.of(&all, first).await.unwrap(), None, "the image is not theirs");
    let known = catalog.of(&TenantScope::one(one), second).await.unwrap().unwrap();
    assert_eq!((known.os_image_id, known.customer_id), (shared.id, one));
}

#[tokio::test]
async fn a_list_of_one_kind_is_found_by_an_index() {
    let database = on_sqlite().await;
    for scope in [TenantScope::All, TenantScope::one(CustomerId::from_uuid(Uuid::nil()))] {
        let list = Entity::find().filter(visible::<ProfileBody>(&scope)).order_by_asc(Column::Id);
        let plan = plan(&database, list).await.join("; ");
        assert!(plan.contains("INDEX catalog_entries_by_kind"), "{plan}");
        assert!(!plan.contains("TEMP B-TREE"), "{plan}");
    }
}
