//! From bare machines to machines that are done: profiles, rollouts, and what compares machines
//! with profiles.

use std::sync::Arc;

use muster_deployment_profiles::compliance::{Compliance, CompliancePorts};
use muster_deployment_profiles::rollouts::{Freezer, Rollouts, RolloutsPorts};
use muster_deployment_profiles::{Body, Catalog, CatalogPorts, Exchange, OsImages, Profiles};
use muster_http::Deployment;
use muster_sea_orm::{SeaCatalog, SeaCompliance, SeaRollouts};

use super::Base;
use super::work::Work;
use crate::absentees::KnownAbsentees;

pub(super) fn deployment(base: &Base, work: &Work, absentees: Arc<KnownAbsentees>) -> Deployment {
    let Base { database, clock, entropy, .. } = base;
    let shelf = Arc::new(SeaCatalog::new(database.clone()));
    let (profiles, software) = (catalog(base, &shelf), catalog(base, &shelf));
    let os_images = OsImages::new(catalog(base, &shelf), shelf.clone(), clock.clone());
    let rollouts = Rollouts::new(RolloutsPorts {
        repository: Arc::new(SeaRollouts::new(database.clone())),
        profiles: profiles.clone(),
        freezer: Freezer::new(software.clone(), work.workshop.clone()),
        targets: work.targets.clone(),
        agents: work.agents.clone(),
        connections: work.agents.clone(),
        archive: work.archive.clone(),
        feed: work.feed.clone(),
        channel: work.channel.clone(),
        courier: work.courier.clone(),
        desk: work.desk.clone(),
        bus: work.bus.clone(),
        clock: clock.clone(),
        entropy: entropy.clone(),
    });
    let compliance = Compliance::new(CompliancePorts {
        repository: Arc::new(SeaCompliance::new(database.clone())),
        profiles: profiles.clone(),
        rollouts: rollouts.clone(),
        absentees,
        clock: clock.clone(),
        entropy: entropy.clone(),
    });
    let profiles = Profiles::new(
        profiles,
        software.clone(),
        work.workshop.clone(),
        clock.clone(),
        entropy.clone(),
    );
    let exchange = Exchange::new(profiles.clone(), software.clone(), work.scripts.clone());
    Deployment { profiles, software, os_images, rollouts, compliance, exchange }
}

fn catalog<B: Body>(base: &Base, shelf: &Arc<SeaCatalog>) -> Catalog<B> {
    Catalog::new(CatalogPorts {
        entries: shelf.clone(),
        clock: base.clock.clone(),
        entropy: base.entropy.clone(),
    })
}
