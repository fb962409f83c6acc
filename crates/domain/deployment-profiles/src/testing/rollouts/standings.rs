//! That it is known how machines stand, once they were looked at.

use chrono::TimeDelta;
use muster_commands::CommandArchive;
use muster_commands::testing::noon;
use muster_kernel::{PageRequest, TenantScope};

use super::contract::queued;
use super::{RolloutsSubject, rollout};
use crate::compliance::{Standing, StandingCounts, StandingFilter, StandingStatus};
use crate::rollouts::{Advance, Advanced, Device, Rollout, Stage};

pub(super) async fn it_is_known_how_machines_stand<A: CommandArchive>(
    subject: &RolloutsSubject<'_, A>,
) {
    let (mine, other) = (subject.machine, subject.other_machine);
    let (all, own) = (TenantScope::All, TenantScope::one(mine.1));
    let looks = Rollout { profile_id: subject.profile, dry_run: true, ..rollout(151, 2) };
    let kept = subject.begun(looks, &[queued(mine), queued(other)]).await;
    let standing = |(agent_id, customer_id), status, hours, drifted: &[&str]| Standing {
        profile_id: subject.profile,
        agent_id,
        customer_id,
        status,
        drifted: drifted.iter().map(|name| (*name).to_owned()).collect(),
        rollout_id: kept.id,
        checked_at: noon() + TimeDelta::hours(hours),
    };
    let ends = |machine, before, standing: &Standing| Advance {
        device: Device { stage: Stage::Done, revision: before + 1, ..queued(machine) },
        before,
        command: None,
        standing: Some(standing.clone()),
    };
    let told = async |scope: &TenantScope, status, page: PageRequest| {
        let filter = StandingFilter { status };
        subject.compliance.standings(scope, subject.profile, &filter, &page).await.unwrap()
    };
    let (page, counts) = told(&all, None, PageRequest::default()).await;
    assert_eq!((page.total, counts), (0, StandingCounts::default()));

    let drifted = standing(mine, StandingStatus::Drifted, 1, &["Editor", "Firewall"]);
    let compliant = standing(other, StandingStatus::Compliant, 1, &[]);
    let unknown = standing(mine, StandingStatus::Unknown, 2, &[]);
    let advances = [ends(mine, 0, &drifted), ends(other, 0, &compliant), ends(mine, 9, &unknown)];
    let outcomes = subject.advance(kept.id, &advances).await;
    assert_eq!(outcomes, [Advanced::Written, Advanced::Written, Advanced::Stale]);
    let mut both = [drifted.clone(), compliant.clone()];
    both.sort_by_key(|standing| standing.agent_id);
    let counted = StandingCounts { drifted: 1, compliant: 1, unknown: 0 };
    let (page, counts) = told(&all, None, PageRequest::default()).await;
    assert_eq!((page.items.as_slice(), page.total, counts), (&both[..], 2, counted));
    let (first, counts) = told(&all, None, PageRequest::new(1, None)).await;
    assert_eq!((first.items.as_slice(), first.total, counts), (&both[..1], 2, counted));
    let (second, _) = told(&all, None, PageRequest::new(1, first.next_cursor)).await;
    assert_eq!((second.items.as_slice(), second.next_cursor), (&both[1..], None));
    let (page, counts) = told(&all, Some(StandingStatus::Compliant), PageRequest::default()).await;
    assert_eq!((page.items.as_slice(), page.total), (std::slice::from_ref(&compliant), 1));
    assert_eq!(counts, counted, "all are counted, whichever are shown");
    let (page, counts) = told(&own, None, PageRequest::default()).await;
    assert_eq!((page.items.as_slice(), page.total), (std::slice::from_ref(&drifted), 1));
    assert_eq!(counts, StandingCounts { drifted: 1, ..StandingCounts::default() });

    assert_eq!(subject.advance(kept.id, &[ends(mine, 1, &unknown)]).await, [Advanced::Written]);
    let (page, counts) = told(&own, None, PageRequest::default()).await;
    assert_eq!((page.items.as_slice(), page.total), (std::slice::from_ref(&unknown), 1));
    assert_eq!(counts, StandingCounts { unknown: 1, ..StandingCounts::default() });
    let (elsewhere, none) = (rollout(152, 1).profile_id, StandingFilter::default());
    let page = PageRequest::default();
    let found = subject.compliance.standings(&all, elsewhere, &none, &page).await.unwrap();
    assert_eq!((found.0.total, found.1), (0, StandingCounts::default()));
    subject.end(kept.id).await;
}
