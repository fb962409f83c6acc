use muster_agents::{AgentChange, AgentRepository};
use muster_audit::{AuditFilter, AuditLog};
use muster_customers::CustomerRepository;
use muster_deployment_profiles::compliance::StandingStatus;
use muster_deployment_profiles::rollouts::{
    Advance, Advanced, Device, Rollout, RolloutRepository, Stage,
};
use muster_deployment_profiles::testing::{check, compliance_contract};
use muster_deployment_profiles::{CatalogRepository, ProfileBody};
use muster_kernel::AgentId;

use super::*;
use crate::testing::{agents, customers, deployed, on_each_database};
use crate::{SeaAgents, SeaAudit, SeaCatalog, SeaCustomers, SeaRollouts};

on_each_database!(
    checks_keep_the_contract,
    a_customer_that_is_deleted_takes_its_checks_and_what_they_found_along,
    how_a_machine_stands_goes_with_the_machine,
    how_machines_stand_goes_with_the_profile,
    how_a_machine_stands_is_not_for_its_next_customer,
    a_check_that_makes_no_sense_keeps_no_other_one_from_its_time,
);

async fn checks_keep_the_contract(database: Database) {
    let customers = customers(&database).await.map(|(id, _)| id);
    compliance_contract(&SeaCompliance::new(database), customers).await;
}

/// How machines stand to a profile.
async fn standings(database: &Database, profile: ProfileId) -> Vec<Standing> {
    let (filter, page) = (StandingFilter::default(), PageRequest::default());
    let compliance = SeaCompliance::new(database.clone());
    let told = compliance.standings(&TenantScope::All, profile, &filter, &page).await.unwrap();
    told.0.items
}

async fn a_customer_that_is_deleted_takes_its_checks_and_what_they_found_along(database: Database) {
    let [machine, (_, other)] = agents(&database).await;
    let (_, _, _, own) = deployed(&database, machine).await;
    let (checks, author) = (SeaCompliance::new(database.clone()), Author::system());
    let left = [check(2, Some(other)), check(3, None)];
    for check in &left {
        assert!(checks.create(check.clone(), &author).await.unwrap());
    }
    assert_eq!(standings(&database, own.profile_id).await.len(), 1);
    let customers = SeaCustomers::new(database.clone());
    assert!(customers.delete(machine.1, true, &author, own.created_at).await.unwrap());
    let page = PageRequest::default();
    assert_eq!(checks.list(&TenantScope::All, &page).await.unwrap().items, left);
    assert_eq!(standings(&database, own.profile_id).await, []);
    let action = Some("compliance_check.delete".to_owned());
    let filter = AuditFilter { action, ..AuditFilter::default() };
    assert_eq!(SeaAudit::new(database).list(&filter, &page).await.unwrap().total, 1);
    assert!(!checks.create(own, &author).await.unwrap());
}

async fn how_a_machine_stands_goes_with_the_machine(database: Database) {
    let [machine, other] = agents(&database).await;
    let (profile, _, rollout, _) = deployed(&database, machine).await;
    let (registry, rollouts) =
        (SeaAgents::new(database.clone()), SeaRollouts::new(database.clone()));
    let (all, author, now) = (TenantScope::All, Author::system(), profile.created_at);
    assert!(registry.delete(&all, other.0, &author, now).await.unwrap());
    assert_eq!(standings(&database, profile.id).await.len(), 1, "that was another one");
    assert!(registry.delete(&all, machine.0, &author, now).await.unwrap());
    assert_eq!(standings(&database, profile.id).await, []);
    assert!(rollouts.find(&all, rollout.id).await.unwrap().is_some(), "what was done stays");
    look(&database, machine, &rollout).await;
    assert_eq!(standings(&database, profile.id).await, [], "it comes too late");
}

async fn how_a_machine_stands_is_not_for_its_next_customer(database: Database) {
    let [machine, (_, customer_id)] = agents(&database).await;
    let (profile, _, rollout, _) = deployed(&database, machine).await;
    let change = AgentChange { customer_id: Some(customer_id), ..AgentChange::default() };
    let registry = SeaAgents::new(database.clone());
    let (all, author) = (TenantScope::All, Author::system());
    let moved = registry.update(&all, machine.0, change, &author, profile.created_at).await;
    assert!(moved.unwrap().is_some());
    assert_eq!(standings(&database, profile.id).await, []);
    look(&database, machine, &rollout).await;
    assert_eq!(standings(&database, profile.id).await, [], "it was the former one's machine");
}

async fn how_machines_stand_goes_with_the_profile(database: Database) {
    let [machine, _] = agents(&database).await;
    let (profile, _, rollout, check) = deployed(&database, machine).await;
    look(&database, machine, &rollout).await;
    assert_eq!(standings(&database, profile.id).await.len(), 1);
    let (catalog, author, now) =
        (SeaCatalog::new(database.clone()), Author::system(), profile.created_at);
    CatalogRepository::<ProfileBody>::remove(&catalog, profile.id, 1, &author, now).await.unwrap();
    assert_eq!(standings(&database, profile.id).await, []);
    let checks = SeaCompliance::new(database.clone());
    assert!(checks.find(&TenantScope::All, check.id).await.unwrap().is_some(), "it says so");
}

/// Has the machine of a rollout, which went on once, come to another end.
async fn look(database: &Database, (agent, customer): (AgentId, CustomerId), rollout: &Rollout) {
    let rollouts = SeaRollouts::new(database.clone());
    let before = rollouts.device(rollout.id, agent).await.unwrap().unwrap();
    let standing = Standing {
        profile_id: rollout.profile_id,
        agent_id: agent,
        customer_id: customer,
        status: StandingStatus::Compliant,
        drifted: Vec::new(),
        rollout_id: rollout.id,
        checked_at: rollout.created_at,
    };
    let advance = Advance {
        device: Device { stage: Stage::Done, revision: before.revision + 1, ..before.clone() },
        before: before.revision,
        command: None,
        standing: Some(standing),
    };
    let advanced = rollouts.advance(rollout.id, vec![advance], &Author::system()).await;
    assert_eq!(advanced.unwrap(), [Advanced::Written]);
}

async fn a_check_that_makes_no_sense_keeps_no_other_one_from_its_time(database: Database) {
    let checks = SeaCompliance::new(database.clone());
    for seed in [1, 2] {
        assert!(checks.create(check(seed, None), &Author::system()).await.unwrap());
    }
    let broken = check(1, None).id;
    let broke = database.write(move |transaction| {
        async move {
            Entity::update_many()
                .col_expr(Column::TimeZone, Expr::value("Atlantis"))
                .filter(Column::Id.eq(broken.as_uuid()))
                .exec(transaction)
                .await?;
            Ok::<_, DatabaseError>(())
        }
        .boxed()
    });
    broke.await.unwrap();
    let due = checks.due(check(1, None).next_at.unwrap(), 10).await.unwrap();
    assert_eq!(due.iter().map(|it| it.id).collect::<Vec<_>>(), [check(2, None).id]);
}
