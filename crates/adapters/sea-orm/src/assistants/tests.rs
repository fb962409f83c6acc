//! The contracts of everything about assistants, on each database.

use muster_assistant::testing::{
    budget_contract, chats_contract, entries_contract, entry, proposals_contract,
};
use muster_assistant::workspace::{AssistantBody, EntryRepository, ProjectBody, Role};
use muster_customers::CustomerRepository;
use muster_customers::testing::customer;
use muster_kernel::{Author, CustomerId};

use super::SeaAssistants;
use crate::testing::on_each_database;
use crate::{Database, SeaCustomers};

on_each_database!(
    assistants_keep_the_contract,
    projects_keep_the_contract,
    chats_keep_the_contract,
    proposals_keep_the_contract,
    what_a_customer_has_goes_with_it,
    accounts_keep_the_contract,
    what_is_old_is_forgotten,
);

async fn customers(database: &Database) -> [CustomerId; 2] {
    let customers = SeaCustomers::new(database.clone());
    let [mine, theirs] = [customer(1), customer(2)];
    for customer in [mine.clone(), theirs.clone()] {
        customers.create(customer, &Author::system()).await.unwrap();
    }
    [mine.id, theirs.id]
}

async fn assistants_keep_the_contract(database: Database) {
    let customers = customers(&database).await;
    let body = AssistantBody { prompt: "Be brief.".to_owned(), ..AssistantBody::default() };
    let other = AssistantBody { role: Role::Reviewer, model: Some("huge".into()), ..body.clone() };
    entries_contract(&SeaAssistants::new(database), customers, [body, other]).await;
}

async fn projects_keep_the_contract(database: Database) {
    let customers = customers(&database).await;
    let body = ProjectBody { description: Some("Disks".to_owned()), ..ProjectBody::default() };
    let bodies = [body, ProjectBody::default()];
    entries_contract(&SeaAssistants::new(database), customers, bodies).await;
}

async fn chats_keep_the_contract(database: Database) {
    let customers = customers(&database).await;
    let assistants = SeaAssistants::new(database);
    let mut projects = Vec::new();
    for (seed, customer) in [(1, customers[0]), (2, customers[1])] {
        let project = entry(seed, Some(customer), ProjectBody::default());
        projects.push((project.id, customer));
        assistants.create(project, &Author::system()).await.unwrap();
    }
    chats_contract(&assistants, [projects[0], projects[1]]).await;
}

async fn accounts_keep_the_contract(database: Database) {
    budget_contract(&SeaAssistants::new(database)).await;
}

async fn proposals_keep_the_contract(database: Database) {
    proposals_contract(&SeaAssistants::new(database)).await;
}

async fn what_a_customer_has_goes_with_it(database: Database) {
    use muster_assistant::chats::{ChatRepository, Onlooker};
    use muster_assistant::proposals::ProposalRepository;
    use muster_assistant::testing::{chat, proposal, somebody};
    use muster_kernel::TenantScope;

    let [mine, _] = customers(&database).await;
    let assistants = SeaAssistants::new(database.clone());
    let author = Author::system();
    let project = entry(1, Some(mine), ProjectBody::default());
    EntryRepository::create(&assistants, project.clone(), &author).await.unwrap();
    let talk = chat(2, somebody(1), Some((project.id, Some(mine))));
    ChatRepository::create(&assistants, talk.clone(), &author).await.unwrap();
    let mut about = proposal(3);
    about.customers = [mine].into();
    ProposalRepository::create(&assistants, about.clone(), None, &author).await.unwrap();
    let customers = SeaCustomers::new(database);
    assert!(customers.delete(mine, false, &author, project.created_at).await.unwrap());
    let all = Onlooker { scope: TenantScope::All, requester: None };
    assert_eq!(ChatRepository::find(&assistants, &all, talk.id).await.unwrap(), None);
    let found = ProposalRepository::find(&assistants, &TenantScope::All, about.id).await.unwrap();
    assert_eq!(found, None);
    let found =
        EntryRepository::<ProjectBody>::find(&assistants, &TenantScope::All, project.id).await;
    assert_eq!(found.unwrap(), None);
}

async fn what_is_old_is_forgotten(database: Database) {
    use chrono::TimeDelta;
    use futures_util::FutureExt;
    use muster_assistant::chats::{ChatRepository, Onlooker};
    use muster_assistant::proposals::ProposalRepository;
    use muster_assistant::testing::{chat, proposal, somebody};
    use muster_kernel::TenantScope;

    let assistants = SeaAssistants::new(database.clone());
    let (author, owner) = (Author::system(), somebody(1));
    let (talk, kept) = (chat(1, owner, None), proposal(2));
    ChatRepository::create(&assistants, talk.clone(), &author).await.unwrap();
    ProposalRepository::create(&assistants, kept.clone(), None, &author).await.unwrap();
    let onlooker = Onlooker { scope: TenantScope::All, requester: Some(owner) };
    for (before, there) in [(talk.updated_at, true), (talk.updated_at + TimeDelta::days(2), false)]
    {
        let forget = database.write(move |transaction| {
            async move { super::forget(transaction, before).await }.boxed()
        });
        forget.await.unwrap();
        let found = ChatRepository::find(&assistants, &onlooker, talk.id).await.unwrap();
        assert_eq!(found.is_some(), there);
        let found =
            ProposalRepository::find(&assistants, &TenantScope::All, kept.id).await.unwrap();
        assert_eq!(found.is_some(), there);
    }
}
