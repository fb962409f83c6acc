//! The database schema, one reversible step a file.
//!
//! A step is named `m<date>_<number>_<what it makes>` and is never changed once it was released:
//! the next step corrects it. Ids are UUIDs, instants are microseconds since 1970 in a
//! `bigint` (docs/decisions/0003-times-as-integers.md), JSON and enums are text, hashes are bytes.

mod m20261121_000001_users;
mod m20261121_000002_sessions;
mod m20261121_000003_customers;
mod m20261121_000004_idempotency_keys;
mod m20261121_000005_enrollment_tokens;
mod m20261121_000006_api_keys;
mod m20261121_000007_second_factors;
mod m20261121_000008_settings;
mod m20261121_000010_agents;
mod m20261121_000011_commands;
mod m20261121_000012_command_output;
mod m20261121_000013_audit_entries;
mod m20261121_000014_safety;
mod m20261121_000015_installation;
mod m20261121_000016_command_runs;
mod m20261121_000017_runs;
mod m20261121_000019_schedules;
mod m20261121_000020_library;
mod m20261121_000021_first_saved_commands;
mod m20261121_000025_approvals;
mod m20261121_000030_output_encoding;
mod m20261121_000031_time_zones;
mod m20261121_000033_agent_connections;
mod m20261121_000034_agent_lists;
mod m20261121_000035_agent_texts;
mod m20261121_000036_agent_groups;
mod m20261121_000037_metric_samples;
mod m20261121_000038_metric_rollups;
mod m20261121_000039_leaderships;
mod m20261121_000042_alert_rules;
mod m20261121_000043_alerts;
mod m20261121_000044_alert_deliveries;
mod m20261121_000045_dialects;
mod m20261121_000046_catalog;
mod m20261121_000047_rollouts;
mod m20261121_000048_compliance;
mod m20261121_000049_commands_of_rollouts;
mod m20261121_000050_boot_ids;
mod m20261121_000051_assistants;
mod m20261121_000052_assistant_spending;

pub use sea_orm_migration::{MigrationStatus, MigrationTrait, MigratorTrait};

/// Every step, in order.
#[derive(Debug)]
pub struct Migrator;

impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![
            Box::new(m20261121_000001_users::Migration),
            Box::new(m20261121_000002_sessions::Migration),
            Box::new(m20261121_000003_customers::Migration),
            Box::new(m20261121_000004_idempotency_keys::Migration),
            Box::new(m20261121_000005_enrollment_tokens::Migration),
            Box::new(m20261121_000006_api_keys::Migration),
            Box::new(m20261121_000007_second_factors::Migration),
            Box::new(m20261121_000008_settings::Migration),
            Box::new(m20261121_000010_agents::Migration),
            Box::new(m20261121_000011_commands::Migration),
            Box::new(m20261121_000012_command_output::Migration),
            Box::new(m20261121_000013_audit_entries::Migration),
            Box::new(m20261121_000014_safety::Migration),
            Box::new(m20261121_000015_installation::Migration),
            Box::new(m20261121_000016_command_runs::Migration),
            Box::new(m20261121_000017_runs::Migration),
            Box::new(m20261121_000019_schedules::Migration),
            Box::new(m20261121_000020_library::Migration),
            Box::new(m20261121_000021_first_saved_commands::Migration),
            Box::new(m20261121_000025_approvals::Migration),
            Box::new(m20261121_000030_output_encoding::Migration),
            Box::new(m20261121_000031_time_zones::Migration),
            Box::new(m20261121_000033_agent_connections::Migration),
            Box::new(m20261121_000034_agent_lists::Migration),
            Box::new(m20261121_000035_agent_texts::Migration),
            Box::new(m20261121_000036_agent_groups::Migration),
            Box::new(m20261121_000037_metric_samples::Migration),
            Box::new(m20261121_000038_metric_rollups::Migration),
            Box::new(m20261121_000039_leaderships::Migration),
            Box::new(m20261121_000042_alert_rules::Migration),
            Box::new(m20261121_000043_alerts::Migration),
            Box::new(m20261121_000044_alert_deliveries::Migration),
            Box::new(m20261121_000045_dialects::Migration),
            Box::new(m20261121_000046_catalog::Migration),
            Box::new(m20261121_000047_rollouts::Migration),
            Box::new(m20261121_000048_compliance::Migration),
            Box::new(m20261121_000049_commands_of_rollouts::Migration),
            Box::new(m20261121_000050_boot_ids::Migration),
            Box::new(m20261121_000051_assistants::Migration),
            Box::new(m20261121_000052_assistant_spending::Migration),
        ]
    }
}
